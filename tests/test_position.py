"""Nearness and position of samples: a copier is at 1, unseen images are at 0, and luck is in the error."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import diffgen as dg
from diffgen import book
from diffgen.book.claims import FAILS, HOLDS, INCONCLUSIVE
from diffgen.metrics.estimate import Interval
from diffgen.metrics.position import GREY_LEVEL, nearness, position, share_of_growth, with_luck

N, D = 400, 12


def points(seed, n=N):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


TRAIN, VAL, FRESH = points(0), points(1), points(2)


def test_nearness_is_that_of_a_double_loop():
    queries, epsilon = points(5, 7), D * GREY_LEVEL**2 / 12
    for q, value in zip(queries, nearness(queries, TRAIN, VAL)):
        near = [min(float((q - y).square().sum()) for y in part) + epsilon for part in (VAL, TRAIN)]
        assert float(value) == pytest.approx(math.log(near[0] / near[1]), rel=1e-5)


def test_nearness_turns_its_sign_when_sets_are_exchanged():
    assert torch.allclose(nearness(FRESH, TRAIN, VAL), -nearness(FRESH, VAL, TRAIN))


def test_sets_of_unequal_sizes_are_cut():
    assert torch.equal(nearness(FRESH, TRAIN, VAL[:100]), nearness(FRESH, TRAIN[:100], VAL[:100]))


def test_copies_differ_less_than_a_grey_level():
    """An exact copy has a finite nearness, and rounding to 256 steps does not change it by much."""
    exact = nearness(TRAIN, TRAIN, VAL)
    assert exact.isfinite().all()
    off = TRAIN + GREY_LEVEL * (torch.rand(TRAIN.shape, generator=torch.Generator().manual_seed(3)) - 0.5)
    assert float(exact.mean() - nearness(off, TRAIN, VAL).mean()) == pytest.approx(math.log(2), abs=0.05)


@given(p=st.floats(-1, 2), zero=st.floats(-1, 1), scale=st.floats(0.1, 5))
def test_a_position_does_not_depend_on_origin_and_scale(p, zero, scale):
    def at(value):
        return dg.Estimate(zero + scale * value, 0.01 * scale, 100)

    found = position(at(p), at(0), at(1))
    assert float(found) == pytest.approx(p, abs=1e-6)
    assert found.stderr == pytest.approx(0.01 * (1 + (1 - p) ** 2 + p**2) ** 0.5, rel=1e-6)


def means(queries):
    return dg.Estimate.mean(nearness(queries, TRAIN, VAL))


def denoised(sigma, y, memory):
    """A denoiser of N(0, I) that knows its training points by heart to the share `memory`."""
    x = y + sigma * points(9, len(y))
    linear = x / (1 + sigma**2)
    return linear + memory * (y - linear)


def c5(samples, memory):
    """The verdict on samples of a network whose denoiser has some memory."""
    p = position(means(samples), means(FRESH), means(denoised(0.5, TRAIN, memory)))
    gap = dg.Estimate.mean((denoised(0.5, VAL, 0) - VAL).square().sum(1)).minus(
        dg.Estimate.mean((denoised(0.5, TRAIN, memory) - TRAIN).square().sum(1))
    )
    return book.Claim("C5", "", "", *p.with_interval(), below=0.5, premise=gap.with_interval())


def test_what_decides_c5_can_fail_and_can_be_undecided():
    """Fresh images as samples of a network with memory hold, copies fail, a network without memory decides nothing."""
    assert c5(points(4), 0.8).verdict == HOLDS
    copied = TRAIN + 0.01 * points(6)
    assert c5(copied, 0.8).verdict == FAILS
    for samples in (points(4), copied):
        assert c5(samples, 0.0).verdict == INCONCLUSIVE


def test_the_share_of_growth_is_that_of_logarithms():
    """The paper's numbers: samples from .044 to .081, the denoiser from .049 to .226."""
    near = [dg.Estimate(math.log1p(gap), 0.01, 100) for gap in (0.044, 0.081)]
    gaps = [dg.Estimate(gap, 0.01, 100) for gap in (0.049, 0.226)]
    share = share_of_growth(tuple(near), tuple(gaps))
    assert float(share) == pytest.approx(0.223, abs=5e-4)
    as_much = tuple(dg.Estimate(math.log1p(gap), 0.0, 100) for gap in gaps)
    assert float(share_of_growth(as_much, tuple(gaps))) == pytest.approx(1)
    draws = torch.randn(4, 20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = [float(e) + e.stderr * z for e, z in zip((*near, *gaps), draws)]
    spread = ((ends[1] - ends[0]) / (ends[3].log1p() - ends[2].log1p())).std()
    assert share.stderr == pytest.approx(float(spread), rel=0.05)


def test_luck_is_in_the_error():
    mean, luck = dg.Estimate(0.1, 0.01, 50), torch.tensor([-0.1, 0.0, 0.1])
    assert with_luck(mean, luck).stderr == pytest.approx(0.1)
    assert with_luck(mean, torch.zeros(3)).stderr == pytest.approx(0.01)
    with pytest.raises(ValueError, match="over_splits has 1 values"):
        with_luck(mean, torch.zeros(1))


def test_over_many_splits_unseen_images_are_at_zero_within_the_luck():
    """The interval of the mean nearness of unseen points covers 0 about as often as it says."""
    covered = 0
    for k in range(40):
        a, b, q = (points(1000 + 3 * k + j, 150) for j in range(3))
        luck = torch.stack([nearness(q, points(5000 + 2 * j, 150), points(5001 + 2 * j, 150)).mean() for j in range(6)])
        low, high = with_luck(dg.Estimate.mean(nearness(q, a, b)), luck).interval()
        covered += low < 0 < high
    assert covered >= 33


def test_intervals_are_plain_numbers():
    assert isinstance(means(FRESH).with_interval(), Interval)
