"""Claims of the paper and what was measured of them: an interval, a threshold, a control, a null, a verdict.

A verdict is computed, never written by hand: it follows from where the interval lies. And it counts only if the same
number could have said otherwise: beside each claim stands a *control*, for which the claim is known to be false and
must fail, and a *null*, of which nothing can be true and which must stay undecided. `diffgen.book.ledger` shows the
claims in a chapter, the landing page gathers those of all chapters.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.membership import clopper_pearson

HOLDS, FAILS, INCONCLUSIVE = "holds", "fails", "inconclusive at this scale"
POWERLESS = "inconclusive: its control does not fail"
BIASED = "inconclusive: its null is decided"


@dataclass(frozen=True)
class Beside:
    """A claim's own number, measured where the answer is known: its control, or its null.

    Args:
        what: of what it is, in a few words.
        measured: the number and its interval.
        premise: of the same, see `Claim`.
    """

    what: str
    measured: Interval
    premise: Interval | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", _interval(self.measured))
        object.__setattr__(self, "premise", _interval(self.premise))


@dataclass(frozen=True)
class Claim:
    """A claim that one number decides: the verdict is where its interval lies, seen from a threshold.

    Args:
        id: the claim's name in the ledger, such as "C1".
        statement: the claim, one sentence; may contain $formulas$.
        measured: what the number is, with its unit and setting.
        estimate: the measured number.
        low: lower end of its interval.
        high: upper end of its interval.
        above: the claim says that the number is above this; give this or `below`.
        below: the claim says that the number is below this.
        origin: where the threshold comes from.
        paper: the paper's own number, with its figure.
        premise: what must be there for the claim to say anything, such as a gap that samples could follow: unless its
            interval lies above 0, nothing is decided.
        control: the same number where the claim is known to be false. If it does not fail there, the number has no
            power, and the claim is not decided by it.
        null: the same number where nothing can be true. If it is decided there, the number is biased, and the claim is
            not decided by it.
        why: why it differs from the paper, in one line.

    Raises:
        ValueError: unless exactly one of `above` and `below` is given and low <= estimate <= high (or one is NaN).
    """

    id: str
    statement: str
    measured: str
    estimate: float
    low: float
    high: float
    above: float | None = None
    below: float | None = None
    origin: str = ""
    paper: str = ""
    premise: Interval | None = None
    control: Beside | None = None
    null: Beside | None = None
    why: str = ""

    def __post_init__(self) -> None:
        for name in ("estimate", "low", "high", "above", "below"):  # plain floats, also of numpy's and torch's scalars
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))
        object.__setattr__(self, "premise", _interval(self.premise))
        if (self.above is None) == (self.below is None):
            raise ValueError(
                f"claim {self.id}: above={self.above}, below={self.below}; "
                "give exactly one, the threshold that the claim names"
            )
        if self.known and not self.low <= self.estimate <= self.high:
            raise ValueError(
                f"claim {self.id}: estimate={self.estimate:g} is outside of its interval [low={self.low:g}, "
                f"high={self.high:g}]; give the ends of an interval around it"
            )

    @property
    def own(self) -> Interval:
        """The number and its interval."""
        return Interval(self.estimate, self.low, self.high)

    @property
    def known(self) -> bool:
        """Whether the estimate and both ends are numbers."""
        return _known(self.own)

    @property
    def threshold(self) -> str:
        """What the claim says of the number, such as "> 0"."""
        return f"< {self.below:g}" if self.above is None else f"> {self.above:g}"

    @property
    def interval(self) -> str:
        """The estimate and its interval to three digits."""
        return _digits(self.own)

    def verdict_on(self, number: Interval, premise: Interval | None = None) -> str:
        """What the claim's threshold says of a number, its own or another: `HOLDS`, `FAILS` or `INCONCLUSIVE`."""
        if not _known(number) or (premise is not None and not premise.low > 0):  # a NaN is not above 0 either
            return INCONCLUSIVE
        above, below = (HOLDS, FAILS) if self.below is None else (FAILS, HOLDS)
        threshold = self.above if self.below is None else self.below
        assert threshold is not None
        return above if number.low > threshold else below if number.high < threshold else INCONCLUSIVE

    @property
    def of_control(self) -> str | None:
        """The verdict on the control, which must be `FAILS`; None if there is none."""
        return None if self.control is None else self.verdict_on(self.control.measured, self.control.premise)

    @property
    def of_null(self) -> str | None:
        """The verdict on the null, which must be `INCONCLUSIVE`; None if there is none."""
        return None if self.null is None else self.verdict_on(self.null.measured, self.null.premise)

    @property
    def verdict(self) -> str:
        """`HOLDS` where the whole interval lies on the claimed side, `FAILS` on the other, else `INCONCLUSIVE`.

        Nothing is decided by a number that says the same of its control, or that says anything of its null.
        """
        own = self.verdict_on(self.own, self.premise)
        if own == INCONCLUSIVE:
            return own
        if self.of_control not in (None, FAILS):
            return POWERLESS
        return BIASED if self.of_null not in (None, INCONCLUSIVE) else own

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The claim back from its fields as JSON has them."""
        beside = {name: Beside(**fields[name]) for name in ("control", "null") if fields.get(name)}
        return cls(**{**fields, **beside})


def _interval(of: Sequence[float] | None) -> Interval | None:
    return None if of is None else Interval(*map(float, of))


def _known(number: Interval) -> bool:
    return not any(map(math.isnan, number))


def _digits(number: Interval) -> str:
    return f"{number.value:.3g} [{number.low:.3g}, {number.high:.3g}]" if _known(number) else "not measured"


def verbally(value: Estimate | Interval, above: str, below: str, unsure: str, threshold: float = 0.0) -> str:
    """Words for where an interval lies, so that prose follows the numbers: above a threshold, below it, or neither.

    Of an estimate it is the 95 % interval. One whose ends are not numbers is unsure.
    """
    _, low, high = value if isinstance(value, Interval) else value.with_interval()
    return above if low > threshold else below if high < threshold else unsure


def counted(share: Estimate) -> str:
    """A share as a count with its exact interval: 3 of 500 [0.12%, 1.74%]."""
    hits = round(float(share) * share.n)
    _, low, high = clopper_pearson(hits, share.n)
    return f"{hits:,} of {share.n:,} [{low:.2%}, {high:.2%}]"


class Ledger:
    """Claims as a table: HTML in a notebook and on the site, a line each where there is only text."""

    def __init__(self, claims: list[Claim]):
        self.claims = claims

    def dumps(self) -> str:
        """The claims as JSON, for `loads`."""
        return json.dumps([asdict(claim) for claim in self.claims])

    @classmethod
    def loads(cls, text: str) -> "Ledger":
        """The ledger back from its JSON."""
        return cls([Claim.of(fields) for fields in json.loads(text)])

    def __repr__(self) -> str:
        return "\n".join(f"{c.id} {c.verdict}: {c.measured} = {c.interval}, claimed {c.threshold}" for c in self.claims)

    def _repr_html_(self) -> str:
        return table(self.claims)


COLUMNS = ("", "Claim", "Verdict", "Here", "Paper", "Control", "Null", "Why it differs")


def table(claims: list[Claim], links: dict[str, str] | None = None) -> str:
    """The claims as an HTML table. `links` maps a claim's id to the address that its first column points to."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "".join(_row(claim, (links or {}).get(claim.id)) for claim in claims)
    return f'<table class="claims tex2jax_process"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(claim: Claim, link: str | None) -> str:
    name = html.escape(claim.id)
    threshold = html.escape(claim.threshold).replace(" ", "&nbsp;")
    origin = f" ({_formulas(claim.origin)})" if claim.origin else ""
    cells = [
        f'<a href="{html.escape(link)}">{name}</a>' if link else name,
        _formulas(claim.statement),
        _verdict(claim.verdict),
        f"{_formulas(claim.measured)}: <strong>{html.escape(claim.interval)}</strong>; "
        f"claimed:&nbsp;{threshold}{origin}",
        _formulas(claim.paper),
        _beside(claim.control, claim.of_control),
        _beside(claim.null, claim.of_null),
        _formulas(claim.why),
    ]
    labelled = zip(COLUMNS, cells)
    return "<tr>" + "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in labelled) + "</tr>"


def _beside(beside: Beside | None, verdict: str | None) -> str:
    if beside is None or verdict is None:
        return ""
    short = "undecided" if verdict == INCONCLUSIVE else verdict
    number = _digits(beside.measured)
    if beside.premise is not None and not beside.premise.low > 0:
        number = "its premise is not met"
    return f"{_formulas(beside.what)}: {html.escape(number)}, {short}"


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict.split()[0].strip(":")}">{verdict}</span>'


def _formulas(text: str) -> str:
    # $x$ becomes \(x\), which MathJax finds in raw HTML, in Jupyter and on the site
    return re.sub(r"\$([^$]+)\$", r"\\(\1\\)", html.escape(text))
