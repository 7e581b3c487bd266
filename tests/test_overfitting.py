"""Growth, bump and onset of a gap, on networks made up for the purpose: with memory, without, and turned round."""

import math

import pytest
import torch

import diffgen as dg
from diffgen import book
from diffgen.book.claims import FAILS, HOLDS, INCONCLUSIVE
from diffgen.metrics.estimate import Interval
from diffgen.metrics.overfitting import ends_over_peak, exchanged, growth, onset_lead
from diffgen.metrics.position import over_seeds

SIGMAS = dg.log_sigmas(9, 0.02, 40)
BUMP = torch.exp(-((SIGMAS.log() - math.log(0.6)) ** 2) / 2).double()
SEEN = [100, 200, 400, 800, 1600]


def run(memory, *, rise=0.0, n=512, seed=0):
    """Curves of five snapshots: E_train falls by `memory` times the bump, E_val rises by `rise` from the third on."""
    noise = 0.2 * torch.randn(2, 1, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    curves = []
    for k in range(len(SEEN)):
        level = 1 / (1 + k) + 0.5
        train = level * (1 - memory * k / 4 * BUMP)
        val = level * torch.ones(9) if k < 2 else (1 / 3 + 0.5) * (1 + rise * (k - 2) * BUMP - 0.02 * (k - 2))
        curves.append(dg.GapCurve(SIGMAS, train[:, None] * (1 + noise[0]), val[:, None].double() * (1 + noise[1])))
    return curves


def test_growth_of_memory_and_of_none():
    for memory, verdict in ((0.3, HOLDS), (0.0, INCONCLUSIVE)):
        curves = run(memory)
        level = [dg.GapCurve(c.sigmas, c.train_errors, c.val_errors / c.val[:, None] * c.train.mean()) for c in curves]
        grown = growth(level if not memory else curves, 0.6).with_interval()
        assert book.Claim("C1", "", "", *grown, above=0).verdict == verdict


def test_exchanged_splits_fail():
    curves = run(0.3)
    turned = growth([exchanged(c) for c in curves], 0.6)
    assert float(turned) < 0
    assert book.Claim("C1", "", "", *turned.with_interval(), above=0).verdict == FAILS
    assert torch.equal(exchanged(exchanged(curves[0])).gap, curves[0].gap)
    assert torch.allclose((1 + curves[-1].gap) * (1 + exchanged(curves[-1]).gap), torch.ones(9, dtype=torch.float64))


def test_a_bump_has_low_ends_and_high_neighbours():
    last = run(0.4)[-1]
    last = dg.GapCurve(SIGMAS, last.train_errors, last.val_errors / last.val[:, None] * 0.7)
    peak = int(last.gap.argmax())
    claim = book.Claim(
        "C2", "", "", *ends_over_peak(last), below=0.5,
        control=book.Beside("one step from the peak", ends_over_peak(last, (peak - 1, peak + 1))),
    )  # fmt: skip
    assert claim.of_control == FAILS
    assert claim.verdict == HOLDS
    nothing = dg.GapCurve(SIGMAS, last.train_errors, last.train_errors.flip(1))
    assert book.Claim("C2", "", "", *ends_over_peak(nothing), below=0.5).verdict == INCONCLUSIVE


def test_overfitting_starts_where_validation_errors_turn():
    curves, middle = run(0.3, rise=0.2), int(BUMP.argmax())
    lead = onset_lead(curves, SEEN, middle)
    assert lead.value == pytest.approx(math.log(1600 / 400))
    assert lead.low > 0
    turned = onset_lead(curves, SEEN, 0, (middle, middle))
    assert book.Claim("C3", "", "", *turned, above=0).verdict == FAILS
    early = onset_lead(curves[:2], SEEN[:2], middle)
    assert early.value == 0
    assert book.Claim("C3", "", "", *early, above=0).verdict == INCONCLUSIVE


def test_seeds_have_students_interval():
    from scipy import stats

    values = [0.1, 0.13, 0.08]
    low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    assert over_seeds(values) == pytest.approx((sum(values) / 3, low, high))
    assert math.isnan(over_seeds([0.1]).low)
    assert math.isnan(over_seeds([0.1, math.nan, 0.2]).low)
    with pytest.raises(ValueError, match="values is empty"):
        over_seeds([])


def test_one_seed_decides_nothing():
    assert book.Claim("C5", "", "", *over_seeds([5.0]), above=0).verdict == INCONCLUSIVE
    assert Interval(*over_seeds([1.0, 1.0])) == (1, 1, 1)
