"""k-means: cells of the data space, for the data-copying test, and pseudo-labels of any granularity."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.rng import generator

PAIRS_AT_ONCE = 2**22
"""How many point–centre pairs are held in memory at a time (float64: 32 MB)."""


class Clusters(NamedTuple):
    """A partition into k cells: each point belongs to its nearest centre.

    centres: (k, F), float64; labels: cells of the points they were found on, (N,), int64; inertia: the mean squared
    distance of a point to its centre; converged: whether no point changed its cell in the last round.
    """

    centres: Tensor
    labels: Tensor
    inertia: float
    converged: bool

    def assign(self, x: Tensor) -> Tensor:
        """The cells of other points, (M, *), in the same space: (M,), int64."""
        return _cells(x.flatten(1).double(), self.centres.to(x.device))


def kmeans(x: Tensor, k: int, *, seed: int = 0, rounds: int = 300) -> Clusters:
    """Divide points among k centres by Lloyd's algorithm: a local minimum of Σ_i min_c ‖x_i − m_c‖².

    It starts from `spread_centres` and moves centres to the means of their cells until no point changes its cell. A
    centre whose cell becomes empty stays where it is. As a pseudo-label the number of a cell means nothing but that
    points share it; the same seed gives the same numbers. Cost: O(N k F) a round.

    Args:
        x: points, or their features, (N, *), flattened to (N, F), with at least k distinct ones.
        k: number of cells.
        seed: of the start.
        rounds: at most.

    Returns:
        `Clusters`: .centres .labels .inertia .converged, and .assign(x) for other points.

    Raises:
        ValueError: k is not between 1 and N.

    Source: Lloyd 1982, *Least squares quantization in PCM*.
    """
    x = x.flatten(1).double()
    return lloyd(x, spread_centres(x, k, seed), rounds)


def lloyd(x: Tensor, centres: Tensor, rounds: int = 300) -> Clusters:
    """`kmeans` of points (N, F) from given centres, (k, F)."""
    x, centres, labels = x.double(), centres.double(), torch.full((len(x),), -1, device=x.device)
    for _ in range(rounds):
        before, labels = labels, _cells(x, centres)
        converged = bool((labels == before).all())
        if converged:
            break
        sizes = labels.bincount(minlength=len(centres))[:, None]
        means = torch.zeros_like(centres).index_add_(0, labels, x) / sizes.clamp(min=1)
        centres = torch.where(sizes > 0, means, centres)
    labels = _cells(x, centres)
    return Clusters(centres, labels, (x - centres[labels]).square().sum(1).mean().item(), converged)


def _cells(x: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each point; between centres as near as rounding, either."""
    half_squares = centres.square().sum(1) / 2
    parts = x.split(max(1, PAIRS_AT_ONCE // len(centres)))
    return torch.cat([torch.addmm(half_squares, rows, centres.T, alpha=-1).argmin(1) for rows in parts])


def spread_centres(x: Tensor, k: int, seed: int = 0) -> Tensor:
    """k of the points, (k, F), far from each other: each is drawn with p ∝ its squared distance to those before it.

    Raises:
        ValueError: k is not between 1 and N.

    Source: Arthur and Vassilvitskii 2007, *k-means++: the advantages of careful seeding*.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"k is {k}: with {len(x)} points it is between 1 and {len(x)}")
    draws = torch.rand(k, generator=generator(seed), dtype=torch.float64).to(x.device)
    x = x.flatten(1).double()
    picked, squared = [int(draws[0] * len(x))], x.new_full((len(x),), torch.inf)
    for draw in draws[1:]:
        squared = torch.minimum(squared, (x - x[picked[-1]]).square().sum(1))
        sums = squared.cumsum(0)
        # the first point whose sum exceeds the draw: never one of those before it, for its own distance is 0
        picked.append(min(int(torch.searchsorted(sums, draw * sums[-1], right=True)), len(x) - 1))
    return x[picked]
