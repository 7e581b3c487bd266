"""Figures of the toy model: fields and maps in the plane, families of gap curves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from diffgen.data.split import Split
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, VAL, Style


def show_points(data: Split, ax: Axes, size: float = 26) -> Axes:
    """Training points as circles, validation points as diamonds: shapes tell them apart without colour."""
    style: Style = {"s": size, "edgecolor": "white", "zorder": 4}
    for points, colour, marker, label in ((data.train, TRAIN, "o", "training"), (data.val, VAL, "D", "validation")):
        if len(points):
            x, y = points.x.T
            ax.scatter(x, y, color=colour, marker=marker, label=label, **style)
    return ax


def frame(half: float, ax: Axes) -> Axes:
    """Show the plane within ±half, without ticks."""
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    return ax


def flow_field(places: Tensor, denoised: Tensor, data: Split, ax: Axes) -> ScalarMappable:
    """Flow lines of D(x) − x coloured by its length, and the predictions D(x) as crosses.

    Args:
        places: x, (n, n, 2), from `diffgen.data.toy.plane`.
        denoised: D(x), (n, n, 2).
        data: the points to show.
        ax: axes.

    Returns:
        What a colour bar needs.
    """
    flow = (denoised - places).numpy()
    axis = places[0, :, 0].numpy()
    u, v = flow.transpose(2, 0, 1)
    lines = ax.streamplot(axis, axis, u, v, color=np.linalg.norm(flow, axis=2), linewidth=0.8, arrowsize=0.7)
    ax.plot(*denoised[::4, ::4].reshape(-1, 2).T, "x", color=GENERATED, ms=4, mew=1, zorder=5, label="prediction")
    show_points(data, ax)
    frame(float(axis[-1]), ax)
    return lines.lines


def gap_region(
    places: Tensor, gap: Tensor, data: Split, ax: Axes, level: float = 0.5, top: float = 2.0
) -> ScalarMappable:
    """Filled contours of the gap between the training points and each place; a black line encloses gaps below `level`.

    Args:
        places: (n, n, 2).
        gap: (n, n).
        data: the points to show.
        ax: axes.
        level: of the black line.
        top: the gap at the end of the colour scale.

    Returns:
        What a colour bar needs.
    """
    axis = places[0, :, 0]
    filled = ax.contourf(axis, axis, gap, np.linspace(0, top, 9), extend="both", cmap="viridis_r")
    ax.contour(axis, axis, gap, [level], colors="black", linewidths=1.8)
    show_points(data, ax)
    frame(float(axis[-1]), ax)
    return filled


def curve_family(
    sigmas: Tensor,
    curves: Sequence[Tensor],
    values: Sequence[float],
    label: str,
    ax: Axes,
    ticks: Sequence[float] | None = None,
) -> Axes:
    """G(σ) for each value of a parameter, coloured by it, with a colour bar.

    Args:
        sigmas: (S,).
        curves: G(σ) of each value, (S,) each.
        values: the parameter.
        label: of the colour bar.
        ax: axes.
        ticks: of the colour bar; by default the values.
    """
    norm = Normalize(min(values), max(values))
    cmap = ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 0.9, 256)))  # its last tenth is too light for lines
    for value, curve in zip(values, curves):
        ax.plot(sigmas, curve, color=cmap(norm(value)))
    gap_axes(ax)
    ax.figure.colorbar(ScalarMappable(norm, cmap), ax=ax, label=label, ticks=sorted(values) if ticks is None else ticks)
    return ax


def plain_log(*axes: Axis) -> None:
    """Plain numbers on logarithmic axes: 1, 2, 5 of each decade where there is room. Call it when all is drawn."""
    for axis in axes:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1,) if high / low > 300 else (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def gap_axes(ax: Axes) -> Axes:
    """Label the axes of a gap curve: log σ, and a line at 0. Call it when the curves are drawn."""
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xscale="log", xlabel=r"noise level $\sigma$", ylabel=r"relative gap $G(\sigma)$")
    plain_log(ax.xaxis)
    return ax


def gap_along(turn: Tensor, curves: Sequence[Tensor], labels: Sequence[str], data: Split, ax: Axes) -> Axes:
    """The gap at each place along the circle, with the training and validation points marked at 0.

    Args:
        turn: place on the circle, (M,), as a fraction of a turn.
        curves: gaps, (M,) each.
        labels: one a curve.
        data: the points to mark, by their angle.
        ax: axes.
    """
    for color, curve, label in zip(plt.get_cmap("viridis")(np.linspace(0, 0.85, len(curves))), curves, labels):
        ax.plot(turn, curve, color=color, label=label)
    for points, color, marker, name in ((data.train, TRAIN, "o", "training"), (data.val, VAL, "D", "validation")):
        angle = np.arctan2(*points.x.T.flip(0)) / (2 * np.pi) % 1
        ax.plot(angle, np.zeros(len(angle)), marker, color=color, mec="white", clip_on=False, zorder=5, label=name)
    ax.set(xlabel="place on the circle (fraction of a turn)", ylabel="relative gap at that place", xlim=(0, 1))
    ax.legend(ncols=2)
    return ax


def against_theory(
    x: Sequence[float], measured: Sequence[float], expected: Sequence[float], ax: Axes, name: str = "measured"
) -> Axes:
    """Measured dots on the curve that theory gives."""
    ax.plot(x, expected, color=NEUTRAL, label="theory")
    ax.plot(x, measured, "o", ms=4, color=GENERATED, label=name)
    ax.legend()
    return ax


def collapse(
    ratios: Sequence[Sequence[float]], values: Sequence[Sequence[float]], labels: Sequence[str], ax: Axes
) -> Axes:
    """One quantity against δ / spacing, a marker for each density: if they fall on one curve, nothing else matters."""
    for ratio, value, label, marker in zip(ratios, values, labels, "osD^v<>ph*"):
        ax.plot(ratio, value, marker, ms=5, label=label, mfc="none")
    ax.set_xticks(ratios[0])
    ax.set_xlabel(r"model error in units of the spacing, $\delta / a$")
    ax.legend()
    return ax
