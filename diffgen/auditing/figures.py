"""The figures of a report: how each is drawn, what it says, and the same in words for who does not see it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from diffgen.auditing.outcome import Outcome

INK = "#0a0b0c"
"""What figures are drawn in. In a page it becomes the colour of its text, light or dark."""


class Figure(NamedTuple):
    """A figure of a report: draw(ax), its size in inches, its caption, and what it shows in words."""

    draw: Callable[[Axes], Any]
    size: tuple[float, float]
    caption: str
    alt: str


def figures(outcome: Outcome) -> dict[str, Figure]:
    """All figures that an audit has the numbers for, by name."""
    from diffgen.plots import audit as draw
    from diffgen.plots.images import image_rows

    drawn = {}
    images = outcome.data.images
    if outcome.errors:
        gap, null = outcome.errors.gap, outcome.errors.null
        members, others = gap.told.members, gap.told.others
        drawn["gap"] = Figure(
            lambda ax: draw.gap_with_band(gap.adjusted, gap.band, gap.raw, null, ax),
            (6.4, 3.4),
            "How much larger the error is on unseen images than on training images. Where the whole band is above 0 "
            "the model has a memory of its training images.",
            f"The adjusted gap is {gap.at_peak.value:.3g} where its band is highest, at σ = {gap.peak_sigma:.3g}.",
        )
        drawn["scores"] = Figure(
            lambda ax: draw.scores(members, others, ax),
            (6.4, 2.8),
            "Membership scores. Where the two lines are one, nobody can tell what was in training.",
            f"Two histograms; the area under the ROC curve is {gap.told.auc.value:.3f}.",
        )
        drawn["roc"] = Figure(
            lambda ax: draw.roc(members, others, ax),
            (4.4, 3.6),
            "How many training images are found for how many false alarms.",
            "The share of training images found against the share of unseen images, beside the line of chance.",
        )
        risky = outcome.errors.risky_images
        if len(risky) and images:
            drawn["at_risk"] = Figure(
                lambda ax: image_rows([risky[:16]], ax),
                (7.4, 0.7),
                "Training images that stand out the most.",
                f"{len(risky[:16])} training images.",
            )
    if outcome.samples and images:
        s = outcome.samples
        rows = 2 * max(1, len(s.suspicious) // 8)
        drawn["suspicious"] = Figure(
            lambda ax: draw.pairs(s.suspicious, s.originals, s.ratios, ax),
            (7.4, 0.8 * rows),
            "The most suspicious samples, each above its nearest training image: nearer to it, for how near the second "
            "nearest is, than all other samples. Look at them. No number replaces that.",
            f"{len(s.suspicious)} samples with their nearest training images.",
        )
    if outcome.trajectories:
        t = outcome.trajectories
        drawn["place"] = Figure(
            lambda ax: draw.place(t.position, ax),
            (6.4, 1.3),
            "Where sampling trajectories run between noisy unseen and noisy training images, by the similarity of "
            "predictions. Empty where the model does not tell the two apart.",
            f"The relative position is {t.position.value:.2f}.",
        )
    return drawn


def svg(figure: Figure) -> str:
    """A figure as SVG whose ink is the text colour of the page that it is in."""
    import matplotlib.pyplot as plt

    style: dict[Any, Any] = {
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "svg.fonttype": "none",
        "grid.color": "#80808055", "font.family": "sans-serif", "svg.hashsalt": "diffgen",
    }  # fmt: skip
    with plt.style.context(str(files("diffgen") / "diffgen.mplstyle")), plt.rc_context(style):
        page, ax = plt.subplots(figsize=figure.size)
        figure.draw(ax)
        text = io.StringIO()
        page.savefig(text, format="svg", metadata={"Date": None})
        plt.close(page)
    body = text.getvalue()[text.getvalue().index("<svg") :]
    body = re.sub(r'^(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", body, count=1)
    return body.replace(INK, "currentColor").replace("#4d4d4d", "currentColor")
