"""What several curves have in common beside another one: how much higher they are, and where on the axis they lie."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.metrics.bootstrap import bootstrap_interval
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve


def centre_of_mass(gap: Tensor, sigmas: Tensor) -> Tensor:
    """The centre of mass of ln σ under the positive part of gaps (*, S), (*).

    c = ∫ ln σ max(G, 0) d ln σ / ∫ max(G, 0) d ln σ, by the trapezoid rule over the noise levels. NaN where G is
    nowhere above 0.

    The noise level of the largest gap jumps from one end of a flat top to the other when chance lifts an end; this
    moves no further than the mass does. All noise levels count, so compare centres on one grid only.

    Raises:
        ValueError: fewer than two noise levels.
    """
    if len(sigmas) < 2:
        raise ValueError(f"sigmas has {len(sigmas)} noise level: a centre of mass needs two or more")
    x = sigmas.double().log()
    half = x.diff() / 2
    mass = gap.double().clamp(min=0) * (torch.nn.functional.pad(half, (0, 1)) + torch.nn.functional.pad(half, (1, 0)))
    return (mass * x).sum(-1) / mass.sum(-1)


def centre(curve: GapCurve, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0) -> Interval:
    """The `centre_of_mass` of a curve, in ln σ, with its percentile interval when the images are drawn anew.

    Where G is 0 its noise counts as mass, for only one side of it is cut off: the interval shows how much.
    """

    def place(train: Tensor, val: Tensor) -> Tensor:
        return _centres(train, val, curve.sigmas)[:, 0]

    return bootstrap_interval(place, [curve], confidence=confidence, n_resamples=n_resamples, seed=seed)


def centre_change(
    curves: Sequence[GapCurve], before: GapCurve, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
) -> Interval:
    """By how much ln σ the centres of curves lie above that of another one, on average over these curves.

    All are over the same images, which are drawn anew for all of them at once: what these contribute to all centres
    cancels.

    Args:
        curves: one or more.
        before: what they are compared with, over the same images and noise levels.
        confidence: of the percentile interval.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.
    """

    def change(train: Tensor, val: Tensor) -> Tensor:
        centres = _centres(train, val, before.sigmas)
        return centres[:, 1:].mean(1) - centres[:, 0]

    every = [before, *curves]
    return bootstrap_interval(change, every, confidence=confidence, n_resamples=n_resamples, seed=seed)


def mean_difference_at(curves: Sequence[GapCurve], before: GapCurve, sigma: float) -> Estimate:
    """How much larger the gaps of curves are than that of another one, on average, at a noise level of the grid.

    The standard error is that of Σ_i (mean_k u_i^k − u_i), see `GapCurve.influence`, as all are over the same images.
    """
    i, n = before.index(sigma), before.n
    u = torch.stack([curve.influence[i] for curve in curves]).mean(0) - before.influence[i]
    gap = torch.stack([curve.gap[i] for curve in curves]).mean() - before.gap[i]
    return Estimate(gap, (u.square().sum() * n / (n - 1)).sqrt(), n)


def _centres(train: Tensor, val: Tensor, sigmas: Tensor) -> Tensor:
    return centre_of_mass(val / train - 1, sigmas)
