"""Figures of the generalization gap: over training (the paper's Figure 1) and over the noise level (Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.ticker import EngFormatter, FixedLocator, NullFormatter, NullLocator
from torch import Tensor

from diffgen.metrics.bootstrap import Onset
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.reconstruction import ReconstructionCurve
from diffgen.plots import LINES, NEUTRAL, TRAIN, VAL, Numbers, Style, training_axis


def band(x: Numbers, estimate: Numbers, stderr: Numbers, ax: Axes, z: float = 1.96, **style: Any) -> Axes:
    """A line with its 95 % interval as a band."""
    at, value, half = np.asarray(x, float), np.asarray(estimate, float), z * np.asarray(stderr, float)
    (line,) = ax.plot(at, value, **style)
    ax.fill_between(at, value - half, value + half, color=line.get_color(), alpha=0.18, lw=0)
    return ax


def estimates(x: Numbers, values: Sequence[Estimate], ax: Axes, **style: Any) -> Axes:
    """Estimates with their 95 % intervals, as a line with a band."""
    return band(x, [float(v) for v in values], [v.stderr for v in values], ax, marker="o", ms=4, **style)


def errors_over_training(
    images_seen: Sequence[int], curves: Sequence[GapCurve], i: int, ax: Axes, onset: int | None = None
) -> Axes:
    """E_train and E_val at noise level number i against images seen; gap and overfit onset are marked (Figure 1)."""
    for name, errors, colour in (
        ("training images", [c.train_errors[i] for c in curves], TRAIN),
        ("validation images", [c.val_errors[i] for c in curves], VAL),
    ):
        estimates(images_seen, [Estimate.mean(e) for e in errors], ax, color=colour, label=name)
    if onset is not None:
        ax.axvline(onset, color=NEUTRAL, ls=":", lw=1.2, label="overfit onset")
    last = curves[-1]
    ends: Style = {"xy": (images_seen[-1], float(last.train[i])), "xytext": (images_seen[-1], float(last.val[i]))}
    ax.annotate("", **ends, arrowprops={"arrowstyle": "<->", "color": NEUTRAL, "lw": 1.2, "shrinkA": 0, "shrinkB": 0})
    middle = float(last.train[i] + last.val[i]) / 2
    offset: Style = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    ax.annotate(f"G = {float(last.gap[i]):.2f}", (images_seen[-1], middle), color=NEUTRAL, **offset)
    training_axis(ax).set(ylabel="denoising error $E(\\sigma)$ per pixel", xlim=(None, images_seen[-1] * 2))
    ax.legend()
    return ax


TICKS = [-0.2, -0.1, 0, 0.05, 0.1, 0.15, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]


def gap_scale(axis: Axis) -> None:
    """An axis of gaps: to scale up to 0.2, logarithmic above: what grows hundredfold is seen from its start."""
    name = "x" if axis is axis.axes.xaxis else "y"
    getattr(axis.axes, f"set_{name}scale")("symlog", linthresh=0.2, linscale=1.5)
    axis.set_major_locator(FixedLocator(TICKS))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def gap_axes(ax: Axes) -> Axes:
    """Axes of G over σ, see `gap_scale`."""
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
    gap_scale(ax.yaxis)
    return ax


def gap_over_sigma(
    images_seen: Sequence[int],
    curves: Sequence[GapCurve],
    onset: Onset,
    ax: Axes,
    bar: bool = True,
    until: int | None = None,
) -> Axes:
    """G(σ), one line a snapshot, coloured by images seen; the black line joins the overfit onsets of all σ (Figure 2).

    Args:
        images_seen: at each snapshot.
        curves: of the snapshots.
        onset: `overfit_onset` of the curves.
        ax: where to draw.
        bar: draw the colour bar; of panels side by side the last one needs it.
        until: images seen at the dark end of the colours, which panels may share; those of the last snapshot if None.
    """
    colours = plt.cm.ScalarMappable(LogNorm(images_seen[0], until or images_seen[-1]), "viridis_r")
    for seen, curve in zip(images_seen, curves):
        band(curve.sigmas, curve.gap, curve.stderr, ax, color=colours.to_rgba(np.asarray(seen)))
    gaps = torch.stack([c.gap for c in curves])[onset.at, torch.arange(len(onset.at))]
    begun = onset.high < len(curves) - 1  # elsewhere it may still come
    if begun.any():
        ax.plot(curves[0].sigmas[begun], gaps[begun], color="black", lw=2, marker="o", ms=4, label="overfit onset")
        ax.legend(loc="upper left")
    gap_axes(ax)
    if bar:
        scale = ax.figure.colorbar(colours, ax=ax, label="images seen", format=EngFormatter(sep="", places=0))
        scale.ax.yaxis.set_minor_formatter(NullFormatter())
        scale.set_ticks(images_seen[:: max(1, len(images_seen) // 4)])
    return ax


def onset_over_sigma(images_seen: Sequence[int], sigmas: Tensor, onset: Onset, ax: Axes) -> Axes:
    """Images seen at the overfit onset of each noise level, with its 95 % interval.

    Hollow where the interval reaches the last snapshot: there the validation error may still have been falling.
    """
    levels, seen = np.asarray(sigmas), np.asarray(images_seen)
    begun = np.asarray(onset.high) < len(images_seen) - 1
    at, low, high = (seen[np.asarray(k)] for k in onset)
    for where, mark, label in ((begun, "o", "overfit onset"), (~begun, "^", "not decided by the end")):
        if not where.any():
            continue
        style: Style = {"fmt": mark, "ms": 5, "lw": 1.2, "color": VAL, "mfc": VAL if mark == "o" else "none"}
        ax.errorbar(levels[where], at[where], np.stack([at - low, high - at])[:, where], label=label, **style)
    ax.set(xscale="log", yscale="log", xlabel="noise level $\\sigma$", ylabel="images seen")
    ax.set_yticks(images_seen, [EngFormatter(sep="", places=0)(n) for n in images_seen])
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(loc="lower left")
    return ax


def gaps_beside(curves: Mapping[str, GapCurve], ax: Axes) -> Axes:
    """G(σ) of several denoisers, a line each."""
    for (name, curve), style in zip(curves.items(), LINES, strict=False):
        band(curve.sigmas, curve.gap, curve.stderr, ax, label=name, **style)
    gap_axes(ax).legend()
    return ax


def reconstruction_over_sigma(images_seen: Sequence[int], curves: Sequence[ReconstructionCurve], ax: Axes) -> Axes:
    """The gap of rFD over σ, one line a snapshot, coloured by images seen: darker is later."""
    colours = plt.cm.ScalarMappable(LogNorm(images_seen[0], images_seen[-1]), "viridis_r")
    for seen, curve in zip(images_seen, curves):
        band(curve.sigmas, curve.gap, curve.stderr, ax, color=colours.to_rgba(np.asarray(seen)))
    return gap_axes(ax)


def gaps_over_training(gaps: Mapping[str, tuple[Sequence[int], Sequence[Estimate]]], ax: Axes) -> Axes:
    """Gaps over images seen, a line each with 95 % intervals."""
    for (name, (seen, values)), style in zip(gaps.items(), LINES, strict=False):
        estimates(seen, values, ax, label=name, **style)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    gap_scale(ax.yaxis)
    training_axis(ax).legend(fontsize=8)
    return ax


def gap_of_lengths(lengths: Sequence[float], curves: Sequence[GapCurve], ax: Axes) -> Axes:
    """G at the middle of the curves' noise levels against the length of the average of the weights."""
    if curves:
        sigma = float(curves[0].sigmas[len(curves[0].sigmas) // 2])
        estimates(lengths, [curve.at(sigma) for curve in curves], ax, color=NEUTRAL)
        ax.set(ylabel=f"$G$ at $\\sigma$ = {sigma:.2f}, raw")
    else:
        ax.text(0.5, 0.5, "this preset stores one average only", transform=ax.transAxes, ha="center")
    ax.set(xlabel="relative width of the average, $\\sigma_\\mathrm{rel}$")
    return ax


def intervals_over_n(curves: Mapping[str, GapCurve], level: int, ax: Axes) -> dict[str, list[tuple[int, float]]]:
    """The half-width of the 95 % interval of G at a noise level, for the first n images of both splits.

    Returns:
        (n, half-width) for each curve.
    """
    drawn = {}
    for (name, curve), style, mark in zip(curves.items(), LINES, "os", strict=False):
        counts = [n for n in (2**k for k in range(4, 20)) if n < curve.n] + [curve.n]
        parts = (GapCurve(curve.sigmas, curve.train_errors[:, :n], curve.val_errors[:, :n]) for n in counts)
        drawn[name] = [(n, 1.96 * float(part.stderr[level])) for n, part in zip(counts, parts)]
        ax.plot(*zip(*drawn[name]), label=name, marker=mark, ms=4, **style)
    ax.set(xscale="log", yscale="log", xlabel="evaluated images a split", ylabel="half-width of the 95 % interval")
    ax.legend()
    return drawn
