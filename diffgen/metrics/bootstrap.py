"""Figures of gap curves with their intervals: height and noise level of the peak, area in ln σ, overfit onset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.rng import generator


def bootstrap(curves: Sequence[GapCurve], *, n_resamples: int = 1000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Resample the images of curves over the same images: what E_train and E_val could have been, by chance.

    Rows are drawn with replacement, the same ones for every curve and noise level, so the spread of any function of
    the result (a peak's height or noise level, a difference between snapshots) is its own. Row i holds
    the i-th image of both splits, for these share their noise.

    Args:
        curves: C curves over the same images and noise levels.
        n_resamples: how many times to resample.
        seed: of the resampling.

    Returns:
        E_train and E_val, each (n_resamples, C, S). G is their ratio less 1.

    Source: Efron 1979, *Bootstrap Methods: Another Look at the Jackknife*.
    """
    errors = [torch.stack([getattr(c, part).double() for c in curves]) for part in ("train_errors", "val_errors")]
    rows = max(e.shape[2] for e in errors)
    picks = torch.randint(rows, (n_resamples, rows), generator=generator(seed))
    counts = torch.zeros(n_resamples, rows, dtype=torch.float64)
    counts.scatter_add_(1, picks, torch.ones(n_resamples, rows, dtype=torch.float64))
    weights = [counts[:, : e.shape[2]] for e in errors]
    train, val = (torch.einsum("bn,csn->bcs", w / w.sum(1, keepdim=True), e) for w, e in zip(weights, errors))
    return train, val


