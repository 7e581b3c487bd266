"""How long until a network generalizes, and until it memorizes; and how such times depend on what was varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.metrics.bootstrap import bootstrap_interval, parabolic_peak, percentile_interval
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.rng import generator

NEVER = Interval(math.nan, math.nan, math.nan)
"""A time that training ended before."""


class PowerLaw(NamedTuple):
    """y = prefactor · x^slope; the slope with its interval; n: points that it was fitted to."""

    slope: Interval
    prefactor: float
    n: int

    def __call__(self, x: float) -> float:
        """The y of an x."""
        return self.prefactor * x**self.slope.value


def power_law(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> PowerLaw:
    """The straight line of least squares through (ln x, ln y).

    The interval of the slope is Student's, from the scatter about the line: it holds all that makes a run differ from
    the law, chance in training included, whatever each y knows of its own error. Points whose y is NaN, such as times
    that training ended before, are left out; if the late ones are missing the slope is biased down.

    Args:
        x: positive, two or more different ones.
        y: positive, or NaN.
        confidence: of the interval.

    Returns:
        `PowerLaw`; its slope is NaN with fewer than two points, and its interval unbounded with two.

    Raises:
        ValueError: x or y is not positive.
    """
    from scipy import stats  # slow to import

    pairs = [(math.log(a), math.log(b)) for a, b in zip(map(_positive, x), map(_positive, y)) if not math.isnan(b)]
    if len({a for a, _ in pairs}) < 2:
        return PowerLaw(NEVER, math.nan, len(pairs))
    fit = stats.linregress(*zip(*pairs))
    free = len(pairs) - 2
    half = stats.t.ppf((1 + confidence) / 2, free) * fit.stderr if free else math.inf
    slope = Interval(float(fit.slope), float(fit.slope - half), float(fit.slope + half))
    return PowerLaw(slope, math.exp(fit.intercept), len(pairs))


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError(f"x or y holds {value:g}: a power law is of positive numbers")
    return value


def overfit_time(curves: Sequence[GapCurve], images_seen: Sequence[int], sigma: float, *, seed: int = 0) -> Interval:
    """τ_mem, as the overfit onset: the images seen when E_val(σ) is smallest, read between the snapshots.

    The vertex of the parabola in ln τ through the lowest snapshot and its neighbours, with its bootstrap interval.

    Args:
        curves: of a run's snapshots, in the order of training.
        images_seen: at each.
        sigma: noise level; the nearest of the grid is taken.
        seed: of the bootstrap.

    Returns:
        The time; `NEVER` if E_val is smallest at the last snapshot, and an upper end of infinity if it may be.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, fig. 2 (the onset); Bonnaire et al. 2025 (τ_mem).
    """
    i, seen = curves[0].index(sigma), torch.tensor(images_seen, dtype=torch.float64)

    def lowest(train: Tensor, val: Tensor) -> Tensor:
        errors = val[:, :, i]
        at = parabolic_peak(-errors, seen).sigma
        return torch.where(errors.argmin(1) == len(images_seen) - 1, seen[-1], at)  # train has no say in it

    onset = bootstrap_interval(lowest, curves, seed=seed)
    if onset.value >= images_seen[-1]:
        return NEVER
    return onset._replace(high=math.inf) if onset.high >= images_seen[-1] else onset


def crossing_time(
    images_seen: Sequence[int], values: Sequence[Estimate], level: float, *, rising: bool = True, n_draws: int = 1000,
    seed: int = 0,
) -> Interval:  # fmt: skip
    """When a number first crosses a level in training, and stays there to the next snapshot: read between snapshots.

    Between snapshots the number is a straight line in ln τ. The interval is that of 1000 draws of all values from
    normal distributions with their standard errors, as if these were independent.

    τ_mem may be the time at which the memorized fraction rises above 1 % more than its null, τ_gen that at which the
    Fréchet distance of samples to held-out images has fallen to its floor and a tolerance (Bonnaire et al. 2025).

    Args:
        images_seen: at each snapshot.
        values: of each snapshot.
        level: to be crossed.
        rising: from below, or from above.
        n_draws: for the interval.
        seed: of the draws.

    Returns:
        The time, the first snapshot's if it is across already; `NEVER` if it is not crossed, and an upper end of
        infinity where more than the confidence allows of the draws do not.
    """
    sign = 1 if rising else -1
    mean = torch.tensor([float(v) for v in values], dtype=torch.float64)
    error = torch.tensor([v.stderr for v in values], dtype=torch.float64)
    noise = torch.randn(n_draws, len(values), generator=generator(seed), dtype=torch.float64)
    y = sign * (torch.cat([mean[None], mean + error * noise]) - level)
    times = _first_crossing(y, torch.tensor(images_seen, dtype=torch.float64).log())
    value, drawn = float(times[0].exp()), times[1:]
    if not math.isfinite(value):
        return NEVER
    low, high = (float(t.exp()) for t in percentile_interval(drawn.clamp(max=1e3)))
    return Interval(value, min(low, value), math.inf if high > images_seen[-1] else max(high, value))


def _first_crossing(y: Tensor, x: Tensor) -> Tensor:
    """Where y (n_draws, T) first is positive for two snapshots in a row or at the last, (n_draws,); else infinity."""
    above = y > 0
    stays = above & torch.cat([above[:, 1:], above.new_ones(len(y), 1)], 1)
    first = stays.int().argmax(1)
    before = (first - 1).clamp(min=0)
    a, b = (y.gather(1, k[:, None])[:, 0] for k in (before, first))
    share = torch.where(first > 0, (-a / (b - a)).clamp(0, 1), torch.ones_like(a)).nan_to_num(1)
    at = x[before] + share * (x[first] - x[before])
    return torch.where(stays.any(1), at, torch.full_like(at, torch.inf))
