"""Typed parameters of a chapter: read from its cell tagged `parameters`, checked by pydantic, one-line errors."""

import ast
import contextlib
import difflib
import io
import json
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError


class ParameterError(ValueError):
    """A chapter was given a parameter that it does not have, or a value that is not of the parameter's type."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a chapter: its name, its evaluated annotation, its default, the comment that explains it."""

    name: str
    annotation: Any
    default: Any
    help: str = ""

    @property
    def type(self) -> str:
        """The annotation as one would write it."""
        if getattr(self.annotation, "__module__", "") == "builtins" and not hasattr(self.annotation, "__args__"):
            return self.annotation.__name__
        return str(self.annotation).replace("typing.", "")

    def check(self, value: Any) -> Any:
        """The value as the annotation has it (a list becomes the declared tuple). Raises ParameterError, one line."""
        try:  # by way of JSON: papermill passes JSON, where tuples are lists; strict: "1" is no int
            return TypeAdapter(self.annotation).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].replace("Input", "it", 1)
        except TypeError as error:
            reason = str(error)
        raise ParameterError(f"parameter {self.name} = {value!r}: {reason} ({self.name}: {self.type})")

    def parse(self, text: str) -> Any:
        """The value that a command line means by `text`: read as the annotation wants it, else as a Python literal."""
        values = [text]
        with contextlib.suppress(SyntaxError, ValueError):
            values.append(ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text)))
        for value in values:
            try:
                return self.check(value)
            except ParameterError:
                continue
        return self.check(values[-1])


def parameters(notebook: str | Path) -> list[Parameter]:
    """The parameters that a notebook (.ipynb) declares in its cell tagged `parameters`; the cell is evaluated."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if "parameters" in cell["metadata"].get("tags", []):
            source = "".join(cell["source"])
            namespace: dict[str, Any] = {}
            exec(source, namespace)  # its own imports included
            return declared(source, namespace)
    raise ParameterError(f"{notebook}: no cell has the tag parameters; tag the cell that declares them")


def declared(source: str, namespace: Mapping[str, Any]) -> list[Parameter]:
    """The parameters that a cell's source declares (`name: type = default  # help`); `namespace` knows its types."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    return [
        Parameter(
            node.target.id,
            eval(ast.unparse(node.annotation), dict(namespace)),
            eval(ast.unparse(node.value), dict(namespace)),
            comments.get(node.end_lineno or 0, ""),
        )
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    ]


def validate(known: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, checked against what is declared.

    Raises:
        ParameterError: of one line, for an unknown name (it lists the valid ones) or a value of another type.
    """
    by_name = {parameter.name: parameter for parameter in known}
    for name in values:
        if name not in by_name:
            close = difflib.get_close_matches(name, by_name, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise ParameterError(f"unknown parameter {name} = {values[name]!r}{hint}; valid: {', '.join(by_name)}")
    return {name: by_name[name].check(value) for name, value in values.items()}
