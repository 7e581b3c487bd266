"""Figures of guidance: gap curves for all weights, numbers against the weight, windows and ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import MaxNLocator, NullFormatter
from torch import Tensor

from diffgen.metrics.bootstrap import Peak
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.trajectory import RelativePosition
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, VAL, Style
from diffgen.plots.gap import band
from diffgen.plots.samples import points

FREE, AUTO = "#CC79A7", "#E69F00"
GUIDES: dict[str, Style] = {
    "one network": {"color": FREE, "ls": "-", "marker": "o"},
    "two networks": {"color": FREE, "ls": "--", "marker": "s"},
    "earlier snapshot": {"color": AUTO, "ls": "-", "marker": "D"},
    "smaller width": {"color": AUTO, "ls": "--", "marker": "^"},
    "earlier and smaller": {"color": AUTO, "ls": ":", "marker": "v"},
}
"""Line styles: classifier-free guidance in one colour, autoguidance in another; their kinds by dash and marker."""


def shades(values: Sequence[float]) -> plt.cm.ScalarMappable:
    """Colours for ordered values, from light to dark, none too light for a line."""
    cmap = ListedColormap(plt.get_cmap("viridis_r")(np.linspace(0.15, 1, 256)))
    return plt.cm.ScalarMappable(Normalize(min(values), max(values)), cmap)


def gaps_of_weights(weights: Sequence[float], curves: Sequence[GapCurve], ax: Axes, bar: bool = True) -> Axes:
    """G(σ), one line a guidance weight; that without guidance has its 95 % interval as a band.

    Args:
        weights: w, the first of them 0.
        curves: one a weight.
        ax: where to draw.
        bar: draw the colour bar; of panels side by side the last one needs it.
    """
    colours = shades(weights)
    for weight, curve in zip(weights, curves):
        style: Style = {"color": colours.to_rgba(np.asarray(weight)), "marker": ".", "ms": 4}
        band(curve.sigmas, curve.gap, 0 * curve.stderr if weight else curve.stderr, ax, **style)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
    if bar:
        ax.figure.colorbar(colours, ax=ax, label="guidance weight $w$", ticks=list(weights))
    return ax


def over_weights(
    weights: Sequence[float], by_guide: Mapping[str, Sequence[Estimate | Interval]], ax: Axes, null: float | None = None
) -> Axes:
    """Estimates against the guidance weight with their 95 % intervals, a line a guide, side by side where they meet.

    Args:
        weights: w.
        by_guide: values, by guide, of `GUIDES`.
        ax: where to draw.
        null: what validation images have, a dotted line.
    """
    apart = 0.012 * (max(weights) - min(weights))
    for k, (name, values) in enumerate(by_guide.items()):
        x = [w + (k - (len(by_guide) - 1) / 2) * apart for w in weights]
        points(x, values, ax, label=name, **GUIDES[name])
    if null is not None:
        ax.axhline(null, color=VAL, ls=":", lw=1.4)
    ax.set(xlabel="guidance weight $w$", xticks=[w for w in weights if w in (0, 0.5, 1, 1.5, 2)])
    return ax


def denoiser_and_samples(
    weights: Sequence[float], gaps: Sequence[Estimate | Interval], samples: Sequence[Estimate | Interval], ax: Axes
) -> Axes:
    """The peak of G and the gap of the samples against the guidance weight, with their 95 % intervals."""
    points(weights, gaps, ax, fmt="o-", color=TRAIN, label="denoiser: peak of $G$")
    points(weights, samples, ax, fmt="s--", color=GENERATED, label="its samples")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xlabel="guidance weight $w$", ylabel="relative gap", xticks=[w for w in weights if w in (0, 0.5, 1, 1.5, 2)])
    return ax


def peaks_of_windows(peaks: Mapping[int, Peak], height: Axes, sigma: Axes) -> None:
    """The peak's height and noise level, with their 95 % intervals, against the side of the window."""
    sides = list(peaks)
    for ax, part in ((height, "height"), (sigma, "sigma")):
        ends = [getattr(peak, part) for peak in peaks.values()]
        points(sides, ends, ax, fmt="o", color=NEUTRAL)
        ax.set(xlabel="side of the window (pixels)", xticks=sides)
    height.axhline(0, color=NEUTRAL, lw=0.8)
    height.set(ylabel="peak of $G$")
    sigma.set(ylabel="$\\sigma$ of the peak", yscale="log")
    low, high = sigma.get_ylim()
    sigma.yaxis.set_major_formatter("{x:g}")
    sigma.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())


def fields_over_sigma(sigmas: Tensor, fields: Mapping[str, Sequence[Interval]], whole: float, ax: Axes) -> Axes:
    """Range scores of several networks with their intervals, and that of equal weights as a line."""
    for (name, scores), (colour, dash, mark) in zip(fields.items(), ((NEUTRAL, "-", "o"), (FREE, "--", "s"))):
        value, low, high = np.array(scores).T
        ax.plot(sigmas, value, color=colour, ls=dash, marker=mark, ms=4, label=name)
        ax.fill_between(sigmas, low, high, color=colour, alpha=0.18, lw=0)
    ax.axhline(whole, color=NEUTRAL, ls=":", lw=1.2, label="all pixels alike")
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="range score (pixels)", ylim=(0, None))
    ax.legend()
    return ax


def gaps_of_windows(curves: Mapping[int, GapCurve], ax: Axes) -> Axes:
    """G(σ), one line a window by its side in pixels, the last of them the whole image."""
    colours = shades(list(curves))
    for side, curve in curves.items():
        whole = side == max(curves)
        style: Style = {"color": colours.to_rgba(np.asarray(side)), "marker": ".", "ms": 4, "lw": 2.2 if whole else 1.4}
        band(curve.sigmas, curve.gap, curve.stderr if whole else 0 * curve.stderr, ax, label=f"{side} pixels", **style)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
    ax.legend(title="window")
    return ax


def positions_of_weights(
    weights: Sequence[float], by_guide: Mapping[str, Sequence[RelativePosition]], ax: Axes
) -> Axes:
    """Where trajectories lie between noisy validation (0) and training images (1), against the guidance weight."""
    for k, (name, positions) in enumerate(by_guide.items()):
        value, low, high = (np.array([float(getattr(p, part)) for p in positions]) for part in ("value", "low", "high"))
        x = np.array(weights) + (k - 0.5) * 0.02 * (max(weights) - min(weights))
        ax.errorbar(x, value, [value - low, high - value], ms=4, capsize=2, elinewidth=0.9, label=name, **GUIDES[name])
    for level, colour, what in ((0, VAL, "validation"), (1, TRAIN, "training")):
        ax.axhline(level, color=colour, lw=1)
        where: Style = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        ax.annotate(what, (0.27, level), (0, 3), ha="center", color=colour, size=8, **where)
    ax.set(xlabel="guidance weight $w$", xticks=weights, ylim=(-2, 2.5))
    return ax


def changes(by_name: Mapping[str, Estimate], ax: Axes) -> Axes:
    """Named changes with their 95 % intervals, one below the other, beside no change."""
    values = list(by_name.values())
    bars = [1.96 * value.stderr for value in values]
    ax.errorbar(values, range(len(values)), xerr=bars, fmt="o", color=GENERATED, capsize=3)
    ax.axvline(0, color=NEUTRAL, lw=0.8)
    ax.set(yticks=range(len(values)), yticklabels=list(by_name), ylim=(-0.5, len(values) - 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    return ax
