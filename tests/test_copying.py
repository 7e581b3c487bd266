"""AuthPct, C_T and the recall rate: by hand, from SciPy, and in control cases."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, norm
from torch import Tensor

import diffgen as dg
from diffgen.features import kmeans
from diffgen.metrics.copying import authentic_fraction, copying_score, rank_sum, recall_rate, recalled
from diffgen.metrics.neighbours import copies, originals
from diffgen.metrics.overlap import noisy


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def images() -> dg.Split:
    return dg.load_data("fashion_mnist", size=14, n_train=1500, n_val=600)


def test_originals_are_the_points_that_copies_are_of(images: dg.Split) -> None:
    train, order = images.train.x, torch.tensor([5, 3, 900])
    samples = torch.cat([train[order] + 0.01 * randn(3, 1, 14, 14), randn(3, 1, 14, 14)])
    assert originals(samples, train).tolist() == [5, 3, 900, -1, -1, -1]
    assert copies(samples, train).tolist() == [True] * 3 + [False] * 3


# AuthPct


def test_authenticity_by_hand() -> None:
    """Training points 0, 1 and 5: 0 and 1 are 1 apart, 5 is 4 from 1."""
    train, samples = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[-0.9], [-1.1], [2.5], [3.5], [8.9], [9.1]])
    expected = [False, True, True, False, False, True]
    assert [authentic_fraction(x[None], train) == 1 for x in samples] == expected
    assert authentic_fraction(samples, train) == 0.5


def test_authenticity_on_a_line_is_a_third() -> None:
    """For points of a Poisson process. The nearest is at r ~ Exp(2); its neighbour beyond has to be nearer than r."""
    share = authentic_fraction(1000 * torch.rand(4000, 1).double(), 1000 * torch.rand(5000, 1).double())
    assert share == pytest.approx(1 / 3, abs=4 * share.stderr + 0.02)


def test_authenticity_from_all_distances(images: dg.Split) -> None:
    train, val = images.train.x.flatten(1).double(), images.val.x.flatten(1).double()
    to_train = (val[:, None] - train).norm(dim=2)
    within = torch.cdist(train, train, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf).amin(1)
    distance, index = to_train.min(1)
    share = authentic_fraction(images.val.x, images.train.x)
    assert share == (distance > within[index]).double().mean().item()
    assert share.n == 600


def test_controls_of_authenticity(images: dg.Split) -> None:
    train, fresh = images.train.x, authentic_fraction(images.val.x, images.train.x)
    assert authentic_fraction(train[:300], train) == 0
    assert authentic_fraction(train[:300] + 0.02 * randn(300, 1, 14, 14), train) < 0.02
    assert authentic_fraction(randn(300, 1, 14, 14), train) > 0.9
    assert 0.3 < fresh < 0.8


# C_T


@pytest.mark.parametrize(("n", "m", "ties"), [(50, 80, False), (200, 30, False), (60, 60, True), (2, 3, False)])
def test_rank_sums_are_those_of_scipy(n: int, m: int, ties: bool) -> None:
    a, b = randn(n).double() - 0.2, randn(m, seed=1).double()
    if ties:
        a, b = a.round(decimals=0), b.round(decimals=0)
    theirs = mannwhitneyu(a.numpy(), b.numpy(), use_continuity=False, method="asymptotic")
    ours = rank_sum(a, b)
    assert ours.u == pytest.approx(theirs.statistic)
    assert 2 * norm.cdf(-abs(ours.z)) == pytest.approx(theirs.pvalue, rel=1e-9)
    assert np.sign(ours.z) == np.sign(ours.u - n * m / 2)


def test_rank_sums_in_the_extremes() -> None:
    zeros = torch.zeros(9)
    assert rank_sum(zeros, zeros)[1:] == (0, 0)
    assert rank_sum(zeros, zeros + 1).u == 0
    assert rank_sum(zeros + 1, zeros).u == 81


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_rank_sum_knows_its_error(shift: float) -> None:
    """Under the null z has variance 1; where there is an effect, the spread of z over trials is what stderr says."""
    trials = [rank_sum(randn(60, seed=2 * s) + shift, 2 * randn(90, seed=2 * s + 1)) for s in range(600)]
    z, stderr = (torch.tensor([getattr(t, name) for t in trials]) for name in ("z", "stderr"))
    assert stderr.mean() == pytest.approx(z.std().item(), rel=0.12)  # a spread of 600 is known to 3 %


def test_a_score_of_one_cell_is_the_rank_sum_and_of_many_their_weighted_mean() -> None:
    train, samples, held_out = randn(300, 3), 0.9 * randn(150, 3, seed=1), randn(200, 3, seed=2)
    to_train = [torch.cdist(x.double(), train.double()).amin(1) for x in (samples, held_out)]
    assert copying_score(samples, train, held_out, cells=1) == pytest.approx(rank_sum(*to_train).z, rel=1e-6)
    partition, total = kmeans(train, 4), 0.0
    in_cells = [partition.assign(x) for x in (samples, held_out)]
    assert min(c.bincount(minlength=4).min() for c in in_cells) >= 10
    for cell in range(4):
        theirs = mannwhitneyu(*(d[c == cell].numpy() for d, c in zip(to_train, in_cells)), use_continuity=False)
        n, m = (int((c == cell).sum()) for c in in_cells)
        total += m / 200 * (theirs.statistic - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    score = copying_score(samples, train, held_out, cells=4, at_least=10)
    assert score == pytest.approx(total, rel=1e-6)
    assert score.n == 150


def test_cells_with_few_points_are_left_out() -> None:
    train = torch.cat([randn(100, 2), 50 + randn(100, 2, seed=1)])
    samples, held_out = 0.5 * randn(60, 2, seed=2), torch.cat([randn(80, 2, seed=3), 50 + randn(80, 2, seed=4)])
    score = copying_score(samples, train, held_out, cells=2)
    assert score == pytest.approx(float(copying_score(samples, train[:100], held_out[:80], cells=1)), rel=1e-9)
    assert score.n == 60


def test_the_score_has_the_spread_that_the_docstring_says_under_the_null() -> None:
    scores = [
        copying_score(*(randn(n, 2, seed=3 * s + i) for i, n in enumerate((200, 100, 200))), cells=3, at_least=5)
        for s in range(200)
    ]
    assert np.std(scores) == pytest.approx(1 / math.sqrt(3), rel=0.25)
    assert np.mean([s.stderr for s in scores]) == pytest.approx(np.std(scores), rel=0.25)
    assert np.mean(scores) == pytest.approx(0, abs=4 * np.std(scores) / math.sqrt(200))


def test_controls_of_the_score(images: dg.Split) -> None:
    """Copies are far below 0, fresh images near it, and what is like no image far above."""
    train, val = images.train.x, images.val.x
    fresh, held_out = val[:300], val[300:]
    noisy_copies = train[:300] + 0.02 * randn(300, 1, 14, 14)
    assert copying_score(noisy_copies, train, held_out) < -7
    assert copying_score(torch.cat([noisy_copies[:75], fresh[:225]]), train, held_out) < -1.5
    assert abs(copying_score(fresh, train, held_out)) < 2
    assert copying_score(fresh + 0.3 * randn(300, 1, 14, 14), train, held_out) > 3


# The recall rate


def test_the_optimal_denoiser_recalls_from_small_noise_and_not_from_large(images: dg.Split) -> None:
    train, grid = images.train[:200], dg.edm_sigmas(24)
    denoiser = dg.OptimalDenoiser(train.x)
    for sigma, expected in ((0.05, 1.0), (0.3, 1.0)):
        start = int((grid - sigma).abs().argmin())
        assert recall_rate(denoiser, train, grid[start:], n=100) == expected
    lost = recall_rate(denoiser, train, grid, n=100)
    assert lost < 0.1
    assert lost.n == 100


def test_a_denoiser_without_memory_recalls_by_chance_from_large_noise_and_either_set_alike(images: dg.Split) -> None:
    """From small noise there is no way to get lost, whatever the denoiser: hence the null."""
    train, val, grid = images.train[:500], images.val[:500], dg.edm_sigmas(24)
    wiener = dg.GaussianDenoiser.fit(images.train.x[500:])
    assert recall_rate(wiener, train, grid, n=300) < 0.02
    assert recall_rate(wiener, train, dg.edm_sigmas(4, sigma_max=0.01), n=300) > 0.98
    middle = dg.edm_sigmas(12, sigma_max=0.08)
    a, b = recall_rate(wiener, train, middle), recall_rate(wiener, val, middle)
    assert 0.05 < a < 0.95
    assert abs(a.minus(b)) < 4 * math.hypot(a.stderr, b.stderr)


def test_a_recall_by_hand() -> None:
    """Points 0 and 4; with D = x a trajectory stays where it starts, so its point is recalled if |σ n| < 1."""
    points, sigma = torch.tensor([[0.0], [4.0]]), 1.2
    still = recalled(lambda x, s, labels: x, points, torch.tensor([sigma, 0.0]), seed=2)
    x = noisy(points, sigma, seed=2)
    assert torch.equal(still, originals(x, points) == torch.arange(2))
    assert recalled(lambda x, s, labels: points[: len(x)].flip(0), points, torch.tensor([sigma, 0.0])).sum() == 0


def test_recalls_do_not_depend_on_batches_and_carry_labels(images: dg.Split) -> None:
    train, grid = images.train[:150], dg.edm_sigmas(8, sigma_max=3.0)
    denoiser = dg.OptimalDenoiser(train.x, train.labels)
    whole = recalled(denoiser, train, grid)
    assert torch.equal(recalled(denoiser, train, grid, batch_size=40), whole)
    assert torch.equal(recalled(denoiser, train, grid, n=70), whole[:70])
    assert whole.sum() > recalled(denoiser, train.x, grid).sum()  # a class has fewer points to get lost among


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: authentic_fraction(randn(0, 2), randn(5, 2)), "samples is empty"),
        (lambda: authentic_fraction(randn(3, 2), randn(1, 2)), "train has 1 points"),
        (lambda: rank_sum(randn(1), randn(5)), "a has 1 and b 5 numbers"),
        (lambda: copying_score(randn(30, 2), randn(30, 2), randn(30, 2), at_least=1), "at_least is 1"),
        (lambda: copying_score(randn(9, 2), randn(30, 2), randn(30, 2)), "cells is 5: none holds 20 samples"),
        (lambda: recall_rate(None, randn(5, 2), dg.edm_sigmas(3), n=6), "n is 6: with 5 points it is between 1 and 5"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
