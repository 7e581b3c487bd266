"""Comparisons in the toy model: what decides its claims, with controls and nulls, and what random points change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.data.split import Split
from diffgen.data.toy import Manifold, circle, manifold
from diffgen.denoiser import Denoiser
from diffgen.guidance import Guided
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.frechet import frechet_distance
from diffgen.metrics.toy import drawn_gap, expected_gap, toy_peak
from diffgen.optimal import ErrorProne
from diffgen.rng import generator
from diffgen.schedule import log_sigmas


class Case(NamedTuple):
    """A denoiser and the points that it is asked about."""

    denoiser: Denoiser
    train: Tensor
    val: Tensor


def peak_drop(before: Case, after: Case, *, draws: int, seed: int = 0, confidence: float = 0.95) -> Interval:
    """By how much the peak of G is lower in one case than in another: with noise drawn for each, its own.

    Each gap is taken at the noise level of its exact peak, so that nothing is picked from the drawn numbers. The
    interval is Student's, over the draws; the points are as they are.

    Args:
        before: the case whose peak is subtracted from.
        after: the other one.
        draws: noise draws a point, the rule being `drawn_gap`'s.
        seed: of the noise.
        confidence: of the interval.
    """
    grid, gaps = log_sigmas(24, 0.2, 5, dtype=torch.float64), []
    for k, case in enumerate((before, after)):
        sigma = toy_peak(expected_gap(*case, grid)).sigma
        shape = (draws, len(case.train) + len(case.val), 2)
        noise = torch.randn(shape, generator=generator(seed, k), dtype=torch.float64)
        gaps.append(drawn_gap(*case, torch.tensor([sigma], dtype=torch.float64), noise).at(sigma))
    return gaps[0].minus(gaps[1]).t_interval(confidence)


Comparison = tuple[Case, Case]


def error_comparisons(small: float = 1.2, large: float = 2.2, weight: float = 2.0) -> dict[str, Comparison]:
    """What decides whether the gap shrinks as the model error grows: pairs of cases for `peak_drop`.

    "claim": δ `small` and then `large`. "control", where the answer is known to be no: the error that grows is that of
    the guide, which pushes the denoiser towards the training points. "null": `small` twice.
    """
    points = circle()
    train, val = points.train.x.double(), points.val.x.double()
    low, middle, high = (ErrorProne(train, delta) for delta in (small, (small + large) / 2, large))
    claim = Case(low, train, val), Case(high, train, val)
    guided = [Case(Guided(middle, guide, weight), train, val) for guide in (middle, high)]
    return {"claim": claim, "control": (guided[0], guided[1]), "null": (claim[0], claim[0])}


def density_comparisons(few: int = 8, many: int = 15, delta: float = 1.6) -> dict[str, Comparison]:
    """What decides whether the gap shrinks as the support of the data becomes denser: pairs of cases for `peak_drop`.

    "claim": `few` training points and then `many`. "control", where the answer is known to be no: the many are crowded
    on half of the circle, and the validation points stay all around. "null": `few` twice.
    """

    def case(train: Tensor, val: Tensor) -> Case:
        return Case(ErrorProne(train.double(), delta), train.double(), val.double())

    sparse, dense = circle(2 * few), circle(2 * many)
    first, second = case(sparse.train.x, sparse.val.x), case(dense.train.x, dense.val.x)
    crowded = case(circle(4 * many).train.x[:many], dense.val.x)
    return {"claim": (first, second), "control": (first, crowded), "null": (first, first)}


def random_gaps(
    make: Callable[[Tensor], Denoiser], n: int, sigmas: Tensor, *, draws: int, seed: int = 0, name: Manifold = "circle"
) -> Tensor:
    """G(σ) on points drawn at random, once for each draw of the points, (draws, S).

    The noise is integrated, by a rule half as dense as the standard one, so what differs between draws are the points.
    The error of the mean is that over draws.

    Args:
        make: a denoiser from training points, (N, 2).
        n: points, half of them for training.
        sigmas: noise levels, (S,).
        draws: how often the points are drawn; the k-th draw is the same for any `make`.
        seed: of the points.
        name: the manifold that they lie on.
    """
    gaps = []
    for k in range(draws):
        points = manifold(name, n, placement="random", seed=1000 * seed + k)
        train, val = points.train.x.double(), points.val.x.double()
        gaps.append(expected_gap(make(train), train, val, sigmas, spacing=0.8, reach=4).gap)
    return torch.stack(gaps)


def mean_top(gaps: Tensor) -> Estimate:
    """The top of the mean of curves over independent draws, (K, S), with its error over the draws."""
    return Estimate.mean(gaps[:, gaps.mean(0).argmax()])


def blurred_distances(split: Split, deltas: Sequence[float], seed: int = 0) -> Tensor:
    """Fréchet distances to both splits of what `ErrorProne` samples, its training points blurred by δ.

    Each training point is blurred twice, with the same noise for every δ.

    Args:
        split: training and validation points.
        deltas: model errors.
        seed: of the blur.

    Returns:
        To training and to validation points for each δ, (D, 2).
    """
    train, val = split.train.x.double(), split.val.x.double()
    noise = torch.randn(2 * len(train), train.shape[1], generator=generator(seed), dtype=torch.float64)
    ends = [train.repeat(2, 1) + delta * noise for delta in deltas]
    return torch.tensor([[frechet_distance(end, to) for to in (train, val)] for end in ends], dtype=torch.float64)
