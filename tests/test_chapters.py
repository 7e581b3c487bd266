"""Each chapter runs from its first cell to its last with the preset smoke; those of the paper end with their ledger."""

import json

import pytest
from conftest import ROOT

from diffgen import book


@pytest.mark.chapter
@pytest.mark.xdist_group("smoke book")  # executed once, for the site as well
@pytest.mark.parametrize("chapter", book.chapters(ROOT), ids=lambda path: path.stem)
def test_chapter_runs(smoke_book, chapter):
    notebook = json.loads(smoke_book.chapter(chapter).read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    if chapter.stem == "06_your_model":  # no claim of the paper's: it asks of the reader's model
        return
    glued = [output["metadata"].get("scrapbook", {}) for output in cells[-1]["outputs"] if "metadata" in output]
    assert "ledger" in [item.get("name") for item in glued], "the last cell is book.ledger(…)"


@pytest.mark.parametrize("chapter", book.chapters(ROOT), ids=lambda path: path.stem)
def test_chapter_declares_the_common_parameters(chapter):
    known = {parameter.name: parameter for parameter in book.parameters(chapter)}
    assert {"preset", "seed", "device", "results"} <= set(known)
    assert known["preset"].default == "quick"
    assert all(parameter.help for parameter in known.values()), "each parameter has a comment that explains it"
    for parameter in known.values():
        assert parameter.check(parameter.default) == parameter.default
