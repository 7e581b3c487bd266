"""95 % intervals of the gap cover it: many splits, each with a denoiser fitted to it, whose gap has a closed form.

y ~ N(μ_c, I) in K classes. The denoiser knows everything but the class means, which it takes from the m training points
of each class: D(x) = m̂_c + k (x − m̂_c), k = 1/(1 + σ²), the Gaussian denoiser of the class. Hence

    E_train = (1 − k)² (1 − 1/m) + k² σ²,    E_val = (1 − k)² (1 + 1/m) + k² σ²

in expectation over splits. Few points a class are many parameters a point, and a large gap. Since everything moves with
the μ_c, they are 0 here. One trial is one row, where a `GapCurve` has a noise level.
"""

import pytest
import torch

import diffgen as dg
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.gap import GapCurve, fixed_noise
from diffgen.rng import generator

DIMENSIONS, TRIALS, IMAGES = 8, 1000, 200


class ClassMeans:
    """The denoiser above, for checking the simulation against the library."""

    def __init__(self, means):
        self.means = means

    def __call__(self, x, sigma, labels=None):
        mean = self.means[labels]
        return mean + (x - mean) / (1 + sigma[:, None] ** 2)


def errors(y, means, noise, sigma):
    """‖D(y + σ n) − y‖² / d with D − y = (1 − k)(m̂ − y) + k σ n."""
    k = 1 / (1 + sigma**2)
    return ((1 - k) * (means - y) + k * sigma * noise).square().mean(-1)


def expected(sigma, spread):
    """E with ‖m̂ − y‖² / d = spread in the mean."""
    k = 1 / (1 + sigma**2)
    return (1 - k) ** 2 * spread + k**2 * sigma**2


def simulate(classes, m, sigma, seed=0):
    """Curve and reference curve over IMAGES images a split, and the gap given the denoiser, (TRIALS,)."""
    random = generator(seed, classes, m)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    train = normal(TRIALS, classes, m, DIMENSIONS)
    means = train.mean(2)
    c = torch.arange(classes).repeat_interleave(m)
    shown = torch.randperm(classes * m, generator=random)[:IMAGES]
    y, c = train.flatten(1, 2)[:, shown], c[shown]
    val, noise = normal(TRIALS, IMAGES, DIMENSIONS), normal(TRIALS, IMAGES, DIMENSIONS)
    guess = 0.3 * normal(1, classes, DIMENSIONS)  # a reference that saw neither split
    curve, reference = (
        GapCurve(torch.ones(TRIALS), *(errors(points, centre[:, c], noise, sigma) for points in (y, val)))
        for centre in (means, guess.expand(TRIALS, -1, -1))
    )
    within = (train - means[:, :, None]).square().mean((1, 2, 3))
    given = expected(sigma, 1 + means.square().mean((1, 2))) / expected(sigma, within) - 1
    return curve, reference, given


def coverage(curve, truth):
    return ((curve.gap - truth).abs() < 1.96 * curve.stderr).double().mean()


def test_the_simulation_is_what_the_library_measures():
    """The same errors, image by image, from `generalization_gap` with its own noise, and their expectation."""
    sigma, m = 0.8, 5
    y = torch.randn(4_000, DIMENSIONS, generator=generator(1), dtype=torch.float64)
    labels = torch.arange(400).repeat_interleave(m)
    means = y[:2_000].reshape(400, m, -1).mean(1)
    train, val = dg.Points(y[:2_000], labels), dg.Points(y[2_000:], labels)
    curve = dg.generalization_gap(ClassMeans(means), train, val, torch.tensor([sigma]))
    noise = torch.cat([fixed_noise(part, 1, 0, 64 * i)[:, 0] for i, part in enumerate(y[:2_000].split(64))])
    for theirs, points, spread in (
        (curve.train_errors, y[:2_000], 1 - 1 / m),
        (curve.val_errors, y[2_000:], 1 + 1 / m),
    ):
        ours = errors(points, means[labels], noise, sigma)
        assert torch.allclose(theirs[0], ours)
        assert abs(ours.mean() - expected(sigma, spread)) < 4 * ours.std() / len(ours) ** 0.5


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_intervals_cover_the_gap_of_this_denoiser(sigma):
    """Given the denoiser, the gap between the population and its own training set, of which a tenth is evaluated."""
    curve, reference, given = simulate(400, 5, sigma)
    assert given.mean() > (0.05 if sigma == 0.5 else 0.3)
    better = control_variate_adjusted(curve, reference)
    assert 0.93 <= coverage(curve, given) <= 0.97
    assert 0.93 <= coverage(better, given) <= 0.97
    assert better.stderr.mean() < curve.stderr.mean() / 1.5


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_intervals_cover_the_expected_gap(sigma):
    """The gap in expectation over splits, when all training images are evaluated."""
    m = 20
    curve, reference, _ = simulate(IMAGES // m, m, sigma)
    truth = expected(sigma, 1 + 1 / m) / expected(sigma, 1 - 1 / m) - 1
    assert 0.93 <= coverage(curve, truth) <= 0.97
    # what differs from one fit to the next is in no image's error: with less sampling variability it begins to count
    assert 0.90 <= coverage(control_variate_adjusted(curve, reference), truth) <= 0.95


def test_intervals_are_conservative_for_a_training_set_that_is_evaluated_whole():
    """No image of it is left out, so only the noise is a matter of chance, yet the images are counted as well."""
    curve, _, given = simulate(10, 20, 1.5)
    assert coverage(curve, given) > 0.96
