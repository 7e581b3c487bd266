"""Figures of guidance: gap curves for all weights, numbers against the weight, statistics, windows and ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from torch import Tensor

from diffgen.metrics.contrast import Row
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.trajectory import RelativePosition
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, VAL, Style
from diffgen.plots.gap import band
from diffgen.plots.samples import points

KINDS: dict[str, Style] = {
    "autoguidance": {"color": "#E69F00", "ls": "-", "marker": "D"},
    "classifier-free": {"color": "#CC79A7", "ls": "--", "marker": "o"},
}
"""Line styles of the kinds of guidance."""
TICKS = (0, 0.5, 1, 1.5, 2)


def shades(values: Sequence[float]) -> plt.cm.ScalarMappable:
    """Colours for ordered values, from light to dark, none too light for a line."""
    cmap = ListedColormap(plt.get_cmap("viridis_r")(np.linspace(0.15, 1, 256)))
    return plt.cm.ScalarMappable(Normalize(min(values), max(values)), cmap)


def gaps_of_weights(
    weights: Sequence[float],
    sigmas: Tensor,
    gaps: Sequence[Sequence[float] | Tensor],
    ax: Axes,
    *,
    first: Sequence[Interval] = (),
    fixed: float | None = None,
    bar: bool = True,
) -> Axes:
    """G(σ), one line a guidance weight.

    Args:
        weights: w, the first of them 0.
        sigmas: noise levels, (S,).
        gaps: G at these, one row a weight.
        ax: where to draw.
        first: G without guidance with its 95 % interval, which is drawn as a band.
        fixed: the noise level at which G is read, a dotted line.
        bar: draw the colour bar; of panels side by side the last one needs it.
    """
    colours = shades(weights)
    for weight, gap in zip(weights, gaps):
        ax.plot(sigmas, gap, color=colours.to_rgba(np.asarray(weight)), marker=".", ms=4)
    if first:
        _, low, high = np.array(first).T
        ax.fill_between(sigmas, low, high, color=colours.to_rgba(np.asarray(weights[0])), alpha=0.25, lw=0)
    if fixed is not None:
        ax.axvline(fixed, color=NEUTRAL, ls=":", lw=1.2)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$", ylim=of_lines(ax))
    if bar:
        ax.figure.colorbar(colours, ax=ax, label="guidance weight $w$", ticks=list(weights))
    return ax


def of_lines(ax: Axes, room: float = 0.25) -> tuple[float, float]:
    """Limits of a linear y axis that hold its lines, and of the bands around them as much as there is room for."""
    free = [line for line in ax.lines if line.get_transform() == ax.transData]  # not those from edge to edge
    shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in free])
    low, high = (float(f(shown)) if np.isfinite(shown).any() else 0.0 for f in (np.nanmin, np.nanmax))
    more = room * (high - low) or 0.1
    return low - more, high + more


def over_weights(weights: Sequence[float], values: Sequence[Interval], ax: Axes, **style: object) -> Axes:
    """A number over seeds against the guidance weight, with its 95 % interval as a band."""
    at = np.array([tuple(value) for value in values]).T
    (line,) = ax.plot(weights, at[0], **{"marker": "o", "ms": 4, **style})  # type: ignore[arg-type]
    ax.fill_between(weights, at[1], at[2], color=line.get_color(), alpha=0.15, lw=0)
    ax.set(xlabel="guidance weight $w$", xticks=[w for w in weights if w in TICKS])
    return ax


def frechet_gaps(
    weights: Sequence[float],
    raw: Sequence[Interval],
    corrected: Sequence[Interval],
    offset: Sequence[float],
    denominator: Sequence[float],
    ax: Axes,
) -> Axes:
    """Fréchet gaps against the weight, and what they would be if their numerators did not know of guidance.

    Args:
        weights: w.
        raw, corrected: the gaps.
        offset: the distance between the splits alone over that to the training set.
        denominator: the numerator without guidance over the distance to the training set.
        ax: where to draw.
    """
    over_weights(weights, raw, ax, color=GENERATED, label="raw")
    over_weights(weights, corrected, ax, color=GENERATED, ls="--", marker="s", label="corrected")
    ax.plot(weights, denominator, color=NEUTRAL, ls="-.", lw=1.2, label="raw, numerator as at $w$ = 0")
    ax.plot(weights, offset, color=NEUTRAL, ls=":", lw=1.4, label="offset of the split alone")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(ylim=of_lines(ax))
    return ax


def frechet_parts(
    weights: Sequence[float], numerator: Sequence[Interval], corrected: Sequence[Interval], offset: float, ax: Axes
) -> Axes:
    """The numerators of Fréchet gaps against the weight: the distance to validation less that to training images."""
    over_weights(weights, numerator, ax, color=GENERATED, label="raw")
    over_weights(weights, corrected, ax, color=GENERATED, ls="--", marker="s", label="corrected")
    ax.axhline(offset, color=NEUTRAL, ls=":", lw=1.4, label="offset of the split")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    low, high = of_lines(ax)
    ax.set(ylim=(min(low, 1.2 * offset, 0), max(high, 1.2 * offset, 0)))
    return ax


def frechet_distances(
    weights: Sequence[float], to_train: Sequence[Interval], to_val: Sequence[Interval], ax: Axes
) -> Axes:
    """Fréchet distances of samples to both splits against the weight, on a logarithmic axis."""
    over_weights(weights, to_train, ax, color=TRAIN, label="to training images")
    over_weights(weights, to_val, ax, color=VAL, ls="--", marker="s", label="to validation images")
    shown = [value.value for value in (*to_train, *to_val)]
    ax.set(yscale="log", ylim=(min(shown) / 1.3, max(shown) * 1.3))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}" if max(shown) < 6 * min(shown) else NullFormatter())
    return ax


def contrasts(rows: Mapping[str, Row], of_seeds: Mapping[str, Sequence[float]], ax: Axes) -> Axes:
    """A statistic by kind of guidance, with its control, its null and their 95 % intervals; seeds as ticks."""
    labels: list[str] = []
    for kind, row in rows.items():
        for part, style in (("measured", KINDS[kind]), ("control", {"color": NEUTRAL}), ("null", {"color": NEUTRAL})):
            value: Interval = getattr(row, part)
            at = -len(labels)
            bars = np.array([[value.value - value.low], [value.high - value.value]]).clip(0)
            mark: Style = {"fmt": {"measured": "D", "control": "x", "null": "o"}[part], "mfc": "white"}
            mark |= {"mfc": style["color"]} if part == "measured" else {}
            ax.errorbar([value.value], [at], xerr=bars, color=style["color"], capsize=3, ms=5, elinewidth=1, **mark)
            labels.append(kind if part == "measured" else f"its {part}")
        seeds = list(of_seeds[kind])
        ax.plot(seeds, [3 - len(labels) + 0.3] * len(seeds), "|", color=KINDS[kind]["color"], ms=6)
    ax.axvline(0, color=NEUTRAL, lw=0.8)
    ax.set(yticks=[-k for k in range(len(labels))], yticklabels=labels, ylim=(-len(labels) + 0.4, 0.7))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    return ax


def denoiser_and_samples(
    weights: Sequence[float], gaps: Sequence[Estimate | Interval], samples: Sequence[Estimate | Interval], ax: Axes
) -> Axes:
    """The peak of G and the gap of the samples against the guidance weight, with their 95 % intervals."""
    points(weights, gaps, ax, fmt="o-", color=TRAIN, label="denoiser: peak of $G$")
    points(weights, samples, ax, fmt="s--", color=GENERATED, label="its samples")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xlabel="guidance weight $w$", ylabel="relative gap", xticks=[w for w in weights if w in TICKS])
    return ax


def peaks_of_windows(
    heights: Mapping[int, Interval], centres: Mapping[int, Interval], height: Axes, place: Axes
) -> None:
    """The top of G and its centre of mass, a noise level, with their 95 % intervals, against the side of the window."""
    for ax, numbers in ((height, heights), (place, centres)):
        points(list(numbers), list(numbers.values()), ax, fmt="o", color=NEUTRAL)
        ax.set(xlabel="side of the window (pixels)", xticks=list(numbers))
    height.axhline(0, color=NEUTRAL, lw=0.8)
    height.set(ylabel="peak of $G$")
    place.set(ylabel="centre of $G$ over $\\sigma$", yscale="log")
    low, high = place.get_ylim()
    place.yaxis.set_major_formatter("{x:g}")
    place.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())


def fields_over_sigma(
    sigmas: Tensor, fields: Mapping[str, Mapping[str, Sequence[Interval]]], whole: float, ax: Axes
) -> Axes:
    """Range scores of networks on training and on validation images with their intervals; that of equal weights."""
    for (name, parts), (dash, mark) in zip(fields.items(), (("-", "o"), ("--", "s"))):
        for (part, scores), colour in zip(parts.items(), (TRAIN, VAL)):
            value, low, high = np.array(scores).T
            ax.plot(sigmas, value, color=colour, ls=dash, marker=mark, ms=4, label=f"{name}, {part}")
            ax.fill_between(sigmas, low, high, color=colour, alpha=0.15, lw=0)
    ax.axhline(whole, color=NEUTRAL, ls=":", lw=1.2, label="all pixels alike")
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="range score (pixels)", ylim=(0, None))
    return ax


def range_maps(
    sigmas: Tensor, images: Mapping[str, Tensor], maps: Mapping[str, Tensor], fig: Figure, axes: np.ndarray
) -> None:
    """Noisy images above maps of the range of each of their pixels, a row each; σ from left to right.

    Args:
        sigmas: noise levels, (S,).
        images: noisy images by their name, (S, H, W), in [−1, 1]: each is a row above the map of the same name.
        maps: ranges in pixels by their name, (S, H, W).
        fig: of the axes.
        axes: (len(images) + len(maps), S).
    """
    norm = Normalize(0, max(float(of.max()) for of in maps.values()))
    rows = [
        (name, of, of is not maps[name]) for name in maps for of in (images.get(name), maps[name]) if of is not None
    ]
    for line, (name, of, grey) in zip(axes, rows):
        for ax, image in zip(line, of):
            style: Style = {"cmap": "gray", "vmin": -1, "vmax": 1} if grey else {"cmap": "viridis", "norm": norm}
            ax.imshow(image, interpolation="nearest", **style)
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        line[0].set_ylabel(f"{name},\nnoisy" if grey else "range" if name in images else name, size=8)
    for ax, sigma in zip(axes[0], sigmas):
        ax.set_title(f"$\\sigma$ = {float(sigma):.2g}", size=9)
    fig.colorbar(
        plt.cm.ScalarMappable(norm, "viridis"), ax=axes, label="range of a pixel (pixels)", aspect=40, pad=0.02
    )


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
        ax.errorbar(x, value, [value - low, high - value], ms=4, capsize=2, elinewidth=0.9, label=name, **KINDS[name])
    for level, colour, what in ((0, VAL, "validation"), (1, TRAIN, "training")):
        ax.axhline(level, color=colour, lw=1)
        where: Style = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        ax.annotate(what, (0.27, level), (0, 3), ha="center", color=colour, size=8, **where)
    ax.set(xlabel="guidance weight $w$", xticks=weights, ylim=(-2, 2.5))
    return ax
