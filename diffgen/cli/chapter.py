"""`diffgen chapter`: a chapter's own parameters as options."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from diffgen import book

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
    def error(self, message: str) -> NoReturn:
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


def _chapter_arguments(name: str, known: list[book.Parameter], args: list[str]) -> tuple[dict[str, Any], str]:
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
