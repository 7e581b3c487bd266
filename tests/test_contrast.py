"""What guidance and windows change: statistics, their controls and nulls, and the verdicts that they lead to."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffgen import book
from diffgen.metrics.contrast import (
    AtWeight,
    change_of_ratio,
    contrast_rows,
    contrasts_of_seed,
    difference_contrast,
    log_contrast,
    regime,
    window_rows,
)
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.gap import GapCurve
from diffgen.schedule import log_sigmas

HOLDS, FAILS, UNDECIDED = "holds", "fails", "inconclusive at this scale"
positive = st.floats(1e-3, 1e3)
pairs = st.tuples(positive, positive)


@given(pairs, pairs, positive)
def test_contrasts_change_sign_when_roles_are_exchanged_and_the_factor_has_no_unit(a, b, unit):
    assert difference_contrast(a, b) == -difference_contrast(b, a)
    assert log_contrast(a, b) == pytest.approx(-log_contrast(b, a), abs=1e-9)
    assert log_contrast((unit * a[0], unit * a[1]), b) == pytest.approx(log_contrast(a, b), abs=1e-9)
    assert log_contrast(a, a) == difference_contrast(a, a) == 0


def test_a_factor_of_what_is_not_positive_is_not_known():
    for samples, denoiser in (((0.0, 0.1), (0.1, 0.1)), ((0.1, -0.1), (0.1, 0.1)), ((0.1, 0.1), (0.1, -0.1))):
        assert math.isnan(log_contrast(samples, denoiser))
    assert log_contrast((0.1, 0.4), (0.1, 0.2)) == pytest.approx(math.log(2))


@given(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)))
def test_parts_of_a_ratio_add_up_and_each_is_0_where_its_own_stays(n, d):
    by_numerator, by_denominator = change_of_ratio(n, d)
    assert by_numerator + by_denominator == pytest.approx(n[1] / d[1] - n[0] / d[0], abs=1e-9)
    assert change_of_ratio((n[0], n[0]), d)[0] == 0
    assert change_of_ratio(n, (d[0], d[0]))[1] == 0


def seeds(growth, denoiser, frechet=None, noise=0.002, n=3, gap=0.11, start=0.04):
    """Seeds before and after guidance: the samples' gap grows by a factor, G by another, Fréchet gaps by an amount."""
    random = torch.Generator().manual_seed(4)

    def chance():
        return noise * float(torch.randn((), generator=random))

    before, after = [], []
    for _ in range(n):
        g, near = gap + chance(), start + chance()
        frechet_gap = 0.05 + chance()
        for to, factor, by, more in ((before, 1, 1, 0), (after, growth, denoiser, frechet or 0)):
            halves = (near * factor + chance(), near * factor + chance())
            to.append(AtWeight(g * by + chance(), frechet_gap + more + chance(), frechet_gap + more / 2 + chance(),
                               near * factor + chance(), halves, chance(), chance(), near + 0.07))  # fmt: skip
    return before, after


def verdicts(before, after, copies=0, guide=0.03):
    none = torch.zeros(4000)
    some = none.clone()
    some[:copies] = 1
    more = [Estimate.proportion(some.bool()).minus(Estimate.proportion(none.bool()))] * len(before)
    premise = regime([a.gap for a in before], more)
    return {
        name: book.Claim(
            name, "", "", *row.measured, above=0, premise=premise, control=book.Beside("control", row.control),
            null=book.Beside("null", row.null),
        )
        for name, row in contrast_rows(before, after, [guide] * len(before)).items()
    }  # fmt: skip


def test_a_claim_that_is_true_holds_and_its_controls_and_nulls_are_as_they_must():
    for claim in verdicts(*seeds(growth=3, denoiser=1.5, frechet=0.4)).values():
        assert (claim.verdict, claim.of_control, claim.of_null) == (HOLDS, FAILS, UNDECIDED)


def test_samples_that_ignore_guidance_fail_each_contrast():
    of = verdicts(*seeds(growth=1, denoiser=1.5))
    assert {of[name].verdict for name in "ABC"} == {FAILS}
    assert of["samples"].verdict == UNDECIDED
    of = verdicts(*seeds(growth=0.5, denoiser=1.5, frechet=-0.1))
    assert {of[name].verdict for name in "ABC"} == {FAILS}
    assert of["samples"].verdict == FAILS


def test_guidance_by_itself_decides_nothing():
    assert {claim.verdict for claim in verdicts(*seeds(growth=1, denoiser=1)).values()} == {UNDECIDED}


@pytest.mark.parametrize("denoiser", [1.0, 0.7])
def test_where_the_denoiser_does_not_grow_the_control_still_fails(denoiser):
    """The paper's own case: the denoiser's gap stays or falls, that of the samples grows."""
    of = verdicts(*seeds(growth=3, denoiser=denoiser, frechet=0.4))
    assert {claim.verdict for claim in of.values()} == {HOLDS}


def test_a_guide_that_has_as_large_a_gap_takes_the_power_away():
    of = verdicts(*seeds(growth=3, denoiser=1.5, frechet=0.4), guide=0.11)
    assert {of[name].verdict for name in "ABC"} == {"inconclusive: its control does not fail"}
    assert of["samples"].verdict == HOLDS


