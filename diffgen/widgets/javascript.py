"""The widgets' JavaScript and styles, which travel with the package."""

from __future__ import annotations

from importlib.resources import files


def source(*names: str) -> str:
    """Several JavaScript files as one module: a widget travels inside of the page and has nothing to import from."""
    return "\n".join((files("diffgen.widgets") / name).read_text(encoding="utf-8") for name in names)
