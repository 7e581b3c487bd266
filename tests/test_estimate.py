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


def same(estimate: Estimate, value: float, stderr: float, rounding: float = 0) -> None:
    assert isinstance(estimate, Estimate)
    assert float(estimate) == pytest.approx(value, rel=rounding, abs=rounding)
    assert estimate.stderr == pytest.approx(stderr, rel=rounding, abs=rounding)
    assert estimate.n == 7


# Arithmetic with what is known


@given(numbers, errors, factors, kinds)
def test_what_is_known_moves_and_scales(value, stderr, number, kind):
    e, k = Estimate(value, stderr, 7), kind(number)
    same(e + k, value + number, stderr)
    same(e - k, value - number, stderr)
    same(e * k, value * number, abs(number) * stderr)
    same(e / k, value / number, stderr / abs(number), rounding=1e-12)
    same(-e, -value, stderr)
    same(+e, value, stderr)
    same(abs(e), abs(value), stderr)


@given(numbers, errors, factors)
def test_from_either_side(value, stderr, number):
    e = Estimate(value, stderr, 7)
    same(number + e, number + value, stderr)
    same(number - e, number - value, stderr)
    same(number * e, number * value, abs(number) * stderr)
    same(sum([e, number]), value + number, stderr)  # from 0 on
    same(3 * (e - 1) / 3 + 1, value, stderr, rounding=1e-12)


@pytest.mark.parametrize(
    "three",
    [3, np.int64(3), np.float32(3), np.array(3.0), torch.tensor(3), torch.tensor(3.0), torch.tensor([3.0])],
)
def test_one_number_of_any_type_is_plain(three):
    e = Estimate(0.5, 0.25, 7)
    same(e + three, 3.5, 0.25)
    same(e - three, -2.5, 0.25)
    same(e * three, 1.5, 0.75)
    same(e * (0 * three), 0, 0)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.array, torch.tensor])
@pytest.mark.parametrize(
    ("of_two", "value", "stderr"), [(operator.add, 3.5, 0.25), (operator.sub, 2.5, 0.25), (operator.mul, 1.5, 0.75)]
)
def test_from_the_right_of_numpy_and_torch_too(kind, of_two, value, stderr):
    same(of_two(kind(3), Estimate(0.5, 0.25, 7)), value, stderr)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.array, torch.tensor])
def test_numpy_and_torch_do_not_lose_the_error(kind):
    e = Estimate(0.5, 0.25, 7)
    for of_two in (operator.truediv, operator.pow, operator.mod, operator.floordiv):
        with pytest.raises(TypeError):
            of_two(kind(3.0), e)
    assert kind(1.0) > e
    assert float(torch.where(torch.tensor(True), torch.tensor(0.5), e)) == float(torch.full((1,), e)) == 0.5


@pytest.mark.parametrize("several", [np.ones(2), torch.ones(2), [1.0, 2.0], None, "1, 2"])
def test_what_is_not_one_number_is_not_added(several):
    for of_two in (operator.add, operator.sub, operator.mul, operator.truediv):
        with pytest.raises((TypeError, ValueError)):
            of_two(Estimate(0.5, 0.25, 7), several)
        with pytest.raises((TypeError, ValueError)):
            of_two(several, Estimate(0.5, 0.25, 7))


# What is refused


@pytest.mark.parametrize("of_two", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_two_estimates_are_refused_for_their_error_is_not_known(of_two):
    a, b = Estimate(2, 0.1, 9), Estimate(1, 0.2, 5)
    remedy = r"take a\.minus\(b\) for independent ones, a paired difference for the same images, or float\(a\)"
    for pair in ((a, b), (b, a), (a, a)):
        with pytest.raises(TypeError, match=remedy):
            of_two(*pair)


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
        lambda e: divmod(1, e),
        lambda e: pow(e, 2),
        round,
        lambda e: round(e, 2),
    ],
)
def test_what_would_lose_the_error_is_refused(loses):
    with pytest.raises(TypeError, match="would lose its error here: take float"):
        loses(Estimate(2, 0.1, 9))


