"""The variance between splits of the gaps of samples, by splits drawn anew from images of neither set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.data import Split
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.neighbours import NeighbourTerms, neighbour_terms
from diffgen.rng import generator

CONTROLS = 512
"""At most so many images of the holdout stand in for samples in the splits drawn anew."""


def paired_gaps(
    sets: Sequence[Tensor], split: Split, *, n_splits: int = 200, seed: int = 0
) -> tuple[list[Estimate], list[Estimate]]:
    """Neighbour gaps of several sets of samples, and their changes from the first set's, with the split's variance.

    Row i of all sets belongs together, as samples from the same noise do, and what a row contributes to both gaps
    cancels in their difference. What the split does by chance need not: samples of one set lie elsewhere than those of
    another, and there other images are near, of the one split or of the other. So the split is drawn anew, as two
    disjoint sets of images of `split.holdout`, of which no sample knows. Over these splits a gap varies by σ₀², of
    which on average s₀² stems from the samples. What remains is the variance between splits; it adds to what the real
    samples contribute, s²:

        stderr² = s² + max(0, σ₀² − s₀²)

    Args:
        sets: samples, (Q, *) each.
        split: what the samples' network was trained on, what it was not, and a holdout.
        n_splits: splits drawn anew, 2 or more.
        seed: of these splits.

    Returns:
        The gaps, each less that of `split.holdout`, which corrects for what the split does to all points alike; and gap
        k less gap 0. One each a set.

    Raises:
        ValueError: sets of different sizes, fewer than two splits, or a split without a holdout of six or more.
    """
    if any(len(rows) != len(sets[0]) for rows in sets):
        raise ValueError(f"sets have {[len(rows) for rows in sets]} rows: pairs need equally many")
    if n_splits < 2:
        raise ValueError(f"n_splits is {n_splits}: a standard error needs two or more")
    if split.holdout is None or len(split.holdout) < 6:
        there = 0 if split.holdout is None else len(split.holdout)
        raise ValueError(f"split.holdout has {there} points: splits are drawn anew from it, give six or more")

    order = torch.randperm(len(split.holdout), generator=generator(seed))
    controls = min(CONTROLS, len(order) // 3)
    control, pool = split.holdout.x[order[:controls]], split.holdout.x[order[controls:]]
    n = min(len(split.train), len(split.val), len(pool) // 2)
    squares = [_squares(pool, x) for x in (control, *sets)]
    # of the holdout and of each set: terms of the split itself, then of those drawn anew
    rows = [[neighbour_terms(x, split.train.x, split.val.x)] for x in (split.holdout.x, *sets)]
    for random in (generator(seed, 1, k) for k in range(n_splits)):
        picks = torch.randperm(len(pool), generator=random)
        for row, square in zip(rows, squares):
            parts = (square.index_select(0, part).amin(0).double() for part in picks[: 2 * n].split(n))
            row.append(NeighbourTerms(*parts))

    of_holdout, first, *_ = rows
    gaps = [_with_split_variance(*(a.gap.minus(b.gap) for a, b in zip(row, of_holdout))) for row in rows[1:]]
    changes = [_with_split_variance(*(a.minus(b) for a, b in zip(row, first))) for row in rows[1:]]
    return gaps, changes


def _squares(points: Tensor, queries: Tensor) -> Tensor:
    """Squared distances, (points, queries), in float32: no query is a copy of these points."""
    return torch.cdist(points.flatten(1).float(), queries.flatten(1).float()).square()


def _with_split_variance(measured: Estimate, *anew: Estimate) -> Estimate:
    """What was measured, with the error that the same has over splits drawn anew."""
    over_splits = torch.tensor([float(e) for e in anew], dtype=torch.float64).var()
    of_samples = torch.tensor([e.stderr for e in anew], dtype=torch.float64).square().mean()
    between = float((over_splits - of_samples).clamp(min=0))
    return Estimate(measured, (measured.stderr**2 + between) ** 0.5, measured.n)
