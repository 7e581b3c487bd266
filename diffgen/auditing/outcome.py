"""What an audit came to: numbers and images, of which `diffgen.auditing.report` makes pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from diffgen.auditing.effort import Effort
from diffgen.auditing.finding import Check
from diffgen.auditing.preflight import DataReport
from diffgen.auditing.questions import Gap
from diffgen.auditing.verdict import Answer, Verdict
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.exchange import Lean
from diffgen.metrics.frechet import FrechetGap
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.membership import AtRisk, Detection, Told
from diffgen.metrics.trajectory import TrajectoryStats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ErrorEvidence:
    """What per-image errors say: the gap and the membership scores, beside a null.

    gap: of the model; null: the gap between unseen images in place of training images, and validation images; at_risk:
    the training images that stand out, and risky_images, the first of them; detections: true positives at few false
    ones.
    """

    gap: Gap
    null: GapCurve
    at_risk: AtRisk
    risky_images: Tensor
    detections: tuple[Detection, ...]


@dataclass(frozen=True)
class SampleEvidence:
    """What samples are like. No number decides anything but through the `Answer` that names it.

    memorized and its null, with Clopper–Pearson intervals; authentic, its null, and C_T; lean and its null; frechet,
    with its numerator, denominator and baselines, in features of that name; suspicious: the samples nearest to a
    training image for what is between neighbours, (·, *), these images, and d₁/d₂ of each.
    """

    n: int
    memorized: Interval
    memorized_null: Interval
    authentic: Estimate
    authentic_null: Estimate
    copying_score: Estimate | None
    lean: Lean
    lean_null: Lean
    frechet: FrechetGap | None
    frechet_features: str
    suspicious: Tensor
    originals: Tensor
    ratios: Tensor


@dataclass(frozen=True)
class TrajectoryEvidence:
    """Where sampling trajectories run between noisy validation (0) and noisy training images (1), and who returns.

    n: trajectories, and images of each set; position: with its interval; stats: by `PARTS`; returned: by set, the share
    of trajectories that return to the image that they started near.
    """

    n: int
    position: Interval
    stats: Mapping[str, TrajectoryStats]
    returned: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What an audit came to, in numbers; see `diffgen.auditing.audit.Audit`.

    Attributes:
        name: of the model.
        check: can the denoiser be believed?
        data: duplicates, and whether training and validation images are alike.
        effort: how much was measured.
        hashes: of the data sets, by their names.
        conditional: whether the model was told classes.
        answers: the questions, by their key; none if the model was refused.
        errors, samples, trajectories: what the answers rest on; None where it was not measured.
        notes: what a reader should know beside the verdicts.
    """

    name: str
    check: Check
    data: DataReport
    effort: Effort
    hashes: Mapping[str, str]
    conditional: bool
    answers: Mapping[str, Answer] = field(default_factory=dict)
    errors: ErrorEvidence | None = None
    samples: SampleEvidence | None = None
    trajectories: TrajectoryEvidence | None = None
    notes: tuple[str, ...] = ()

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Question → "memorizes", "does not" or "undecided"."""
        return {key: answer.verdict for key, answer in self.answers.items()}

    @property
    def gap(self) -> Gap | None:
        """Errors, curves and band; None if the model was refused."""
        return self.errors.gap if self.errors else None

    @property
    def membership(self) -> Told | None:
        """How well training images are told from others; None if the model was refused."""
        return self.errors.gap.told if self.errors else None

    @property
    def exit_code(self) -> int:
        """0: nothing suspicious. 3: something is. 1: the model could not be audited."""
        if not self.check.ok:
            return 1
        return 3 if "memorizes" in self.verdicts.values() else 0

    def table(self) -> pd.DataFrame:
        """The questions with their verdicts, numbers and intervals, a row each."""
        import pandas as pd  # slow to import

        rows = [(a.question, a.verdict, *a.number) for a in self.answers.values()]
        return pd.DataFrame(rows, columns=["question", "verdict", "number", "low", "high"])

    def __str__(self) -> str:
        if not self.check.ok:
            return f"{self.name}: not audited, for it is no denoiser\n{self.check}"
        width = max(len(a.question) for a in self.answers.values())
        lines = [f"{a.question:<{width}}  {a.verdict:<10} {a.number}" for a in self.answers.values()]
        return "\n".join([self.name, *lines, *self.notes])
