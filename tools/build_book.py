"""Re-execute the chapters that are stale and build the site: `python tools/build_book.py --preset quick`.

The preset `published` draws the chapters whose parameters are tagged `published` from the published results of the
preset standard in results/, where they took hours, and computes the others with the preset quick.

1. The pairs must agree (tools/pairs.py), the JavaScript is vendored (tools/vendor.py).
2. Each chapter is executed into OUT/executed/PRESET/NN_name.ipynb, unless the one there carries the same
   `execution_key`: a hash of its source, its parameters, diffgen's files and the versions installed.
3. OUT/stage gets the pages, the configuration and the executed notebooks; Jupyter Book builds it from nothing, warnings
   are errors. Skipped if what it would be built from is what OUT/html was built from.

A chapter that fails leaves its last good notebook, the others still run, the site stays as it was, the exit code is 1.
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import sys
import time
from pathlib import Path

import pairs
import vendor
from jupyter_book.sphinx import build_sphinx

from diffgen import book

ROOT = Path(__file__).resolve().parent.parent
STAGED = [
    "_config.yml",
    "_toc.yml",
    "references.bib",
    "_static",
    "_root",
    "tools/book_directives.py",
    "tools/api_reference.py",
]


def execute(chapters: list[Path], preset: str, values: dict[str, str], out: Path, progress: bool = True) -> list[str]:
    """Execute the stale ones of the chapters in order. Returns what went wrong, a line each."""
    failures = []
    for chapter in chapters:
        output = out / "executed" / preset / chapter.name
        try:
            given = arguments(chapter, scale(chapter, preset) | values)
            if stamped(output) == book.execution_key(chapter, given):
                print(f"{chapter.stem}: up to date", flush=True)
                continue
            print(f"{chapter.stem}: executing with {given}", flush=True)
            start = time.monotonic()
            book.run_chapter(chapter, given, output, ROOT, progress)
            print(f"{chapter.stem}: {time.monotonic() - start:.0f} s", flush=True)
        except (book.ChapterError, book.ParameterError) as error:
            failures.append(str(error))
            print(f"{chapter.stem}: FAILED: {error}", flush=True)
    return failures


def scale(chapter: Path, preset: str) -> dict[str, str]:
    """The parameters that say how much a chapter computes."""
    if preset != "published":
        return {"preset": preset}
    return {"preset": "standard", "results": "results/standard"} if is_published(chapter) else {"preset": "quick"}


def is_published(chapter: Path) -> bool:
    """Whether a chapter can be drawn from published results: its parameters' cell has the tag `published`."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    return any({"parameters", "published"} <= set(cell["metadata"].get("tags", [])) for cell in cells)


def arguments(chapter: Path, texts: dict[str, str]) -> dict:
    """The parameters that the texts of a command line mean for a chapter."""
    known = {parameter.name: parameter for parameter in book.parameters(chapter)}
    book.validate(known.values(), {name: text for name, text in texts.items() if name not in known})  # no such name
    return {name: known[name].parse(text) for name, text in texts.items()}


def stamped(notebook: Path) -> str | None:
    """The execution key that an executed notebook carries."""
    if not notebook.exists():
        return None
    return json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("diffgen", {}).get("key")


def stage(chapters: list[Path], preset: str, out: Path) -> Path:
    """A folder with all that Jupyter Book needs, the executed chapters in place of the bare ones."""
    folder = out / "stage"
    shutil.rmtree(folder, ignore_errors=True)
    for page in [*STAGED, *(path.relative_to(ROOT) for path in sorted(ROOT.glob("chapters/**/*.md")))]:
        copy = shutil.copytree if (ROOT / page).is_dir() else shutil.copy
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / page, folder / page)
    (folder / "_extra").symlink_to(ROOT / "_extra")
    tables(ROOT / "results" / "standard", folder / "_root" / "results")
    for chapter in chapters:
        shutil.copy(out / "executed" / preset / chapter.name, folder / "chapters")
    return folder


def tables(published: Path, target: Path) -> None:
    """What the tables of runs link to: the gap curves of each published run, and those of all with the manifest."""
    target.mkdir(parents=True)
    for name in ("manifest.json", "gaps.csv"):
        shutil.copy(published / name, target)
    header, *lines = (published / "gaps.csv").read_text().splitlines()
    for run, rows in itertools.groupby(lines, key=lambda line: line.partition(",")[0]):
        (target / f"{run}.csv").write_text("\n".join([header, *rows, ""]))


def content_key(folder: Path) -> str:
    """A hash of a folder's files and of what else makes the site: versions, vendored JavaScript, tables, this file."""
    digest = hashlib.sha256(repr(book.versions()).encode() + vendor.key().encode())
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]  # not through the link to _extra
    for path in [
        *files,
        *sorted((ROOT / "diffgen").rglob("*.py")),
        ROOT / "diffgen" / "__init__.pyi",
        Path(__file__).resolve(),
    ]:
        digest.update(f"{os.path.relpath(path, folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build(chapters: list[Path], preset: str, out: Path) -> bool:
    """Build OUT/html from the executed chapters, from nothing, without a warning. Returns whether it is there."""
    folder, html = stage(chapters, preset, out), out / "html"
    key = content_key(folder)
    stamp = out / "html.key"
    if html.exists() and stamp.exists() and stamp.read_text() == key:
        print("site: up to date", flush=True)
        return True
    print("site: building", flush=True)
    shutil.rmtree(out / "new", ignore_errors=True)  # from nothing: an incremental run hides old warnings
    status = build_sphinx(
        folder,
        out / "new" / "html",
        noconfig=True,
        path_config=folder / "_config.yml",
        confoverrides={"nitpicky": True, "nb_execution_mode": "off", "latex_individualpages": False},
        doctreedir=out / "new" / "doctrees",
        warningiserror=True,
        keep_going=True,
    )
    if status:
        return False
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    os.replace(out / "new" / "html", html)
    shutil.rmtree(out / "new")
    stamp.write_text(key)
    return True


def main(args: list[str] | None = None) -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--preset",
        default="quick",
        help="smoke, quick (the default), standard, paper, or published: standard from published results",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "_build", help="where everything goes (default: _build)")
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter of all"
    )
    given = parser.parse_args(args)
    out = given.out.resolve()
    if wrong := pairs.problems():
        print(*wrong, sep="\n")
        return 1
    vendor.vendor()
    chapters = book.chapters(ROOT)
    failures = execute(chapters, given.preset, dict(given.p), out)
    if failures:
        print("", *failures, "the site was not built; the last good notebooks are kept", sep="\n")
        return 1
    if not build(chapters, given.preset, out):
        print("the site was not built: Jupyter Book warned or failed, see above")
        return 1
    print(f"\nThe book: {out / 'html' / 'index.html'}")
    print(f"To read it: python3 -m http.server -d {os.path.relpath(out / 'html')} 8000, then http://localhost:8000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
