"""The chapters, executed once a session with the preset smoke, and the site built from them."""

import ast
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))  # build_book, pairs and vendor are scripts, not part of the package


def tiny(**changes):
    """The config of a run on images that trains in well under a second."""
    import diffgen as dg

    data, network = dg.DataConfig(size=14, n_train=64, n_val=64), dg.UNetConfig(channels=4, multipliers=(1,))
    given = {"batch": 64, "n_snapshots": 1, "first_snapshot": 64, "warmup": 64} | changes
    return dg.TrainConfig(data=data, network=network, **given)


class SmokeBook:
    """Executes each chapter at most once, from nothing: it trains into a folder of this session."""

    def __init__(self, out: Path):
        self.out = out
        self.parameters = {"preset": "smoke", "results": str(out / "runs")}

    @functools.cache  # noqa: B019, one object a session
    def chapter(self, path: Path) -> Path:
        """The executed notebook of a chapter."""
        from diffgen import book

        output = self.out / "executed" / "smoke" / path.name
        return book.run_chapter(path, self.parameters, output, ROOT, progress=False)

    def claims(self) -> list:
        """The claims of all chapters, from the ledgers that the executed notebooks carry."""
        from diffgen.book.claims import Ledger

        claims = []
        for path in sorted((self.out / "executed" / "smoke").glob("*.ipynb")):
            cells = json.loads(path.read_text())["cells"]
            for output in (output for cell in cells for output in cell.get("outputs", [])):
                if output.get("metadata", {}).get("scrapbook", {}).get("name") == "ledger":
                    text = "".join(output["data"]["application/papermill.record/text/plain"])
                    claims += Ledger.loads(ast.literal_eval(text)).claims
        return claims

    def build(self) -> subprocess.CompletedProcess:
        """What `make book` runs, on the chapters executed here."""
        command = [sys.executable, "tools/build_book.py", "--preset", "smoke", "--out", self.out]
        command += ["-p", "results", self.parameters["results"]]
        return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="session")
def smoke_book(tmp_path_factory):
    """The book at the preset smoke."""
    return SmokeBook(tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="session")
def site(smoke_book):
    """The folder of the built site; a warning while it was built is a failure."""
    from diffgen import book

    for path in book.chapters(ROOT):
        smoke_book.chapter(path)
    done = smoke_book.build()
    assert done.returncode == 0, done.stdout[-5000:]
    return smoke_book.out / "html"


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium. Without it the tests that need it fail: what a reader sees is not optional."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no chromium on PATH; install it (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()
