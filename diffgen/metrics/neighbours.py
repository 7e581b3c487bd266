"""Nearest neighbours, exactly, and what they say about copying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from diffgen.metrics.estimate import Estimate

PAIRS_AT_ONCE = 2**22
"""How many query–reference pairs are held in memory at a time (float64: 32 MB)."""

ENTRIES_AT_ONCE = 2**23
"""How many entries of references are held in float64 at a time (64 MB)."""


class Neighbours(NamedTuple):
    """The nearest references of each query, nearest first.

    distance: Euclidean, (Q, k), float64; index: into the references, (Q, k).
    """

    distance: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index


def nearest(queries: Tensor, references: Tensor, k: int = 2) -> Neighbours:
    """Find the k nearest references of each query by exhaustive search.

    All distances are compared as ‖q‖² − 2 q·r + ‖r‖² in float64, chunk by chunk, keeping the best k. That form loses
    digits when q almost equals r, which is the case of interest here, so the distances of the k winners are computed
    again from the differences. Memory is bounded for any number of references; cost O(Q R d).

    Args:
        queries: (Q, *), flattened to (Q, d).
        references: (R, *), R ≥ k.
        k: number of neighbours.

    Returns:
        `Neighbours`: distance and index, each (Q, k).

    Raises:
        ValueError: k is not between 1 and R, or the points differ in shape.
    """
    queries, references = paired(queries, references)
    if not 1 <= k <= len(references):
        raise ValueError(f"k is {k}: with {len(references)} references it is between 1 and {len(references)}")
    if not len(queries):
        return Neighbours(queries.new_zeros(0, k, dtype=torch.float64), queries.new_zeros(0, k, dtype=torch.long))
    distance, index = zip(*(_nearest(q, references, k) for q in queries.split(2048)))
    return Neighbours(torch.cat(distance), torch.cat(index))


def paired(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Both as vectors, (Q, d) and (R, d), on the device of the queries; an error if they do not fit together."""
    if queries.ndim < 2 or queries.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"queries are {tuple(queries.shape)} and references {tuple(references.shape)}: give (Q, *) and (R, *)"
        )
    return queries.flatten(1), references.flatten(1).to(queries.device)


