"""Claims of the paper and what was measured of them: an interval, a threshold, a verdict.

A verdict is computed, never written by hand: it follows from where the interval lies. `diffgen.book.ledger` shows the
claims in a chapter, the landing page gathers those of all chapters.
"""

import html
import json
import math
import re
from dataclasses import asdict, dataclass

from diffgen.metrics.estimate import Estimate, Interval

HOLDS, FAILS, INCONCLUSIVE = "holds", "fails", "inconclusive at this scale"


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

    def __post_init__(self) -> None:
        for name in ("estimate", "low", "high", "above", "below"):  # plain floats, also of numpy's and torch's scalars
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))
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
    def known(self) -> bool:
        """Whether the estimate and both ends are numbers."""
        return not any(map(math.isnan, (self.estimate, self.low, self.high)))

    @property
    def threshold(self) -> str:
        """What the claim says of the number, such as "> 0"."""
        return f"< {self.below:g}" if self.above is None else f"> {self.above:g}"

    @property
    def interval(self) -> str:
        """The estimate and its interval to three digits."""
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]" if self.known else "not measured"

    @property
    def verdict(self) -> str:
        """`HOLDS` where the whole interval lies on the claimed side, `FAILS` on the other, else `INCONCLUSIVE`."""
        if not self.known:
            return INCONCLUSIVE
        if self.below is not None:  # below t is above -t, mirrored
            low, high, threshold = -self.high, -self.low, -self.below
        else:
            assert self.above is not None
            low, high, threshold = self.low, self.high, self.above
        return HOLDS if low > threshold else FAILS if high < threshold else INCONCLUSIVE


def verbally(value: Estimate | Interval, above: str, below: str, unsure: str, threshold: float = 0.0) -> str:
    """Words for where an interval lies, so that prose follows the numbers: above a threshold, below it, or neither.

    Of an estimate it is the 95 % interval. One whose ends are not numbers is unsure.
    """
    _, low, high = value if isinstance(value, Interval) else value.with_interval()
    return above if low > threshold else below if high < threshold else unsure


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
        return cls([Claim(**fields) for fields in json.loads(text)])

    def __repr__(self) -> str:
        return "\n".join(f"{c.id} {c.verdict}: {c.measured} = {c.interval}, claimed {c.threshold}" for c in self.claims)

    def _repr_html_(self) -> str:
        return table(self.claims)


def table(claims: list[Claim], links: dict[str, str] | None = None) -> str:
    """The claims as an HTML table. `links` maps a claim's id to the address that its first column points to."""
    head = "".join(f"<th>{name}</th>" for name in ("", "Claim", "Verdict", "Measured"))
    rows = "".join(_row(claim, (links or {}).get(claim.id)) for claim in claims)
    return f'<table class="claims tex2jax_process"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(claim: Claim, link: str | None) -> str:
    name = html.escape(claim.id)
    cells = [
        f'<a href="{html.escape(link)}">{name}</a>' if link else name,
        _formulas(claim.statement),
        f'<span class="verdict {claim.verdict.split()[0]}">{claim.verdict}</span>',
        f"{_formulas(claim.measured)}: <strong>{html.escape(claim.interval)}</strong>; "
        f"claimed:&nbsp;{html.escape(claim.threshold).replace(' ', '&nbsp;')}",
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _formulas(text: str) -> str:
    # $x$ becomes \(x\), which MathJax finds in raw HTML, in Jupyter and on the site
    return re.sub(r"\$([^$]+)\$", r"\\(\1\\)", html.escape(text))
