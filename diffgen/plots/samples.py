"""Figures of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from diffgen.metrics.estimate import Estimate, Interval
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, training_axis
from diffgen.plots.gap import estimates


def points(x: Sequence[float], values: Sequence[Estimate | Interval], ax: Axes, **style: Any) -> Axes:
    """Numbers with their 95 % intervals as bars: estimates, or intervals of their own."""
    ends = [value if isinstance(value, Interval) else value.with_interval() for value in values]
    bars = np.array([(end.value - end.low, end.high - end.value) for end in ends]).T.clip(0)
    ax.errorbar(x, [end.value for end in ends], bars, **{"ms": 4, "lw": 1.4, "elinewidth": 0.9, "capsize": 2} | style)
    return ax


def gap_and_samples(
    images_seen: Sequence[int], gaps: Sequence[Estimate], samples: Sequence[Estimate], ax: Axes
) -> Axes:
    """The gap of the denoiser and the gap of its samples against images seen: the paper's main claim in one figure."""
    estimates(images_seen, gaps, ax, color=TRAIN, label="denoiser: $G$ at its peak")
    estimates(images_seen, samples, ax, color=GENERATED, ls="--", label="its samples")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    training_axis(ax).set(ylabel="relative gap")
    ax.legend(loc="upper left")
    return ax
