"""The stored results of the preset standard: whole, complete, and what the present code computes as well."""

import json

import build_book
import pytest
import torch
from conftest import ROOT

import diffgen as dg
from diffgen import book, evaluate
from diffgen.experiments.publishing import check
from diffgen.runs import find_run

STORED = ROOT / "results" / "standard"
PRESET = dg.presets.standard()
SMALL = PRESET.networks["small U-Net"]


def stored_curves(config):
    """The gap curves of all snapshots, from the file that holds them, and their noise levels."""
    run = find_run(config, STORED)
    sigmas = dg.log_sigmas(PRESET.sigmas, PRESET.sigma_min, PRESET.sigma_max)
    options = {"images": PRESET.evaluate, "progress": False}
    return evaluate.gap_curves(run.snapshots, SMALL.data.load(), sigmas, **options), sigmas


@pytest.mark.parametrize("path", sorted(STORED.glob("*/")), ids=lambda path: path.name)
def test_every_file_is_what_was_stored_and_says_how_it_came_about(path):
    run = Run(path)
    check(run)
    assert path.name == run.key, "the folder's name is that of its config"
    assert run.metadata["seconds"] > 0
    assert {"python", "torch", "numpy"} <= set(run.metadata["versions"])
    assert run.metadata["machine"]["architecture"]
    assert len(run.log)


@pytest.mark.parametrize("name", [*PRESET.networks, "reference"])
def test_what_chapter_2_needs_is_there(name):
    config = PRESET.reference if name == "reference" else PRESET.networks[name]
    curves, sigmas = stored_curves(config)
    assert [s.images_seen for s in find_run(config, STORED).snapshots] == config.snapshot_images
    assert all(curve.train_errors.shape == (len(sigmas), PRESET.evaluate) for curve in curves)


def test_the_stored_weights_still_give_the_stored_errors():
    """A slice: some noise levels, the first images of both splits. Only other kernels' rounding is allowed for."""
    (*_, last), split = find_run(SMALL, STORED).snapshots, SMALL.data.load()
    *_, curve = stored_curves(SMALL)[0]
    for i in range(0, PRESET.sigmas, 4):
        found = dg.generalization_gap(last.denoiser(), split.train[:64], split.val[:64], curve.sigmas[[i]])
        torch.testing.assert_close(found.train_errors, curve.train_errors[[i], :64], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(found.val_errors, curve.val_errors[[i], :64], rtol=1e-3, atol=1e-6)


def test_training_anew_gives_the_stored_curve_within_its_error(tmp_path):
    """To the first stop, on whatever processor this is: bfloat16 or not, rounding sends the weights elsewhere."""
    split, images = SMALL.data.load(), 256
    training = dg.train(SMALL, root=tmp_path, progress=False)
    first = next(training)
    training.close()
    stored, sigmas = stored_curves(SMALL)
    at = torch.arange(2, len(sigmas), 5)
    found = dg.generalization_gap(first.denoiser(), split.train[:images], split.val[:images], sigmas[at])
    before = dg.GapCurve(sigmas[at], stored[0].train_errors[at, :images], stored[0].val_errors[at, :images])
    # the same images and noise: the gap agrees much better than to the error of either, the errors to a few percent
    assert ((found.gap - before.gap).abs() < found.stderr).all()
    torch.testing.assert_close(found.val, before.val, rtol=0.15, atol=0)
    last = stored[-1].val[at]
    assert ((found.val - before.val).abs() < 0.5 * (before.val - last).abs() + 0.05 * last).all(), "not the first stop"


CLAIMS = {
    "02_generalization_gap": {"C1", "C2", "C3", "C12"},
    "03_trajectories": {"C5", "C6"},
    "04_scaling_factors": {"C4 (data)", "C4 (size)", "C9 (height)", "C9 (place)"},
    "05_guidance": {
        *(f"C10 ({kind}, {what})" for kind in ("classifier-free", "autoguidance") for what in ("samples", "contrast")),
        *(f"C11 ({what})" for what in ("height", "difference", "place")),
    },
}


@pytest.mark.chapter
@pytest.mark.parametrize("chapter", build_book.STORED)
def test_a_chapter_is_drawn_from_them_without_training(chapter, tmp_path):
    """In seconds, and nothing is added to what is stored; a result that is missing would need weights, and fail."""
    values = {"preset": "standard", "results": str(STORED)}
    done = book.run_chapter(chapter, values, tmp_path / "out.ipynb", ROOT, progress=False)
    names = {
        output["metadata"]["scrapbook"]["name"]
        for cell in json.loads(done.read_text())["cells"]
        for output in cell.get("outputs", [])
        if "scrapbook" in output.get("metadata", {})
    }
    assert {f"{claim}_verdict" for claim in CLAIMS[chapter]} | {"ledger"} <= names
    for path in STORED.glob("*/"):
        check(Run(path))


def test_the_results_stay_small():
    """They travel with every clone."""
    assert sum(path.stat().st_size for path in STORED.rglob("*") if path.is_file()) < 40e6
