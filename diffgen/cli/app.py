"""The command line: `diffgen <command>`. What a command needs is imported when it runs, so that help comes at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

COMMANDS = {
    "train": "Train a denoiser, or go on with a training that was interrupted.",
    "sample": "Draw samples from a trained denoiser.",
    "evaluate": "Measure the generalization gap of a trained denoiser.",
    "audit": "Ask a model five questions about its training images.",
    "sweep": "Train many runs, several at once, whatever happens to some of them.",
    "publish": "Publish runs: what was computed from them, without the weights.",
    "chapter": "Execute a chapter of the book with parameters of your choice.",
}


def main(args: list[str] | None = None) -> int:
    """Entry point of the console script `diffgen`."""
    args = sys.argv[1:] if args is None else args
    if args and args[0] in COMMANDS:
        return _run(args[0], args[1:])
    if args and args[0] not in ("-h", "--help"):
        print(f"diffgen: no command {args[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    print("\n".join(["usage: diffgen <command> …", "", *lines, "", "diffgen <command> --help says more."]))
    return 0


def _run(name: str, args: list[str]) -> int:
    if name == "chapter":
        from diffgen.cli.chapter import chapter

        return chapter(args)
    import tyro

    function: Callable[..., int | None] = _command(name)
    if name == "sweep":
        end = args.index("--") if "--" in args else len(args)
        function, args = partial(function, snakemake=tuple(args[end + 1 :])), args[:end]
    try:
        code = tyro.cli(function, prog=f"diffgen {name}", args=args)
    except (ValueError, OSError, ImportError) as error:  # of one line, that names parameter, value and remedy
        print(f"diffgen {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"diffgen {name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return code or 0


def _command(name: str) -> Callable[..., int | None]:
    if name == "audit":
        from diffgen.cli.audit import audit

        return audit
    from diffgen.cli import commands

    return getattr(commands, name)


if __name__ == "__main__":
    sys.exit(main())
