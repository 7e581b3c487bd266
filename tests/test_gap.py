"""Laws of the denoising error and the gap: closed forms, one fixed noise an image, errors that cover."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import diffgen as dg
from diffgen.metrics.bootstrap import bootstrap
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.gap import GapCurve, paired_difference, relative_error_change
from diffgen.rng import generator

SIGMAS = dg.log_sigmas(5, 0.1, 10, dtype=torch.float64)


def gaussian(n, d=4, seed=0, scale=1.0):
    return scale * torch.randn(n, d, generator=generator(seed, 7), dtype=torch.float64)


class Zero:
    """The denoiser that always answers 0: its error is the size of the data, whatever the noise."""

    def __call__(self, x, sigma, labels=None):
        return torch.zeros_like(x)


class Identity:
    """The denoiser that returns its input: its error is the noise."""

    def __call__(self, x, sigma, labels=None):
        return x


def test_error_of_zero_and_of_identity():
    y = gaussian(100)
    assert torch.allclose(dg.denoising_error(Zero(), y, SIGMAS), y.square().mean(1).expand(5, -1))
    errors = dg.denoising_error(Identity(), y, SIGMAS, draws=3)
    relative = errors / SIGMAS[:, None] ** 2
    assert torch.allclose(relative, relative[0].expand(5, -1))  # the same noise at every σ
    mean = dg.denoising_error(Identity(), gaussian(4000), SIGMAS[:1]).mean() / SIGMAS[0] ** 2
    assert abs(mean - 1) < 4 * math.sqrt(2 / (4 * 4000))  # E n² = 1


def test_norms_agree():
    y = gaussian(10)
    mse, l2, psnr = (dg.denoising_error(Identity(), y, SIGMAS, norm=norm) for norm in ("mse", "l2", "psnr"))
    assert torch.allclose(l2, (4 * mse).sqrt())
    assert torch.allclose(psnr, 10 * (4 / mse).log10())
    with pytest.raises(ValueError, match="norm is 'l1'"):
        dg.denoising_error(Identity(), y, SIGMAS, norm="l1")


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 150), batch=st.integers(1, 700), draws=st.integers(1, 3), seed=st.integers(0, 5))
def test_noise_belongs_to_place_and_seed(n, batch, draws, seed):
    """Neither the batch size, nor how many images follow, nor the denoiser changes an image's noise."""
    y, denoiser = gaussian(150), dg.GaussianDenoiser(torch.zeros(4), torch.eye(4))
    whole = dg.denoising_error(denoiser, y, SIGMAS, draws=draws, seed=seed)
    part = dg.denoising_error(denoiser, y[:n], SIGMAS, draws=draws, seed=seed, batch_size=batch)
    assert torch.allclose(whole[:, :n], part, rtol=1e-9)


def test_no_call_is_larger_than_the_batch_size():
    """However many images, noise levels and draws there are: so memory does not grow with them."""
    rows = []

    class Recorder(Identity):
        def __call__(self, x, sigma, labels=None):
            assert len(x) == len(sigma) == len(labels)
            rows.append(len(x))
            return x

    labels = torch.zeros(1_000, dtype=torch.long)
    dg.denoising_error(Recorder(), gaussian(1_000), SIGMAS, labels=labels, draws=7, batch_size=100)
    assert max(rows) == 100
    assert sum(rows) == 1_000 * 7 * len(SIGMAS)


def test_wiener_error_has_its_closed_form():
    """E(σ) of the Wiener filter on its own data is mean λσ²/(λ + σ²)."""
    variances = torch.tensor([4.0, 1.0, 0.25, 0.01], dtype=torch.float64)
    y = gaussian(20_000) * variances.sqrt()
    errors = dg.denoising_error(dg.GaussianDenoiser(torch.zeros(4), variances.diag()), y, SIGMAS)
    exact = (variances * SIGMAS[:, None] ** 2 / (variances + SIGMAS[:, None] ** 2)).mean(1)
    stderr = errors.std(1) / math.sqrt(len(y))
    assert ((errors.mean(1) - exact).abs() < 4 * stderr).all()


