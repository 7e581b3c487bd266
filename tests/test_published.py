"""The published results of the preset standard: whole, complete, and what the present code computes as well."""

import ast
import json

import build_book
import pytest
import torch
from conftest import ROOT

import diffgen as dg
from diffgen import book, experiments
from diffgen.book.claims import FAILS, INCONCLUSIVE, Ledger
from diffgen.experiments.publishing import plain_gap_curves
from diffgen.files import sha256_of
from diffgen.runs import find_run, publication_at, published_runs
from diffgen.runs.key import run_name

PUBLISHED = ROOT / "results" / "standard"
PRESET = dg.presets.standard()
PLAN = PRESET.gap
SMALL = PLAN.networks["small U-Net"]
CHAPTERS = [path.stem for path in book.chapters(ROOT) if build_book.is_published(path)]


def published_curves(config):
    """The gap curves of all snapshots, from the file that holds them, and their noise levels."""
    measure = dg.Measure(n_images=PLAN.n_eval, progress=False)
    snapshots, sigmas = find_run(config, PUBLISHED).snapshots, PLAN.levels.sigmas
    return experiments.gap_curves(snapshots, SMALL.data.load(), sigmas, measure), sigmas


def test_every_file_is_what_was_published():
    publication_at(PUBLISHED).check()


@pytest.mark.parametrize("run", published_runs(PUBLISHED), ids=lambda run: run.name)
def test_every_run_says_how_it_came_about(run):
    assert run.name == run_name(run.config, run.publication.runs[run.name]["versions"]), (
        "the name is that of its config"
    )
    assert run.metadata["seconds"] > 0
    assert {"python", "torch", "numpy"} <= set(run.metadata["versions"])
    assert run.metadata["machine"]["architecture"]
    assert len(run.log)
    assert run.finished
    assert all(said["versions"]["torch"] for said in run.cache.results.values())


def test_the_table_is_that_of_the_results():
    """A line of it, computed anew; and every run that has gap curves is in it."""
    header, *lines = (PUBLISHED / "gaps.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    assert {row["run"] for row in rows} == {run.name for run in published_runs(PUBLISHED) if plain_gap_curves(run)}
    curves, sigmas = published_curves(SMALL)
    own = [row for row in rows if row["run"] == find_run(SMALL, PUBLISHED).name]
    assert len(own) == len(curves) * len(sigmas)
    last = own[-len(sigmas) :]
    assert [float(row["gap"]) for row in last] == pytest.approx(curves[-1].gap.tolist(), rel=1e-5)
    assert {row["images_seen"] for row in last} == {str(SMALL.snapshot_images[-1])}


@pytest.mark.parametrize("name", [*PLAN.networks, "reference"])
def test_what_chapter_2_needs_is_there(name):
    config = PRESET.reference if name == "reference" else PLAN.networks[name]
    curves, sigmas = published_curves(config)
    assert [s.images_seen for s in find_run(config, PUBLISHED).snapshots] == config.snapshot_images
    assert all(curve.train_errors.shape == (len(sigmas), PLAN.n_eval) for curve in curves)


def test_the_published_weights_still_give_the_published_errors():
    """A slice: some noise levels, the first images of both splits. Only other kernels' rounding is allowed for."""
    (*_, last), split = find_run(SMALL, PUBLISHED).snapshots, SMALL.data.load()
    *_, curve = published_curves(SMALL)[0]
    for i in range(0, PLAN.levels.n, 4):
        again = dg.generalization_gap(last.denoiser(), split.train[:64], split.val[:64], curve.sigmas[[i]])
        torch.testing.assert_close(again.train_errors, curve.train_errors[[i], :64], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(again.val_errors, curve.val_errors[[i], :64], rtol=1e-3, atol=1e-6)


def test_training_anew_gives_the_published_curve_within_its_error(tmp_path):
    """To the first snapshot, on whatever processor this is: bfloat16 or not, rounding sends the weights elsewhere."""
    split, n = SMALL.data.load(), 256
    training = dg.train(SMALL, root=tmp_path, progress=False)
    first = next(training)
    training.close()
    published, sigmas = published_curves(SMALL)
    at = torch.arange(2, len(sigmas), 5)
    now = dg.generalization_gap(first.denoiser(), split.train[:n], split.val[:n], sigmas[at])
    before = dg.GapCurve(sigmas[at], published[0].train_errors[at, :n], published[0].val_errors[at, :n])
    # the same images and noise: the gap agrees much better than to the error of either, the errors to a few percent
    assert ((now.gap - before.gap).abs() < now.stderr).all()
    torch.testing.assert_close(now.val, before.val, rtol=0.15, atol=0)
    last = published[-1].val[at]
    assert ((now.val - before.val).abs() < 0.5 * (before.val - last).abs() + 0.05 * last).all(), (
        "not the first snapshot"
    )


CLAIMS = {
    "02_generalization_gap": {"C1", "C2", "C3", "C3 (few images)", "C12 (C1)", "C12 (C2)", "C12 (C3)"},
    "03_trajectories": {"C5", "C5 (ratio)", "C5 (beyond)", "C5 (flat)", "C6", "C12 (C5)", "C12 (C6)"},
    "04_scaling_factors": {"C4 (data)", "C4 (size)", "C9 (height)", "C9 (place)"},
    "05_guidance": {
        *(f"C10 ({kind}, {key})" for kind in ("classifier-free", "autoguidance") for key in ("A", "B", "C", "samples")),
        *(f"C11 ({what})" for what in ("height", "difference", "place")),
    },
}


def ledger(done):
    """The claims of an executed chapter."""
    for cell in json.loads(done.read_text())["cells"]:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("scrapbook", {}).get("name") == "ledger":
                return Ledger.loads(ast.literal_eval(output["data"]["application/papermill.record/text/plain"])).claims
    raise AssertionError(f"{done} has no ledger")


@pytest.mark.chapter
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_drawn_from_them_without_training(chapter, tmp_path):
    """In seconds, and nothing is added to what is published; a result that is missing would need weights, and fail."""
    before = {path.name: sha256_of(path) for path in PUBLISHED.iterdir()}
    values = {"preset": "standard", "results": str(PUBLISHED)}
    done = book.run_chapter(chapter, values, tmp_path / "out.ipynb", ROOT, progress=False)
    names = {
        output["metadata"]["scrapbook"]["name"]
        for cell in json.loads(done.read_text())["cells"]
        for output in cell.get("outputs", [])
        if "scrapbook" in output.get("metadata", {})
    }
    assert {f"{claim}_verdict" for claim in CLAIMS[chapter]} | {"ledger"} <= names
    claims = ledger(done)
    assert {claim.id for claim in claims} == CLAIMS[chapter]
    for claim in claims:
        assert claim.origin, f"{claim.id} says where its threshold comes from"
        assert claim.paper, f"{claim.id} says what the paper has"
        assert claim.control is not None
        assert claim.null is not None
        assert claim.of_control == FAILS, f"{claim.id} can fail: {claim.control}"
        assert claim.of_null == INCONCLUSIVE, f"of nothing {claim.id} says nothing: {claim.null}"
    assert {path.name: sha256_of(path) for path in PUBLISHED.iterdir()} == before


def test_the_results_stay_small():
    """They travel with every clone: not many files, and not many bytes."""
    files = [path for path in PUBLISHED.rglob("*") if path.is_file()]
    assert len(files) <= 150
    assert sum(path.stat().st_size for path in files) < 100e6
