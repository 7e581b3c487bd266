"""Does a model copy? Samples beside held-out points, and trajectories that start on noisy training points."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffgen.data.split import Points
from diffgen.denoiser import Denoiser, device_of
from diffgen.features import kmeans
from diffgen.guidance import Chunked
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.neighbours import nearest, originals
from diffgen.metrics.overlap import noisy
from diffgen.sampling import Step, heun, sample


def authentic_fraction(samples: Tensor, train: Tensor) -> Estimate:
    """AuthPct, as a share: how many samples are further from their nearest training point than its next one is.

    A = P(d(x, y_i) > min_{j≠i} d(y_i, y_j)), y_i the training point nearest to x

    A copy lies nearer to its original than the original's own neighbours do. Its null is that of held-out points,
    `authentic_fraction(val, train)`, and it is far below 1: on a line that the training set fills evenly it is 1/3.

    Args:
        samples: (S, *), or features, S ≥ 1.
        train: the training set, (N, *), N ≥ 2. A point that it holds twice makes all samples beside it authentic, but
            for exact copies.

    Returns:
        The share, with the standard error of independent samples for this training set.

    Raises:
        ValueError: no samples, fewer than two training points, or points of different shapes.

    Source: Alaa et al. 2022, arXiv 2102.08921 (authenticity).
    """
    if not len(samples):
        raise ValueError("samples is empty: a share needs at least one sample")
    if len(train) < 2:
        raise ValueError(f"train has {len(train)} points: a neighbour of a neighbour needs two or more")
    distance, index = (column[:, 0] for column in nearest(samples, train, k=1))
    originals_of, which = index.unique(return_inverse=True)
    apart = nearest(train[originals_of.to(train.device)].to(samples.device), train, k=2).distance[:, 1]
    return Estimate.proportion(distance > apart[which])


class RankSum(NamedTuple):
    """The Mann–Whitney statistic of two samples, u = Σ_ij [a_i > b_j] + ½ [a_i = b_j], and its z-score.

    z = (u − nm/2) / σ_u, with the variance σ_u² of equal distributions, corrected for ties; 0 if all values are tied.
    stderr: of z, from the ranks themselves (DeLong), so that it also holds where the distributions differ; it is 0
    where all a lie on one side of all b.
    """

    u: float
    z: float
    stderr: float


def rank_sum(a: Tensor, b: Tensor) -> RankSum:
    """Compare two samples of numbers, (n,) and (m,), by their ranks: z > 0 where a tends to be larger.

    Raises:
        ValueError: fewer than two numbers in a sample.

    Source: Mann and Whitney 1947; DeLong, DeLong and Clarke-Pearson 1988, for the standard error.
    """
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError(f"a has {n} and b {m} numbers: a comparison of ranks needs two or more of each")
    _, value, ties = torch.cat([a, b]).double().unique(return_inverse=True, return_counts=True)
    ranks, ties = (ties.cumsum(0) - (ties - 1) / 2)[value], ties.double()
    # how many of the other sample each number exceeds: its rank among all less that among its own
    own = [_mid_ranks(values) for values in (a, b)]
    above = [(ranks[:n] - own[0]) / m, (ranks[n:] - own[1]) / n]
    u = float(above[0].sum() * m)
    spread = n * m / 12 * (n + m + 1 - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1)))
    if spread <= 0:
        return RankSum(u, 0.0, 0.0)
    scatter = n * m * float(above[0].var() / n + above[1].var() / m) ** 0.5
    return RankSum(u, (u - n * m / 2) / spread**0.5, scatter / spread**0.5)


def _mid_ranks(values: Tensor) -> Tensor:
    _, value, ties = values.double().unique(return_inverse=True, return_counts=True)
    return (ties.cumsum(0) - (ties - 1) / 2)[value]


def copying_score(
    samples: Tensor, train: Tensor, held_out: Tensor, *, cells: int = 5, at_least: int = 20, seed: int = 0
) -> Estimate:
    """C_T: are samples nearer to the training set than held-out points are? C_T ≪ 0 is copying, C_T ≫ 0 underfitting.

    C_T = Σ_π P(π) Z_π / Σ_π P(π)

    Z_π is the z-score of a Mann–Whitney test between the distances to the nearest training point of the samples and of
    the held-out points in the cell π, P(π) the share of held-out points there. Cells are those of k-means on the
    training set: a model may copy in one place and underfit in another, which one test of all would average out. Cells
    with few samples or few held-out points are left out.

    Z grows with √n where there is an effect: compare scores at equal numbers of samples only. Under the null a Z has
    variance 1, so C_T has the standard deviation √(Σ P²) / Σ P, 0.45 for five equal cells. Distances go to all training
    points, also beyond the border of a cell.

    Args:
        samples: (S, *), or features.
        train: the training set, (N, *).
        held_out: points of the same distribution that training never saw, (M, *).
        cells: number of k-means cells.
        at_least: how many samples, and how many held-out points, a cell needs.
        seed: of the cells.

    Returns:
        C_T, with the standard error (DeLong) for these cells and how many points each has; n is that of the samples in
        the cells that count.

    Raises:
        ValueError: no cell has enough of both, `at_least` below two, and what `kmeans` and `nearest` raise.

    Source: Meehan et al. 2020, arXiv 2004.05675.
    """
    if at_least < 2:
        raise ValueError(f"at_least is {at_least}: a comparison of ranks needs two or more")
    partition = kmeans(train.to(samples.device), cells, seed=seed)
    of_samples, of_held_out = partition.assign(samples), partition.assign(held_out.to(samples.device))
    to_samples, to_held_out = (nearest(x, train, k=1).distance[:, 0] for x in (samples, held_out.to(samples.device)))
    weights, scores = [], []
    for cell in range(cells):
        a, b = to_samples[of_samples == cell], to_held_out[of_held_out == cell]
        if min(len(a), len(b)) >= at_least:
            weights.append(len(b))
            scores.append((*rank_sum(a, b)[1:], len(a)))
    if not scores:
        raise ValueError(
            f"cells is {cells}: none holds {at_least} samples and as many held-out points, take fewer cells"
        )
    weight = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    z, stderr, n = torch.tensor(scores, dtype=torch.float64).T
    return Estimate(weight @ z, (weight * stderr).square().sum().sqrt(), int(n.sum()))


def recalled(
    denoiser: Denoiser,
    points: Points | Tensor,
    sigmas: Tensor,
    *,
    n: int | None = None,
    ratio: float = 1 / 3,
    step: Step = heun,
    seed: int = 0,
    batch_size: int = 512,
) -> Tensor:
    """Which trajectories that start on noisy points, y_i + σ n_i, end as a copy of the very y_i, boolean, (n,).

    A copy in the sense of `copies`: y_i is the nearest of all points, and d₁ < d₂/3.

    Args:
        denoiser: D. It is called on its own device.
        points: the training set, (N, *), N ≥ 2, with classes if the denoiser is to be given them.
        sigmas: the rest of the sampler's grid, descending from the σ at which the trajectories start, usually to 0.
        n: how many of the points, from the first on, to start from; None is all. The end is compared with all.
        ratio: threshold for d₁/d₂.
        step: of the sampler.
        seed: of the noise, which is that of `denoising_error`.
        batch_size: trajectories at a time: it changes memory and speed, not the result.

    Raises:
        ValueError: an n that is not between 1 and N, and what `copies` and `trajectory` raise.
    """
    x, labels = (points, None) if isinstance(points, Tensor) else (points.x, points.labels)
    n = len(x) if n is None else n
    if not 1 <= n <= len(x):
        raise ValueError(f"n is {n}: with {len(x)} points it is between 1 and {len(x)}")
    device = device_of(denoiser, x.device)
    start, classes = noisy(x[:n], float(sigmas[0]), seed).to(device), None if labels is None else labels[:n].to(device)
    ends = sample(Chunked(denoiser, batch_size), start, sigmas, classes, step).to(x.device)
    return originals(ends, x, ratio) == torch.arange(n, device=x.device)


def recall_rate(denoiser: Denoiser, points: Points | Tensor, sigmas: Tensor, **options: Any) -> Estimate:
    """How often trajectories that start on noisy training images return to that image: the share of `recalled`.

    It asks whether a memorized field would be followed if one were on it. At small σ every denoiser returns, for there
    is no way to get lost; so its null is the same call with validation points for points, as many of them: a field that
    has memorized returns to training points more often, and from larger σ.

    The arguments are those of `recalled`.

    Returns:
        The share, with the standard error of independent starts.

    Source: the memorized fraction of Yoon et al. 2023, of trajectories that start on the noisy training data.
    """
    return Estimate.proportion(recalled(denoiser, points, sigmas, **options))
