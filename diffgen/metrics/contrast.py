"""What guidance and windows change: statistics that are fixed beforehand, over seeds, each with a control and a null.

Does guidance change the samples more than the denoiser? The denoiser's gap G and those of its samples have different
units. So the question is asked three times, with three yardsticks. Does a window lower the gap, and where is it then?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from diffgen.metrics.bootstrap import parabolic_peak
from diffgen.metrics.centre import centre_of_mass
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.position import over_seeds

REGIME = (0.05, 0.3)
"""G of the paper's networks: what is outside says nothing about the paper."""

NOT_MEASURED = Interval(math.nan, math.nan, math.nan)


class AtWeight(NamedTuple):
    """What is known of one seed at one guidance weight.

    gap: G at the fixed noise level. raw, corrected: Fréchet gaps of the samples. near: their neighbour gap, the mean
    nearness less that of unseen images. halves: the same of every other sample, and of the rest. luck: the raw Fréchet
    gap between sets that nothing was trained on. anew: mean nearness to splits drawn anew. copied: the neighbour gap if
    one sample in a hundred were a training image.
    """

    gap: float
    raw: float
    corrected: float
    near: float
    halves: tuple[float, float]
    luck: float
    anew: float
    copied: float


class Row(NamedTuple):
    """A statistic over seeds: as measured, of a control for which the claim is false, and of a null."""

    measured: Interval
    control: Interval
    null: Interval


def difference_contrast(samples: tuple[float, float], denoiser: tuple[float, float]) -> float:
    """(s_w − s_0) − (G_w − G_0), of pairs (before, after): by how much more the one gap grows than the other."""
    return (samples[1] - samples[0]) - (denoiser[1] - denoiser[0])


def log_contrast(samples: tuple[float, float], denoiser: tuple[float, float]) -> float:
    """ln(s_w / s_0) − ln(G_w / G_0), of pairs (before, after): by which factor more the one grows, as a logarithm.

    NaN where a gap is not positive: it has no factor.
    """
    if not all(value > 0 for value in (*samples, *denoiser)):
        return math.nan
    return math.log(samples[1] / samples[0]) - math.log(denoiser[1] / denoiser[0])


def change_of_ratio(numerators: tuple[float, float], denominators: tuple[float, float]) -> tuple[float, float]:
    """What numerator and denominator do to a ratio, of pairs (before, after): two parts whose sum is its change.

    N_w / D_w − N_0 / D_0 = (N_w − N_0) (1/D_w + 1/D_0) / 2 + (1/D_w − 1/D_0) (N_w + N_0) / 2

    Each part is the mean of the changes that the one makes before and after the other has changed, so no order of the
    two is preferred.

    Source: Shapley 1953, *A Value for n-Person Games*, with two players.
    """
    (n, m), (d, e) = numerators, denominators
    return (m - n) * (1 / e + 1 / d) / 2, (1 / e - 1 / d) * (m + n) / 2


def regime(gaps: Sequence[float], more_copies: Sequence[Estimate]) -> Interval:
    """How far inside of `REGIME` all gaps lie: a claim's premise, not known where one is outside.

    Args:
        gaps: G without guidance, of each seed.
        more_copies: share of copies among samples less that among validation images, of each seed. Where it is
            measurably above 0, the network copies, and is not in the regime either.
    """
    low, high = REGIME
    inside = min(min(gap - low, high - gap) for gap in gaps)
    copies = any(share.interval()[0] > 0 for share in more_copies)
    return Interval(inside, inside, inside) if inside > 0 and not copies else NOT_MEASURED


