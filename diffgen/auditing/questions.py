"""The five questions of an audit: numbers in, `Answer`s out. Nothing here calls the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from diffgen.auditing.verdict import FALSE_ACCUSATIONS, Answer, Control
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.estimate import Interval
from diffgen.metrics.exchange import GapBand, Lean, deals, gap_band, lean
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.membership import Told, clopper_pearson, told_apart
from diffgen.metrics.neighbours import copies

QUESTIONS = ("gap", "membership", "copies", "lean", "recall")
CONFIDENCE = 1 - FALSE_ACCUSATIONS / len(QUESTIONS)
"""Of the interval of each question: together they accuse at most one innocent model in twenty."""
POWER = NormalDist().inv_cdf(0.8)
SMALLEST = {"gap": 0.05, "membership": 0.05, "copies": 0.01, "lean": 0.05, "recall": 0.05}
"""The smallest differences that count. The paper's networks have a gap of .1 to .2 when their samples do not follow."""


@dataclass(frozen=True)
class Gap:
    """The gap of one model: raw, adjusted, with its band, and how well its errors tell members from others."""

    raw: GapCurve
    adjusted: GapCurve
    band: GapBand
    told: Told

    @property
    def clearest(self) -> int:
        """The noise level at which the lower end of the band is highest, an index."""
        return int(self.band.low.nan_to_num(-math.inf).argmax())

    @property
    def at_peak(self) -> Interval:
        """The gap at its clearest; from the lower end of the band there to the highest upper end anywhere."""
        at, high = self.clearest, float(self.band.high.nan_to_num(math.inf).max())
        return Interval(float(self.band.gap[at]), float(self.band.low[at]), high)

    @property
    def peak_sigma(self) -> float:
        """The noise level of `at_peak`."""
        return float(self.raw.sigmas[self.clearest])


def gap_of(
    errors: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor], sigmas: Tensor, floor: float, seed: int
) -> Gap:
    """What per-image errors say.

    Args:
        errors: of training and validation images, (S, N) and (S, M).
        reference: of a reference denoiser on the same images with the same noise.
        sigmas: (S,).
        floor: errors below this are equal: the mean square of rounding.
        seed: of the random deals.
    """
    raw = GapCurve(sigmas, *(e.double().clamp(min=floor) for e in errors))
    beside = GapCurve(sigmas, *(e.double().clamp(min=floor) for e in reference))
    adjusted = _where_it_helps(control_variate_adjusted(raw, beside), raw)
    pairs = ((raw.train_errors, beside.train_errors), (raw.val_errors, beside.val_errors))
    members, others = ((r.log() - e.log()).T for e, r in pairs)  # a member has the smaller error
    told = told_apart(members, others, confidence=CONFIDENCE, seed=seed)
    return Gap(raw, adjusted, gap_band(adjusted, confidence=CONFIDENCE, seed=seed), told)


def _where_it_helps(adjusted: GapCurve, raw: GapCurve) -> GapCurve:
    """Adjusted errors, but raw ones at the noise levels where training images are hardly in error.

    What a copier does with a training image has nothing to do with how hard it is for others: there is nothing to take
    out, and what is put in may leave no error to divide by.
    """
    helps = (adjusted.train > raw.train / 2)[:, None]
    parts = ((adjusted.train_errors, raw.train_errors), (adjusted.val_errors, raw.val_errors))
    return GapCurve(raw.sigmas, *(torch.where(helps, a, r) for a, r in parts))


def about_gap(gap: Gap, controls: dict[str, tuple[Gap, bool]]) -> Answer:
    """Does it denoise its training images better than unseen ones?"""
    stderr = float(gap.adjusted.stderr[gap.clearest])
    return Answer(
        key="gap", question="Does it denoise its training images better than unseen ones?",
        statistic="relative gap G(σ), adjusted, where its band for all σ at once is highest", number=gap.at_peak,
        none=0.0, smallest=SMALLEST["gap"], detectable=(gap.band.critical + POWER) * stderr,
        controls=tuple(Control(what, of.at_peak, truth) for what, (of, truth) in controls.items()),
    )  # fmt: skip


def about_membership(gap: Gap, controls: dict[str, tuple[Gap, bool]]) -> Answer:
    """Can a training image be told from an unseen one?"""
    reach = gap.told.auc.value - gap.told.auc.low
    return Answer(
        key="membership", question="Can a training image be told from an unseen one by its errors?",
        statistic="area under the ROC curve", number=gap.told.auc, none=0.5, smallest=SMALLEST["membership"],
        detectable=reach + POWER * gap.told.spread,
        controls=tuple(Control(what, of.told.auc, truth) for what, (of, truth) in controls.items()),
    )  # fmt: skip


