"""What chance does: training and validation images exchanged at random, of which no model can know.

If a model knew nothing of its training images, it would not matter which of them and of the validation images were in
training. So whatever is measured between the two sets is measured again, many times, after their images have been dealt
to two sets at random. That needs no third set, and holds exactly, whatever the distribution of the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.metrics.gap import GapCurve
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.position import ROUNDING
from diffgen.rng import generator

KEPT = 48
"""Neighbours of a query that are kept: one deal in 2⁴⁷ has none of them in one of its sets."""
AT_ONCE = 64
"""Deals that are computed together."""


class GapBand(NamedTuple):
    """G(σ) with a band that holds it at all noise levels at once.

    gap, low, high: (S,); critical: by how many standard errors the band reaches.
    """

    gap: Tensor
    low: Tensor
    high: Tensor
    critical: float


def gap_band(curve: GapCurve, *, confidence: float = 0.95, n_exchanges: int = 2000, seed: int = 0) -> GapBand:
    """A simultaneous band of G(σ): if there is no gap anywhere, it leaves 0 out somewhere with 1 − confidence.

    It reaches c standard errors up and down. c is the quantile of max_σ |t(σ)| over random deals of the images to the
    two sets, t = (E_val − E_train) / s. So it knows how the noise levels depend on each other, and of heavy tails.

    Args:
        curve: of a denoiser, better adjusted by a reference.
        confidence: of the band as a whole.
        n_exchanges: random deals.
        seed: of these.

    Raises:
        ValueError: fewer than two images in a set.
    """
    if curve.n < 2:
        raise ValueError(f"curve has {curve.n} image in a split: a band needs two or more")
    n, m = curve.train_errors.shape[1], curve.val_errors.shape[1]
    errors = torch.cat([curve.train_errors, curve.val_errors], 1).double()
    squares, largest = errors.square(), []
    for member in deals(n + m, n, n_exchanges, seed):
        rows = member.double()
        sums, sums2 = errors @ rows.T, squares @ rows.T  # (S, deals)
        means = sums / n, (errors.sum(1, keepdim=True) - sums) / m
        variances = (
            (sums2 / n - means[0].square()) / (n - 1),
            ((squares.sum(1, keepdim=True) - sums2) / m - means[1].square()) / (m - 1),
        )
        s = (variances[0] + variances[1]).clamp(min=0).sqrt()
        largest.append(((means[1] - means[0]).abs() / s.clamp(min=torch.finfo(s.dtype).tiny)).amax(0))
    critical = float(torch.cat(largest).quantile(confidence))
    reach = critical * curve.stderr
    return GapBand(curve.gap, curve.gap - reach, curve.gap + reach, critical)


class Lean(NamedTuple):
    """How much nearer queries lie to the training set than to the validation set, beside what chance makes of it.

    value: the mean `nearness`, in nats; low, high: its interval; spread: the standard deviation over random deals of
    the images to the two sets; p: how often a deal makes as much.
    """

    value: float
    low: float
    high: float
    spread: float
    p: float


def lean(
    queries: Tensor,
    train: Tensor,
    val: Tensor,
    *,
    confidence: float = 0.95,
    n_exchanges: int = 2000,
    seed: int = 0,
) -> Lean:
    """Do queries lie nearer to the training set than queries that know nothing of it?

    The mean of ℓ(q) = ln[(d²(q, val) + ε) / (d²(q, train) + ε)] (see `diffgen.metrics.position.nearness`), and the same
    after the images of both sets were dealt anew, many times. The luck of the split is in the interval: it is that of
    the deals, moved to the value.

    Args:
        queries: such as samples, (Q, *).
        train, val: (N, *), (M, *); the larger is cut to the size of the smaller.
        confidence: of the interval.
        n_exchanges: random deals.
        seed: of these.

    Raises:
        ValueError: no queries, or fewer than two images in a set.
    """
    n = min(len(train), len(val))
    if not len(queries) or n < 2:
        raise ValueError(f"queries has {len(queries)} rows and the smaller set {n}: give one or more, and two or more")
    distance, index = nearest(queries, torch.cat([train[:n], val[:n]]), k=min(KEPT, 2 * n))
    squared = distance.square() + math.prod(queries.shape[1:]) * ROUNDING
    logs = squared.log()

    def of(member: Tensor) -> Tensor:
        """The mean of each deal, (K,); membership (K, 2n)."""
        inside = member[:, index]  # (K, Q, k)
        first, other = inside.to(torch.uint8).argmax(2), (~inside).to(torch.uint8).argmax(2)
        to_train, to_val = (logs.expand(len(member), -1, -1).gather(2, at[..., None])[..., 0] for at in (first, other))
        return (to_val - to_train).mean(1)

    real = torch.zeros(1, 2 * n, dtype=torch.bool)
    real[:, :n] = True
    value = float(of(real))
    dealt = torch.cat([of(part) for many in deals(2 * n, n, n_exchanges, seed) for part in many.split(_at_once(logs))])
    reach = float(dealt.abs().quantile(confidence))
    p = (1 + int((dealt >= value).sum())) / (1 + len(dealt))
    return Lean(value, value - reach, value + reach, float(dealt.std()), p)


def _at_once(logs: Tensor) -> int:
    return max(1, 2**22 // logs.numel())


def deals(total: int, n: int, count: int, seed: int) -> Iterator[Tensor]:
    """Random choices of n out of `total`, as rows of a boolean table, `AT_ONCE` rows at a time: `count` in all."""
    for start in range(0, count, AT_ONCE):
        rows = min(AT_ONCE, count - start)
        keys = torch.rand(rows, total, generator=generator(seed, start))
        member = torch.zeros(rows, total, dtype=torch.bool)
        yield member.scatter_(1, keys.argsort(1)[:, :n], True)
