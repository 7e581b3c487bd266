"""Reports of samples: the optimal denoiser copies, a Wiener filter does not, and neither needs a network."""

import pytest
import torch

import diffgen as dg
from diffgen import book, experiments
from diffgen.book.claims import FAILS, HOLDS, INCONCLUSIVE
from diffgen.experiments import reports
from diffgen.metrics.neighbours import memorized_fraction
from diffgen.metrics.position import nearness

GRID, HOW = dg.edm_sigmas(10), dg.Measure(progress=False)
N = 64


def pixels(x):
    """A feature map of nothing but the pixels, few of them."""
    return torch.nn.functional.avg_pool2d(x, 7).flatten(1)


@pytest.fixture(scope="module")
def split():
    return dg.DataConfig(size=14, n_train=N, n_val=N).load()


@pytest.fixture(scope="module")
def copier(split):
    return dg.Subject("copier", dg.OptimalDenoiser(split.train.x), (1, 14, 14))


@pytest.fixture(scope="module")
def unaware(split):
    """A denoiser without memory of the training images: the Wiener filter of other images."""
    return dg.Subject("unaware", dg.GaussianDenoiser.fit(split.holdout.x[:2000]), (1, 14, 14))


def report(subject, split, **options):
    return experiments.sample_report(subject, split, 48, GRID, HOW, features=pixels, **options)


def c5(subject, split):
    """The verdict on C5 as chapter 3 takes it."""
    ends = experiments.recognition(subject, split, 0.5, HOW, n=N)
    curve = dg.generalization_gap(subject.denoiser(), split.train.x, split.val.x, torch.tensor([0.5]))
    gap = dg.Estimate.mean(curve.val_errors[0]).minus(dg.Estimate.mean(curve.train_errors[0]))  # E_train is near 0
    at = experiments.sample_position(report(subject, split), ends)
    return book.Claim("C5", "", "", *at.with_interval(), below=0.5, premise=gap.with_interval())


def test_a_copier_fails_and_a_network_without_memory_decides_nothing(copier, unaware, split):
    failed = c5(copier, split)
    assert failed.verdict == FAILS
    assert failed.estimate == pytest.approx(1, abs=0.2)
    assert c5(unaware, split).verdict == INCONCLUSIVE


def test_fresh_images_as_samples_of_a_network_with_memory_hold(copier, split, monkeypatch):
    """The same network, but its samples are images that it has never seen."""
    fresh = split.holdout.x[-48:]
    monkeypatch.setattr(reports, "_drawn", lambda *rest: [fresh])
    memory = dg.Subject("memory, other samples", copier.denoiser(), (1, 14, 14))
    assert c5(memory, split).verdict == HOLDS


def test_a_report_says_what_the_samples_say(copier, split):
    x = experiments.samples(copier, 48, GRID, HOW)
    of_report = report(copier, split)
    torch.testing.assert_close(of_report.nearness, nearness(x, split.train.x, split.val.x), rtol=1e-4, atol=1e-4)
    assert float(of_report.memorized) == float(memorized_fraction(x, split.train.x))
    assert torch.equal(of_report.shown, x[: reports.SHOWN])
    exact = dg.metrics.frechet.frechet_gap(
        pixels(x), pixels(split.train.x), pixels(split.val.x), fresh=pixels(split.holdout.x), n_resamples=12
    )
    assert of_report.frechet.raw == pytest.approx(exact.raw)
    assert of_report.frechet.luck.stderr == pytest.approx(exact.luck.stderr)


def test_samples_stopped_early_are_the_predictions_of_that_step(unaware, split):
    stopped = report(unaware, split, stops=(3, 6)).stopped
    states = list(dg.trajectory(unaware.denoiser(), GRID[0] * experiments.initial_noise(48, (1, 14, 14)), GRID))
    assert list(stopped) == [pytest.approx(float(GRID[step])) for step in (3, 6)]
    for (near, _), step in zip(stopped.values(), (3, 6)):
        expected = nearness(reports.from_bytes(reports.to_bytes(states[step].denoised)), split.train.x, split.val.x)
        assert float(near) == pytest.approx(float(expected.mean()), abs=1e-3)


def test_what_is_kept_is_small_and_found_again(tmp_path, split):
    subject = dg.Subject("kept", dg.OptimalDenoiser(split.train.x), (1, 14, 14), results=tmp_path)
    first = report(subject, split, stops=(3,))
    (file,) = tmp_path.rglob("sample_report*.safetensors")
    assert file.stat().st_size < 48 * 400
    again = report(subject, split, stops=(3,))
    assert torch.equal(again.nearness, first.nearness)
    assert again.frechet == first.frechet
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_a_network_with_classes_is_told_those_of_the_validation_images(tmp_path, split):
    config = dg.presets.smoke().train
    last = dg.trained(config.with_(total_images=128, n_snapshots=1, first_snapshot=64), root=tmp_path, progress=False)
    data = config.data.load()
    assert torch.equal(experiments.val_labels(last, data, 3), data.val.labels[:3])
    assert len(experiments.val_labels(last, data, 2 * len(data.val))) == 2 * len(data.val)
    mixed = experiments.switched(last, last, (0.1, 1.0))
    assert torch.equal(experiments.val_labels(mixed, data, 3), data.val.labels[:3])
    bare = dg.Subject("bare", last.denoiser(), (1, 14, 14))
    assert experiments.val_labels(bare, data, 3) is None


def test_no_holdout_no_luck(copier, split):
    with pytest.raises(ValueError, match="split has no holdout"):
        report(copier, dg.Split(split.train, split.val))
    with pytest.raises(ValueError, match="split has no holdout"):
        experiments.recognition(copier, dg.Split(split.train, split.val), 0.5, HOW)
    with pytest.raises(ValueError, match="split has no holdout"):
        _ = dg.Split(split.train, split.val).fresh


def test_fresh_images_take_the_place_of_training_images(split):
    fresh = split.fresh
    assert len(fresh.train) == N
    assert torch.equal(fresh.train.x, split.holdout.x[:N])
    assert torch.equal(fresh.val.x, split.val.x)
    assert len(fresh.holdout) == len(split.holdout) - N
    everything = torch.cat([fresh.train.x, fresh.holdout.x])
    assert torch.equal(everything, split.holdout.x)
