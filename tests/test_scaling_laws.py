"""Times read between snapshots and power laws: exact where the answer is known, and intervals that cover it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import diffgen as dg
from diffgen.metrics.scaling_laws import NEVER, crossing_time, overfit_time, power_law

SEEN = [1000, 2000, 4000, 8000, 16000, 32000]


@given(st.floats(-3, 3), st.floats(0.01, 100), st.floats(0.1, 10))
def test_a_power_law_is_found_exactly_and_units_do_not_matter(slope, prefactor, unit):
    x = [1, 2, 5, 10.0]
    law = power_law(x, [prefactor * v**slope for v in x])
    assert law.slope.value == pytest.approx(slope, abs=1e-9)
    assert law(3.0) == pytest.approx(prefactor * 3**slope)
    assert power_law([unit * v for v in x], [prefactor * v**slope for v in x]).slope.value == pytest.approx(slope)


def test_its_interval_is_that_of_the_regression():
    torch.manual_seed(0)
    x, covered = torch.tensor([64.0, 128, 256, 512, 1024]), 0
    for _ in range(400):
        y = 30 * x * (0.2 * torch.randn(5)).exp()
        slope = power_law(x.tolist(), y.tolist()).slope
        covered += slope.low < 1 < slope.high
    assert covered / 400 == pytest.approx(0.95, abs=0.035)
    fit = stats.linregress(x.log(), y.log())
    assert slope.high - slope.value == pytest.approx(stats.t.ppf(0.975, 3) * fit.stderr)


def test_points_that_are_not_known_are_left_out():
    law = power_law([1, 2, 4, 8], [3, 6, math.nan, 24])
    assert (law.n, law.slope.value) == (3, pytest.approx(1))
    assert math.isnan(power_law([1, 2], [3, math.nan]).slope.value)
    assert power_law([1, 2], [3, 6]).slope.high == math.inf
    with pytest.raises(ValueError, match="holds 0: a power law is of positive numbers"):
        power_law([0, 1], [1, 2])


def bowl(bottom, n=200, noise=0.0, seed=0):
    """Curves whose E_val is a parabola in ln τ with its bottom there, and E_train is flat."""
    spread = noise * torch.randn(2, 1, n, generator=torch.Generator().manual_seed(seed))
    shape = [1 + 0.1 * (math.log(t / bottom)) ** 2 for t in SEEN]
    return [dg.GapCurve(torch.tensor([1.0]), spread[0] * h + 1, spread[1] * h + h) for h in shape]


@given(st.floats(1500, 22000))
def test_the_onset_of_a_parabola_is_its_bottom(bottom):
    onset = overfit_time(bowl(bottom), SEEN, 1.0)
    assert onset.value == pytest.approx(bottom, rel=1e-5)


def test_an_onset_after_the_end_is_never():
    assert all(map(math.isnan, overfit_time(bowl(1e6), SEEN, 1.0)))


def estimates(values, stderr=0.0):
    return [dg.Estimate(v, stderr, 100) for v in values]


@given(st.floats(1001, 31999))
def test_a_straight_line_in_log_time_crosses_where_it_does(at):
    for sign in (1, -1):
        values = estimates([sign * math.log(t / at) for t in SEEN])
        assert crossing_time(SEEN, values, 0.0, rising=sign > 0).value == pytest.approx(at)


def test_a_blip_is_no_crossing_and_no_crossing_is_never():
    assert crossing_time(SEEN, estimates([0, 1, 0, 0, 0, 1]), 0.5).value == pytest.approx(16000 * 2**0.5)
    assert crossing_time(SEEN, estimates([0] * 6), 0.5) is NEVER
    assert crossing_time(SEEN, estimates([1] * 6), 0.5).value == pytest.approx(1000)


def test_the_interval_of_a_crossing_covers_it():
    covered, noise = 0, torch.Generator().manual_seed(1)
    truth = [math.log(t / 6000) for t in SEEN]
    for seed in range(200):
        values = [dg.Estimate(v + 0.3 * torch.randn((), generator=noise), 0.3, 100) for v in truth]
        time = crossing_time(SEEN, values, 0.0, n_draws=300, seed=seed)
        covered += time.low <= 6000 <= time.high
    assert covered / 200 > 0.9


def test_an_interval_that_reaches_the_end_is_open():
    time = crossing_time(SEEN, estimates([0, 0, 0, 0, 0, 0.6], 0.2), 0.5)
    assert time.value < 32000
    assert time.high == math.inf