def contrast_rows(
    before: Sequence[AtWeight], after: Sequence[AtWeight], gaps_of_guides: Sequence[float]
) -> dict[str, Row]:
    """The statistics of C10 over seeds, each with its control and its null; all say "above 0" where C10 is true.

    - "A": change of the raw Fréchet gap less that of G, see `difference_contrast`;
    - "B": the same with the corrected one;
    - "C": `log_contrast` of the neighbour gap and G;
    - "samples": change of the neighbour gap alone.

    The control of A, B and C are samples that stay as they are without guidance, beside a denoiser that is first the
    guide and then the main one, so that its gap is known to grow. It does not depend on what guidance does: neither
    "holds" nor "fails" follows from it. The control of "samples" are samples without guidance of which one in a hundred
    is a training image, and then the same without these copies: a fall that the number must be fine enough to see.

    Nulls have a denoiser that does not change, and samples in which there is nothing to find: for A and B between sets
    that nothing was trained on; for C one half of the samples without guidance after the other; for "samples" of
    nearness to splits drawn anew.

    Args:
        before: without guidance, of each seed.
        after: with guidance, of the same seeds.
        gaps_of_guides: G of the guide alone, of the same seeds.

    Raises:
        ValueError: no seed, or not equally many.
    """
    if not len(before) == len(after) == len(gaps_of_guides):
        counts = f"{len(before)} seeds, after {len(after)} and gaps_of_guides {len(gaps_of_guides)}"
        raise ValueError(f"before has {counts}: give the same ones")
    pairs = list(zip(before, after))
    unmoved = [(a._replace(gap=gap), a) for a, gap in zip(before, gaps_of_guides)]
    lucky = [(a._replace(raw=a.luck, corrected=a.luck), b._replace(gap=a.gap, raw=b.luck, corrected=b.luck))
             for a, b in pairs]  # fmt: skip
    halved = [(a._replace(near=a.halves[0]), a._replace(near=a.halves[1])) for a in before]
    fewer_copies = [(a._replace(near=a.copied), a) for a in before]
    anew = [(a._replace(near=a.anew), b._replace(near=b.anew)) for a, b in pairs]
    beside = {"A": (unmoved, lucky), "B": (unmoved, lucky), "C": (unmoved, halved), "samples": (fewer_copies, anew)}
    return {
        name: Row(*(over_seeds([contrasts_of_seed(a, b)[name] for a, b in of]) for of in (pairs, *others)))
        for name, others in beside.items()
    }


def contrasts_of_seed(before: AtWeight, after: AtWeight) -> dict[str, float]:
    """The same statistics of one seed, without error."""
    return {
        "A": _difference(before, after, "raw"),
        "B": _difference(before, after, "corrected"),
        "C": _factor(before, after),
        "samples": after.near - before.near,
    }


def _difference(a: AtWeight, b: AtWeight, of: str) -> float:
    return difference_contrast((getattr(a, of), getattr(b, of)), (a.gap, b.gap))


def _factor(a: AtWeight, b: AtWeight) -> float:
    return log_contrast((a.near, b.near), (a.gap, b.gap))


def window_rows(
    narrow: Sequence[GapCurve], whole: Sequence[GapCurve], guides: Sequence[GapCurve], sigma: float
) -> dict[str, Row]:
    """The statistics of C11 over seeds, each with its control and its null; all say "below 0" where C11 is true.

    - "height": the top of G with a window less that without, see `parabolic_peak`;
    - "difference": the same of E_val − E_train at one noise level, which knows no denominator;
    - "place": the same of the `centre_of_mass` of ln σ under G.

    The control of the first two is the network itself in the place of the window, beside a smaller one that was trained
    for less long: its gap is known to be higher. That of the place is the same gap one noise level further up, on every
    other image beside the rest. In the null the whole image is compared with itself, on these halves.

    Args:
        narrow: gaps with a window, of each seed.
        whole: those without, of the same networks over the same images.
        guides: those of smaller networks that were trained for less long, over the same images, without a window.
        sigma: the noise level of "difference".

    Raises:
        ValueError: no seed, or not equally many.
    """
    if not len(narrow) == len(whole) == len(guides):
        raise ValueError(
            f"narrow has {len(narrow)} seeds, whole {len(whole)}, guides {len(guides)}: give the same ones"
        )
    numbers: dict[str, Callable[[GapCurve], float]] = {
        "height": lambda c: float(parabolic_peak(c.gap, c.sigmas).height),
        "difference": lambda c: float((c.val - c.train)[c.index(sigma)]),
        "place": lambda c: float(centre_of_mass(c.gap, c.sigmas)),
    }
    pairs, above = list(zip(narrow, whole)), list(zip(whole, guides))
    halves = [(_every_other(curve, 0), _every_other(curve, 1)) for curve in whole]
    moved = [(GapCurve(a.sigmas * (a.sigmas[1] / a.sigmas[0]), a.train_errors, a.val_errors), b) for a, b in halves]
    return {
        name: Row(*(over_seeds([number(a) - number(b) for a, b in of])
                    for of in (pairs, moved if name == "place" else above, halves)))
        for name, number in numbers.items()
    }  # fmt: skip


def _every_other(curve: GapCurve, start: int) -> GapCurve:
    return GapCurve(curve.sigmas, curve.train_errors[:, start::2], curve.val_errors[:, start::2])