def test_a_number_too_coarse_to_see_one_copy_in_a_hundred_decides_nothing_of_the_samples():
    before, after = seeds(growth=3, denoiser=1.5, frechet=0.4)
    blind = [row._replace(copied=row.near + by) for row, by in zip(before, (0.002, -0.001, 0.0))]
    assert verdicts(blind, after)["samples"].verdict == "inconclusive: its control does not fail"


def test_a_null_that_moves_takes_the_verdict_away():
    before, after = seeds(growth=3, denoiser=1.5, frechet=0.4)
    moved = [row._replace(luck=row.luck + 0.2, anew=row.anew + 0.2) for row in after]
    of = verdicts(before, moved)
    assert {of[name].verdict for name in ("A", "B", "samples")} == {"inconclusive: its null is decided"}
    assert of["C"].verdict == HOLDS
    uneven = [row._replace(halves=(row.near, 2 * row.near)) for row in before]
    assert verdicts(uneven, after)["C"].verdict == "inconclusive: its null is decided"


@pytest.mark.parametrize("options", [{"gap": 0.02}, {"gap": 0.6}, {"copies": 40}, {"start": -0.04}])
def test_outside_of_the_regime_nothing_is_decided(options):
    copies = options.pop("copies", 0)
    of = verdicts(*seeds(growth=3, denoiser=1.5, frechet=0.4, **options), copies=copies)
    assert of["C"].verdict == UNDECIDED
    if "start" not in options:
        assert {claim.verdict for claim in of.values()} == {UNDECIDED}


def test_one_seed_alone_decides_nothing():
    before, after = seeds(growth=3, denoiser=1.5, frechet=0.4, n=1)
    assert {claim.verdict for claim in verdicts(before, after).values()} == {UNDECIDED}
    (rows,) = [contrasts_of_seed(a, b) for a, b in zip(before, after)]
    for name, row in contrast_rows(before, after, [0.03]).items():
        assert row.measured.value == rows[name]
    with pytest.raises(ValueError, match="before has 1 seeds, after 0 and gaps_of_guides 1"):
        contrast_rows(before, [], [0.1])


# Windows


def bump(height, place, seed, error=0.02, n=400):
    """Errors of images whose gap is a bump over ln σ."""
    sigmas, random = log_sigmas(10, 0.05, 10), torch.Generator().manual_seed(seed)
    gap = height * torch.exp(-((sigmas.double().log() - place) ** 2) / 2)
    train, val = (error * (1 + 0.02 * torch.randn(10, n, generator=random).double()) for _ in range(2))
    return GapCurve(sigmas, train, val * (1 + gap)[:, None])


def window_verdicts(narrow, whole, guide=0.03):
    guides = [bump(guide, -0.5, seed + 30) for seed in range(3)]
    return {
        name: book.Claim(
            name, "", "", *row.measured, below=0, control=book.Beside("control", row.control),
            null=book.Beside("null", row.null),
        )
        for name, row in window_rows(narrow, whole, guides, 0.5).items()
    }  # fmt: skip


def test_a_window_that_lowers_the_gap_and_its_place_is_told_from_one_that_does_the_opposite():
    whole = [bump(0.2, -0.5, seed) for seed in range(3)]
    narrow = [bump(0.1, -1.5, seed + 10) for seed in range(3)]
    for claim in window_verdicts(narrow, whole).values():
        assert (claim.verdict, claim.of_control, claim.of_null) == (HOLDS, FAILS, UNDECIDED)
    assert {claim.verdict for claim in window_verdicts(whole, narrow).values()} == {FAILS}


def test_a_window_without_effect_is_undecided_and_a_gap_that_is_nowhere_has_no_place():
    whole, again = ([bump(0.2, -0.5, seed + first) for seed in range(3)] for first in (0, 20))
    assert {claim.verdict for claim in window_verdicts(again, whole).values()} == {UNDECIDED}
    none = [GapCurve(c.sigmas, c.train_errors, 0.9 * c.train_errors) for c in whole]
    of = window_verdicts(none, whole)
    assert of["place"].verdict == UNDECIDED
    assert of["height"].verdict == of["difference"].verdict == HOLDS
    with pytest.raises(ValueError, match="narrow has 3 seeds, whole 2, guides 3"):
        window_rows(whole, whole[:2], whole, 0.5)


def test_what_raises_both_errors_lowers_the_gap_and_not_the_difference():
    """A window that blinds the network: its gap falls for its denominator alone."""
    whole = [bump(0.2, -0.5, seed) for seed in range(3)]
    blind = [GapCurve(c.sigmas, c.train_errors + 0.03, c.val_errors + 0.03) for c in whole]
    of = window_verdicts(blind, whole)
    assert of["height"].verdict == HOLDS
    assert of["difference"].verdict == UNDECIDED


def test_a_network_without_a_higher_gap_than_its_guide_is_no_control():
    whole, narrow = ([bump(height, -0.5, seed) for seed in range(3)] for height in (0.2, 0.1))
    of = window_verdicts(narrow, whole, guide=0.2)
    assert of["height"].verdict == of["difference"].verdict == "inconclusive: its control does not fail"
    assert of["place"].of_control == FAILS
