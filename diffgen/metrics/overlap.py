"""How far states overlap with the noisy training data, and what a denoiser makes of them there and elsewhere.

A state x at noise level σ is on the noisy training data if it could be y_i + σ n for some training point y_i. A
denoiser is trained there and nowhere else. All functions take states at one σ: noisy training data and noisy validation
data (`noisy`) or the states of a `trajectory`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.data.split import Points
from diffgen.denoiser import Denoiser, device_of
from diffgen.guidance import Chunked
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.gap import IMAGES_AT_ONCE, fixed_noise
from diffgen.metrics.neighbours import comparisons, paired
from diffgen.optimal import OptimalDenoiser

QUERIES_AT_ONCE = 2048


def noisy(y: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """y + σ n, (N, *), with the noise with which `denoising_error` measures its first draw: the very same states."""
    starts = range(0, len(y), IMAGES_AT_ONCE)
    parts = ((first, y[first : first + IMAGES_AT_ONCE]) for first in starts)
    drawn = [fixed_noise(rows, 1, seed, first)[:, 0] for first, rows in parts]
    return y + float(sigma) * torch.cat(drawn).to(y.device) if drawn else y.clone()


def shell_ratios(x: Tensor, sigma: float, train: Tensor) -> Tensor:
    """‖x − y_i‖ / (σ √d) of the training point y_i for which it is nearest to 1, (B,), float64, without units.

    n ~ N(0, I) has ‖n‖ = √d up to a relative spread of 1/√(2d): y_i + σ n lies on a shell around y_i, of radius σ √d.
    The ratio is 1 on the shell of some training point. Above 1, x is outside of all shells that it is nearest to; below
    1 it is nearer to a training point than its noise allows. In high dimension the shells are thin, and the ratio of a
    noisy validation point tells it from a noisy training point while σ √d is not large beside the distance of
    neighbouring points. At larger σ it is near 1 everywhere.

    Distances are computed in float64; those that are returned, from differences. Memory is bounded for any number of
    training points; cost O(B N d).

    Args:
        x: states, (B, *).
        sigma: their noise level, in units of the data, positive.
        train: training points, (N, *), N ≥ 1.

    Raises:
        ValueError: no training points, points of another shape than the states, or a σ that is not positive.

    Source: Song et al. 2025, arXiv 2510.01378.
    """
    radius = _scale(sigma) * math.prod(x.shape[1:]) ** 0.5
    return _nearest_in(x, train, radius, radius) / radius


def in_shells(x: Tensor, sigma: float, train: Tensor, c: float = 5.0) -> Tensor:
    """Which states are in the shell of some training point, (B,) boolean.

    √(d − 2 √(c d)) ≤ ‖x − y_i‖ / σ ≤ √(d + 2 √(c d) + 2 c) for some i. By the bounds of Laurent and Massart on χ² a
    noisy training point is in its own shell with a probability of at least 1 − 2 exp(−c): 98.7 % at c = 5. For d ≤ 4 c
    the lower bound is 0, and the shell a ball. The share of noisy validation points that are in a shell is the *shell
    coverage* of the noise level: where it is small, the noisy training data does not reach what a denoiser meets later.

    Args:
        x: states, (B, *).
        sigma: their noise level.
        train: training points, (N, *).
        c: how thick the shells are.

    Raises:
        ValueError: a c that is negative, and what `shell_ratios` raises.

    Source: Dodson et al. 2026, arXiv 2602.17846; Laurent and Massart 2000, lemma 1.
    """
    if not c >= 0:
        raise ValueError(f"c is {c:g}: shells have a thickness of 0 or more, such as 5")
    d = math.prod(x.shape[1:])
    low, high = (_scale(sigma) * max(0.0, d + s) ** 0.5 for s in (-2 * (c * d) ** 0.5, 2 * (c * d) ** 0.5 + 2 * c))
    distance = _nearest_in(x, train, low, high)
    return (distance >= low) & (distance <= high)


def _scale(sigma: Tensor | float) -> float:
    if not 0 < float(sigma) < math.inf:
        raise ValueError(f"sigma is {float(sigma):g}: a noise level is positive and finite")
    return float(sigma)


def _nearest_in(x: Tensor, train: Tensor, low: float, high: float) -> Tensor:
    """The distance of each x, (B,), to the training point whose distance is in [low, high], or nearest to that."""
    x, train = paired(x, train)
    if not len(train):
        raise ValueError("train is empty: a shell lies around a training point, give at least one")
    distances = [x.new_zeros(0, dtype=torch.float64)]
    for rows in x.double().split(QUERIES_AT_ONCE) if len(x) else ():
        best, index = rows.new_full((len(rows),), math.inf), torch.zeros(len(rows), dtype=torch.long, device=x.device)
        squares = torch.linalg.vector_norm(rows, dim=1, keepdim=True).square()
        for start, rest in comparisons(rows, train):
            distance = rest.add_(squares).clamp_(min=0).sqrt_()
            off, where = (distance - distance.clamp(low, high)).abs_().min(1)
            index, best = torch.where(off < best, where + start, index), torch.minimum(off, best)
        distances.append(torch.linalg.vector_norm(rows - train[index].double(), dim=1))
    return torch.cat(distances)


@torch.no_grad()
def optimal_distances(
    denoiser: Denoiser, x: Tensor, sigma: float, train: Points | Tensor, labels: Tensor | None = None
) -> Tensor:
    """‖D(x; σ) − y*(x, σ)‖² / d, (B,), float64: how far a denoiser is from the optimal one of its training set.

    Args:
        denoiser: D. It is called on its own device, 512 rows at a time.
        x: states, (B, *).
        sigma: their noise level.
        train: training points, (N, *), with their classes if y* is to be that of the classes in `labels`.
        labels: classes, (B,), or None.

    Raises:
        ValueError: what `OptimalDenoiser` raises.

    Source: Niedoba et al. 2025, arXiv 2411.19339.
    """
    device, level = device_of(denoiser, x.device), torch.tensor(_scale(sigma), dtype=torch.float64)
    given = (x.to(device), level.to(device, x.dtype), None if labels is None else labels.to(device))
    denoised, optimal = Chunked(denoiser)(*given).to(x.device), _optimal(train)(x, level, labels)
    return (denoised.double() - optimal.double()).flatten(1).square().mean(1)


def _optimal(train: Points | Tensor) -> OptimalDenoiser:
    return OptimalDenoiser(train) if isinstance(train, Tensor) else OptimalDenoiser(train.x, train.labels)


class Overlap(NamedTuple):
    """How states at one σ overlap with the noisy training data; means over states, with their standard errors.

    shell_ratio: of `shell_ratios`, 1 on the noisy training data; coverage: the share of states in a shell, see
    `in_shells`; concentration: W_σ, the mean of max_i w_i(x), which is 1 where the optimal denoiser copies one training
    point and 1/N where it averages over all; distance: of `optimal_distances`, in squared units of the data, or None.
    """

    shell_ratio: Estimate
    coverage: Estimate
    concentration: Estimate
    distance: Estimate | None


@torch.no_grad()
def overlap(
    x: Tensor,
    sigma: float,
    train: Points | Tensor,
    *,
    denoiser: Denoiser | None = None,
    labels: Tensor | None = None,
    c: float = 5.0,
) -> Overlap:
    """Measure how states at one noise level overlap with the noisy training data.

    Called for noisy training data, noisy validation data and trajectory states it answers whether sampling passes
    through what the denoiser was trained on: the first shows what "on it" looks like, the second what chance gives.

    W_σ = mean_x max_i w_i(x), w = softmax_i(−‖x − y_i‖² / 2σ²)

    Standard errors are those of independent states, for this training set.

    Args:
        x: states, (B, *), B ≥ 2.
        sigma: their noise level, in units of the data.
        train: training points, (N, *), with their classes if `labels` are to count.
        denoiser: D, to be compared with the optimal one; None leaves that out.
        labels: classes of the states, (B,), or None. With them y* and w are those of the points of the same class.
            Shells are those of all points, whatever the class.
        c: how thick the shells of the coverage are.

    Returns:
        `Overlap`: .shell_ratio .coverage .concentration .distance, each with .stderr and .n.

    Raises:
        ValueError: fewer than two states, and what `shell_ratios` and `OptimalDenoiser` raise.

    Source: Song et al. 2025, arXiv 2510.01378 (shell ratio); Dodson et al. 2026, arXiv 2602.17846 (coverage, W_σ);
    Niedoba et al. 2025, arXiv 2411.19339 (distance).
    """
    if len(x) < 2:
        raise ValueError(f"x has {len(x)} states: means with errors need two or more")
    points = train if isinstance(train, Tensor) else train.x
    level = torch.tensor(_scale(sigma), dtype=torch.float64)
    return Overlap(
        Estimate.mean(shell_ratios(x, sigma, points)),
        Estimate.proportion(in_shells(x, sigma, points, c)),
        Estimate.mean(_optimal(train).posterior(x, level, labels)[1]),
        None if denoiser is None else Estimate.mean(optimal_distances(denoiser, x, sigma, train, labels)),
    )
