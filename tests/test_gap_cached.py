"""What is kept beside a run, and under which circumstances it is found again; the reference of the adjusted gap."""

import dataclasses

import pytest
import torch
from conftest import tiny
from hypothesis import given
from hypothesis import strategies as st

import diffgen as dg
from diffgen import evaluate
from diffgen.features import classifier_features
from diffgen.metrics.gap import fixed_noise

CONFIG = tiny(total_images=128)
SIGMAS = dg.log_sigmas(2, 0.5, 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def snapshot(root):
    (snapshot,) = dg.train(CONFIG, root=root, progress=False)
    return snapshot


def gap(snapshot, split, **options):
    (curve,) = evaluate.gap_curves([snapshot], split, SIGMAS, progress=False, **{"images": 16, **options})
    return curve


def test_a_gap_is_computed_once(snapshot, monkeypatch):
    split = CONFIG.data.load()
    before = gap(snapshot, split)
    exact = dg.generalization_gap(snapshot.denoiser(), split.train[:16], split.val[:16], SIGMAS)
    assert torch.equal(before.train_errors, exact.train_errors)
    monkeypatch.setattr(evaluate, "generalization_gap", None)  # would fail if it were called
    assert torch.equal(gap(snapshot, split).val_errors, before.val_errors)


@pytest.mark.parametrize("change", [{"seed": 1}, {"images": 20}, {"draws": 2}, {"norm": "l2"}, {"features": features}])
def test_another_question_is_computed_anew(snapshot, change):
    split = CONFIG.data.load()
    assert not torch.equal(gap(snapshot, split).train[:1], gap(snapshot, split, **change).train[:1])


def test_other_images_are_computed_anew(snapshot):
    """As many of them, of the same pool, for the same snapshot."""
    other = dataclasses.replace(CONFIG.data, seed=1).load()
    assert not torch.equal(gap(snapshot, CONFIG.data.load()).val_errors, gap(snapshot, other).val_errors)


def test_features_without_a_name_are_refused(snapshot):
    with pytest.raises(ValueError, match=r"features is .*<lambda>: results are kept under its name"):
        gap(snapshot, CONFIG.data.load(), features=lambda x: x)


def test_a_reference_is_trained_on_neither_split():
    split, reference = CONFIG.data.load(), CONFIG.data.reference.load()
    seen = {row.numpy().tobytes() for row in reference.train.x}
    assert len(seen) == 10_000 - 128
    assert not seen & {row.numpy().tobytes() for row in torch.cat([split.train.x, split.val.x])}


def test_a_reference_is_a_network_or_the_linear_denoiser(root):
    split = CONFIG.data.load()
    config = CONFIG.with_(data=CONFIG.data.reference)
    options = {"images": 16, "root": root, "progress": False}
    network = evaluate.reference_curve(config, split, SIGMAS, **options)
    (snapshot,) = dg.train(config, root=root, progress=False)
    assert torch.equal(network.val_errors, gap(snapshot, split).val_errors)
    wiener = evaluate.reference_curve(None, split, SIGMAS, **options)
    expected = dg.denoising_error(dg.GaussianDenoiser.fit(split.holdout.x), split.val.x[:16], SIGMAS)
    torch.testing.assert_close(wiener.val_errors, expected)
    with pytest.raises(ValueError, match="split has no rest"):
        evaluate.reference_curve(None, dataclasses.replace(split, rest=None), SIGMAS)


def test_denoised_images_are_those_whose_error_is_measured(snapshot):
    """In 256 steps, with the noise of `gap_curves`."""
    points = CONFIG.data.load().val[:70]  # more than one stream of noise
    sigmas = dg.log_sigmas(3, 0.1, 4)
    noisy, denoised = evaluate.denoised(snapshot, points, sigmas)
    noise = torch.cat([fixed_noise(points.x[:64], 1, 0, 0), fixed_noise(points.x[64:], 1, 0, 64)])[:, 0]
    for sigma, shown, estimate in zip(sigmas.float(), noisy, denoised, strict=True):
        x = points.x + sigma * noise
        torch.testing.assert_close(shown, x.clamp(-1, 1))
        exact = snapshot.denoiser()(x, sigma).clamp(-1, 1)
        torch.testing.assert_close(estimate, exact, rtol=0, atol=1 / 255 + 1e-5)
    assert torch.equal(evaluate.denoised(snapshot, points, sigmas)[1], denoised)


@given(st.integers(0, 255))
def test_images_of_256_steps_are_kept_without_loss(step):
    image = torch.full((2, 1, 4, 4), step, dtype=torch.uint8)
    assert torch.equal(evaluate.to_bytes(evaluate.from_bytes(image)), image)


def test_samples_are_kept_as_images_of_256_steps(tmp_path):
    (*_, last) = dg.train(CONFIG, root=tmp_path, progress=False)
    found, exact = evaluate.samples(last, 5, steps=3), evaluate.drawn(last, 5, steps=3, progress=False)
    assert found.abs().max() <= 1
    torch.testing.assert_close(found, exact.clamp(-1, 1), rtol=0, atol=0.5 / 127.5 + 1e-6)
    files = list((last.run.folder / "results").glob("samples-*"))
    assert len(files) == 1
    assert files[0].stat().st_size < 5 * 14 * 14 + 2000, "a byte a pixel"
