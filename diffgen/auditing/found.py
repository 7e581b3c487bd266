"""What an audit finds: numbers and images, of which `diffgen.auditing.report` makes pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
from diffgen.metrics.membership import AtRisk, Detection
from diffgen.metrics.trajectory import TrajectoryStats


@dataclass(frozen=True)
class SampleEvidence:
    """What was found of the samples: never decisive but where a question names it.

    memorized and its null, with Clopper–Pearson intervals; authentic, its null, and C_T; lean; frechet, with its
    numerator, denominator and baselines; suspicious: the samples nearest to a training image for what is between
    neighbours, and these images, (·, *).
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
    original_index: Tensor
    ratios: Tensor


@dataclass(frozen=True)
class TrajectoryEvidence:
    """Where sampling trajectories run between noisy validation (0) and noisy training images (1), and who returns."""

    sigmas: Tensor
    position: Interval
    stats: Mapping[str, TrajectoryStats]
    returned: Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """What an audit found, in numbers; see `diffgen.auditing.audit.Audit`.

    Attributes:
        check: can the denoiser be believed?
        data: duplicates, and whether training and validation images are alike.
        answers: the questions, by their key.
        gap: errors, curves, band, membership scores; None if the model was refused.
        at_risk: training images that stand out.
        detections: true positives at few false ones.
        samples, trajectories: None if none were asked for.
        effort, name, hashes, seconds_per_row: what was measured, and of what.
    """

    name: str
    check: Check
    data: DataReport
    effort: Effort
    hashes: Mapping[str, str]
    conditional: bool
    answers: Mapping[str, Answer] = field(default_factory=dict)
    gap: Gap | None = None
    null_gap: GapCurve | None = None
    at_risk: AtRisk | None = None
    risky_images: Tensor | None = None
    detections: tuple[Detection, ...] = ()
    samples: SampleEvidence | None = None
    trajectories: TrajectoryEvidence | None = None
    notes: tuple[str, ...] = ()

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Question → "memorizes", "does not" or "undecided"."""
        return {key: answer.verdict for key, answer in self.answers.items()}

    @property
    def membership(self) -> Any:
        """How well training images are told from others; None if the model was refused."""
        return self.gap.told if self.gap else None

    @property
    def exit_code(self) -> int:
        """0: nothing found. 3: something was. 1: the model could not be audited."""
        if not self.check.ok:
            return 1
        return 3 if "memorizes" in self.verdicts.values() else 0

    def __str__(self) -> str:
        if not self.check.ok:
            return f"{self.name}: not audited, for it is no denoiser\n{self.check}"
        width = max(len(a.question) for a in self.answers.values())
        lines = [f"{a.question:<{width}}  {a.verdict:<10} {a.number}" for a in self.answers.values()]
        return "\n".join([self.name, *lines, *self.notes])
