"""Chance by exchange: the same as dealing the images and measuring again, right under the null, and not blind."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffgen.metrics.exchange import deals, gap_band, lean
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.position import nearness


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.integers(1, 200), st.integers(0, 999))
def test_deals_are_of_the_right_size_all_rows_alike_and_the_same_again(total, count, seed):
    n = total // 2
    member = torch.cat(list(deals(total, n, count, seed)))
    assert member.shape == (count, total)
    assert (member.sum(1) == n).all()
    assert torch.equal(member, torch.cat(list(deals(total, n, count, seed))))


def test_every_image_is_dealt_as_often_as_every_other():
    member = torch.cat(list(deals(10, 3, 5000, 1))).double()
    assert stats.chisquare(member.sum(0).numpy(), [1500] * 10).pvalue > 1e-4


def test_the_lean_is_the_mean_nearness_and_its_chance_that_of_sets_dealt_by_hand():
    train, val, queries = randn(20, 5), randn(20, 5, seed=1), randn(30, 5, seed=2)
    measured = lean(queries, train, val, n_exchanges=300, seed=4, confidence=0.9)
    assert measured.value == pytest.approx(float(nearness(queries, train, val).mean()), abs=1e-9)
    pool, by_hand = torch.cat([train, val]), []
    for member in torch.cat(list(deals(40, 20, 300, 4))):
        by_hand.append(float(nearness(queries, pool[member], pool[~member]).mean()))
    by_hand = torch.tensor(by_hand, dtype=torch.float64)
    assert measured.spread == pytest.approx(float(by_hand.std()), rel=1e-9)
    assert measured.high - measured.value == pytest.approx(float(by_hand.abs().quantile(0.9)), rel=1e-9)
    assert measured.p == (1 + int((by_hand >= measured.value).sum())) / 301


def test_copies_lean_and_strangers_do_not():
    train, val = randn(100, 6), randn(100, 6, seed=1)
    assert lean(train[:50] + 0.01 * randn(50, 6, seed=3), train, val, n_exchanges=300).low > 1
    told = [lean(randn(60, 6, seed=k + 10), *randn(2, 80, 6, seed=k), n_exchanges=200, seed=k) for k in range(100)]
    assert sum(t.low > 0 or t.high < 0 for t in told) <= stats.binom.ppf(0.999, 100, 0.05)
    assert stats.kstest([t.p for t in told], "uniform").pvalue > 0.001
    with pytest.raises(ValueError, match="queries has 0 rows"):
        lean(train[:0], train, val)


def errors(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Errors at five noise levels, of heavy tails, that depend on each other as those of real images do."""
    hard = randn(1, n, seed=seed)
    return (1.2 * hard + 0.4 * randn(5, n, seed=seed + 7) + shift).exp()


def test_a_band_covers_all_levels_at_once_where_there_is_no_gap():
    """100 pairs of sets: a band for each level alone would leave 0 out at some level far more often."""
    sigmas = torch.logspace(-1, 1, 5)
    out, alone = 0, 0
    for k in range(100):
        curve = GapCurve(sigmas, errors(60, 1000 + k), errors(60, 5000 + k))
        band = gap_band(curve, n_exchanges=500, seed=k)
        out += bool(((band.low > 0) | (band.high < 0)).any())
        alone += bool((curve.gap.abs() > 1.96 * curve.stderr).any())
    assert out <= stats.binom.ppf(0.999, 100, 0.05)
    assert alone > out


def test_a_gap_is_seen_and_the_band_is_as_wide_as_its_level_of_confidence():
    sigmas = torch.logspace(-1, 1, 5)
    curve = GapCurve(sigmas, errors(800, 1, -0.5), errors(800, 2))
    band, wider = gap_band(curve), gap_band(curve, confidence=0.999)
    assert (band.low > 0).all()
    assert wider.critical > band.critical > stats.norm.isf(0.025)
    torch.testing.assert_close(band.high - band.gap, band.critical * curve.stderr)
    with pytest.raises(ValueError, match="curve has 1 image"):
        gap_band(GapCurve(sigmas, errors(1, 1), errors(1, 2)))
