"""The variance between splits of the gaps of samples, by splits drawn anew from images of neither set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from diffgen.data import Split
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.neighbours import NeighbourTerms, neighbour_terms
from diffgen.rng import generator

CONTROLS = 512
"""At most so many images of the holdout stand in for samples in the splits drawn anew."""
MISSED = 1e-5
"""Of the sets drawn anew at most about so many hold none of the nearest points that are kept of a query."""
DISTANCES_AT_ONCE = 2**25
"""How many distances of queries to the holdout are held in memory at a time (float32: 128 MB)."""


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
    member = torch.stack([_members(len(pool), n, generator(seed, 1, k)) for k in range(n_splits)])
    # of the holdout and of each set: terms of the split itself, and then of those drawn anew
    measured = [neighbour_terms(x, split.train.x, split.val.x) for x in (split.holdout.x, *sets)]
    anew = [_to_parts(x, pool, member) for x in (control, *sets)]
    of_holdout, first, *_ = rows = list(zip(measured, anew))
    gaps = [
        _with_split_variance(*(a.gap.minus(b.gap) for a, b in zip(_terms(*row), _terms(*of_holdout))))
        for row in rows[1:]
    ]
    changes = [_with_split_variance(*(a.minus(b) for a, b in zip(_terms(*row), _terms(*first)))) for row in rows[1:]]
    return gaps, changes


def _terms(measured: NeighbourTerms, anew: Tensor) -> Iterator[NeighbourTerms]:
    """Terms of the split itself, then of those drawn anew, whose squared distances are (splits, 2, Q), float32."""
    yield measured
    yield from (NeighbourTerms(*of_split) for of_split in map(Tensor.double, anew))


def _members(size: int, n: int, random: Generator) -> Tensor:
    """Two disjoint sets of n of so many points, drawn at random, (size,): 1 in the one, 2 in the other, 0 in none."""
    member = torch.zeros(size, dtype=torch.uint8)
    for name, part in enumerate(torch.randperm(size, generator=random)[: 2 * n].split(n), 1):
        member[part] = name
    return member


def _to_parts(queries: Tensor, points: Tensor, member: Tensor) -> Tensor:
    """Squared distances of queries to the nearest point of each set, (splits, 2, Q), float32.

    Of each query only the nearest points are kept, so many that all but MISSED of the sets hold one of them. The others
    are looked up among all points, while the distances of a chunk of queries to them are in memory.

    Args:
        queries: (Q, *).
        points: that the sets are made of, (P, *).
        member: which set each point is in, 1, 2 or 0 for none, (splits, P).
    """
    queries, points = queries.flatten(1).float(), points.flatten(1).float().to(queries.device)
    squares, member = points.square().sum(1), member.to(queries.device)
    share = float((member == 1).double().mean())
    kept = min(len(points), math.ceil(math.log(MISSED) / math.log1p(-share)))
    nearest = torch.empty(len(member), 2, len(queries), device=queries.device)
    rows = max(1, DISTANCES_AT_ONCE // len(points))
    for start in range(0, len(queries), rows):
        q = queries[start : start + rows]
        distances = torch.addmm(squares, q, points.T, alpha=-2).add_(q.square().sum(1, keepdim=True)).clamp_(min=0)
        best, index = distances.topk(kept, dim=1, largest=False, sorted=False)
        for of_split, sets in zip(nearest[:, :, start : start + rows], member):
            among = sets[index]
            for name, to_set in enumerate(of_split, 1):
                torch.amin(torch.where(among == name, best, torch.inf), 1, out=to_set)
                missed = to_set.isinf().nonzero().flatten()
                if len(missed):
                    to_set[missed] = torch.where(sets == name, distances[missed], torch.inf).amin(1)
    return nearest


def _with_split_variance(measured: Estimate, *anew: Estimate) -> Estimate:
    """What was measured, with the error that the same has over splits drawn anew."""
    over_splits = torch.tensor([float(e) for e in anew], dtype=torch.float64).var()
    of_samples = torch.tensor([e.stderr for e in anew], dtype=torch.float64).square().mean()
    between = float((over_splits - of_samples).clamp(min=0))
    return Estimate(measured, (measured.stderr**2 + between) ** 0.5, measured.n)