def bootstrap_interval(
    statistic: Callable[[Tensor, Tensor], Tensor],
    curves: Sequence[GapCurve],
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Any number read off curves, with its percentile interval when the images are drawn anew.

    Args:
        statistic: of E_train and E_val, (n_resamples, C, S) each, returns (n_resamples,).
        curves: C curves over the same images and noise levels.
        confidence: of the interval, which is widened to hold the number itself.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.
    """
    exact = (torch.stack([getattr(curve, part) for curve in curves])[None] for part in ("train", "val"))
    (value,) = statistic(*exact).tolist()
    low, high = map(
        float, percentile_interval(statistic(*bootstrap(curves, n_resamples=n_resamples, seed=seed)), confidence)
    )
    return Interval(value, min(low, value), max(high, value))


def area(curve: GapCurve) -> Estimate:
    """∫ G d ln σ over the curve's noise levels, by the trapezoid rule: the gap of all of them in one number.

    It is linear in G, so its standard error needs no resampling: that of Σ_i Σ_s w_s u_si, see `GapCurve.influence`.

    Raises:
        ValueError: fewer than two noise levels.
    """
    if len(curve.sigmas) < 2:
        raise ValueError(f"sigmas has {len(curve.sigmas)} noise level: an area needs two or more")
    steps = curve.sigmas.double().log().diff() / 2
    weights = torch.nn.functional.pad(steps, (0, 1)) + torch.nn.functional.pad(steps, (1, 0))
    stderr = ((weights @ curve.influence).square().sum() * curve.n / (curve.n - 1)).sqrt()
    return Estimate(weights @ curve.gap, stderr, curve.n)


class ParabolicPeak(NamedTuple):
    """The tops of curves: noise level and height, (*) each."""

    sigma: Tensor
    height: Tensor


def parabolic_peak(gap: Tensor, sigmas: Tensor) -> ParabolicPeak:
    """The tops of curves between their noise levels, of gaps (*, S).

    The vertex of the parabola in ln σ through the highest point and its neighbours; at an end of the grid, or where no
    parabola opens downwards, the highest point itself.
    """
    gap, x = gap.double(), sigmas.double().log()
    top = gap.argmax(-1)
    if len(x) < 3:
        return ParabolicPeak(sigmas.double()[top], gap.amax(-1))
    i = top.clamp(1, len(x) - 2)
    a, b, c = (gap.gather(-1, (i + k).unsqueeze(-1)).squeeze(-1) for k in (-1, 0, 1))
    left, right = x[i] - x[i - 1], x[i + 1] - x[i]
    curvature = ((c - b) / right - (b - a) / left) / (left + right)  # b + slope t + curvature t², t from the middle
    slope = (b - a) / left + curvature * left
    inside = (top == i) & (curvature < 0)
    shift = torch.where(inside, -slope / (2 * curvature), torch.zeros_like(slope)).nan_to_num()
    log_sigma = torch.where(inside, x[i] + shift, x[top])
    return ParabolicPeak(log_sigma.exp(), torch.where(inside, b + slope * shift / 2, gap.amax(-1)))


class Peak(NamedTuple):
    """The top of G(σ), with 95 % intervals unless asked otherwise: σ and height."""

    sigma: Interval
    height: Interval


def peak(curve: GapCurve, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0) -> Peak:
    """Where G(σ) is largest, and how large, each with an interval that knows that the noise level was picked.

    A maximum over noise levels is on average larger than G at the true peak: chance lifts one level or another. The
    interval of the height, mirrored about the estimate (Davison and Hinkley's basic interval), leans against it. That
    of the noise level is the percentile interval, which stays on the grid.

    Args:
        curve: of a denoiser, better adjusted.
        confidence: of both intervals.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.

    Source: Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 5.2.
    """
    train, val = bootstrap([curve], n_resamples=n_resamples, seed=seed)
    sigma, height = parabolic_peak(curve.gap, curve.sigmas)
    sigmas, heights = parabolic_peak((val / train - 1)[:, 0], curve.sigmas)
    low, high = percentile_interval(heights, confidence)
    left, right = percentile_interval(sigmas, confidence)
    at = Interval(*map(float, (sigma, torch.minimum(left, sigma), torch.maximum(right, sigma))))
    return Peak(at, Interval(*map(float, (height, 2 * height - high, 2 * height - low))))


def peak_change(a: GapCurve, b: GapCurve, *, n_resamples: int = 1000, seed: int = 0) -> tuple[Estimate, Estimate]:
    """How much higher the top of a's gap is than that of b's, and by how much ln σ it lies further up.

    Both curves are over the same images, so what those contribute to both cancels. The standard errors are those of a
    bootstrap. That of the noise level means little where a curve has no top to speak of. That a maximum over noise
    levels is on average too high is not corrected, as `peak` does: most of it is common to both curves.

    Args:
        a, b: curves over the same images and noise levels.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.
    """
    train, val = bootstrap([a, b], n_resamples=n_resamples, seed=seed)
    exact, drawn = (parabolic_peak(gap, a.sigmas) for gap in (torch.stack([a.gap, b.gap])[None], val / train - 1))

    def change(of: Tensor, of_drawn: Tensor) -> Estimate:
        return Estimate((of[:, 0] - of[:, 1])[0], (of_drawn[:, 0] - of_drawn[:, 1]).std(), a.n)

    return change(exact.height, drawn.height), change(exact.sigma.log(), drawn.sigma.log())


class Onset(NamedTuple):
    """The snapshot of the smallest E_val(σ), and the interval it may lie in: numbers of snapshots, (S,) each.

    Where it is the last snapshot, overfitting had not begun when training ended.
    """

    at: Tensor
    low: Tensor
    high: Tensor


def overfit_onset(
    curves: Sequence[GapCurve], *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
) -> Onset:
    """The snapshot after which the network gets worse at images that it has not seen, for each noise level.

    argmin over snapshots of E_val(σ), with the percentile interval when the images are drawn anew, the same ones for
    all snapshots. Its resolution is the spacing of the snapshots.

    Args:
        curves: of the snapshots of a run, in the order of training, over the same images and noise levels.
        confidence: of the intervals.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, fig. 2.
    """
    at = torch.stack([curve.val for curve in curves]).argmin(0)
    low, high = percentile_interval(bootstrap(curves, n_resamples=n_resamples, seed=seed)[1].argmin(1), confidence)
    return Onset(at, torch.minimum(low.floor().long(), at), torch.maximum(high.ceil().long(), at))


def percentile_interval(values: Tensor, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
    """The quantiles of values (n_resamples, *) that leave out equal parts at both ends, (*) each.

    Raises:
        ValueError: a confidence that is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence:g}: it lies between 0 and 1, such as 0.95")
    values = values.double()
    low, high = values.quantile(values.new_tensor([(1 - confidence) / 2, (1 + confidence) / 2]), dim=0)
    return low, high
