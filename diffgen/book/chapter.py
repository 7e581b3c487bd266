"""What a chapter calls from its cells: its set-up, links to runs, and the ledger of its claims."""

from __future__ import annotations

from diffgen.book.claims import Claim, Ledger
from diffgen.runs import PublishedRun, Run


def run_link(run: Run, text: str) -> str:
    """A name for a run in a table: of a published one a link to its gap curves, which the built book has beside it."""
    return f'<a href="../results/{run.name}.csv">{text}</a>' if isinstance(run, PublishedRun) else text


def ledger(*claims: Claim) -> Ledger:
    """The last cell of a chapter: its claims as a table, and each one glued for the prose and for the landing page.

    Glued are, for a claim C1, `C1_verdict`, `C1_estimate` and `C1_interval`, so that prose can say
    {glue:text}`C1_estimate:.2f`, and the ledger's JSON as `ledger`, which the landing page gathers from all chapters.
    """
    from myst_nb import glue

    for claim in claims:
        glue(f"{claim.id}_verdict", claim.verdict, display=False)
        glue(f"{claim.id}_estimate", claim.estimate, display=False)
        glue(f"{claim.id}_interval", claim.interval, display=False)
    table = Ledger(list(claims))
    glue("ledger", table.dumps(), display=False)
    return table
