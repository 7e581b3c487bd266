"""Membership: areas under ROC curves against scikit-learn and closed forms; chance by exchange; discoveries by rank."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from diffgen.metrics.membership import (
    auc,
    clopper_pearson,
    discriminant_scores,
    most_at_risk,
    told_apart,
    true_positive_rate,
)
from diffgen.rng import generator

seeds = st.integers(0, 2**31)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 40), st.integers(2, 40), st.booleans())
def test_auc_is_that_of_scikit_learn_with_ties_and_without(seed, n, m, ties):
    a, b = randn(n, seed=seed) + 0.5, randn(m, seed=seed + 1)
    a, b = (a.round(), b.round()) if ties else (a, b)
    oracle = roc_auc_score([1] * n + [0] * m, torch.cat([a, b]))
    assert float(auc(a, b)) == pytest.approx(oracle)
    assert float(auc(b, a)) == pytest.approx(1 - oracle)
    assert float(auc(2 * a + 1, 2 * b + 1)) == pytest.approx(oracle)


def test_auc_of_gaussians_is_phi_of_the_shift_and_its_error_is_their_spread():
    values = torch.tensor([float(auc(randn(150, seed=k) + 0.8, randn(150, seed=9999 - k))) for k in range(400)])
    assert float(values.mean()) == pytest.approx(stats.norm.cdf(0.8 / 2**0.5), abs=0.005)
    assert auc(randn(150) + 0.8, randn(150, seed=1)).stderr == pytest.approx(float(values.std()), rel=0.15)
    assert auc(randn(50) + 90, randn(50)) == 1


def test_scores_are_those_of_scikit_learns_discriminant_on_the_other_folds():
    rows, member = torch.cat([randn(60, 4) + 0.7, randn(90, 4, seed=1)]), (torch.arange(150) < 60)[None]
    (scores,) = discriminant_scores(rows, member, folds=3, seed=5)
    fold = torch.randperm(150, generator=generator(5)) % 3
    for k in range(3):
        oracle = LinearDiscriminantAnalysis(solver="lsqr")
        oracle.fit(rows[fold != k], member[0][fold != k])
        expected = torch.from_numpy(oracle.decision_function(rows[fold == k]))
        assert np.corrcoef(scores[fold == k], expected)[0, 1] > 0.99999
        prior = math.log(int(member[0][fold != k].sum()) / int((~member[0][fold != k]).sum()))
        assert torch.equal(scores[fold == k] > 0, expected - prior > 0)


def test_a_row_is_not_judged_by_a_rule_that_it_helped_to_make():
    """With more numbers than images a rule could name everybody: then chance must still look like chance."""
    told = told_apart(randn(40, 60), randn(40, 60, seed=1), n_exchanges=200)
    assert told.auc.low < 0.5 < told.auc.high
    assert told_apart(randn(40, 60) + 1, randn(40, 60, seed=1), n_exchanges=100).auc.value > 0.9


def test_of_equal_distributions_chance_is_what_it_says():
    """100 pairs of sets that are alike: p is uniform, and few intervals leave out one half."""
    told = [told_apart(randn(60, 5, seed=k), randn(60, 5, seed=k + 5000), n_exchanges=128, seed=k) for k in range(100)]
    assert sum(not t.auc.low <= 0.5 <= t.auc.high for t in told) <= stats.binom.ppf(0.999, 100, 0.05)
    assert stats.kstest([t.p for t in told], "uniform").pvalue > 0.001


@pytest.mark.parametrize("bad", [randn(4, 3), randn(20, 2), randn(20), torch.full((20, 3), math.nan)])
def test_what_cannot_be_told_apart_is_named(bad):
    with pytest.raises(ValueError, match=r"others (has shape|holds a number that is not finite, in row 0)"):
        told_apart(randn(20, 3), bad)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.integers(1, 50), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_ends_of_an_interval_are_where_chance_alone_is_as_rare_as_it_says(hits, n, confidence):
    if hits > n:
        with pytest.raises(ValueError, match=f"hits is {hits} of n = {n}"):
            clopper_pearson(hits, n)
        return
    value, low, high = clopper_pearson(hits, n, confidence)
    tail = (1 - confidence) / 2
    assert value == hits / n
    assert (low == 0) if hits == 0 else stats.binom.sf(hits - 1, n, low) == pytest.approx(tail)
    assert (high == 1) if hits == n else stats.binom.cdf(hits, n, high) == pytest.approx(tail)


def test_true_positives_at_few_false_ones_and_their_exact_chance():
    members, others = randn(2000) + 1, randn(2000, seed=1)
    measured = true_positive_rate(members, others, 0.01)
    threshold = others.sort().values[-20]
    assert measured.rate.value == float((members > threshold).double().mean())
    assert measured.rate.value == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - 1), abs=0.03)
    assert measured.p < 1e-10
    assert true_positive_rate(members, others[:50], 0.01) is None
    with pytest.raises(ValueError, match="false_rate is 2"):
        true_positive_rate(members, others, 2)
    null = [true_positive_rate(randn(50, seed=k), randn(60, seed=k + 999), 0.05).p for k in range(400)]
    for level in (0.01, 0.05, 0.2):  # a p-value of counts is at most as often below a level as the level says
        assert np.mean(np.array(null) <= level) <= stats.binom.ppf(0.999, 400, level) / 400


@pytest.mark.parametrize(("n", "m", "k"), [(3, 3, 1), (3, 4, 2), (4, 3, 2)])
def test_the_chance_of_true_positives_is_that_of_all_orders(n, m, k):
    """Every way to place n members among n + m ranks is as likely: count those with as many above the k-th other."""
    hits = []
    for places in itertools.combinations(range(n + m), n):
        others = [rank for rank in range(n + m) if rank not in places]
        hits.append(sum(place > sorted(others)[-k] for place in places))
    for measured in range(n + 1):
        members, others = (
            torch.cat([torch.full((measured,), 9.0), torch.full((n - measured,), -9.0)]),
            torch.arange(float(m)),
        )
        exact = sum(h >= measured for h in hits) / len(hits)
        assert true_positive_rate(members, others, (k + 0.5) / m).p == pytest.approx(exact)


def test_the_list_is_that_of_benjamini_and_hochberg():
    members, others = torch.cat([randn(30) + 5, randn(170, seed=2)]), randn(3000, seed=1)
    named = most_at_risk(members, others, 0.1)
    p = np.array([(1 + int((others >= score).sum())) / 3001 for score in members])
    rank = np.array([(p <= value).sum() for value in p])
    steps = p * len(p) / rank <= 0.1  # of Benjamini and Hochberg: all p up to the largest one of these
    oracle = p <= p[steps].max()
    assert set(named.index.tolist()) == set(np.flatnonzero(oracle))
    assert named.p.tolist() == sorted(p[oracle])
    assert len(set(named.index.tolist()) - set(range(30))) <= 8
    assert set(range(30)) <= set(named.index.tolist())


def test_nobody_is_named_where_nobody_stands_out():
    assert sum(len(most_at_risk(randn(100, seed=k), randn(500, seed=k + 77), 0.1).index) > 0 for k in range(100)) <= 22
    assert not len(most_at_risk(randn(1000) + 9, randn(5, seed=1), 0.1).index)  # too few others for a small p
