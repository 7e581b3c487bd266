"""Make each chapter's .ipynb from its .py, or check that they agree: `python tools/pairs.py [--check]`.

The .py (percent format) is the source. The notebook is a function of it, cell ids included, carries no outputs, and is
what papermill, Jupyter and Binder open. A notebook edited in Jupyter goes back with
`jupytext --to py:percent --update chapters/NN_name.ipynb`; then run this again.
"""

import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(source: Path) -> str:
    """The text of the .ipynb that belongs to a .py."""
    parsed, cells, seen = jupytext.read(source), [], {}
    for cell in parsed.cells:
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        content = f"{cell.cell_type}\n{cell.source}"
        seen[content] = seen.get(content, 0) + 1  # ids follow from the content: an unchanged cell keeps its id
        name = hashlib.sha256(f"{seen[content]}\n{content}".encode()).hexdigest()[:8]
        tags = cell.metadata.get("tags", [])
        cells.append(new(cell.source, id=name, metadata={"tags": tags} if tags else {}))
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=METADATA)) + "\n"


def problems(folder: Path = CHAPTERS) -> list[str]:
    """What is wrong with the pairs in a folder, a line each."""
    wrong = []
    for source in sorted(folder.glob("[0-9][0-9]_*.py")):
        pair = source.with_suffix(".ipynb")
        if not pair.exists() or pair.read_text(encoding="utf-8") != notebook(source):
            wrong.append(f"{pair.name} is not what {source.name} makes; run `python tools/pairs.py`")
        elif '"parameters"' not in pair.read_text(encoding="utf-8"):
            wrong.append(f"{source.name} has no cell tagged parameters; tag the cell that declares them")
    for pair in folder.glob("[0-9][0-9]_*.ipynb"):
        if not pair.with_suffix(".py").exists():
            wrong.append(f"{pair.name} has no .py; make it with `jupytext --to py:percent`")
    return wrong


def main(args: list[str]) -> int:
    """Make the notebooks, or with --check say what differs."""
    if "--check" in args:
        print(*(wrong := problems()), sep="\n" if wrong else "")
        return 1 if wrong else 0
    for source in sorted(CHAPTERS.glob("[0-9][0-9]_*.py")):
        text, pair = notebook(source), source.with_suffix(".ipynb")
        if not pair.exists() or pair.read_text(encoding="utf-8") != text:
            pair.write_text(text, encoding="utf-8")
            print(f"made {pair.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
