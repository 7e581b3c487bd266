"""How near samples lie to the training set, on a scale with two ends that are measured: unseen images, and recognition.

The denoiser's gap G and the gap of its samples are ratios of different distances. To ask whether the one follows the
other both ends of the samples' scale are taken from the same network and the same images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.neighbours import nearest

GREY_LEVEL = 2 / 255
"""The step of images in 256 values on [−1, 1]."""
ROUNDING = GREY_LEVEL**2 / 12
"""The mean square of rounding to these values, an entry."""


def nearness(queries: Tensor, train: Tensor, val: Tensor) -> Tensor:
    """How much nearer each query lies to the training set than to a validation set of the same size, (Q,), in nats.

    ℓ(q) = ln[(d²(q, val) + ε) / (d²(q, train) + ε)]

    with d the distance to the nearest point and ε = d (2/255)² / 12, the mean square of rounding to 256 grey levels:
    what is closer is equal. 0 is neither, ln 2 is half the squared distance, a copy has some 6 to 8. Unlike the ratio
    of means, the mean of ℓ is not ruled by the few queries that lie far from everything.

    Args:
        queries: (Q, *).
        train, val: (N, *), (M, *); the larger is cut to the size of the smaller, for a larger set is nearer.

    Returns:
        (Q,), float64.
    """
    n = min(len(train), len(val))
    epsilon = math.prod(queries.shape[1:]) * ROUNDING
    to_val, to_train = (nearest(queries, part[:n], k=1).distance[:, 0].square() for part in (val, train))
    return ((to_val + epsilon) / (to_train + epsilon)).log()


def position(samples: Estimate, unseen: Estimate, recognized: Estimate) -> Estimate:
    """Where samples lie between unseen images (0) and recognized training images (1).

    p = (ℓ̄_samples − ℓ̄_unseen) / (ℓ̄_recognized − ℓ̄_unseen)

    ℓ̄ is the mean `nearness`. The error is that of a ratio of independent means, to first order.

    Args:
        samples: of samples.
        unseen: of images in neither set.
        recognized: of one-step predictions for noisy training images, at the noise level at which G peaks.
    """
    rise, scale = float(samples) - float(unseen), float(recognized) - float(unseen)
    p = rise / scale
    variance = samples.stderr**2 + (1 - p) ** 2 * unseen.stderr**2 + p**2 * recognized.stderr**2
    return Estimate(p, variance**0.5 / abs(scale), min(samples.n, unseen.n, recognized.n))


def share_of_growth(samples: tuple[Estimate, Estimate], gaps: tuple[Estimate, Estimate]) -> Estimate:
    """How much the samples' gap grew for what that of the denoiser grew, both as logarithms.

    r = (ℓ̄₁ − ℓ̄₀) / (ln(1 + G₁) − ln(1 + G₀))

    Mean `nearness` ℓ̄ is ln(1 + gap) of samples, so to speak: 1 is as much growth of the one as of the other. The error
    is to first order, of four independent numbers. Where the denoiser's gap did not grow r means nothing.

    Args:
        samples: mean nearness of samples, early and late.
        gaps: G of the denoiser, early and late.
    """
    rise = float(samples[1]) - float(samples[0])
    growth = math.log1p(gaps[1]) - math.log1p(gaps[0])
    r = rise / growth
    variance = sum(near.stderr**2 for near in samples) + r**2 * sum((g.stderr / (1 + float(g))) ** 2 for g in gaps)
    return Estimate(r, variance**0.5 / abs(growth), min(e.n for e in (*samples, *gaps)))


def with_luck(mean: Estimate, over_splits: Tensor) -> Estimate:
    """A mean nearness with the luck of the split in its error.

    Args:
        mean: against the split at hand, with the error that the queries alone make.
        over_splits: the same mean against splits drawn anew, (K,), of which no query knows: their spread is what the
            split and the queries do by chance.

    Returns:
        The mean with the larger of both errors.
    """
    if len(over_splits) < 2:
        raise ValueError(f"over_splits has {len(over_splits)} values: a spread needs two or more splits")
    return Estimate(mean, max(mean.stderr, float(over_splits.double().std())), mean.n)


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over seeds with Student's 95 % interval: of each seed the training, its split and its samples are other.

    Raises:
        ValueError: no value. Of a single one the interval is not known, NaN.
    """
    if not values:
        raise ValueError("values is empty: give one number a seed")
    numbers = torch.tensor([float(value) for value in values], dtype=torch.float64)
    if len(numbers) < 2 or not bool(numbers.isfinite().all()):
        return Interval(float(numbers.mean()), float("nan"), float("nan"))
    return Estimate.mean(numbers).t_interval()
