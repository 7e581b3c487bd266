"""Peak, area and overfit onset of gap curves: exact where a formula gives them, and intervals that cover."""

import math

import pytest
import torch

import diffgen as dg
from diffgen.metrics.bootstrap import (
    area,
    bootstrap,
    overfit_onset,
    parabolic_peak,
    peak,
    peak_change,
    percentile_interval,
)
from diffgen.metrics.gap import GapCurve
from diffgen.rng import generator

SIGMAS = dg.log_sigmas(9, 0.1, 10, dtype=torch.float64)
HEIGHT, PEAK_SIGMA, WIDTH = 0.3, 1.3, 4.0


def bump(sigmas=SIGMAS):
    """A gap that is a parabola in ln σ."""
    return HEIGHT - (sigmas / PEAK_SIGMA).log().square() / WIDTH**2


def curve_of(gap, n, seed):
    """Errors of n images a split with that gap: images differ in how hard they are, at all σ alike and at each."""
    random = generator(seed, n)
    parts = []
    for level in (torch.ones(len(SIGMAS)), 1 + gap):
        hard = 1 + 0.5 * torch.rand(1, n, generator=random, dtype=torch.float64)
        own = 0.05 * torch.randn(len(SIGMAS), n, generator=random, dtype=torch.float64)
        parts.append(level[:, None] * (hard + own))
    return GapCurve(SIGMAS, *parts)


@pytest.mark.parametrize("sigmas", [SIGMAS, torch.tensor([0.1, 0.3, 0.5, 1.0, 4.0, 5.0]).double()])
def test_the_peak_of_a_parabola_is_exact(sigmas):
    """On an uneven grid, and at its ends, as well."""
    sigma, height = parabolic_peak(bump(sigmas), sigmas)
    assert sigma == pytest.approx(PEAK_SIGMA)
    assert height == pytest.approx(HEIGHT)
    gaps = torch.stack([sigmas, -sigmas, bump(sigmas)])
    sigma, height = parabolic_peak(gaps, sigmas)
    assert sigma.tolist() == pytest.approx([float(sigmas[-1]), float(sigmas[0]), PEAK_SIGMA])
    assert height.tolist() == pytest.approx([float(sigmas[-1]), -float(sigmas[0]), HEIGHT])


def test_area_of_a_constant_gap_and_its_error():
    flat = GapCurve(SIGMAS, torch.ones(9, 4), 1.2 * torch.ones(9, 4))
    assert float(area(flat)) == pytest.approx(0.2 * math.log(100), rel=1e-5)
    assert area(flat).stderr == pytest.approx(0, abs=1e-12)
    curve = curve_of(bump(), 400, seed=0)
    train, val = bootstrap([curve], n_resamples=2000)
    areas = torch.trapezoid((val / train - 1)[:, 0], SIGMAS.log())
    assert area(curve).stderr == pytest.approx(float(areas.std()), rel=0.1)
    with pytest.raises(ValueError, match="sigmas has 1 noise level"):
        area(GapCurve(SIGMAS[:1], torch.ones(1, 4), torch.ones(1, 4)))


def test_intervals_of_peak_and_area_cover():
    exact = torch.trapezoid(bump(), SIGMAS.log())
    hits = []
    for seed in range(300):
        curve = curve_of(bump(), 100, seed)
        top, total = peak(curve, n_resamples=300, seed=seed), area(curve).interval()
        hits.append(
            [low <= truth <= high for truth, (low, high) in
             ((HEIGHT, top.height[1:]), (PEAK_SIGMA, top.sigma[1:]), (float(exact), total))]
        )  # fmt: skip
    shares = torch.tensor(hits).double().mean(0)
    assert ((shares > 0.92) & (shares < 0.98)).all(), shares


def test_onset_is_the_snapshot_of_the_smallest_validation_error():
    """E_val falls and rises at the first noise level, only falls at the second."""
    val = torch.tensor([[3.0, 3.0], [2.0, 2.5], [1.0, 2.0], [1.5, 1.0]])
    exact = [GapCurve(SIGMAS[:2], torch.ones(2, 50), v[:, None].expand(2, 50)) for v in val]
    assert [x.tolist() for x in overfit_onset(exact, n_resamples=50)] == [[2, 3]] * 3
    noise = torch.randn(4, 2, 50, generator=generator(4))
    onset = overfit_onset([GapCurve(c.sigmas, c.train_errors, c.val_errors + 3 * e) for c, e in zip(exact, noise)])
    assert (onset.low <= onset.at).all()
    assert (onset.at <= onset.high).all()
    assert onset.low[0] < 2 or onset.high[0] > 2  # noise as large as the differences leaves it open


def test_a_hard_image_does_not_move_an_onset():
    """The same images are drawn for all snapshots, so what they share cancels."""
    hard = 100 * torch.rand(1, 60, generator=generator(5))
    curves = [GapCurve(SIGMAS[:1], hard, hard + level) for level in (1.0, 0.5, 0.7)]
    assert [x.tolist() for x in overfit_onset(curves)] == [[1]] * 3


def test_confidence_is_checked():
    with pytest.raises(ValueError, match="confidence is 95"):
        percentile_interval(torch.rand(10), 95)


def test_a_change_of_the_peak_is_that_of_pairs():
    """Two bumps over the same images: what those share cancels, and the differences are those of the bumps."""
    random = torch.Generator().manual_seed(0)
    sigmas, n = dg.log_sigmas(9, 0.1, 10), 400
    difficulty = 1 + 0.3 * torch.randn(2, 1, n, generator=random)
    shape = lambda height, at: (height - (sigmas / at).log().square() / 16)[:, None]  # noqa: E731, a parabola
    a, b = (
        dg.GapCurve(sigmas, difficulty[0].expand(9, n), (1 + shape(*of)) * difficulty[1])
        for of in ((0.3, 0.8), (0.2, 1.6))
    )
    height, log_sigma = peak_change(a, b)
    ratio = float(difficulty[1].mean() / difficulty[0].mean())
    assert float(height) == pytest.approx(0.1 * ratio, abs=1e-4)
    assert float(log_sigma) == pytest.approx(math.log(0.8 / 1.6), abs=1e-3)
    assert height.stderr < a.peak.stderr / 3
    same = peak_change(a, a)
    assert [float(same[0]), same[0].stderr, float(same[1]), same[1].stderr] == pytest.approx([0] * 4, abs=1e-9)


def test_intervals_of_a_change_cover():
    """Of height and noise level, for curves over the same images with chance of their own at each noise level."""
    hits = []
    for seed in range(200):
        a, b = curve_of(bump(), 100, seed), curve_of(bump(), 100, seed)
        random = generator(seed, 5)
        a, b = (
            GapCurve(SIGMAS, c.train_errors, c.val_errors + 0.05 * torch.randn(9, 100, generator=random))
            for c in (a, b)
        )
        hits.append(
            [low <= 0 <= high for low, high in (e.interval() for e in peak_change(a, b, n_resamples=200, seed=seed))]
        )
    shares = torch.tensor(hits).double().mean(0)
    assert ((shares > 0.9) & (shares < 0.99)).all(), shares
