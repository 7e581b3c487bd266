"""Figures of the toy model: fields and maps in the plane, families of gap curves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from torch import Tensor

from diffgen.data.split import Split
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, VAL


def show_points(ax: Axes, data: Split, size: float = 26) -> None:
    """Training points as filled circles, validation points as diamonds: shapes tell them apart without colour."""
    ax.scatter(*data.train.x.T, s=size, color=TRAIN, edgecolor="white", zorder=4, label="training")
    if len(data.val):
        ax.scatter(*data.val.x.T, s=size, color=VAL, edgecolor="white", marker="D", zorder=4, label="validation")


def _frame(ax: Axes, places: Tensor) -> None:
    half = float(places.max())
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)


def flow_field(ax: Axes, places: Tensor, denoised: Tensor, data: Split, vmax: float | None = None) -> ScalarMappable:
    """Flow lines of D(x) − x coloured by its length, and the predictions D(x) as crosses.

    Args:
        ax: axes.
        places: x, (n, n, 2), from `diffgen.data.toy.plane`.
        denoised: D(x), (n, n, 2).
        data: the points to show.
        vmax: the length at the end of the colour scale.

    Returns:
        What a colour bar needs.
    """
    flow = (denoised - places).numpy()
    length = np.linalg.norm(flow, axis=2)
    axis = places[0, :, 0].numpy()
    norm = Normalize(0, vmax or length.max())
    lines = ax.streamplot(axis, axis, *flow.transpose(2, 0, 1), color=length, norm=norm, linewidth=0.8, density=1.1,
                          arrowsize=0.7)  # fmt: skip
    ax.plot(*denoised[::4, ::4].reshape(-1, 2).T, "x", color=VAL, ms=4, mew=1, zorder=3, label="prediction")
    show_points(ax, data)
    _frame(ax, places)
    return lines.lines


def gap_region(
    ax: Axes, places: Tensor, gap: Tensor, data: Split, level: float = 0.5, top: float = 2.0
) -> ScalarMappable:
    """Filled contours of the gap between the training points and each place; a black line encloses gaps below `level`.

    Args:
        ax: axes.
        places: (n, n, 2).
        gap: (n, n).
        data: the points to show.
        level: of the black line.
        top: the gap at the end of the colour scale.

    Returns:
        What a colour bar needs.
    """
    axis = places[0, :, 0]
    filled = ax.contourf(axis, axis, gap, np.linspace(0, top, 9), extend="both", cmap="viridis_r")
    ax.contour(axis, axis, gap, [level], colors="black", linewidths=1.8)
    show_points(ax, data)
    _frame(ax, places)
    return filled


def curve_family(
    ax: Axes,
    sigmas: Tensor,
    curves: Sequence[Tensor],
    values: Sequence[float],
    label: str,
    bands: Sequence[Tensor] | None = None,
) -> None:
    """G(σ) for each value of a parameter, coloured by it, with a colour bar whose ticks are the values.

    Args:
        ax: axes.
        sigmas: (S,).
        curves: G(σ) of each value, (S,) each.
        values: the parameter.
        label: of the colour bar.
        bands: half widths of error bands, (S,) each, or None.
    """
    norm = Normalize(min(values), max(values))
    cmap = plt.get_cmap("viridis")
    for i, (value, curve) in enumerate(zip(values, curves)):
        color = cmap(0.9 * norm(value))  # the last tenth of the scale is too light for lines
        ax.plot(sigmas, curve, color=color)
        if bands is not None:
            ax.fill_between(sigmas, curve - bands[i], curve + bands[i], color=color, alpha=0.2, linewidth=0)
    gap_axes(ax)
    colors = cmap(0.9 * norm(np.linspace(min(values), max(values), 256)))
    mappable = ScalarMappable(norm, plt.matplotlib.colors.ListedColormap(colors))
    ax.figure.colorbar(mappable, ax=ax, label=label, ticks=sorted(values))


def gap_axes(ax: Axes) -> None:
    """Label the axes of a gap curve: log σ, and a line at 0."""
    ax.axhline(0, color=NEUTRAL, linewidth=0.8)
    ax.set(xscale="log", xlabel="noise level σ", ylabel="relative gap G(σ)")


def gap_along(
    ax: Axes, turn: Tensor, curves: Sequence[Tensor], labels: Sequence[str], marks: Tensor, val: Tensor
) -> None:
    """The gap at each place along a closed curve, training points marked below and validation points above.

    Args:
        ax: axes.
        turn: place along the curve, (M,), as a fraction of a turn.
        curves: gaps, (M,) each.
        labels: one a curve.
        marks: where the training points are, (N,).
        val: where the validation points are.
    """
    for color, curve, label in zip(plt.get_cmap("viridis")(np.linspace(0, 0.85, len(curves))), curves, labels):
        ax.plot(turn, curve, color=color, label=label)
    for places, color, marker, name in ((marks, TRAIN, "o", "training"), (val, VAL, "D", "validation")):
        ax.plot(
            places, np.zeros(len(places)), marker, color=color, ms=6, mec="white", clip_on=False, zorder=5, label=name
        )
    ax.set(xlabel="place on the circle (fraction of a turn)", ylabel="relative gap at that place")
    ax.legend(ncols=2)


def compare(
    ax: Axes, x: Tensor, measured: Tensor, expected: Tensor, xlabel: str, ylabel: str, names=("measured", "theory")
):
    """Measured dots on a curve that theory gives."""
    ax.plot(x, expected, color=NEUTRAL, label=names[1])
    ax.plot(x, measured, "o", ms=4, color=GENERATED, label=names[0])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
