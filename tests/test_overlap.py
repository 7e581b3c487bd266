"""How states overlap with the noisy training data: by hand, from all differences, and in control cases."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import chi2
from torch import Tensor

import diffgen as dg
from diffgen.metrics import neighbours, overlap
from diffgen.metrics.gap import predictions
from diffgen.metrics.overlap import in_shells, noisy, optimal_distances, shell_ratios


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def images() -> dg.Split:
    return dg.load_data("fashion_mnist", size=14, n_train=600, n_val=300)


# States


def test_noisy_states_are_those_of_the_denoising_error() -> None:
    y, sigma = randn(150, 3), 0.7
    seen = torch.cat([x[0, :, 0] for _, _, x in predictions(lambda x, s, c: x, y, torch.tensor([sigma]), seed=5)])
    assert torch.equal(noisy(y, sigma, seed=5), seen)
    assert torch.equal(noisy(y[:100], sigma, seed=5), seen[:100])
    assert noisy(y[:0], sigma).shape == (0, 3)


# Shells


def test_ratios_by_hand() -> None:
    """σ √d = 2 on a line of four dimensions: the ratio nearest to 1 is not that of the nearest point."""
    train = torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 0, 0]])
    x = torch.tensor([[0.0, 0, 0, 0], [2.0, 0, 0, 0], [2.9, 0, 0, 0], [9.0, 0, 0, 0], [0.0, 2, 0, 0]])
    assert shell_ratios(x, 1.0, train).tolist() == pytest.approx([1.5, 1, 1.45, 3, 1], rel=1e-6)


@pytest.mark.parametrize("chunks", ["one", "many"])
@pytest.mark.parametrize("sigma", [0.002, 0.05, 0.5, 5.0, 80.0])
def test_shells_are_those_of_all_distances(
    images: dg.Split, sigma: float, chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chunks == "many":
        monkeypatch.setattr(neighbours, "PAIRS_AT_ONCE", 40 * 90)
        monkeypatch.setattr(overlap, "QUERIES_AT_ONCE", 40)
    x, d = torch.cat([noisy(images.train.x[:50], sigma), noisy(images.val.x[:50], sigma)]), 196
    r = cdist(x.double().flatten(1), images.train.x.double().flatten(1)) / sigma
    nearest_to_1 = r[np.arange(100), np.abs(r / math.sqrt(d) - 1).argmin(1)] / math.sqrt(d)
    np.testing.assert_allclose(shell_ratios(x, sigma, images.train.x), nearest_to_1, rtol=1e-9)
    for c in (0.5, 5.0):
        low, high = d - 2 * math.sqrt(c * d), d + 2 * math.sqrt(c * d) + 2 * c
        expected = ((r**2 >= low) & (r**2 <= high)).any(1)
        np.testing.assert_array_equal(in_shells(x, sigma, images.train.x, c), expected)


def test_a_shell_that_is_further_from_its_middle_than_another_counts_too() -> None:
    """At d = 100 and c = 5 shells reach from 7.43 to 12.44: 7.45 is in; 12.5 is nearer to the middle, and out."""
    train = torch.zeros(2, 100)
    train[0, 0], train[1, 0] = 7.45, -12.5
    assert shell_ratios(torch.zeros(1, 100), 1.0, train).item() == pytest.approx(1.25)
    assert in_shells(torch.zeros(1, 100), 1.0, train).item()
    assert not in_shells(torch.zeros(1, 100), 1.0, train[1:]).item()


@pytest.mark.parametrize("d", [2, 16, 200])
def test_a_noisy_point_is_in_its_own_shell_as_often_as_chi_squared_says(d: int) -> None:
    c, n = 1.0, 20_000
    inside = in_shells(3 + 0.1 * randn(n, d), 0.1, torch.full((1, d), 3.0), c)
    expected = chi2.cdf(d + 2 * math.sqrt(c * d) + 2 * c, d) - chi2.cdf(d - 2 * math.sqrt(c * d), d)
    assert expected >= 1 - 2 * math.exp(-c)
    assert inside.double().mean() == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / n))


# The optimal denoiser


def test_concentration_is_that_of_all_logits(images: dg.Split) -> None:
    for sigma in (0.002, 0.3, 2.0, 80.0):
        x = noisy(images.val.x, sigma)
        logits = -(cdist(x.double().flatten(1), images.train.x.double().flatten(1)) ** 2) / (2 * sigma**2)
        weights = np.exp(logits.max(1) - logsumexp(logits, axis=1))
        concentration = overlap.overlap(x, sigma, images.train.x).concentration
        assert concentration == pytest.approx(weights.mean(), rel=1e-6)
        assert concentration.stderr == pytest.approx(weights.std(ddof=1) / math.sqrt(300), rel=1e-5, abs=1e-12)


def test_concentration_goes_from_one_to_equal_weights(images: dg.Split) -> None:
    x = images.val.x[:50]
    assert overlap.overlap(x, 1e-3, images.train.x).concentration == 1
    assert overlap.overlap(x, 1e4, images.train.x).concentration == pytest.approx(1 / 600, rel=1e-4)


def test_distance_to_the_optimal_denoiser_in_closed_form() -> None:
    """Of one training point, y* is that point: ‖D − y‖² / d; and of the optimal denoiser itself it is 0."""
    y, x = randn(1, 2, 3), randn(700, 2, 3, seed=1)
    distances = optimal_distances(lambda x, sigma, labels: x / 2, x, 0.5, y)
    torch.testing.assert_close(distances, (x / 2 - y).double().square().mean((1, 2)))
    points, classes = dg.Points(randn(30, 2, 3, seed=2), torch.arange(30) % 3), torch.arange(700) % 3
    assert optimal_distances(dg.OptimalDenoiser(points.x), x, 0.5, points).max() < 1e-12
    conditional = dg.OptimalDenoiser(points.x, points.labels)
    assert optimal_distances(conditional, x, 0.5, points, classes).max() < 1e-12
    assert optimal_distances(conditional, x, 0.5, points.x, classes).mean() > 0.01
    assert optimal_distances(conditional, x[:0], 0.5, points).shape == (0,)


# Control cases


def test_controls(images: dg.Split) -> None:
    """Training data is on the noisy training data at every σ; validation data only where σ √d is large; noise never."""
    train, small, large = images.train, 0.1, 10.0
    wiener = dg.GaussianDenoiser.fit(train.x)
    for sigma in (small, large):
        of_train = overlap.overlap(noisy(train.x[:300], sigma), sigma, train, denoiser=wiener)
        assert of_train.shell_ratio == pytest.approx(1, abs=0.02)
        assert of_train.coverage > 0.98
        assert of_train.shell_ratio.n == of_train.distance.n == 300
    on = overlap.overlap(noisy(train.x[:300], small), small, train, denoiser=wiener)
    off = overlap.overlap(noisy(images.val.x, small), small, train, denoiser=wiener)
    assert off.shell_ratio > 1.5
    assert off.coverage < 0.1
    assert on.distance < off.distance  # y* returns the point itself, or its neighbour
    assert overlap.overlap(noisy(images.val.x, large), large, train).coverage > 0.98
    blank = overlap.overlap(10 * randn(300, 1, 14, 14), 1.0, train)
    assert blank.coverage == 0
    assert blank.distance is None


def test_trajectories_of_the_optimal_denoiser_end_on_the_training_data(images: dg.Split) -> None:
    train, sigmas = images.train.x[:50], dg.edm_sigmas(40)
    for state in dg.trajectory(dg.OptimalDenoiser(train), 80 * randn(32, 1, 14, 14), sigmas):
        if 0 < state.sigma < 0.05:
            at_the_end = overlap.overlap(state.x, state.sigma, train, denoiser=dg.OptimalDenoiser(train))
            assert at_the_end.shell_ratio == pytest.approx(1, abs=0.1)
            assert at_the_end.distance < 1e-10
            assert at_the_end.concentration == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shell_ratios(randn(2, 3), 0.0, randn(5, 3)), "sigma is 0: a noise level is positive"),
        (lambda: shell_ratios(randn(2, 3), 1.0, randn(0, 3)), "train is empty"),
        (lambda: shell_ratios(randn(2, 3), 1.0, randn(5, 4)), r"queries are \(2, 3\) and references \(5, 4\)"),
        (lambda: in_shells(randn(2, 3), 1.0, randn(5, 3), c=-1), "c is -1: shells have a thickness"),
        (lambda: overlap.overlap(randn(1, 3), 1.0, randn(5, 3)), "x has 1 states: means with errors need two"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_no_states() -> None:
    assert shell_ratios(torch.zeros(0, 3), 1.0, randn(5, 3)).shape == (0,)
    assert in_shells(torch.zeros(0, 3), 1.0, randn(5, 3)).shape == (0,)
