"""Audits where the truth is known: of copiers and of models that know nothing, with planted faults in the data."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

import diffgen as dg
from diffgen.auditing.audit import audit
from diffgen.auditing.effort import Effort, in_seconds
from diffgen.auditing.evaluator import Evaluator
from diffgen.auditing.questions import about_recall, difference
from diffgen.auditing.verdict import Answer, Control
from diffgen.data import Points
from diffgen.metrics.estimate import Interval
from diffgen.runs import Subject

SMALL = Effort(n_images=256, n_levels=6, draws=1, n_samples=128, n_steps=8, n_trajectories=64)
QUIET = {"progress": False, "conditional": False}


@pytest.fixture(scope="module")
def split() -> dg.Split:
    return dg.load_data("fashion_mnist", size=7, n_train=256, n_val=512, seed=1)


@pytest.fixture(scope="module")
def of_copier(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("copier")
    copier = dg.OptimalDenoiser(split.train.x)
    return audit(copier, split.train, split.val, effort=SMALL, out=folder, name="a <copier>", **QUIET), folder


@pytest.fixture(scope="module")
def of_stranger(split):
    """A Wiener filter of other images, and other images for its samples."""
    wiener = dg.GaussianDenoiser.fit(split.holdout.x[5000:])
    return audit(wiener, split.train, split.val, samples=split.holdout.x[:640], effort=SMALL, **QUIET)


# What is known to memorize, and what is known not to


def test_a_copier_is_found_in_every_question(of_copier):
    result, _ = of_copier
    assert set(result.verdicts.values()) == {"memorizes"}
    assert set(result.verdicts) == {"gap", "membership", "copies", "lean", "recall"}
    assert result.exit_code == 3
    assert result.membership.auc.value > 0.99
    assert len(result.errors.at_risk.index) > 250
    assert result.samples.memorized.value > 0.9
    assert float(result.samples.authentic) < float(result.samples.authentic_null)


def test_a_stranger_is_not_accused(of_stranger):
    assert "memorizes" not in of_stranger.verdicts.values()
    assert of_stranger.verdicts["gap"] == "does not"
    assert of_stranger.verdicts["copies"] == "does not"
    assert of_stranger.exit_code == 0
    assert of_stranger.membership.auc.low < 0.5 < of_stranger.membership.auc.high


@pytest.mark.parametrize("delta", [0.2, 0.6])
def test_error_prone_copiers_are_found(split, delta):
    model = dg.ErrorProne(split.train.x, delta)
    result = audit(model, split.train, split.val, samples=split.holdout.x[:128], effort=SMALL, **QUIET)
    assert result.verdicts["gap"] == "memorizes"
    assert (result.verdicts["membership"] == "memorizes") == (delta < 0.5)
    assert result.verdicts["copies"] == "undecided"  # these samples are not its own, and too few to say more


def test_the_gap_of_a_filter_that_was_fitted_to_few_images_is_its_closed_form(split):
    """E = tr(A² C + σ² B²) / d, C the second moment about the mean of the filter: of training images, and of others."""
    few = split.train.x[:64].double()
    wiener = dg.GaussianDenoiser.fit(few)
    effort = Effort(n_images=64, n_levels=5, draws=8, n_samples=0, n_trajectories=0)
    result = audit(wiener, Points(few.float()), split.val, split.holdout, effort=effort, **QUIET)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(0))
    d, everyone = few[0].numel(), split.val.x[order[:64]].double().flatten(1)
    own = torch.cov(few.flatten(1).T, correction=0)
    values, vectors = torch.linalg.eigh(torch.cov(few.flatten(1).T))
    off = everyone - few.flatten(1).mean(0)
    of_all = off.T @ off / len(off)
    for k, sigma in enumerate(result.gap.raw.sigmas.tolist()):
        passed = vectors @ torch.diag(values / (values + sigma**2)) @ vectors.T
        lost = torch.eye(d, dtype=torch.float64) - passed
        expected = [float((lost @ c @ lost.T).trace() + sigma**2 * passed.square().sum()) / d for c in (own, of_all)]
        assert [float(result.gap.raw.train[k]), float(result.gap.raw.val[k])] == pytest.approx(expected, rel=0.05)
    assert result.verdicts["gap"] == "memorizes"


def test_few_innocent_models_are_accused():
    """Splits where nothing is true: all five questions together accuse at most one in twenty."""
    accused, n = 0, 24
    effort = Effort(n_images=96, n_levels=4, draws=1, n_samples=96, n_steps=4, n_trajectories=32)
    for k in range(n):
        split = dg.load_data("fashion_mnist", size=7, n_train=96, n_val=192, seed=100 + k)
        others = split.holdout.x[4000:4400]
        # a copier, but of other images: its errors have tails as heavy as those of a guilty one
        model = dg.OptimalDenoiser(others) if k % 2 else dg.GaussianDenoiser.fit(others)
        result = audit(model, split.train, split.val, samples=split.holdout.x[:96], effort=effort, seed=k, **QUIET)
        accused += result.exit_code == 3
    assert accused <= stats.binom.ppf(0.99, n, 0.05)


def test_a_network_that_copies_and_one_that_hardly_does(split):
    """Published networks: trained on 64 images until most samples are copies, and on 8,192 until G is near .1."""
    for size, expected in ((64, "memorizes"), (8192, "does not")):
        settings = dg.presets.named("standard")
        config = settings.train if size == 8192 else settings.trajectories.by_size[64]
        data = config.data.load()
        network = dg.find_run(config, root="results/standard").snapshots[-1].denoiser()
        n = min(size, 512)
        effort = Effort(n_images=n, n_levels=8, draws=1, n_samples=96, n_steps=12, n_trajectories=0)
        result = audit(network, data.train, data.val[:1024], data.holdout[:1024], effort=effort, progress=False)
        assert result.check.ok
        assert result.verdicts["gap"] == "memorizes"
        assert result.verdicts["copies"] == expected or (size == 8192 and result.verdicts["copies"] == "undecided")
        assert (result.samples.memorized.value > 0.5) == (size == 64)


# What is wrong with the data


def test_validation_images_that_were_trained_on_are_left_out(split):
    half = Points(torch.cat([split.train.x[:128], split.val.x[:384]]))
    copier = dg.OptimalDenoiser(split.train.x)
    result = audit(copier, split.train, half, split.holdout, effort=SMALL, samples=split.train.x, **QUIET)
    assert len(result.data.shared) == 128
    assert "128 of 512 validation images are in the training set" in result.notes[0]
    # at the least noise the copier errs on every image that is left, and on none that it was given
    at_least = result.gap.raw.val_errors[0] > 2 * result.gap.raw.train_errors[0].max()
    assert at_least.double().mean() > 0.99


def test_repetitions_in_the_training_set_are_counted_once(split):
    often = Points(torch.cat([split.train.x, split.train.x[:8].repeat(5, 1, 1, 1)]))
    wiener = dg.GaussianDenoiser.fit(split.holdout.x)
    others = split.holdout.x[600:700]
    result = audit(wiener, often, split.val, split.holdout[:512], effort=SMALL, samples=others, **QUIET)
    assert len(result.data.repeated) == 40
    assert "40 of 296 training images are repetitions" in result.notes[0]
    assert "memorizes" not in result.verdicts.values()


def test_unseen_images_that_were_trained_on_are_left_out_of_the_nulls(split):
    """With the training set among them the Wiener filter of the rest would be the model, and the null no null."""
    rest = Points(torch.cat([split.train.x, split.val.x[:100], split.holdout.x[:200]]))
    wiener = dg.GaussianDenoiser.fit(split.holdout.x[5000:])
    result = audit(wiener, split.train, split.val, rest, effort=SMALL, samples=split.holdout.x[300:400], **QUIET)
    few = Effort(n_images=256, n_levels=6, draws=1, n_samples=0, n_trajectories=0)
    clean = audit(wiener, split.train, split.val, split.holdout.x[:200], effort=few, **QUIET)
    torch.testing.assert_close(result.errors.null.gap, clean.errors.null.gap)
    with pytest.raises(ValueError, match="rest has 0 points that are neither in train nor in val"):
        audit(wiener, split.train, split.val, split.train, effort=few, **QUIET)


def test_what_was_not_drawn_is_not_asked(split):
    few = Effort(n_images=64, n_levels=4, draws=1, n_samples=0, n_trajectories=0)
    result = audit(dg.GaussianDenoiser.fit(split.holdout.x), split.train, split.val, effort=few, **QUIET)
    assert list(result.verdicts) == list(result.table().index.map(lambda i: ("gap", "membership")[i]))
    assert "not asked, for nothing was drawn: copies, lean, recall" in result.notes


def test_sets_that_differ_without_the_model_decide_nothing_but_copies(split):
    brighter = Points((split.val.x + 0.15).clamp(max=1))
    wiener = dg.GaussianDenoiser.fit(split.holdout.x)
    result = audit(wiener, split.train, brighter, effort=SMALL, samples=split.holdout.x[:128], **QUIET)
    assert result.data.differ
    assert {k: v for k, v in result.verdicts.items() if k != "copies"} == dict.fromkeys(
        ("gap", "membership", "lean", "recall"), "undecided"
    )
    assert "differ without the model" in result.answers["gap"].spoiled


def test_sets_of_two_shapes_are_refused(split):
    with pytest.raises(ValueError, match="points of different shapes"):
        audit(dg.OptimalDenoiser(split.train.x), split.train, split.val.x[:, :, :5])
    with pytest.raises(ValueError, match="give 16 or more"):
        audit(dg.OptimalDenoiser(split.train.x), split.train, split.val.x[:8])
    with pytest.raises(ValueError, match="samples has shape"):
        audit(dg.OptimalDenoiser(split.train.x), split.train, split.val, samples=torch.zeros(4, 3), **QUIET)


def test_what_is_no_denoiser_is_not_audited(split, tmp_path):
    broken = lambda x, sigma, labels=None: x * math.nan  # noqa: E731
    result = audit(broken, split.train, split.val, effort=SMALL, out=tmp_path, **QUIET)
    assert "could not be audited" in (tmp_path / "report.html").read_text()
    assert not result.check.ok
    assert result.exit_code == 1
    assert not result.verdicts


# Verdicts


def answer(low: float, high: float, **changes) -> Answer:
    number = Interval((low + high) / 2, low, high)
    return Answer(key="gap", question="?", statistic="", number=number, none=0, smallest=0.05, detectable=0, **changes)


def test_verdicts_are_read_off_intervals_and_need_controls_that_work():
    assert answer(0.01, 0.5).verdict == "memorizes"
    assert answer(-0.01, 0.04).verdict == "does not"
    assert answer(-0.01, 0.06).verdict == "undecided"
    assert answer(0.01, 0.5).without("the sets differ").verdict == "undecided"
    copier, stranger = Interval(1, 0.9, 1.1), Interval(0, -0.1, 0.1)
    right = (Control("copier", copier, True), Control("stranger", stranger, False))
    assert answer(0.01, 0.5, controls=right).verdict == "memorizes"
    blind = (Control("copier", stranger, True),)
    assert answer(0.01, 0.5, controls=blind).verdict == "undecided"
    assert "copier" in answer(-0.01, 0.04, controls=blind).powerless
    seeing_things = (Control("stranger", copier, False),)
    assert answer(0.01, 0.5, controls=seeing_things).verdict == "undecided"


def test_a_difference_of_returns_is_measured_against_chance():
    often, never = torch.ones(100), torch.zeros(100)
    assert about_recall(often, never, {}, 0).verdict == "memorizes"
    assert about_recall(never, never, {}, 0).verdict == "does not"
    assert difference(never, never)[0] == pytest.approx((0, -0.03, 0.03))  # nothing seen is not nothing there


# Effort


def test_an_audit_fits_its_budget():
    full = Effort()
    assert full.within(1e9, 1e-3) == full
    smaller = full.within(600, 1e-3)
    assert sum(smaller.evaluations.values()) * 1e-3 <= 600
    assert smaller.draws == 1
    assert smaller.n_images < full.n_images
    with pytest.raises(ValueError, match="the smallest audit of this model takes about"):
        full.within(1, 1)
    assert [in_seconds(x) for x in ("90s", "20m", "1.5h", 7, "7")] == [90, 1200, 5400, 7, 7]
    for bad in ("soon", "-3m", "", "0"):
        with pytest.raises(ValueError, match="give a time such as 90s"):
            in_seconds(bad)
    with pytest.raises(ValueError, match="n_levels is 1"):
        Effort(n_levels=1)


def test_the_model_is_called_as_often_as_the_plan_says(split):
    calls = 0

    def counting(x, sigma, labels=None):
        nonlocal calls
        calls += len(x)
        return wiener(x, sigma)

    wiener = dg.GaussianDenoiser.fit(split.holdout.x)
    evaluator = Evaluator(subject=Subject("counted", counting, (1, 7, 7)), progress=False)
    evaluator.errors(split.train, dg.log_sigmas(6), 1, "train")
    assert calls * 3 == SMALL.of_data(256, 256, 256).evaluations["errors"]
    calls = 0
    evaluator.samples(128, dg.edm_sigmas(8), None)
    assert calls == SMALL.evaluations["samples"]


def test_pieces_are_kept_shared_and_the_same(split, tmp_path):
    """A killed audit goes on where it stopped; two processes that share the work end with what one would have."""
    wiener, calls = dg.GaussianDenoiser.fit(split.holdout.x), []

    def model(x, sigma, labels=None):
        calls.append(len(x))
        return wiener(x, sigma)

    def evaluator(**changes):
        return Evaluator(subject=Subject("m", model, (1, 7, 7), results=tmp_path), progress=False, **changes)

    alone = Evaluator(subject=Subject("m", model, (1, 7, 7)), progress=False).samples(1100, dg.edm_sigmas(3), None)
    calls.clear()
    other = evaluator(share=(1, 2), wait=lambda: evaluator(share=(0, 2)).samples(1100, dg.edm_sigmas(3), None))
    shared = other.samples(1100, dg.edm_sigmas(3), None)
    assert torch.equal(shared, alone)
    assert sum(calls) == 1100 * 5
    calls.clear()
    assert torch.equal(evaluator().samples(1100, dg.edm_sigmas(3), None), alone)
    assert not calls


def test_a_model_that_returns_nan_is_named(split):
    def model(x, sigma, labels=None):
        return torch.where(sigma.max() > 10, torch.full_like(x, math.nan), x)

    evaluator = Evaluator(subject=Subject("m", model, (1, 7, 7)), progress=False)
    with pytest.raises(ValueError, match=r"the error at σ = 40 of image 0 is not finite"):
        evaluator.errors(split.val, torch.tensor([0.1, 40.0]), 1, "val")


# What is written


def test_the_report_needs_nothing_beside_it_and_says_what_the_numbers_say(of_copier):
    result, folder = of_copier
    page = (folder / "report.html").read_text()
    assert "a &lt;copier&gt;" in page
    assert "<copier>" not in page
    for outside in ('src="http', 'href="http', "url(http", "<script", "@import"):
        assert outside not in page
    assert page.count("<svg") == len(list((folder / "figures").glob("*.svg"))) >= 5
    assert page.count('<div class="answer memorizes">') == 5
    assert "Controls" in page
    numbers = json.loads((folder / "audit.json").read_text(), parse_constant=lambda x: pytest.fail(f"{x} is no JSON"))
    assert numbers["schema"] == 1
    assert numbers["verdicts"] == result.verdicts
    assert numbers["data"]["hashes"].keys() == {"train", "val"}
    assert numbers["provenance"]["versions"]["torch"]
    from diffgen.files import read_tensors

    errors, _ = read_tensors(folder / "errors.safetensors")
    np.testing.assert_allclose(errors["train"].double().mean(1), numbers["gap"]["train"])
    assert errors["val_score"].shape == (256,)


def test_an_audit_goes_on_from_its_folder(of_copier, split, monkeypatch):
    """The model is not called again but for the check, which is skipped here."""
    result, folder = of_copier
    monkeypatch.setattr("diffgen.auditing.audit.check_denoiser", lambda *a, **k: result.check)
    calls = 0
    copier = dg.OptimalDenoiser(split.train.x)

    class Counting(dg.OptimalDenoiser):
        def forward(self, x, sigma, labels=None):
            nonlocal calls
            calls += 1
            return super().forward(x, sigma, labels)

    counting = Counting(split.train.x)
    counting.__class__.__qualname__ = type(copier).__qualname__
    again = audit(counting, split.train, split.val, effort=SMALL, out=folder, name="a <copier>", **QUIET)
    assert again.answers["lean"].number == result.answers["lean"].number
    assert calls == 0


MODEL = """
import numpy as np, torch, diffgen as dg
def copier():
    return dg.OptimalDenoiser(torch.from_numpy(np.load("train.npy")))