def test_gap_of_a_denoiser_that_saw_neither_split_covers_zero():
    """Over many pairs of splits, the 95 % interval holds 0 in 95 % of them, with unequal sizes as well."""
    denoiser, hits = dg.GaussianDenoiser(torch.zeros(4), torch.eye(4)), []
    for trial in range(400):
        y = gaussian(300, seed=trial + 1)
        curve = dg.generalization_gap(denoiser, y[:120], y[120:], SIGMAS[[1, 3]], seed=trial)
        hits.append((curve.gap.abs() < 1.96 * curve.stderr).double())
    share = torch.stack(hits).mean()
    assert 0.92 < share < 0.98


def test_optimal_denoiser_has_a_gap_and_recalls_at_low_noise():
    y = gaussian(200)
    curve = dg.generalization_gap(dg.OptimalDenoiser(y[:100]), y[:100], y[100:], SIGMAS)
    assert curve.gap[0] > 10
    assert curve.peak > 0
    assert curve.peak_sigma == SIGMAS[0]
    assert curve.n == 100


def test_stderr_agrees_with_the_bootstrap():
    """With noise that the i-th images share, and splits of unequal size."""
    y = gaussian(900)
    curve = dg.generalization_gap(dg.ErrorProne(y[:500], 0.7), y[:500], y[500:], SIGMAS[2:])
    train, val = bootstrap([curve], n_resamples=4000)
    ratio = (val / train).std(0)[0] / curve.stderr
    assert ((ratio > 0.85) & (ratio < 1.15)).all()


def test_paired_difference_of_a_curve_and_itself_is_certain():
    y = gaussian(100)
    curve = dg.generalization_gap(dg.OptimalDenoiser(y[:50]), y[:50], y[50:], SIGMAS)
    estimate, stderr = paired_difference(curve, curve)
    assert (estimate == 0).all()
    assert (stderr == 0).all()


def test_adjusted_gap_has_less_sampling_variability_and_the_same_mean():
    """Errors made of a common difficulty, the reference's too, and a true gap of 0.1 at every noise level."""
    randomness = generator(3)
    raw, adj = [], []
    for _ in range(200):
        hard = [1 + 0.5 * torch.rand(1, 100, generator=randomness).double() for _ in range(2)]
        own = [0.02 * torch.randn(1, 100, generator=randomness).double() for _ in range(2)]
        curve = GapCurve(SIGMAS[:1], hard[0] + own[0], hard[1] + own[1] + 0.125)
        reference = GapCurve(SIGMAS[:1], 3 * hard[0], 3 * hard[1])
        raw.append(curve.gap)
        better = control_variate_adjusted(curve, reference)
        adj.append((better.gap, better.stderr))
    gaps, stderrs = (torch.cat(values) for values in zip(*adj))
    assert abs(gaps.mean() - 0.1) < 4 * gaps.std() / math.sqrt(200)
    assert gaps.std() < torch.cat(raw).std() / 4
    assert 0.85 < stderrs.mean() / gaps.std() < 1.15


def test_empty_and_wrong_arguments_are_named():
    y = gaussian(10)
    with pytest.raises(ValueError, match="val is empty"):
        dg.generalization_gap(Zero(), y, y[:0], SIGMAS)
    with pytest.raises(ValueError, match="draws is 0"):
        dg.denoising_error(Zero(), y, SIGMAS, draws=0)
    with pytest.raises(ValueError, match="sigmas is empty"):
        dg.denoising_error(Zero(), y, SIGMAS[:0])


def test_a_change_of_the_validation_error_is_that_of_pairs():
    sigmas, before = torch.tensor([0.5, 2.0]), 1 + torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    a, b = (dg.GapCurve(sigmas, before, errors) for errors in (1.2 * before, before))
    change = relative_error_change(a, b, 1.9)
    assert float(change) == pytest.approx(0.2, rel=1e-5)
    assert change.stderr == pytest.approx(0.2 * float(before[1].std() / before[1].mean()) / 50**0.5, rel=1e-4)
    assert float(relative_error_change(b, b, 0.5)) == relative_error_change(b, b, 0.5).stderr == 0
