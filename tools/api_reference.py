"""A Sphinx extension of the book: the API reference, made from diffgen's docstrings as they are.

`api-modules` documents modules, of a package all public ones, a section each. `api-names` lists what `import diffgen`
offers. The docstrings are plain text in Google's sections, which Sphinx's napoleon reads. Before that `rst` makes names
in backticks links where there is something to link to, and code where there is not.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from itertools import groupby
from typing import TypeVar

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import inspect as sphinx_inspect
from sphinx.util.docutils import SphinxDirective

PACKAGE = "diffgen"
MARKUP = re.compile(r"`([^`]+)`|(?<![\w*(])\*(\w[^*();]*\w)\*(?![\w*])|(\"[\w./-]+\")")  # code, emphasis, a string
NUMBER = re.compile(r"^((?:\w+(?:, \w+)*: )?)(?=[\w#]+[.)](?: |$)|\(\w+\) |[+*•] |\.\. |:[^p])")  # "D." is no list's
FORMULA = re.compile(r"[^.:;]{1,12} = ")
SECTIONS = Config(  # the text of returns may have colons, attributes may share a line
    napoleon_custom_sections=["Returns", "Yields", ("Attributes", "params_style")]
)
LONGEST_VALUE = 60
Link = Callable[[str], str | None]


# --- what there is ----------------------------------------------------------------------------------------------------


def public_modules(name: str) -> list[str]:
    """A module's name, and those of the public modules in it if it is a package."""
    path = getattr(importlib.import_module(name), "__path__", ())
    inside = [info.name for info in pkgutil.iter_modules(path) if not info.name.startswith("_")]
    return [name, *(deeper for part in inside for deeper in public_modules(f"{name}.{part}"))]


def own_names(module: str) -> Iterator[str]:
    """What the reference documents of a module: its functions, classes and their methods, its documented constants."""
    for name, value in vars(importlib.import_module(module)).items():
        at_home = getattr(value, "__module__", "") == module and getattr(value, "__qualname__", "") == name
        if at_home and not name.startswith("_"):
            yield name
            methods = vars(value) if inspect.isclass(value) else {}
            yield from (f"{name}.{method}" for method, it in methods.items() if _is_method(method, it))
    yield from (name for (scope, name) in ModuleAnalyzer.for_module(module).find_attr_docs() if not scope)


def _is_method(name: str, value: object) -> bool:
    kinds = (classmethod, staticmethod, property, cached_property)
    return not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, kinds))


class Names:
    """Everything that is documented, by its full name, and the other names that it goes by."""

    def __init__(self) -> None:
        self.modules = public_modules(PACKAGE)
        self.entries = {f"{module}.{name}" for module in self.modules for name in own_names(module)} | {*self.modules}
        self.aliases = {}
        for module in self.modules:
            names = vars(importlib.import_module(module))
            self.aliases |= {f"{module}.{name}": self.home(value) for name, value in names.items()}
        self.aliases |= {f"{PACKAGE}.{name}": self.home(value) for name, value in exported()}
        self.aliases = {
            alias: name for alias, name in self.aliases.items() if name in self.entries and alias not in self.entries
        }

    def home(self, value: object) -> str:
        """The full name that a function, class or module has where it is defined."""
        if inspect.ismodule(value):
            return value.__name__
        named = value if hasattr(value, "__qualname__") else type(value)  # an object stands for its class
        return f"{getattr(named, '__module__', '')}.{named.__qualname__}"

    def find(self, name: str, scope: str = PACKAGE) -> str | None:
        """The entry that a name means to whoever reads it in the docstring of `scope`."""
        parts = scope.split(".")
        around = [".".join(parts[:n]) for n in range(len(parts), 1, -1)]
        around = around[: 1 + next((k for k, place in enumerate(around) if place in self.modules), 0)]
        for full in (*(f"{place}.{name}" for place in around), f"{PACKAGE}.{name}", name):
            if (full := self.aliases.get(full, full)) in self.entries:
                return full
        if "." in name:
            head, _, tail = name.rpartition(".")
            owner = self.find(head, scope)
            return f"{owner}.{tail}" if f"{owner}.{tail}" in self.entries else owner
        same = self.entries.intersection(f"{module}.{name}" for module in self.modules).difference(self.modules)
        return same.pop() if len(same) == 1 else None


@cache
def names() -> Names:
    """All names; importing every module once."""
    return Names()


def exported() -> Iterator[tuple[str, object]]:
    """What `import diffgen` offers."""
    package = importlib.import_module(PACKAGE)
    yield from ((name, getattr(package, name)) for name in package.__all__)


# --- from a docstring to reStructuredText -----------------------------------------------------------------------------


def rst(lines: Iterable[str], link: Link) -> Iterator[str]:
    """The lines of a docstring with names and signs marked up, and indented paragraphs literal as they stand."""
    literal, outside = False, ""
    for filled, paragraph in groupby(lines, bool):
        paragraph = [*paragraph]
        formulas = len(paragraph) > 1 and all(map(FORMULA.match, paragraph))  # each on a line of its own
        if filled and paragraph[0].startswith(" ") and not outside:
            literal = True
            yield from (".. code-block:: text", "")
        for line in paragraph:
            text = line.lstrip()
            indent = line[: len(line) - len(text)]
            if text:
                literal, outside = literal and bool(indent), indent
            yield line if literal else indent + "| " * formulas + inline(text, link)


