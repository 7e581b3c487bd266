"""Stored runs: found by config alone, read whatever the code, and never guessed around."""

import json

import pytest
import torch
from conftest import tiny

import diffgen as dg
from diffgen import evaluate, results
from diffgen.experiments.publishing import check, gap_curves, store
from diffgen.files import DamagedFile, read_metadata
from diffgen.runs import find_run

CONFIG = tiny(total_images=192, n_snapshots=2)
SIGMAS = dg.log_sigmas(2, 0.5, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    *_, last = dg.train(CONFIG, root=tmp_path_factory.mktemp("runs"), progress=False)
    curves(last.run)
    evaluate.samples(last, 3, steps=2)
    return last.run


@pytest.fixture
def root(run, tmp_path):
    store(run, tmp_path / "stored")
    return tmp_path / "stored"


def curves(run, **options):
    return evaluate.gap_curves(
        run.snapshots, CONFIG.data.load(), SIGMAS, images=16, progress=False, **options
    )  # fmt: skip


def test_what_was_computed_is_read_whatever_the_code(run, root, monkeypatch):
    monkeypatch.setattr(results, "fingerprint", lambda sources: "other code")
    monkeypatch.setattr(evaluate, "generalization_gap", None)  # would fail if it were called
    snapshots = list(dg.train(CONFIG, root=root, progress=False))
    assert [s.images_seen for s in snapshots] == [s.images_seen for s in run.snapshots]
    assert snapshots[0].shape == (1, 14, 14)
    assert [type(c) for c in curves(snapshots[0].run)] == [dg.GapCurve, dg.GapCurve]
    assert evaluate.samples(snapshots[-1], 3, steps=2).shape == (3, 1, 14, 14)
    assert len(Run(snapshots[0].run.folder).log)
    check(snapshots[0].run)  # nothing was added


def test_noise_levels_need_not_agree_to_the_last_bit(root):
    (first, _), points = dg.train(CONFIG, root=root, progress=False), CONFIG.data.load()
    (curve,) = evaluate.gap_curves([first], points, SIGMAS * (1 + 1e-9), images=16, progress=False)
    assert len(curve.gap) == 2


def test_what_was_not_stored_says_so(root):
    first, _ = dg.train(CONFIG, root=root, progress=False)
    with pytest.raises(FileNotFoundError, match="was not stored: its run has only results; train it in another folder"):
        curves(first.run, seed=1)


def test_small_weights_go_along(run, root):
    *_, last = dg.train(CONFIG, root=root, progress=False)
    x = torch.randn(2, 1, 14, 14)
    assert torch.equal(last.denoiser()(x, torch.tensor(1.0)), run.snapshots[-1].denoiser()(x, torch.tensor(1.0)))


def test_how_it_came_about_and_a_table(root):
    run = find_run(CONFIG, root)
    assert run.stored["training"]["versions"]["torch"] == torch.__version__
    assert run.stored["training"]["seconds"] >= 0
    table = (run.folder / "gap.csv").read_text().splitlines()
    assert table[0] == "images,sigma,train,val,gap,stderr,n"
    assert len(table) == 1 + 2 * len(SIGMAS)


def test_results_are_added_in_several_goes(run, root):
    before = set(find_run(CONFIG, root).stored["sha256"])
    curves(run, seed=2)
    store(run, root)
    after = set(find_run(CONFIG, root).stored["sha256"])
    assert before < after
    assert len(after - before) == 2


@pytest.mark.parametrize("harm", ["changed", "missing", "added"])
def test_damage_is_named(root, harm):
    run = find_run(CONFIG, root)
    found = (run.folder / "results").glob("gap-*192-*")
    path = next(path for path in found if read_metadata(path)["settings"]["seed"] == 0)
    if harm == "changed":
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(DamagedFile, match=rf"{path.name} is damaged"):
            curves(run)
    elif harm == "missing":
        path.unlink()
    else:
        path = path.with_name("else.safetensors")
        path.write_bytes(b"")
    with pytest.raises(DamagedFile, match=rf"{path.name} is not what was stored"):
        check(run)


def test_an_unfinished_run_is_not_stored(tmp_path):
    iterator = dg.train(CONFIG, root=tmp_path, progress=False)
    run = next(iterator).run
    iterator.close()
    with pytest.raises(FileNotFoundError, match="is not finished: train it to its end"):
        store(run, tmp_path / "stored")
    assert json.loads((run.folder / "config.json").read_text())["images"] == 192


def test_the_table_has_the_curve_at_the_most_noise_levels_of_the_snapshot_as_it_is(tmp_path):
    *_, last = dg.train(CONFIG, root=tmp_path / "runs", progress=False)
    options = {"images": 16, "progress": False}
    for sigmas, more in ((SIGMAS, {}), (SIGMAS[:1], {}), (dg.log_sigmas(4, 0.5, 2), {"window": 7, "stride": 7})):
        evaluate.gap_curves([last], CONFIG.data.load(), sigmas, **options, **more)
    (curve,) = gap_curves(store(last.run, tmp_path / "stored")).values()
    assert len(curve.sigmas) == 2