def broken():
    return lambda x, sigma, labels=None: x + float("nan")
"""


@pytest.fixture(scope="module")
def folder(split, tmp_path_factory):
    path = tmp_path_factory.mktemp("command")
    np.save(path / "train.npy", split.train.x[:64].numpy())
    np.save(path / "val.npy", split.val.x[:128].numpy())
    (path / "model.py").write_text(MODEL)
    return path


def command(folder, *args: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "diffgen", "audit", *args, "--train", "train.npy", "--val", "val.npy"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_command_finds_a_copier(folder):
    options = ["--samples", "64", "--steps", "8", "--images", "64", "--out", "report"]
    done = command(folder, "model.py:copier", *options)
    assert done.returncode == 3, done.stderr
    assert "memorizes" in done.stdout
    assert (folder / "report" / "report.html").exists()


def test_two_processes_share_an_audit(folder):
    """One report, and the same verdicts; neither process computes what the other does."""
    options = ["--samples", "600", "--steps", "3", "--images", "64", "--budget", "30m", "--out", "shared"]
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "diffgen", "audit"]
    line += ["model.py:copier", *options, "--train", "train.npy", "--val", "val.npy"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.stdout.count("report.html") == 1, done.stderr
    assert "memorizes" in done.stdout
    assert len(list((folder / "shared" / "cache").rglob("audit_samples*"))) == 2


def test_the_command_says_what_it_would_do(folder):
    done = command(folder, "model.py:copier", "--dry-run", "--budget", "5s")
    assert done.returncode == 0, done.stderr
    assert "in all" in done.stdout
    assert not (folder / "report-dry").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["model.py:broken"], 1, "not audited"),
        (["model.py:nothing"], 2, "has no function 'nothing'"),
        (["nowhere.py:model"], 2, "nowhere.py does not exist"),
        (["nowhere"], 2, "nowhere does not exist: give a run folder"),
        (["val.npy"], 2, "is no model"),
    ],
)
def test_the_command_names_what_is_wrong_in_one_line(folder, args, code, message):
    done = command(folder, *args, "--out", "elsewhere")
    assert done.returncode == code, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
