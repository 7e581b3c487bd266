"""Where a gap lies, and what several curves have in common: laws of shift and scale, closed forms, coverage."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import diffgen as dg
from diffgen.metrics.centre import centre, centre_change, centre_of_mass, mean_difference_at
from diffgen.metrics.gap import GapCurve, paired_difference_at
from diffgen.rng import generator

SIGMAS = dg.log_sigmas(25, 0.01, 100, dtype=torch.float64)


def bump(at, width=0.7, height=0.2, sigmas=SIGMAS):
    """A Gaussian in ln σ."""
    return height * (-(((sigmas / at).log() / width) ** 2) / 2).exp()


def curve_of(gap, n=200, seed=0, spread=0.5, sigmas=SIGMAS):
    """Errors with that gap: images differ in how hard they are, alike at all noise levels, and each at each."""
    parts = []
    for k, level in enumerate((torch.ones(len(sigmas)), 1 + gap)):
        random = generator(seed, n, k)
        hard = 1 + spread * (torch.rand(1, n, generator=random, dtype=torch.float64) - 0.5)
        own = 0.1 * spread * torch.randn(len(sigmas), n, generator=random, dtype=torch.float64)
        parts.append(level[:, None] * (hard + own))
    return GapCurve(sigmas, *parts)


@given(st.floats(0.3, 3), st.floats(0.3, 0.9), st.floats(0.01, 50))
def test_the_centre_of_a_gaussian_bump_is_its_mean_however_high(at, width, height):
    assert float(centre_of_mass(bump(at, width, height), SIGMAS)) == pytest.approx(math.log(at), abs=1e-3)


@given(st.floats(0.1, 10))
def test_a_shift_in_ln_sigma_shifts_the_centre_by_as_much(factor):
    gap = bump(1.0, 1.5) - 0.02  # negative at both ends, where nothing counts
    moved = centre_of_mass(gap, SIGMAS * factor) - centre_of_mass(gap, SIGMAS)
    assert float(moved) == pytest.approx(math.log(factor), abs=1e-9)


def test_an_uneven_grid_finds_the_same_centre():
    fine = torch.cat([dg.log_sigmas(150, 0.01, 1), dg.log_sigmas(40, 1, 100)[1:]]).double()
    assert float(centre_of_mass(bump(0.8, sigmas=fine), fine)) == pytest.approx(math.log(0.8), abs=2e-3)


def test_without_a_gap_there_is_no_centre_and_one_level_is_none():
    assert math.isnan(centre_of_mass(-bump(1.0), SIGMAS))
    with pytest.raises(ValueError, match="sigmas has 1 noise level"):
        centre_of_mass(torch.ones(1), torch.ones(1))


def test_a_flat_top_moves_it_less_than_the_place_of_the_maximum():
    """Chance lifts one end of a plateau, then the other."""
    plateau = ((SIGMAS > 0.3) & (SIGMAS < 3.3)).double() * 0.2
    noise = 0.01 * torch.randn(200, len(SIGMAS), generator=generator(0), dtype=torch.float64)
    inside = plateau + noise * (plateau > 0)
    assert centre_of_mass(inside, SIGMAS).std() < SIGMAS.log()[inside.argmax(1)].std() / 10


def test_intervals_of_centre_and_change_cover():
    hits = []
    for seed in range(200):
        one, other = (curve_of(bump(at) + 0.05, 100, seed, spread=0.3) for at in (0.8, 1.4))
        truths = [centre_of_mass(bump(at) + 0.05, SIGMAS) for at in (0.8, 1.4)]
        alone = centre(one, n_resamples=200, seed=seed)
        change = centre_change([other], one, n_resamples=200, seed=seed)
        hits.append([alone.low <= truths[0] <= alone.high, change.low <= truths[1] - truths[0] <= change.high])
    shares = torch.tensor(hits).double().mean(0)
    assert (shares > 0.9).all(), shares


def test_of_a_curve_and_itself_nothing_changes_and_pairs_are_narrower():
    one, other = curve_of(bump(0.8), seed=1), curve_of(bump(1.4), seed=1)
    assert max(map(abs, centre_change([one, one], one))) < 1e-9
    change, alone = centre_change([other], one), centre(one)
    assert change.low > 0
    assert change.high - change.low < 1.5 * (alone.high - alone.low)
    averaged = centre_change([other, one], one)
    assert averaged.value == pytest.approx(change.value / 2)


def test_a_mean_difference_is_that_of_the_pairs():
    one, *others = (curve_of(bump(at), seed=1) for at in (0.8, 1.0, 1.4))
    at = 1.1
    pairs = [paired_difference_at(other, one, at) for other in others]
    mean = mean_difference_at(others, one, at)
    assert float(mean) == pytest.approx(sum(map(float, pairs)) / 2)
    assert mean.stderr <= sum(pair.stderr for pair in pairs) / 2 + 1e-12
    same = mean_difference_at(others[:1], one, at)
    assert (float(same), same.stderr) == (pytest.approx(float(pairs[0])), pytest.approx(pairs[0].stderr))
