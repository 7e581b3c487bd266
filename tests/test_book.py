"""The book's machinery: parameters, execution, staleness, ledgers, pairs and vendored files. The site: test_site.py."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import build_book
import pairs
import pytest
import torch
import vendor
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from diffgen import book
from diffgen.book import execute
from diffgen.book.claims import BIASED, FAILS, HOLDS, INCONCLUSIVE, POWERLESS, Ledger
from diffgen.cli import app as cli
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.runs.publication import FORMAT, publication_at

PARAMETERS = """\
from typing import Literal
preset: Literal["smoke", "quick"] = "quick"  # how much to compute
seed: int = 0  # of everything
widths: tuple[int, ...] = (8, 16)  # channels
fail: bool = False  # raise
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A book of two small chapters, the working directory in it."""
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/index\n")
    for name in ("01_one", "02_two"):
        source = (
            f'# %% tags=["parameters"]\n{PARAMETERS}\n# %%\nprint(preset, seed, widths)\n'
            '# %%\nif fail:\n    raise RuntimeError("as asked,\\nin two lines")\n'
        )
        (tmp_path / "chapters" / f"{name}.py").write_text(source)
        (tmp_path / "chapters" / f"{name}.ipynb").write_text(pairs.notebook(tmp_path / "chapters" / f"{name}.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_are_read_with_type_default_and_help(toy):
    known = book.parameters(toy / "chapters" / "01_one.ipynb")
    assert [(p.name, p.type, p.default, p.help) for p in known] == [
        ("preset", "Literal['smoke', 'quick']", "quick", "how much to compute"),
        ("seed", "int", 0, "of everything"),
        ("widths", "tuple[int, ...]", (8, 16), "channels"),
        ("fail", "bool", False, "raise"),
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sed": 1}, ["unknown parameter sed = 1", "did you mean seed?", "preset, seed, widths, fail"]),
        ({"seed": "1"}, ["parameter seed = '1'", "valid integer"]),
        ({"seed": 1.5}, ["parameter seed = 1.5", "int"]),
        ({"preset": "nope"}, ["parameter preset = 'nope'", "'smoke' or 'quick'"]),
        ({"widths": [1, "x"]}, ["parameter widths", "tuple[int, ...]"]),
        ({"fail": object()}, ["parameter fail"]),
    ],
)
def test_a_wrong_parameter_is_one_line_that_names_it(toy, values, words):
    with pytest.raises(book.ParameterError) as error:
        book.validate(book.parameters(toy / "chapters" / "01_one.ipynb"), values)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_lists_become_the_declared_tuples(toy):
    known = book.parameters(toy / "chapters" / "01_one.ipynb")
    assert book.validate(known, {"widths": [4, 8]}) == {"widths": (4, 8)}


@pytest.mark.parametrize("name", ["01", "1", "01_one"])
def test_chapter_names(toy, name):
    assert book.find_chapter(name).stem == "01_one"


def test_unknown_chapter_lists_the_known(toy):
    with pytest.raises(book.ChapterError, match="no chapter '7'; there are 01_one, 02_two"):
        book.find_chapter("7")


@pytest.mark.parametrize(
    ("injected", "words"),
    [
        ("typo = 1", "unknown parameter typo = 1; valid: preset, seed, widths, fail"),
        ('seed = "x"', "parameter seed = 'x'"),
        ('preset = "nope"', "it should be 'smoke' or 'quick'"),
    ],
)
def test_what_was_injected_is_compared_with_what_is_declared(monkeypatch, injected, words):
    sources, names = ["", PARAMETERS, "# Parameters\n" + injected], {}
    for source in sources:
        exec(source, names)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(user_ns=names | {"In": sources}))
    with pytest.raises(book.ParameterError) as error:
        book.check_parameters()
    assert words in str(error.value)


def test_plain_papermill_fails_clearly(tmp_path):
    import papermill

    (tmp_path / "toy.py").write_text(
        f'# %% tags=["parameters"]\n{PARAMETERS}\n# %%\nfrom diffgen import book\nbook.check_parameters()\n'
    )
    (tmp_path / "toy.ipynb").write_text(pairs.notebook(tmp_path / "toy.py"))
    with pytest.raises(
        papermill.PapermillExecutionError, match="ParameterError: unknown parameter typo = 1; valid: pre"
    ):
        papermill.execute_notebook(tmp_path / "toy.ipynb", tmp_path / "out.ipynb", {"typo": 1}, progress_bar=False)


# --- execution --------------------------------------------------------------------------------------------------------


def test_command_line(toy, capsys):
    assert cli.main(["chapter", "01", "--seed", "3", "--widths", "[1, 2]", "-o", "out/x.ipynb"]) == 0
    assert capsys.readouterr().out.endswith("x.ipynb\n")
    executed = json.loads(Path("out/x.ipynb").read_text())
    assert "quick 3 [1, 2]" in str(executed["cells"])
    assert executed["metadata"]["diffgen"]["parameters"] == {"seed": 3, "widths": [1, 2]}
    assert str(toy) not in json.dumps(executed["metadata"])


@pytest.mark.parametrize("args", [["--sed", "1"], ["--seed", "x"], ["--preset", "nope"], ["seed", "1"]])
def test_command_line_refuses_before_anything_runs(toy, capsys, args):
    assert cli.main(["chapter", "01", *args]) == 2
    message = capsys.readouterr().err
    assert message.startswith("diffgen chapter 01: ")
    assert message.count("\n") == 1
    assert not list(toy.glob("*.ipynb"))


def test_command_line_help_teaches(toy, capsys):
    assert cli.main(["chapter"]) == 0
    assert "01_one" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["chapter", "1", "--help"])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("--preset", "'smoke', 'quick'", "how much to compute", "(default: 0)"))


def test_a_failing_chapter_leaves_the_last_good_output_and_says_where_the_rest_is(toy):
    output = toy / "out.ipynb"
    book.run_chapter("01", {}, output, progress=False)
    good = output.read_bytes()
    with pytest.raises(book.ChapterError) as error:
        book.run_chapter("01", {"fail": True}, output, progress=False)
    assert "01_one failed in cell" in str(error.value)
    assert "RuntimeError: as asked, in two lines" in str(error.value)
    assert "\n" not in str(error.value)
    assert output.read_bytes() == good
    assert sorted(path.name for path in toy.glob("*out*")) == ["out.failed.ipynb", "out.ipynb"]
    assert not list(toy.glob(".out*")), "nothing half-finished"
    book.run_chapter("01", {}, output, progress=False)
    assert not (toy / "out.failed.ipynb").exists()


def test_one_failure_does_not_stop_the_others(toy, monkeypatch, capsys):
    monkeypatch.setattr(build_book, "ROOT", toy)
    source = toy / "chapters" / "01_one.py"
    source.write_text(source.read_text().replace("fail: bool = False", "fail: bool = True"))
    source.with_suffix(".ipynb").write_text(pairs.notebook(source))
    failures = build_book.execute(book.chapters(), "smoke", {}, toy / "out", progress=False)
    assert len(failures) == 1
    assert "01_one failed" in failures[0]
    assert (toy / "out" / "executed" / "smoke" / "02_two.ipynb").exists()
    capsys.readouterr()
    build_book.execute(book.chapters(), "smoke", {}, toy / "out", progress=False)
    assert "02_two: up to date" in capsys.readouterr().out


# --- staleness --------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(toy, monkeypatch):
    """The execution key of a toy chapter, over a copy of the library in which a test may change files."""
    shutil.copytree(ROOT / "diffgen", toy / "diffgen", ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    monkeypatch.setattr(execute, "PACKAGE", toy / "diffgen")
    return lambda **values: book.execution_key(toy / "chapters" / "01_one.ipynb", {"preset": "smoke"} | values)


@pytest.mark.parametrize("name", ["sampling.py", "widgets/toy.js", "diffgen.mplstyle", "nets/new.py"])
def test_a_changed_library_makes_stale_and_its_undoing_fresh(toy, key, name):
    before, path = key(), toy / "diffgen" / name
    text = path.read_text() if path.exists() else None
    path.write_text((text or "") + "\n")
    assert key() != before
    path.unlink() if text is None else path.write_text(text)
    assert key() == before


def test_published_draws_from_published_results_and_they_make_stale(toy, key):
    """The chapters that are tagged as published find their results; what is published anew makes them stale."""
    scales = {path.stem: build_book.scale(path, "published") for path in book.chapters(ROOT)}
    published = {stem for stem, values in scales.items() if values["preset"] == "standard"}
    assert published == {"02_generalization_gap", "03_trajectories", "04_scaling_factors", "05_guidance"}
    assert published == {path.stem for path in book.chapters(ROOT) if build_book.is_published(path)}
    assert all(publication_at(ROOT / scales[stem]["results"]) for stem in published)
    assert all(values == {"preset": "quick"} for stem, values in scales.items() if stem not in published)
    assert build_book.scale(book.chapters(ROOT)[0], "smoke") == {"preset": "smoke"}
    keys = [key(results="published")]
    manifest = toy / "published" / "manifest.json"
    manifest.parent.mkdir()
    for checksums in ({}, {"run.safetensors": "0"}, {"run.safetensors": "1"}):
        manifest.write_text(json.dumps({"format": FORMAT, "runs": {}, "sha256": checksums}))
        keys.append(key(results="published"))
    assert len(set(keys)) == 4


def test_what_else_makes_stale(toy, key, monkeypatch):
    before = key()
    assert key(seed=1) != before
    os.utime(toy / "diffgen" / "sampling.py", (1, 1))
    assert key() == before, "times of change do not count"
    monkeypatch.setattr(execute, "versions", lambda: {"torch": "0"})
    assert key() != before
    monkeypatch.undo()


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_a_count_has_its_n_and_an_interval_that_is_never_certain():
    assert book.counted(Estimate.proportion(torch.tensor([True] * 3 + [False] * 497))) == "3 of 500 [0.12%, 1.74%]"
    assert book.counted(Estimate.proportion(torch.zeros(1000))) == "0 of 1,000 [0.00%, 0.37%]"


NUMBERS = st.floats(-1e6, 1e6)


@given(numbers=st.tuples(NUMBERS, NUMBERS, NUMBERS), threshold=NUMBERS)
def test_a_verdict_is_where_the_interval_lies(numbers, threshold):
    low, estimate, high = sorted(numbers)
    claim = book.Claim("C1", "", "", estimate, low, high, above=threshold)
    expected = HOLDS if threshold < low else FAILS if threshold > high else INCONCLUSIVE
    assert claim.verdict == expected
    mirrored = book.Claim("C1", "", "", -estimate, -high, -low, below=-threshold)
    assert mirrored.verdict == expected
    opposite = book.Claim("C1", "", "", estimate, low, high, below=threshold)
    assert {claim.verdict, opposite.verdict} in ({HOLDS, FAILS}, {INCONCLUSIVE})


def beside(low, high, **more):
    return book.Beside("", Interval((low + high) / 2, low, high), **more)


@given(numbers=st.tuples(NUMBERS, NUMBERS), threshold=NUMBERS)
def test_a_control_and_a_null_are_judged_as_the_claim_is(numbers, threshold):
    low, high = sorted(numbers)
    own = book.Claim("C1", "", "", (low + high) / 2, low, high, above=threshold)
    other = book.Claim("C1", "", "", threshold + 1, threshold + 1, threshold + 1, above=threshold,
                       control=beside(low, high), null=beside(low, high))  # fmt: skip
    assert other.of_control == other.of_null == own.verdict
    assert other.verdict != HOLDS, "no number fails as a control and is undecided as a null"


@pytest.mark.parametrize(
    ("control", "null", "verdict"),
    [
        ((-2, -1), (-1, 1), HOLDS),
        ((-1, 1), (-1, 1), POWERLESS),  # a control that is not told from the threshold
        ((1, 2), (-1, 1), POWERLESS),  # a copier would pass as well
        ((-2, -1), (1, 2), BIASED),
        ((-2, -1), (-2, -1), BIASED),
    ],
)
def test_a_number_without_power_decides_nothing(control, null, verdict):
    claim = book.Claim("C1", "", "", 2, 1, 3, above=0, control=beside(*control), null=beside(*null))
    assert claim.verdict == verdict
    assert book.Claim("C1", "", "", -2, -3, -1, above=0, control=beside(-2, -1), null=beside(-1, 1)).verdict == FAILS


def test_without_its_premise_a_claim_is_undecided():
    there, absent = Interval(1, 0.5, 2), Interval(0.1, -0.1, 0.3)
    assert book.Claim("C5", "", "", 0, -0.1, 0.1, below=0.5, premise=there).verdict == HOLDS
    assert book.Claim("C5", "", "", 0, -0.1, 0.1, below=0.5, premise=absent).verdict == INCONCLUSIVE
    unknown = Interval(*3 * [float("nan")])
    assert book.Claim("C5", "", "", 0, -0.1, 0.1, below=0.5, premise=unknown).verdict == INCONCLUSIVE
    null = beside(-0.1, 0.1, premise=absent)
    assert book.Claim("C5", "", "", 0, -0.1, 0.1, below=0.5, premise=there, null=null).verdict == HOLDS


def test_what_was_not_measured_is_inconclusive():
    assert book.Claim("C1", "", "", float("nan"), 0, 1, above=-5).verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"above": 0, "below": 0}, "exactly one"),
        ({}, "exactly one"),
        ({"above": 0, "low": 2}, "outside of its interval"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        book.Claim(**{"id": "C1", "statement": "", "measured": "", "estimate": 1, "low": 0, "high": 2} | arguments)


def test_ledger_shows_formulas_escapes_the_rest_and_comes_back_from_its_json():
    control = book.Beside("64 images", Interval(-1, -2, -0.5), premise=Interval(1, 0.5, 2))
    ledger = Ledger([book.Claim("C1", "$G<1$ & <more>", "slope", 1, 0.5, 2, above=0, control=control, null=None)])
    html = ledger._repr_html_()
    assert r"\(G&lt;1\) &amp; &lt;more&gt;" in html
    assert '<span class="verdict holds">holds</span>' in html
    assert "64 images: -1 [-2, -0.5], fails" in html
    assert Ledger.loads(ledger.dumps()).claims == ledger.claims


# --- pairs and vendored files -----------------------------------------------------------------------------------------


def test_pairs_agree():
    assert pairs.problems() == []


def test_pairs_that_differ_are_found(toy):
    folder = toy / "chapters"
    assert pairs.problems(folder) == []
    with (folder / "01_one.py").open("a") as file:
        file.write("\n# %%\n1 + 1\n")
    (folder / "02_two.py").unlink()
    assert [line.split()[0] for line in pairs.problems(folder)] == ["01_one.ipynb", "02_two.ipynb"]


def test_unchanged_cells_keep_their_ids(toy):
    source = toy / "chapters" / "01_one.py"
    before = [cell["id"] for cell in json.loads(pairs.notebook(source))["cells"]]
    source.write_text("# %% [markdown]\n# # A title\n\n" + source.read_text())
    assert [cell["id"] for cell in json.loads(pairs.notebook(source))["cells"]][1:] == before


def test_a_tarball_with_another_hash_is_refused(tmp_path):
    tarball = tmp_path / "x.tgz"
    tarball.write_bytes(b"not what was pinned")
    with pytest.raises(SystemExit, match="not the pinned"):
        vendor.check(vendor.PACKAGES[0], tarball)


def test_vendored_files_are_complete_and_left_alone():
    vendor.vendor()
    stamp = (vendor.VENDOR / "complete").stat().st_mtime_ns
    vendor.vendor()
    assert (vendor.VENDOR / "complete").stat().st_mtime_ns == stamp
    for name in ("require.js", "widgets-setup.js", "anywidget.js", "html-manager/embed-amd.js"):
        assert (vendor.VENDOR / name).stat().st_size > 100
    assert len(list((vendor.VENDOR / "mathjax").rglob("*.woff"))) > 10
