"""Figures of the book: functions from data and axes to axes. They compute nothing that a reader would want to cite.

Training, validation and generated data have the same colours everywhere; they come from the palette of Okabe and Ito,
which people with the common forms of colour blindness can tell apart.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from torch import Tensor

from diffgen.metrics.estimate import Estimate

TRAIN, VAL, GENERATED, NEUTRAL = "#0072B2", "#D55E00", "#009E73", "#4D4D4D"
Style = dict[str, Any]
"""Keywords of a line."""

Numbers = Sequence[float] | Sequence[Estimate] | Tensor
"""What can be drawn."""

LINES: tuple[Style, ...] = tuple(
    {"color": colour, "ls": dash}
    for colour, dash in ((NEUTRAL, "-"), ("#CC79A7", "--"), ("#56B4E9", "-."), ("#E69F00", ":"))
)
"""Lines that are to be told apart, in none of the colours of a kind of data."""


def use_style() -> None:
    """Draw in the style of the book from here on."""
    plt.style.use(str(files("diffgen") / "diffgen.mplstyle"))


def training_axis(ax: Axes) -> Axes:
    """Make the x axis of what is drawn one of images seen in training: logarithmic, with labels such as 2k, 5k, 10k."""
    ax.set(xscale="log", xlabel="images seen in training")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1, 3)))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_formatter(NullFormatter())
    return ax
