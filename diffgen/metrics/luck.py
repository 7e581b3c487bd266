"""What the luck of the split does to the gaps of samples, by splits drawn anew from images of neither set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.data import Split
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.neighbours import GapTerms, gap_terms
from diffgen.rng import generator

CONTROLS = 512
"""At most so many images of the rest take the place of samples in the splits drawn anew."""


def paired_gaps(
    sets: Sequence[Tensor], split: Split, *, draws: int = 200, seed: int = 0
) -> tuple[list[Estimate], list[Estimate]]:
    """Neighbour gaps of several sets of samples, and their changes from the first set's; errors know the split's luck.

    Row i of all sets belongs together, as samples from the same noise do, and what a row contributes to both gaps
    cancels in their difference. The luck of the split does not: samples of one set lie elsewhere than those of another,
    and there other images are near, of the one split or of the other by chance. So the split is drawn anew, as two
    disjoint sets of images of `split.rest`, of which no sample knows. Over these splits a gap varies by σ₀², of which
    on average s₀² stems from the samples. The rest of it is luck, and adds to what the real samples contribute, s²:

        stderr² = s² + max(0, σ₀² − s₀²)

    Args:
        sets: samples, (Q, *) each.
        split: what the samples' network was trained on, what it was not, and a rest.
        draws: splits drawn anew, 2 or more.
        seed: of the draws.

    Returns:
        The gaps, each less that of `split.rest`, which corrects for the luck that all points share; and gap k less gap
        0. One each a set.

    Raises:
        ValueError: sets of different sizes, fewer than two draws, or a split without a rest of six or more.
    """
    if any(len(rows) != len(sets[0]) for rows in sets):
        raise ValueError(f"sets have {[len(rows) for rows in sets]} rows: pairs need equally many")
    if draws < 2:
        raise ValueError(f"draws is {draws}: a standard error needs two or more")
    if split.rest is None or len(split.rest) < 6:
        there = 0 if split.rest is None else len(split.rest)
        raise ValueError(f"split.rest has {there} points: splits are drawn anew from it, give six or more")

    order = torch.randperm(len(split.rest), generator=generator(seed))
    controls = min(CONTROLS, len(order) // 3)
    control, pool = split.rest.x[order[:controls]], split.rest.x[order[controls:]]
    n = min(len(split.train), len(split.val), len(pool) // 2)
    squares = [_squares(pool, x) for x in (control, *sets)]
    rows = [[gap_terms(x, split.train.x, split.val.x)] for x in (split.rest.x, *sets)]  # the split's, then those anew
    for random in (generator(seed, 1, k) for k in range(draws)):
        picks = torch.randperm(len(pool), generator=random)
        for row, square in zip(rows, squares):
            row.append(GapTerms(*(square.index_select(0, part).amin(0).double() for part in picks[: 2 * n].split(n))))

    rest, first, *_ = rows
    gaps = [_with_luck(*(of.gap.minus(by.gap) for of, by in zip(row, rest))) for row in rows[1:]]
    changes = [_with_luck(*(of.minus(by) for of, by in zip(row, first))) for row in rows[1:]]
    return gaps, changes


def _squares(points: Tensor, queries: Tensor) -> Tensor:
    """Squared distances, (points, queries), in float32: no query is a copy of these points."""
    return torch.cdist(points.flatten(1).float(), queries.flatten(1).float()).square()


def _with_luck(found: Estimate, *anew: Estimate) -> Estimate:
    """What was found, with the error that the same has over splits drawn anew."""
    spread, of_samples = (torch.tensor(x, dtype=torch.float64) for x in (anew, [e.stderr for e in anew]))
    luck = float((spread.var() - of_samples.square().mean()).clamp(min=0))
    return Estimate(found, (found.stderr**2 + luck) ** 0.5, found.n)
