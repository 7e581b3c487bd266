"""The command line: `diffgen <command>`. Each command is a function of its arguments that returns the exit code."""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import tyro

from diffgen import book, commands

_CHAPTER_HELP = """\
Execute a chapter of the book with parameters of your choice, and write the executed notebook.

  diffgen chapter                               list the chapters
  diffgen chapter 02 --help                     its parameters
  diffgen chapter 02 --preset smoke --seed 1    run it, small
  diffgen chapter 02 --device cuda -o out.ipynb

The same without diffgen, from the project's root:
  papermill chapters/02_generalization_gap.ipynb out.ipynb -p preset smoke -p seed 1
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}\n")  # one line; argparse would print the usage before it


def chapter(args: list[str]) -> int:
    """Execute a chapter of the book with parameters of your choice."""
    try:
        if not args or args[0] in ("-h", "--help"):
            print(_CHAPTER_HELP, "Chapters:", *(f"  {path.stem}" for path in book.chapters()), sep="\n")
            return 0
        notebook = book.find_chapter(args[0])
        known = book.parameters(notebook)
        values, output = _chapter_arguments(notebook.stem, known, args[1:])
        print(f"{notebook.stem} with {values or 'its defaults'} -> {output}", file=sys.stderr)
        path = book.run_chapter(notebook, values, output)
    except ModuleNotFoundError as error:
        print(f"diffgen chapter: {error}; install the extra: pip install 'diffgen[book]'", file=sys.stderr)
        return 2
    except book.ParameterError as error:
        print(f"diffgen chapter {args[0]}: {error}", file=sys.stderr)
        return 2
    except book.ChapterError as error:
        print(f"{' '.join(['diffgen chapter', *args[:1]])}: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


def _chapter_arguments(name: str, known: list[book.Parameter], args: list[str]) -> tuple[dict, str]:
    parser = _Parser(
        prog=f"diffgen chapter {name}",
        usage=f"diffgen chapter {name[:2]} [--parameter value …] [-o OUTPUT]",
        description=f"Execute chapters/{name}.ipynb with these parameters.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,  # -h below: a parameter's default is shown as the chapter writes it
    )
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    default = f"{name}.out.ipynb"
    parser.add_argument("-o", "--output", default=default, help=f"notebook to write (default: {default})")
    for parameter in known:
        flags = dict.fromkeys(["--" + parameter.name, "--" + parameter.name.replace("_", "-")])
        note = f"{parameter.help} (default: {parameter.default!r})".replace("%", "%%")
        parser.add_argument(*flags, dest=f"={parameter.name}", metavar=parameter.type, help=note)
    given, unknown = parser.parse_known_args(args)
    if unknown:
        if unknown[0].startswith("--"):
            book.validate(known, {unknown[0].lstrip("-").partition("=")[0]: " ".join(unknown[1:2])})
        raise book.ParameterError(f"unexpected {unknown[0]!r}; parameters are given as --name value")
    texts = [(parameter, getattr(given, f"={parameter.name}")) for parameter in known]
    return {parameter.name: parameter.parse(text) for parameter, text in texts if text is not None}, given.output


def train(args: list[str]) -> int:
    """Train a denoiser, or go on with a training that was interrupted."""
    return _run("train", commands.train, args)


def sample(args: list[str]) -> int:
    """Draw samples from a trained denoiser."""
    return _run("sample", commands.draw, args)


def evaluate(args: list[str]) -> int:
    """Measure the generalization gap of a trained denoiser."""
    return _run("evaluate", commands.evaluate, args)


def store(args: list[str]) -> int:
    """Publish runs: what was computed from them, without the weights."""
    return _run("store", commands.store, args)


def sweep(args: list[str]) -> int:
    """Train many runs, several at once, whatever happens to some of them."""
    end = args.index("--") if "--" in args else len(args)
    return _run("sweep", partial(commands.sweep, snakemake=tuple(args[end + 1 :])), args[:end])


def _run(name: str, command: Callable[..., int | None], args: list[str]) -> int:
    try:
        code = tyro.cli(command, prog=f"diffgen {name}", args=args)
    except (ValueError, OSError, ImportError) as error:  # of one line, that names parameter, value and remedy
        print(f"diffgen {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"diffgen {name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return code or 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train, "sample": sample, "evaluate": evaluate, "store": store,
    "sweep": sweep, "chapter": chapter,
}  # fmt: skip


def main(args: list[str] | None = None) -> int:
    """Entry point of the console script `diffgen`."""
    args = sys.argv[1:] if args is None else args
    if args and args[0] in COMMANDS:
        return COMMANDS[args[0]](args[1:])
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {run.__doc__.splitlines()[0]}" for name, run in COMMANDS.items()]
    usage = "\n".join(["usage: diffgen <command> …", "", *lines, "", "diffgen <command> --help says more."])
    if args and args[0] not in ("-h", "--help"):
        print(f"diffgen: no command {args[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    print(usage)
    return 0


if __name__ == "__main__":
    sys.exit(main())
