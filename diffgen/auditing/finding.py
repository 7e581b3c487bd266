"""What `check_denoiser` finds: a number, a verdict and the likely cause for each question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["fine", "warning", "refused"]

MARKS: dict[Verdict, str] = {"fine": " ", "warning": "?", "refused": "✗"}


@dataclass(frozen=True)
class Finding:
    """The answer to one question about a denoiser.

    Attributes:
        name: what was asked.
        value: the number that answers, without a unit unless the name says one; NaN if it could not be asked.
        verdict: "fine"; "warning": odd, but a badly trained network can be like that; "refused": no denoiser is.
        cause: what it means, and the most likely mistake, in words; "" where there is nothing to say.
        mistake: the name of that mistake, one of `diffgen.auditing.hypotheses.MISTAKES`; "" if it is not clear.
    """

    name: str
    value: float
    verdict: Verdict = "fine"
    cause: str = ""
    mistake: str = ""

    def __str__(self) -> str:
        line = f"{MARKS[self.verdict]} {self.verdict:8} {self.name:34} {self.value:9.3g}"
        return f"{line}  {self.cause}" if self.cause else line


@dataclass(frozen=True)
class Check:
    """Can a denoiser be believed? As text it is a table with one line a finding.

    Attributes:
        findings: the answers, in the order of the questions.
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was refused. There may be warnings."""
        return not self.refusals

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What no denoiser can be."""
        return tuple(finding for finding in self.findings if finding.verdict == "refused")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is odd."""
        return tuple(finding for finding in self.findings if finding.verdict == "warning")

    @property
    def mistake(self) -> str:
        """The most likely mistake by name, "" if there is none or none that is clear; refusals come first."""
        return next((finding.mistake for finding in (*self.refusals, *self.warnings) if finding.mistake), "")

    def __getitem__(self, name: str) -> Finding:
        """The finding of that name.

        Raises:
            KeyError: there is none.
        """
        by_name = {finding.name: finding for finding in self.findings}
        return by_name[name]

    def __str__(self) -> str:
        counts = f"{len(self.refusals)} refused, {len(self.warnings)} warnings, {len(self.findings)} findings"
        verdict = "can be measured" if self.ok else "is no denoiser"
        likely = f"; the likely mistake: {self.mistake}" if self.mistake else ""
        return "\n".join([f"The model {verdict}: {counts}{likely}", *map(str, self.findings)])