def inline(text: str, link: Link) -> str:
    """Plain text with names in backticks, as reStructuredText that looks the same."""
    out, end = "", 0
    for match in MARKUP.finditer(text):
        name, emphasized, string = match.groups()
        entry = link(name) if name else None
        out += escaped(text[end : match.start()])
        out += "\\ " if out and not out[-1].isspace() else ""
        if emphasized:
            out += f"*{escaped(emphasized)}*"
        else:
            out += f":py:obj:`{name} <{entry}>`" if entry else f"``{name or string}``"
        end = match.end()
        out += "\\ " if text[end : end + 1].strip() else ""
    return NUMBER.sub(r"\1\\ ", out + escaped(text[end:]))


def escaped(text: str) -> str:
    """Text without a meaning to reStructuredText."""
    return re.sub(r"([\\*|]|_(?!\w))", r"\\\1", text)


# --- Sphinx -----------------------------------------------------------------------------------------------------------


def linker(scope: str, given: Iterable[str] = ()) -> Link:
    """What links the names in a docstring; those of parameters stay as they are."""
    given = {*given, *parameters(_owner(scope))}

    def link(code: str) -> str | None:
        called = re.fullmatch(r"(\w[\w.]*?)(\([^<>]*\))?", code)
        if not called or called[1].split(".")[0] in given:
            return None
        entry = names().find(called[1], scope)
        return entry if entry != scope else None

    return link


def _owner(scope: str) -> object:
    """The class whose method this is, or None."""
    above = scope.rpartition(".")[0]
    module, _, name = above.rpartition(".")
    return getattr(sys.modules.get(module), name, None) if above not in names().modules else None


def parameters(value: object) -> list[str]:
    """The names of a function's parameters, or of a class's parameters and attributes."""
    try:
        known = [*inspect.signature(value).parameters] if callable(value) else []
    except ValueError:
        known = []
    if inspect.isclass(value):
        known += [*inspect.get_annotations(value), *getattr(value, "_traits", ())]
    return known


def _docstring(app, what, name, value, options, lines):
    known = parameters(value)
    lines[:] = rst(lines, linker(name, known))
    if what not in ("data", "attribute"):  # one paragraph, where napoleon would take all before a colon for a type
        lines[:] = GoogleDocstring(lines, SECTIONS, app, what, name, value, options).lines()


def _signature(app, what, name, value, options, signature, returns):
    if what != "class":
        return None
    own = vars(value)
    if getattr(value, "_is_protocol", False):  # of a protocol of one call, that call
        if "__call__" not in own:
            return "", None
        call = own["__call__"]
    elif "__init__" in own and "__new__" not in own and inspect.isfunction(value.__new__):  # a widget
        call = own["__init__"]
    else:
        return (signature or "").replace("<factory>", "..."), returns
    whole = sphinx_inspect.signature(call, bound_method=True)
    arguments, _, result = sphinx_inspect.stringify_signature(whole, unqualified_typehints=True).rpartition(" -> ")
    return (arguments, result) if arguments else (result, None)


def _skip(app, what, name, value, skip, options):
    if type(value).__name__ == "_tuplegetter":  # "Alias for field number 0"
        return True
    return False if isinstance(value, property) and not name.startswith("_") else None


def _type_variable(app, env, node, contnode):
    """Type variables in signatures have no entries."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    return contnode if isinstance(getattr(sys.modules.get(module), name, None), TypeVar) else None


def _values(app, domain, kind, node):
    """Long values of constants are for the source."""
    for value in node.parent.findall(addnodes.desc_annotation):
        if kind == "data" and value.astext().startswith(" = ") and len(value.astext()) > LONGEST_VALUE:
            value.parent.remove(value)


class Modules(SphinxDirective):
    """Document modules, and the public ones in them, a section each."""

    required_arguments, final_argument_whitespace = 1, True

    def run(self) -> list[nodes.Node]:
        """Write what autodoc reads."""
        lines = []
        for name in (module for given in self.arguments[0].split() for module in public_modules(given)):
            lines += [
                name,
                "-" * len(name),
                "",
                f".. automodule:: {name}",
                "   :members:",
                "   :ignore-module-all:",
                "",
            ]
            if offered := getattr(importlib.import_module(name), "__all__", ()):
                links = ", ".join(inline(f"`{one}`", linker(name)) for one in offered)
                lines += [f"``{name}`` offers {links}.", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Package(SphinxDirective):
    """What the package says of itself."""

    def run(self) -> list[nodes.Node]:
        """Write what autodoc reads."""
        return self.parse_text_to_nodes(f".. automodule:: {PACKAGE}")


class Exported(SphinxDirective):
    """What `import diffgen` offers, with the first sentence of each docstring."""

    def run(self) -> list[nodes.Node]:
        """Write a table."""
        lines = [".. list-table::", "   :class: api-names", "   :widths: auto", ""]
        for name, value in sorted(exported()):
            entry = names().find(name)
            summary = re.split(r"(?<=[.?]) (?=[A-Z])", " ".join(inspect.getdoc(value).split("\n\n")[0].split()))[0]
            link = linker(entry, parameters(value))
            lines += [f"   * - :py:obj:`{name} <{entry}>`", f"     - {inline(summary, link)}"]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("api-modules", Modules)
    app.add_directive("api-package", Package)
    app.add_directive("api-names", Exported)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("object-description-transform", _values)
    app.connect("missing-reference", _type_variable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
