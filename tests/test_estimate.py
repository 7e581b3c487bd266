"""Laws of estimates: the error goes along, or the arithmetic is refused."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffgen.metrics.estimate import Estimate

numbers = st.floats(-1e6, 1e6, allow_nan=False)
errors = st.floats(0, 1e3, allow_nan=False)
factors = st.floats(-1e3, 1e3, allow_nan=False).filter(lambda x: abs(x) > 1e-3)
kinds = st.sampled_from([float, np.float64, lambda x: torch.tensor(x, dtype=torch.float64)])


def same(estimate: Estimate, value: float, stderr: float) -> None:
    assert isinstance(estimate, Estimate)
    assert float(estimate) == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert estimate.stderr == pytest.approx(stderr, rel=1e-12)
    assert estimate.n == 7


@given(numbers, errors, factors, kinds)
def test_what_is_known_moves_and_scales(value, stderr, number, kind):
    e, k = Estimate(value, stderr, 7), kind(number)
    same(e + k, value + number, stderr)
    same(e - k, value - number, stderr)
    same(e * k, value * number, abs(number) * stderr)
    same(e / k, value / number, stderr / abs(number))
    same(-e, -value, stderr)
    same(+e, value, stderr)
    same(abs(e), abs(value), stderr)


@given(numbers, errors, factors)
def test_from_either_side(value, stderr, number):
    e = Estimate(value, stderr, 7)
    same(number + e, number + value, stderr)
    same(number - e, number - value, stderr)
    same(number * e, number * value, abs(number) * stderr)
    same(3 * (e - 1) / 3 + 1, value, stderr)


@pytest.mark.parametrize("of_two", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_two_estimates_are_refused_for_their_error_is_not_known(of_two):
    a, b = Estimate(2, 0.1, 9), Estimate(1, 0.2, 5)
    with pytest.raises(TypeError, match=r"take a\.minus\(b\) for independent ones, a paired difference"):
        of_two(a, b)
    with pytest.raises(TypeError):
        of_two(a, a)


@pytest.mark.parametrize(
    "loses",
    [
        lambda e: e**2,
        lambda e: 2**e,
        lambda e: 1 / e,
        lambda e: e // 1,
        lambda e: 1 // e,
        lambda e: e % 1,
        lambda e: 1 % e,
        lambda e: divmod(e, 1),
        round,
        lambda e: round(e, 2),
    ],
)
def test_what_would_lose_the_error_is_refused(loses):
    with pytest.raises(TypeError, match="would lose its error here: take float"):
        loses(Estimate(2, 0.1, 9))


def test_a_sum_of_estimates_is_refused_and_one_of_floats_is_not():
    some = [Estimate(1, 0.1, 3), Estimate(2, 0.1, 3)]
    with pytest.raises(TypeError):
        sum(some)
    assert sum(map(float, some)) == 3


@given(numbers, errors, numbers, errors)
def test_independent_ones_add_in_quadrature(a, s, b, t):
    difference = Estimate(a, s, 9).minus(Estimate(b, t, 5))
    assert float(difference) == a - b
    assert difference.stderr == pytest.approx(math.hypot(s, t), rel=1e-9, abs=1e-150)
    assert difference.n == 5


def test_it_is_a_number_in_all_else():
    e = Estimate(0.25, 0.5, 9)
    assert e == 0.25
    assert 0.2 < e < 0.3
    assert max(e, 0.1) is e
    assert f"{e:.1f}" == "0.2"
    assert np.asarray([e]).dtype == float
    assert math.isclose(math.exp(e), math.exp(0.25))
    for twin in (copy.copy(e), copy.deepcopy(e), pickle.loads(pickle.dumps(e))):
        assert (float(twin), twin.stderr, twin.n) == (0.25, 0.5, 9)
    assert repr(e) == "0.25 ± 0.5 (n = 9)"


def test_an_estimate_is_shown_with_its_error():
    estimate = Estimate(0.1234, 0.0456, 9)
    assert estimate.format() == "0.123 ± 0.046"
    assert estimate.format("+.1%") == "+12.3% ± 4.6%"


def test_few_values_have_student_s_interval():
    values = torch.tensor([1.0, 2.0, 4.0, 4.5, 7.0])
    low, high = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    assert Estimate.mean(values).t_interval() == pytest.approx((float(values.mean()), low, high))
