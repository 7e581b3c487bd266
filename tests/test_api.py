"""The API reference: every public name is documented and found, and a docstring reads as it was written."""

import html
import importlib
import inspect
import posixpath
import re

import api_reference
import pytest
from api_reference import names, rst
from conftest import ROOT
from docutils.core import publish_doctree
from sphinx.util.inventory import InventoryFile

import diffgen as dg
from diffgen import book

on_the_site = pytest.mark.xdist_group("smoke book")  # built once, in one process


def test_every_public_name_is_an_entry_and_has_a_docstring():
    for name, value in api_reference.exported():
        entry = names().find(name)
        assert entry, name
        assert entry.startswith("diffgen."), name
        assert inspect.getdoc(value), name
    assert {name for name, _ in api_reference.exported()} == {*dg.__all__}


def test_every_function_class_and_method_has_a_docstring():
    for module in map(importlib.import_module, names().modules):
        assert module.__doc__, module.__name__
        for name in api_reference.own_names(module.__name__):
            owner, value = module, module
            for part in name.split("."):
                owner, value = value, inspect.getattr_static(value, part)
            # the properties of a protocol are said in its docstring; of constants, own_names has the documented ones
            by_class = isinstance(value, property) and getattr(owner, "_is_protocol", False)
            constant = owner is module and getattr(value, "__qualname__", "") != name
            assert inspect.getdoc(value) or by_class or constant, f"{module.__name__}.{name}"


def test_every_module_is_on_a_page(pytestconfig):
    pages = pytestconfig.rootpath / "chapters" / "api"
    given = " ".join(re.search(r"api-modules::([^`]+)", page.read_text())[1] for page in pages.glob("*.md")).split()
    covered = [module for name in given for module in api_reference.public_modules(name)]
    assert len(covered) == len({*covered}), "a module is on two pages"
    assert {*covered} == {*names().modules} - {"diffgen"}


@pytest.mark.parametrize(
    ("name", "scope", "entry"),
    [
        ("Denoiser", "diffgen.sampling", "diffgen.denoiser.Denoiser"),
        ("diffgen.TrainConfig", "diffgen.cli.commands.train", "diffgen.training.config.TrainConfig"),
        ("minus", "diffgen.metrics.estimate.Estimate", "diffgen.metrics.estimate.Estimate.minus"),
        ("Estimate.minus", "diffgen.metrics.gap", "diffgen.metrics.estimate.Estimate.minus"),
        ("no_such_name", "diffgen.metrics.gap", None),
    ],
)
def test_names_are_found_from_where_they_are_read(name, scope, entry):
    assert names().find(name, scope) == entry


def test_a_docstring_reads_as_it_was_written():
    text = ["x_ * y* |z| and `code_`, a_b.", "", "- one", "- two", "", "    a  =  b", "", "Then `Denoiser`."]
    out = "\n".join(rst(text, lambda name: "there" if name == "Denoiser" else None))
    assert ":py:obj:`Denoiser <there>`" in out
    doctree = publish_doctree(out.replace(":py:obj:", ""), settings_overrides={"report_level": 1, "halt_level": 1})
    read = doctree.astext()
    assert "x_ * y* |z| and code_, a_b." in read
    assert "a  =  b" in read
    assert [item.astext() for item in doctree.findall(lambda node: node.tagname == "list_item")] == ["one", "two"]


def test_a_letter_or_number_before_a_stop_starts_no_list():
    out = [*rst(["x: D. It is called.", "y: D.", "", "1. The same."], lambda name: None)]
    assert out == ["x: \\ D. It is called.", "y: \\ D.", "", "\\ 1. The same."]


def test_formulas_keep_their_lines():
    assert [*rst(["a = b", "c = d_", "", "e = f"], lambda name: None)] == ["| a = b", "| c = d\\_", "", "e = f"]


@on_the_site
def test_every_public_name_is_in_the_inventory_of_the_site(site):
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    listed = {name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries}
    assert names().entries - listed == set()


@on_the_site
def test_pages_show_no_markup(site):
    for page in [site / "chapters" / "api.html", *sorted((site / "chapters" / "api").glob("*.html"))]:
        article = re.search(r"<article.*</article>", page.read_text(), re.DOTALL)[0]
        text = html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"<pre.*?</pre>", "", article, flags=re.DOTALL)))
        shown = re.findall(r".*(?:`|:py:|:param|:ivar|\\|System Message|Alias for field).*", text)
        assert shown == [], page.name
        assert "<ol" not in article, f"{page.name}: a docstring's letter and stop became a list"


@on_the_site
def test_names_in_the_code_of_chapters_lead_to_their_entries(site):
    for chapter in book.chapters(ROOT):
        page = site / "chapters" / f"{chapter.stem}.html"
        links = set(re.findall(r'class="sphinx-codeautolink-a" href="([^"#]+)#([^"]+)"', page.read_text()))
        assert len(links) > 10, chapter.stem
        targets = {target: (page.parent / target).resolve().read_text() for target, _ in links}
        assert [(target, anchor) for target, anchor in links if f'id="{anchor}"' not in targets[target]] == []
