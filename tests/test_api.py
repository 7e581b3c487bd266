"""The API reference: every public name is documented and found, and a docstring reads as it was written."""

import inspect
import re

import api_reference
import pytest
from api_reference import names, rst
from docutils.core import publish_doctree

import diffgen as dg


def test_every_public_name_is_an_entry_and_has_a_docstring():
    for name, value in api_reference.exported():
        entry = names().find(name)
        assert entry, name
        assert entry.startswith("diffgen."), name
        assert inspect.getdoc(value), name
    assert {name for name, _ in api_reference.exported()} == {*dg.__all__}


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
