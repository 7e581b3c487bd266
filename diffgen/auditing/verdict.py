"""A question of an audit and its answer, which is read off an interval and off nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from diffgen.metrics.estimate import Interval

Verdict = Literal["memorizes", "does not", "undecided"]
FALSE_ACCUSATIONS = 0.05
"""How often an audit may accuse a model that knows nothing of its training images, in all its questions together."""


@dataclass(frozen=True)
class Control:
    """The same number of something whose answer is known.

    what: of what; number: with its interval; memorizes: whether it does.
    """

    what: str
    number: Interval
    memorizes: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question, the number that answers it, and the verdict.

    Attributes:
        key: its name in `Audit.verdicts`.
        question: for people.
        statistic: what the number is.
        number: with an interval that is wide enough for all questions together.
        none: what the number would be if nothing were remembered.
        smallest: the smallest difference from `none` that this audit takes for memory.
        detectable: the smallest difference that so many images would have shown in four of five audits.
        controls: of what memorizes and of what does not.
        unit: of the number.
        spoiled: why the number means nothing here, or empty.
    """

    key: str
    question: str
    statistic: str
    number: Interval
    none: float
    smallest: float
    detectable: float
    controls: tuple[Control, ...] = ()
    unit: str = ""
    spoiled: str = ""

    @property
    def verdict(self) -> Verdict:
        """ "memorizes" if the whole interval is above `none`, "does not" if it is below `none` + `smallest`.

        Undecided otherwise; and if a control comes out wrong, for then the number cannot tell the two apart.
        """
        return "undecided" if self.spoiled or self.powerless else self.of(self.number)

    def of(self, number: Interval) -> Verdict:
        """The verdict on a number, whatever the controls say."""
        if number.low > self.none:
            return "memorizes"
        return "does not" if number.high < self.none + self.smallest else "undecided"

    @property
    def powerless(self) -> str:
        """Which control came out wrong, or empty."""
        wrong = [c.what for c in self.controls if (self.of(c.number) == "memorizes") != c.memorizes]
        return f"control came out wrong: {', '.join(wrong)}" if wrong else ""

    def without(self, why: str) -> Answer:
        """The same, spoiled."""
        return replace(self, spoiled=why)

    def as_json(self) -> dict[str, Any]:
        """For `audit.json`."""
        return {
            "key": self.key, "question": self.question, "verdict": self.verdict, "statistic": self.statistic,
            "unit": self.unit, "value": self.number.value, "low": self.number.low, "high": self.number.high,
            "none": self.none, "smallest": self.smallest, "detectable": self.detectable,
            "spoiled": self.spoiled or self.powerless,
            "controls": [
                {"what": c.what, "memorizes": c.memorizes, "verdict": self.of(c.number), "value": c.number.value,
                 "low": c.number.low, "high": c.number.high} for c in self.controls
            ],
        }  # fmt: skip
