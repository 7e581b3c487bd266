"""Figures that compare runs: scaling factors."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, to_hex
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator

from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.scaling_laws import PowerLaw
from diffgen.plots import LINES, NEUTRAL, VAL, Style, training_axis
from diffgen.plots.gap import band, gap_axes, gap_scale
from diffgen.plots.samples import points

Value = TypeVar("Value", int, float)


def graded(values: Sequence[Value]) -> dict[Value, str]:
    """A colour for each value of a quantity, in its order: {value: colour}, dark for the largest."""
    shades = plt.get_cmap("plasma_r")(np.linspace(0.12, 0.95, len(values)))
    return {value: to_hex(shade) for value, shade in zip(sorted(values), shades)}


def gaps_by_size(curves: Mapping[int, GapCurve], ax: Axes) -> Axes:
    """G(σ), one line a training-set size."""
    for n, colour in graded(list(curves)).items():
        band(curves[n].sigmas, curves[n].gap, curves[n].stderr, ax, color=colour, label=f"{n:,}")
    return gap_axes(ax)


def gaps_by_labels(curves: Mapping[int, GapCurve], ax: Axes, banded: Collection[int] = ()) -> Axes:
    """G(σ), one line a number of labels, 1 for none; dark for the most. `banded` ones have their 95 % intervals."""
    for k, colour in graded(list(curves)).items():
        style: Style = {"color": NEUTRAL if k == 1 else colour, "label": "none" if k == 1 else f"{k:,}"}
        if k in banded:
            band(curves[k].sigmas, curves[k].gap, curves[k].stderr, ax, **{"lw": 2, **style})
        else:
            ax.plot(curves[k].sigmas, curves[k].gap, lw=1, **style)
    return gap_axes(ax)


def by_labels(values: Mapping[int, Estimate | Interval], ax: Axes, **style: Any) -> Axes:
    """Numbers with their 95 % intervals against the number of labels, 1 for none."""
    points(list(values), list(values.values()), ax, **{"marker": "o", **style})
    return ax


def label_axis(ks: Sequence[int], ax: Axes) -> Axes:
    """Make the x axis one of numbers of labels: logarithmic, with "none" at 1, and labels where there is room."""
    ticks, last = [], 0.0
    for k in sorted({1, *ks}):
        roomy = k >= 2.4 * last or k == 2
        ticks.append("none" if k == 1 else f"{k}" if roomy else "")
        last = k if roomy else last
    ax.set(xscale="log", xlabel="labels")
    ax.set_xticks(sorted({1, *ks}), ticks)
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def growth_by_width(growth: Mapping[int, Sequence[Estimate]], images_seen: Sequence[int], ax: Axes) -> Axes:
    """Estimates against images seen, one line a width, with bands."""
    for (width, values), style, mark in zip(growth.items(), LINES, "osD^", strict=False):
        band(images_seen, values, [v.stderr for v in values], ax, marker=mark, ms=4, label=f"width {width}", **style)
    return training_axis(ax)


def growth_by_size(growth: Mapping[int, tuple[Sequence[float], Sequence[Estimate]]], ax: Axes) -> Axes:
    """Gaps against images seen or what else is on the x axis, one line a training-set size."""
    for n, colour in graded(list(growth)).items():
        points(*growth[n], ax, marker="o", color=colour, label=f"{n:,}")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    gap_scale(ax.yaxis)
    return training_axis(ax)


def phase_diagram(
    sizes: Sequence[int], images_seen: Sequence[int], values: Sequence[Sequence[float]], ax: Axes, norm: Normalize,
    onsets: Mapping[int, Interval],
) -> QuadMesh:  # fmt: skip
    """A number over training-set size and images seen, (sizes, snapshots), with the line at which overfitting begins.

    Onsets that training ended before are not on the line; their sizes have an arrow at the upper edge.
    """
    cells = (_edges(sizes), _edges(images_seen), np.asarray(values, float).T)
    mesh = ax.pcolormesh(*cells, norm=norm, cmap="cividis", rasterized=True)
    begun = {n: at for n, at in onsets.items() if at.value == at.value}
    late = [n for n in onsets if n not in begun]
    if begun:
        shown = [at._replace(high=min(at.high, images_seen[-1])) for at in begun.values()]
        points(list(begun), shown, ax, color=VAL, marker="o", lw=1.6, label="overfit onset")
    if late:
        style: Style = {"ls": "none", "marker": "^", "ms": 6, "mfc": "none", "color": VAL, "label": "not by the end"}
        ax.plot(late, [images_seen[-1]] * len(late), **style)
    ax.set(yscale="log")
    ax.set_yticks(images_seen[::2], [EngFormatter(sep="", places=0)(n) for n in images_seen[::2]])
    size_axis(sizes, ax)
    ax.minorticks_off()
    return mesh


def _edges(centres: Sequence[float]) -> np.ndarray:
    """Edges of cells around centres, halfway in the logarithm."""
    x = np.log(np.asarray(centres, float))
    middle = (x[1:] + x[:-1]) / 2
    return np.exp(np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]]))


def onset_times(sizes: Sequence[int], times: Sequence[Interval], law: PowerLaw, ax: Axes, **style: str) -> Axes:
    """Times against training-set size with their intervals, open ones to twice the time, and the power law."""
    known = [(n, at) for n, at in zip(sizes, times) if at.value == at.value]
    if known:
        x = [n for n, _ in known]
        shown = [at if math.isfinite(at.high) else at._replace(high=2 * at.value) for _, at in known]
        points(x, shown, ax, ls="none", **style)
        if law.n >= 2:
            ax.plot(x, [law(n) for n in x], color=style.get("color"), lw=1, ls="--")
    ax.set(yscale="log", ylabel="images seen")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    ax.yaxis.set_minor_formatter(NullFormatter())
    return size_axis(sizes, ax)


def size_axis(sizes: Sequence[int], ax: Axes) -> Axes:
    """Make the x axis one of training-set sizes, a tick each, and a label where there is room."""
    labels, last = [], 0.0
    for n in sizes:
        roomy = n >= 2.5 * last
        labels.append("" if not roomy else f"{n}" if n < 1000 else f"{n / 1000:.0f}k")
        last = n if roomy else last
    ax.set(xscale="log", xlabel="training images")
    ax.set_xticks(sizes, labels)
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def size_legend(axes: Sequence[Axes]) -> None:
    """A legend of training-set sizes, right of the last of some axes."""
    axes[-1].legend(title="training images", loc="center left", bbox_to_anchor=(1.02, 0.5))