def comparisons(queries: Tensor, references: Tensor, at_least: int = 1) -> Iterator[tuple[int, Tensor]]:
    """‖q − r‖² − ‖q‖² for all pairs of queries (Q, d), in float64, and references (R, d), some references at a time.

    What is left out is the same for all references. In memory are PAIRS_AT_ONCE of these numbers and ENTRIES_AT_ONCE
    entries of references, whatever R, or `at_least` references if those are more.

    Yields:
        The place of the first reference of a chunk, and the numbers, (Q, chunk).
    """
    chunk = max(at_least, min(PAIRS_AT_ONCE // len(queries), ENTRIES_AT_ONCE // queries.shape[1]))
    for start in range(0, len(references), chunk):
        r = references[start : start + chunk].double()
        squares = torch.linalg.vector_norm(r, dim=1).square()
        yield start, torch.addmm(squares, queries, r.T, alpha=-2)


def _nearest(queries: Tensor, references: Tensor, k: int) -> tuple[Tensor, Tensor]:
    queries = queries.double()
    best = queries.new_zeros(len(queries), 0)
    index = best.long()
    for start, squared in comparisons(queries, references, at_least=k):
        count = min(k, squared.shape[1])  # the last chunk may be shorter than k
        new, where = squared.topk(count, dim=1, largest=False)
        best, keep = torch.cat([best, new], 1).topk(k, dim=1, largest=False)
        index = torch.cat([index, where + start], 1).gather(1, keep)
    columns = [torch.linalg.vector_norm(queries - references[i].double(), dim=1) for i in index.T]
    distance, order = torch.stack(columns, 1).sort(dim=1, stable=True)
    return distance, index.gather(1, order)


def originals(samples: Tensor, train: Tensor, ratio: float = 1 / 3) -> Tensor:
    """The training point that each sample is a copy of, (S,), an index into train, or −1 where it is none.

    The arguments and the criterion are those of `copies`.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio is {ratio:g}: the threshold for d1/d2 is between 0 and 1")
    if len(train) < 2:
        raise ValueError(f"train has {len(train)} points: a ratio of distances needs two or more")
    distance, index = nearest(samples, train, k=2)
    first, second = distance.T
    return torch.where((first < ratio * second) | (first == 0), index[:, 0], -1)


def copies(samples: Tensor, train: Tensor, ratio: float = 1 / 3) -> Tensor:
    """Which samples are copies of a training point, (S,) boolean: d₁ < ratio · d₂, or d₁ = 0.

    d₁ ≤ d₂ are the distances to the two nearest training points. The ratio, not d₁, because distances differ between
    dense and sparse regions of the data. It cannot see copies of a point that the training set holds twice, other than
    exact ones: remove duplicates first.

    Args:
        samples: (S, *).
        train: the training set, (N, *), N ≥ 2, distinct points.
        ratio: threshold, between 0 and 1.

    Raises:
        ValueError: a ratio outside (0, 1), fewer than two training points, or points of different shapes.

    Source: Yoon et al., *Diffusion Probabilistic Models Generalize when They Fail to Memorize*, 2023; Gu et al. 2023,
    arXiv 2310.02664, with the ratio 1/3.
    """
    return originals(samples, train, ratio) >= 0


def memorized_fraction(samples: Tensor, train: Tensor, ratio: float = 1 / 3) -> Estimate:
    """The share of samples that are copies of a training point, see `copies`.

    Its null is the same call with fresh points in place of the samples: `memorized_fraction(val, train)` is what a
    perfect generator would reach by chance.

    Args:
        samples: (S, *), S ≥ 1.
        train: the training set, (N, *), N ≥ 2.
        ratio: threshold for d₁/d₂.

    Returns:
        A float between 0 and 1 that also has `.stderr`, `.n` and `.interval()`.

    Raises:
        ValueError: no samples, and what `copies` raises.
    """
    if not len(samples):
        raise ValueError("samples is empty: a share needs at least one sample")
    return Estimate.proportion(copies(samples, train, ratio))


def nearest_similarity(queries: Tensor, references: Tensor) -> Tensor:
    """The cosine similarity of each query to its most similar reference, max_j cos(q, r_j), (Q,), float64.

    The paper's measure of how near one-step predictions lie to a set of images: its mean over queries from a
    trajectory, from noisy training and from noisy validation images. A zero vector has similarity 0 to everything.

    Args:
        queries: features, (Q, *).
        references: features, (R, *), R ≥ 1.

    Raises:
        ValueError: no references, or features of different shapes.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419.
    """
    queries, references = paired(queries, references)
    if not len(references):
        raise ValueError("references is empty: give at least one")
    q = F.normalize(queries.double(), dim=1)
    best = q.new_full((len(q),), -1.0)
    chunk = max(1, min(PAIRS_AT_ONCE // max(1, len(q)), ENTRIES_AT_ONCE // q.shape[1]))
    for r in references.split(chunk):
        best = torch.maximum(best, (q @ F.normalize(r.double(), dim=1).T).amax(1))
    return best


class NeighbourTerms(NamedTuple):
    """Squared distances of queries to the nearest training and to the nearest validation point, (Q,) each.

    The neighbour gap is a ratio of their means; see `neighbour_gap`.
    """

    to_train: Tensor
    to_val: Tensor

    @property
    def ratio(self) -> Tensor:
        """Σ d²(q, val) / Σ d²(q, train), ()."""
        return self.to_val.mean() / self.to_train.mean()

    @property
    def influence(self) -> Tensor:
        """What each query contributes to the gap's error, (Q,): it is the mean of these, to first order."""
        return (self.to_val - self.ratio * self.to_train) / self.to_train.mean()

    @property
    def gap(self) -> Estimate:
        """The gap, with the standard error that comes from the queries (delta method for a ratio of means)."""
        return Estimate(self.ratio - 1, Estimate.mean(self.influence).stderr, len(self.to_train))

    def minus(self, other: NeighbourTerms) -> Estimate:
        """The difference of two gaps whose queries belong together row by row, such as samples from the same noise.

        What a row contributes to both cancels. What the split does by chance need not, where queries of the one lie
        elsewhere than those of the other: `diffgen.metrics.split_variance.paired_gaps` has an error that knows of it.

        Raises:
            ValueError: not equally many queries.
        """
        if len(self.to_train) != len(other.to_train):
            raise ValueError(f"{len(self.to_train)} queries and {len(other.to_train)}: pairs need equally many")
        stderr = Estimate.mean(self.influence - other.influence).stderr
        return Estimate(self.ratio - other.ratio, stderr, len(self.to_train))


def neighbour_terms(queries: Tensor, train: Tensor, val: Tensor) -> NeighbourTerms:
    """The terms of `neighbour_gap`, to compare the gaps of paired queries. Both sets are cut to the smaller one."""
    n = min(len(train), len(val))
    return NeighbourTerms(*(nearest(queries, points[:n], k=1).distance[:, 0].square() for points in (train, val)))


def neighbour_gap(queries: Tensor, train: Tensor, val: Tensor) -> Estimate:
    """How much nearer queries lie to the training set than to the validation set: Σ d²(q, val) / Σ d²(q, train) − 1.

    d is the distance to the nearest point of a set. It is to samples what G(σ) is to a denoiser: both are ratios of
    squared errors, a copy of a training point has d(q, train) = 0, and a generator that treats both sets alike has a
    gap of 0. Both sets are cut to the size of the smaller one, or the larger would be nearer by its size alone.

    The two sets differ by chance. Call it with fresh points of the same distribution for queries, such as
    `Split.holdout`, and subtract.

    Args:
        queries: samples, or fresh points, (Q, *), Q ≥ 2.
        train: training points, (N, *).
        val: validation points, (M, *).

    Returns:
        The gap, with the standard error that comes from the queries (delta method for a ratio of means).
    """
    return neighbour_terms(queries, train, val).gap
