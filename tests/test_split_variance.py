"""The errors of samples' gaps cover the variance between splits, by splits whose truth is known."""

import pytest
import torch

import diffgen as dg
from diffgen.data import Points
from diffgen.metrics import split_variance
from diffgen.metrics.neighbours import NeighbourTerms, neighbour_gap, neighbour_terms
from diffgen.metrics.split_variance import CONTROLS, paired_gaps
from diffgen.rng import generator

SIDE = 4


def drawn(n: int, *key: int) -> torch.Tensor:
    return torch.randn(n, SIDE, generator=generator(*key))


def split_of(seed: int, n: int = 40, holdout: int = 900) -> dg.Split:
    x = drawn(2 * n + holdout, 7, seed)
    return dg.Split(Points(x[:n]), Points(x[n : 2 * n]), Points(x[2 * n :]))


def guided(seed: int) -> list[torch.Tensor]:
    """Samples that know of no split, and such that have moved from the same noise to the edge of the data."""
    start = drawn(200, 8, seed)
    return [start, 0.7 * start + torch.tensor([1.2, 0, 0, 0])]


def test_intervals_cover_where_those_of_pairs_do_not():
    """No sample knows of a training point: all gaps are 0. Of 60 intervals of 95 %, the pairs' own cover far fewer."""
    outside = {"paired gaps": 0, "gap": 0, "pairs alone": 0}
    for seed in range(60):
        split, sets = split_of(seed), guided(seed)
        gaps, changes = paired_gaps(sets, split, n_splits=60, seed=seed)
        terms = [neighbour_terms(x, split.train.x, split.val.x) for x in sets]
        for name, estimate in (
            ("paired gaps", changes[1]),
            ("gap", gaps[1]),
            ("pairs alone", terms[1].minus(terms[0])),
        ):
            low, high = estimate.interval()
            outside[name] += not low <= 0 <= high
    assert outside["paired gaps"] <= 8
    assert outside["gap"] <= 8
    assert outside["pairs alone"] > 15


def test_gaps_are_less_that_of_the_holdout_and_changes_those_of_pairs():
    split, sets = split_of(1), guided(1)
    gaps, changes = paired_gaps(sets, split, n_splits=20)
    terms = [neighbour_terms(x, split.train.x, split.val.x) for x in sets]
    of_holdout = neighbour_gap(split.holdout.x, split.train.x, split.val.x)
    assert [float(gap) for gap in gaps] == [float(t.gap) - float(of_holdout) for t in terms]
    assert float(changes[1]) == float(terms[1].minus(terms[0]))
    assert changes[1].stderr >= terms[1].minus(terms[0]).stderr
    assert float(changes[0]) == changes[0].stderr == 0
    assert paired_gaps(sets, split, n_splits=20)[1][1].stderr == changes[1].stderr


def test_copies_are_found():
    split = split_of(2)
    start = drawn(200, 8, 2)
    copied = split.train.x[torch.arange(200) % len(split.train)] + 0.05 * start
    gaps, changes = paired_gaps([start, copied], split, n_splits=20)
    assert changes[1].interval()[0] > 0
    assert gaps[1].interval()[0] > 0


def by_whole_matrices(sets, split, n_splits, seed=0):
    """Terms of the holdout and of the sets in splits drawn anew, from the distances of all pairs: slow, and obvious."""
    order = torch.randperm(len(split.holdout), generator=generator(seed))
    controls = min(CONTROLS, len(order) // 3)
    control, pool = split.holdout.x[order[:controls]], split.holdout.x[order[controls:]]
    n = min(len(split.train), len(split.val), len(pool) // 2)
    squares = [torch.cdist(pool.double(), x.double()).square() for x in (control, *sets)]
    picks = [torch.randperm(len(pool), generator=generator(seed, 1, k)) for k in range(n_splits)]
    return [
        [NeighbourTerms(*(square[part].amin(0) for part in pick[: 2 * n].split(n))) for pick in picks]
        for square in squares
    ]


@pytest.mark.parametrize("n", [1, 7, 40, 300])  # of sets that hold few of the pool, up to all of it
def test_errors_are_those_of_whole_matrices(n, monkeypatch):
    split, sets = split_of(4, n), guided(4)
    expected = by_whole_matrices(sets, split, 30)

    def stderr(of):
        anew, own = torch.tensor([(float(e), e.stderr) for e in of[1:]], dtype=torch.float64).T
        return (of[0].stderr ** 2 + max(0.0, float(anew.var() - own.square().mean()))) ** 0.5

    measured = [[neighbour_terms(x, split.train.x, split.val.x)] for x in (split.holdout.x, *sets)]
    holdout, *rows = [one + anew for one, anew in zip(measured, expected)]
    in_gaps = [stderr([a.gap.minus(b.gap) for a, b in zip(row, holdout)]) for row in rows]
    in_changes = [stderr([a.minus(b) for a, b in zip(row, rows[0])]) for row in rows]
    for at_once, missed in ((2**25, 1e-5), (601, 1e-5), (2**25, 0.5)):  # one query at a time; half the sets missed
        monkeypatch.setattr(split_variance, "DISTANCES_AT_ONCE", at_once)
        monkeypatch.setattr(split_variance, "MISSED", missed)
        gaps, changes = paired_gaps(sets, split, n_splits=30)
        assert [gap.stderr for gap in gaps] == pytest.approx(in_gaps, rel=1e-5)
        assert [change.stderr for change in changes] == pytest.approx(in_changes, rel=1e-5)


def test_mistakes_are_named():
    split, (a, b) = split_of(3), guided(3)
    with pytest.raises(ValueError, match="pairs need equally many"):
        paired_gaps([a, b[:5]], split)
    with pytest.raises(ValueError, match="n_splits is 1"):
        paired_gaps([a, b], split, n_splits=1)
    with pytest.raises(ValueError, match=r"split\.holdout has 0 points"):
        paired_gaps([a, b], dg.Split(split.train, split.val))