def test_a_sum_of_estimates_is_refused_and_one_of_floats_is_not():
    some = [Estimate(1, 0.1, 3), Estimate(2, 0.1, 3)]
    with pytest.raises(TypeError, match=r"1 ± 0\.1 \(n = 3\) \+ 2 ± 0\.1 \(n = 3\): .* take a\.minus\(b\)"):
        sum(some)
    assert sum(map(float, some)) == 3


# Two that are independent


@given(numbers, errors, numbers, errors)
def test_independent_ones_add_in_quadrature(a, s, b, t):
    difference = Estimate(a, s, 9).minus(Estimate(b, t, 5))
    assert float(difference) == a - b
    assert difference.stderr == pytest.approx(math.hypot(s, t), rel=1e-9, abs=1e-150)
    assert difference.n == 5


# As a number


def test_it_is_a_number_in_all_else():
    e = Estimate(0.25, 0.5, 9)
    assert type(float(e)) is float
    assert e == 0.25
    assert hash(e) == hash(0.25)
    assert 0.2 < e < 0.3
    assert e < Estimate(0.3, 0.5, 9)
    assert max(e, 0.1) is e
    assert sorted([Estimate(0.3, 0, 2), e]) == [0.25, 0.3]
    assert e
    assert not Estimate(0, 0.5, 9)
    assert f"{e:.1f}" == "0.2"
    assert f"{e:.3f}" == "0.250"
    assert np.asarray([e]).dtype == float
    assert torch.tensor([e, e]).tolist() == [0.25, 0.25]
    assert math.exp(e) == math.exp(0.25)
    assert e.interval() == pytest.approx((0.25 - 1.95996 * 0.5, 0.25 + 1.95996 * 0.5), abs=1e-5)
    assert e.with_interval() == (0.25, *e.interval())
    assert repr(e) == "0.25 ± 0.5 (n = 9)"


@given(numbers, errors, st.integers(1, 10**6))
def test_a_copy_keeps_the_error(value, stderr, n):
    e = Estimate(value, stderr, n)
    for twin in (copy.copy(e), copy.deepcopy(e), *(pickle.loads(pickle.dumps(e, k)) for k in range(2, 6))):
        assert isinstance(twin, Estimate)
        assert (float(twin), twin.stderr, twin.n) == (value, stderr, n)


def test_an_estimate_is_shown_with_its_error():
    estimate = Estimate(0.1234, 0.0456, 9)
    assert estimate.format() == "0.123 ± 0.046"
    assert estimate.format("+.1%") == "+12.3% ± 4.6%"


# Of observations


def test_the_mean_knows_its_error():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    e = Estimate.mean(values)
    assert (e, e.stderr, e.n) == pytest.approx((values.mean().item(), values.std().item() / 20, 400), rel=1e-6)


def test_few_values_have_student_s_interval():
    values = torch.tensor([1.0, 2.0, 4.0, 4.5, 7.0])
    low, high = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    assert Estimate.mean(values).t_interval() == pytest.approx((float(values.mean()), low, high))


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.98])
def test_intervals_of_a_share_cover(p):
    """Exactly, by summing the binomial, for 100 observations: near 0 and 1 they cover more than 95 %."""
    n, covered = 100, 0.0
    for k in range(n + 1):
        low, high = Estimate.proportion(torch.arange(n) < k).interval()
        if low <= p <= high:
            covered += math.comb(n, k) * p**k * (1 - p) ** (n - k)
    assert covered >= 0.93
    assert covered <= 0.97 or not 0.1 < p < 0.9


def test_a_share_of_none_is_not_certain():
    assert Estimate.proportion(torch.zeros(50, dtype=torch.bool)).stderr > 0
