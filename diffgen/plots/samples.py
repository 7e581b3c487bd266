"""Figures of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from diffgen.metrics.estimate import Estimate, Interval
from diffgen.plots import GENERATED, LINES, NEUTRAL, TRAIN, Style, training_axis

SIZES: tuple[Style, ...] = tuple({"marker": mark, "ls": dash} for mark, dash in zip("osD^", ("-", "--", "-.", ":")))
"""Marks of training-set sizes: what is of one kind of data keeps its colour."""


def points(x: Sequence[float], values: Sequence[Estimate | Interval], ax: Axes, **style: Any) -> Axes:
    """Numbers with their 95 % intervals as bars: estimates, or intervals of their own."""
    ends = [value if isinstance(value, Interval) else value.with_interval() for value in values]
    bars = np.array([(end.value - end.low, end.high - end.value) for end in ends]).T.clip(0)
    ax.errorbar(x, [end.value for end in ends], bars, **{"ms": 4, "lw": 1.4, "elinewidth": 0.9, "capsize": 2} | style)
    return ax


def growth_of_both(
    images_seen: Mapping[int, Sequence[int]],
    gaps: Mapping[int, Sequence[Estimate]],
    positions: Mapping[int, Sequence[Estimate]],
    axes: Sequence[Axes],
) -> None:
    """Left the denoiser's gap, right where its samples lie, over training, a line a training-set size.

    Args:
        images_seen: by training-set size.
        gaps: G at its peak.
        positions: of samples, 0 as unseen images are and 1 as recognized training images are.
        axes: two of them.
    """
    left, right = axes
    for (n, seen), style in zip(images_seen.items(), SIZES, strict=False):
        label = f"{n:,} training images"
        points(seen, gaps[n], left, color=TRAIN, label=label, **style)
        points(seen, positions[n], right, color=GENERATED, label=label, **style)
    left.set(yscale="log", ylabel="gap of the denoiser, $G$ at its peak", title="the denoiser")
    right.axhline(1, color=TRAIN, lw=1)
    right.axhline(0, color=NEUTRAL, lw=0.8)
    right.annotate("recognized training images", (0.02, 1), (0, 3), right.get_yaxis_transform(),
                   textcoords="offset points", color=TRAIN, size=8)  # fmt: skip
    right.annotate("unseen images", (0.02, 0), (0, -10), right.get_yaxis_transform(), textcoords="offset points",
                   color=NEUTRAL, size=8)  # fmt: skip
    right.set(ylim=(-0.25, 1.3), ylabel="position of its samples", title="its samples")
    for ax in axes:
        training_axis(ax)
    left.legend(fontsize=8)


def position_against_gap(
    runs: Mapping[str, tuple[Sequence[Estimate], Sequence[Estimate]]], ax: Axes, regime: tuple[float, float]
) -> Axes:
    """The position of samples against the gap of their denoiser, a point a snapshot, a mark a run.

    Args:
        runs: by name, gaps and positions.
        ax: where to draw.
        regime: the gaps of the paper's networks, shaded.
    """
    ax.axvspan(*regime, color="#F0E442", alpha=0.35, lw=0, zorder=0)
    ax.axhline(1, color=TRAIN, lw=1)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    for (name, (gaps, positions)), mark, style in zip(runs.items(), "osD^vP*X", cycle(LINES)):
        known = [(g, p) for g, p in zip(gaps, positions) if float(g) > 0]
        if known:
            x, values = zip(*known)
            points([float(g) for g in x], values, ax, marker=mark, label=name, **{**style, "lw": 0.8, "ms": 5})
    ax.annotate(
        "a copier", (0.01, 1), (0, 3), ax.get_yaxis_transform(), textcoords="offset points", color=TRAIN, size=8
    )
    where = ax.get_xaxis_transform()
    ax.annotate("the paper's networks", (regime[0], 0.97), (3, -8), where, textcoords="offset points", size=8)
    ax.set(xscale="log", ylim=(-0.25, 1.3), xlabel="gap of the denoiser, $G$ at its peak",
           ylabel="position of its samples")  # fmt: skip
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def headline(
    images_seen: Sequence[int],
    gaps: Sequence[Interval],
    frechet: Mapping[str, Sequence[Interval]],
    luck: float,
    ax: Axes,
) -> Axes:
    """G and the Fréchet gap of samples over training on one axis: the paper's Figure 1 in its own units.

    The shaded band is what the split alone can do to a Fréchet gap, two standard deviations.
    """
    ax.axhspan(-2 * luck, 2 * luck, color=GENERATED, alpha=0.12, lw=0, label="luck of the split")
    points(images_seen, gaps, ax, color=TRAIN, marker="o", label="denoiser: $G$")
    for (name, values), mark, dash in zip(frechet.items(), "s^D", ("--", ":", "-."), strict=False):
        points(images_seen, values, ax, color=GENERATED, marker=mark, ls=dash, label=f"samples: {name}")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    training_axis(ax).set(ylabel="relative gap")
    ax.legend(fontsize=8)
    return ax