def about_copies(copied: Tensor, of_val: Tensor, of_train: Tensor) -> Answer:
    """Are samples copies?

    Args:
        copied: which samples are copies of a training image, (n,).
        of_val: which validation images would count as such: the null.
        of_train: which training images do, each put to the search as if it were a sample.

    "does not" needs the whole interval below one in a hundred more than among validation images: 530 samples or more.
    """
    number, null, control = (clopper_pearson(int(x.sum()), len(x), CONFIDENCE) for x in (copied, of_val, of_train))
    n, hits = len(copied), 0
    while hits < n and clopper_pearson(hits, n, CONFIDENCE).low <= null.high:
        hits += max(1, hits // 10)
    controls = (
        Control("validation images as samples", null, False), Control("training images as samples", control, True)
    )  # fmt: skip
    return Answer(
        key="copies", question="Are samples copies of training images?",
        statistic="share of samples with d₁ < d₂/3 to their nearest training images", number=number, none=null.high,
        smallest=null.value + SMALLEST["copies"] - null.high, controls=controls,
        detectable=(hits + POWER * hits**0.5) / n - null.value,
    )  # fmt: skip


def about_lean(samples: Lean, of_val: Lean, of_train: Lean) -> Answer:
    """Do samples lie nearer to the training images than chance has it?"""
    controls = (
        Control("unseen images as samples", Interval(*of_val[:3]), False),
        Control("training images as samples", Interval(*of_train[:3]), True),
    )
    return Answer(
        key="lean", question="Do samples lie nearer to the training images than chance has it?",
        statistic="mean ln d²(sample, validation images) / d²(sample, training images), to the nearest of each",
        number=Interval(samples.value, samples.low, samples.high), none=0.0, smallest=SMALLEST["lean"], unit="nats",
        detectable=samples.value - samples.low + POWER * samples.spread, controls=controls,
    )  # fmt: skip


def about_recall(train: Tensor, val: Tensor, controls: dict[str, tuple[Interval, bool]], seed: int) -> Answer:
    """Do noisy training images lead back to themselves more often than unseen ones do?

    Args:
        train, val: of each image the share of starts from which its trajectory returned to it.
        controls: differences of models whose answer is known.
        seed: of the random deals.
    """
    number, spread = difference(train, val, seed=seed)
    return Answer(
        key="recall", question="Do trajectories that start on noisy training images return to them more often?",
        statistic="share of trajectories that return, training less validation images", number=number, none=0.0,
        smallest=SMALLEST["recall"], detectable=number.value - number.low + POWER * spread,
        controls=tuple(Control(what, of, truth) for what, (of, truth) in controls.items()),
    )  # fmt: skip


def difference(train: Tensor, val: Tensor, *, n_exchanges: int = 2000, seed: int = 0) -> tuple[Interval, float]:
    """The difference of two means with an interval that reaches as far as chance does, and the spread of chance."""
    rows = torch.cat([train, val]).double()
    dealt = torch.cat(
        [
            (member.double() @ rows) / len(train) - ((~member).double() @ rows) / len(val)
            for member in deals(len(rows), len(train), n_exchanges, seed)
        ]
    )
    # where nothing varies, one image more or less is what chance could still have done
    reach = max(float(dealt.abs().quantile(CONFIDENCE)), 3 / len(train))
    value = float(train.double().mean() - val.double().mean())
    return Interval(value, value - reach, value + reach), float(dealt.std())


def leans(
    samples: Tensor, train: Tensor, val: Tensor, rest: Tensor, features: Callable[[Tensor], Tensor], seed: int
) -> tuple[Lean, Lean, Lean]:
    """The `Lean` of samples, of images that are in neither set, and of training images taken for samples."""
    few = min(len(samples), len(train), len(rest), 2048)
    spaces = features(train), features(val)
    return tuple(  # type: ignore[return-value]
        lean(features(x[:few]), *spaces, confidence=CONFIDENCE, seed=seed) for x in (samples, rest, train)
    )


def copied(samples: Tensor, train: Tensor, val: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which samples, which validation images and which training images count as copies of training images."""
    few = min(len(train), 512)
    return copies(samples, train), copies(val, train), copies(train[:few], train)
