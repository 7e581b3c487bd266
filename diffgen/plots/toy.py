"""Figures of the toy model: fields and maps in the plane, families of gap curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from diffgen.data.split import Split
from diffgen.metrics.estimate import Estimate
from diffgen.plots import GENERATED, LINES, NEUTRAL, TRAIN, VAL, Style

RANDOM = LINES[1]["color"]
"""Of points drawn at random."""

ERROR, WEIGHT, COUNT = "magma_r", "viridis_r", "plasma_r"
"""Colour maps of what is varied: the model error, the guidance weight (or training), the number of points.

On each, darker is more.
"""


def shades(values: Sequence[float], cmap: str, log: bool = False) -> ScalarMappable:
    """Colours of values, darker for larger ones, without the lightest fifth of the map, which no eye sees."""
    norm = (LogNorm if log else Normalize)(min(values), max(values))
    return ScalarMappable(norm, ListedColormap(plt.get_cmap(cmap)(np.linspace(0.2, 0.95, 256))))


def each(colours: ScalarMappable, values: Sequence[float]) -> list[tuple[float, ...]]:
    """The colour of each value."""
    return [tuple(colour) for colour in colours.to_rgba(np.array(values, dtype=float)).tolist()]


def show_points(data: Split, ax: Axes, size: float = 26) -> Axes:
    """Training points as circles, validation points as diamonds: shapes tell them apart without colour."""
    style: Style = {"s": size, "edgecolor": "white", "zorder": 6}
    for points, colour, marker, label in ((data.train, TRAIN, "o", "training"), (data.val, VAL, "D", "validation")):
        if len(points):
            x, y = points.x.T
            ax.scatter(x, y, color=colour, marker=marker, label=label, **style)
    return ax


def frame(half: float, ax: Axes) -> Axes:
    """Show the plane within ±half, without ticks."""
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
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
    length = np.linalg.norm(flow, axis=2)
    cmap = shades([0, 1], "cividis_r").cmap
    lines = ax.streamplot(axis, axis, u, v, color=length, cmap=cmap, linewidth=0.8, arrowsize=0.7)
    ax.plot(*denoised[::4, ::4].reshape(-1, 2).T, "x", color="black", ms=3, mew=0.8, label="prediction")
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
    *,
    cmap: str = ERROR,
    log: bool = False,
    ticks: Sequence[float] | None = None,
    errors: Sequence[Tensor] | None = None,
) -> Axes:
    """G(σ) for each value of a parameter, darker for larger values, with a colour bar.

    Args:
        sigmas: (S,).
        curves: G(σ) of each value, (S,) each.
        values: the parameter.
        label: of the colour bar.
        ax: axes.
        cmap: colour map of the parameter.
        log: colours on a logarithmic scale.
        ticks: of the colour bar; by default the values, or every second where there are many.
        errors: half widths of bands about the curves, (S,) each.
    """
    colours = shades(values, cmap, log)
    for i, (colour, curve) in enumerate(zip(each(colours, values), curves)):
        ax.plot(sigmas, curve, color=colour)
        if errors is not None:
            ax.fill_between(sigmas, curve - errors[i], curve + errors[i], color=colour, alpha=0.2, lw=0)
    gap_axes(ax)
    known = sorted(values)[:: 2 if len(values) > 8 else 1] if ticks is None else ticks
    bar = ax.figure.colorbar(colours, ax=ax, label=label, ticks=known, format=lambda value, _: f"{value:g}")
    bar.minorticks_off()
    return ax


def peaks(
    values: Sequence[float], regular: Mapping[str, Sequence[float]], random: Sequence[Estimate], label: str, ax: Axes
) -> Axes:
    """Heights of peaks against a parameter: of equidistant points, and of random ones ± 2 standard errors.

    Args:
        values: the parameter.
        regular: heights without chance, by name.
        random: mean heights over draws of the points.
        label: of the parameter.
        ax: axes.
    """
    bars = [2 * height.stderr for height in random]
    ax.errorbar(values, list(map(float, random)), bars, fmt="o-", ms=4, color=RANDOM, label="random, ± 2 s.e.")
    for (name, heights), style in zip(regular.items(), ("s--", "^:")):
        ax.plot(values, heights, style, ms=4, mfc="none", color="black", label=name)
    ax.set(xlabel=label, ylabel="height of the peak", yscale="log", ylim=(1e-3, 1.3))
    plain_log(ax.yaxis)
    return ax


def frechet_by_error(
    deltas: Sequence[float], distances: Tensor, fresh: Tensor, ax: Axes, confidence: float = 0.95
) -> Axes:
    """Fréchet distances of samples to both splits against the model error, with the range over fresh splits.

    Args:
        deltas: model errors, (D,).
        distances: to the training and to the validation points of one split, (D, 2).
        fresh: the same of other splits, (K, D, 2).
        ax: axes.
        confidence: share of the other splits within the bands.
    """
    tails = fresh.new_tensor([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = fresh.quantile(tails, 0)
    sides = (("training points", TRAIN, "o-"), ("validation points", VAL, "D-"))
    for k, (name, colour, style) in enumerate(sides):
        ax.fill_between(deltas, low[:, k], high[:, k], color=colour, alpha=0.15, lw=0)
        ax.plot(deltas, distances[:, k], style, ms=4, color=colour, label=f"to {name}")
        ax.plot(deltas, fresh[:, :, k].mean(0), ":", color=colour)
    ax.set(xlabel=r"model error $\delta$", ylabel="Fréchet distance of samples", ylim=(0, None))
    return ax


def below(
    places: Tensor, values: Sequence[Tensor], level: float, parameter: Sequence[float], data: Split, ax: Axes
) -> ScalarMappable:
    """For each value of a parameter the region of the plane where something is below a level: its edge, and tinted.

    Args:
        places: (n, n, 2).
        values: what is compared with the level, (n, n) for each value of the parameter.
        level: of the edges.
        parameter: its values, darker for larger ones.
        data: the points to show.
        ax: axes.

    Returns:
        What a colour bar needs.
    """
    axis, colours = places[0, :, 0], shades(parameter, ERROR)
    for colour, field in zip(each(colours, parameter), values):
        ax.contourf(axis, axis, field, [0, level], colors=[colour], alpha=0.2)
        ax.contour(axis, axis, field, [level], colors=[colour], linewidths=1.5)
    show_points(data, ax, 18)
    frame(float(axis[-1]), ax)
    return colours


def plain_log(*axes: Axis) -> None:
    """Plain numbers on logarithmic axes: 1, 2, 5 of each decade where there is room. Call it when all is drawn."""
    for axis in axes:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1,) if high / low > 300 else (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def gap_axes(ax: Axes) -> Axes:
    """Label the axes of a gap curve: log σ, and a line at 0. Call it when the curves are drawn."""
    ax.axhline(0, color=NEUTRAL, lw=0.8, zorder=1)
    ax.set(xscale="log", xlabel=r"noise level $\sigma$", ylabel=r"relative gap $G(\sigma)$")
    plain_log(ax.xaxis)
    return ax


def gap_along(turn: Tensor, curves: Sequence[Tensor], deltas: Sequence[float], data: Split, ax: Axes) -> Axes:
    """The gap at each place along the circle, with the training and validation points marked at 0.

    Args:
        turn: place on the circle, (M,), as a fraction of a turn.
        curves: gaps, (M,) each.
        deltas: model error of each curve.
        data: the points to mark, by their angle.
        ax: axes.
    """
    for delta, curve, colour in zip(deltas, curves, each(shades(deltas, ERROR), deltas)):
        ax.plot(turn, curve, color=colour, label=rf"$\delta = {delta:g}$")
    for points, color, marker, name in ((data.train, TRAIN, "o", "training"), (data.val, VAL, "D", "validation")):
        angle = np.arctan2(*points.x.T.flip(0)) / (2 * np.pi) % 1
        ax.plot(angle, np.zeros(len(angle)), marker, color=color, mec="white", clip_on=False, zorder=5, label=name)
    ax.set(xlabel="place on the circle (fraction of a turn)", ylabel="relative gap at that place", xlim=(0, 1))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
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
    colours = each(shades(range(len(labels)), COUNT), range(len(labels)))
    for ratio, value, label, marker, colour in zip(ratios, values, labels, "osD^v<>ph*", colours):
        ax.plot(ratio, value, marker, ms=5, label=label, mfc="none", color=colour)
    ax.set_xticks(ratios[0])
    ax.set_xlabel(r"model error in units of the spacing, $\delta / a$")
    ax.legend()
    return ax
