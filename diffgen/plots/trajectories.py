"""Figures of trajectories: what lies on them at each noise level, beside noisy training and validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from diffgen.experiments.trajectories import FeatureSimilarity
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import FrechetGap
from diffgen.metrics.trajectory import RelativePosition, TrajectoryStats
from diffgen.plots import GENERATED, LINES, NEUTRAL, TRAIN, VAL, Style, training_axis
from diffgen.plots.gap import estimates
from diffgen.plots.samples import points

Size = TypeVar("Size", int, float)

PARTS: dict[str, tuple[str, Style]] = {
    "train": ("noisy training images", {"color": TRAIN, "ls": "-"}),
    "trajectory": ("sampling trajectories", {"color": GENERATED, "ls": "--"}),
    "val": ("noisy validation images", {"color": VAL, "ls": ":"}),
}


def size_styles(sizes: Sequence[Size]) -> dict[Size, Style]:
    """Keywords of a line for each training-set size, in none of the colours of a kind of data."""
    return {
        n: {**style, "marker": mark, "label": f"{n:,} training images"}
        for n, style, mark in zip(sizes, LINES, "osD^", strict=False)
    }


def noise_axis(ax: Axes, window: Tensor | None = None, shade: str = "") -> Axes:
    """A logarithmic axis of σ; `window` are noise levels of which the range is shaded, such as where G is high."""
    if window is not None:
        low, high = float(window.min()), float(window.max())
        ax.axvspan(low / 1.12, high * 1.12, color="#F0E442", alpha=0.35, lw=0, zorder=0, label=shade or None)
    ax.set(xscale="log", xlabel="noise level $\\sigma$")
    return ax


def measure_over_sigma(
    stats: Mapping[str, TrajectoryStats], measure: str, ax: Axes, window: Tensor | None = None
) -> Axes:
    """The mean of a measure at each noise level of the sampler, for each part of trajectory statistics."""
    for part, (label, style) in PARTS.items():
        estimates(stats[part].sigmas, stats[part].means(measure), ax, label=label, **style)
    return noise_axis(ax, window)


def position_over_sigma(sigmas: Tensor, position: RelativePosition, ax: Axes, **style: Any) -> Axes:
    """p(σ) with its interval; levels without a relative position are left out."""
    known = ~position.value.isnan()
    x, value, low, high = (v[known].numpy() for v in (sigmas, position.value, position.low, position.high))
    ax.errorbar(x, value, np.stack([value - low, high - value]), ms=4, lw=1.4, elinewidth=0.9, capsize=2, **style)
    return noise_axis(ax)


def position_frame(ax: Axes) -> Axes:
    """Mark validation (0), training (1) and the middle, and keep to what lies around them."""
    for level, name, colour in ((1, "training", TRAIN), (0, "validation", VAL)):
        ax.axhline(level, color=colour, lw=1)
        where = ax.get_yaxis_transform()
        ax.annotate(name, (1, level), (-3, 3), where, textcoords="offset points", ha="right", color=colour, size=8)
    ax.axhline(0.5, color=NEUTRAL, lw=0.8, ls=":")
    ax.set(ylim=(-1.5, 2.2), ylabel="relative position $p(\\sigma)$")
    return ax


def frechet_distances(images_seen: Sequence[int], gaps: Sequence[FrechetGap], ax: Axes) -> Axes:
    """FD of samples to both splits over training, beside those of the splits to each other."""
    for name, label, colour in (("to_val", "validation", VAL), ("to_train", "training", TRAIN)):
        distances = [getattr(gap, name) for gap in gaps]
        points(images_seen, distances, ax, marker="o", color=colour, label=f"samples to {label}")
    for name, label, colour in (("train_val", "validation", VAL), ("train_train", "training", TRAIN)):
        ax.axhline(getattr(gaps[-1], name), color=colour, ls=":", lw=1.2, label=f"training to {label}")
    training_axis(ax).set(ylim=(0, None), ylabel="Fréchet distance")
    ax.legend()
    return ax


def over_training(
    values: Mapping[int, tuple[Sequence[int], Sequence[Estimate]]], ax: Axes, nulls: Mapping[int, float] | None = None
) -> Axes:
    """Estimates over training, a line a training-set size: {size: (images seen, estimates)}; thin lines are nulls."""
    for n, style in size_styles(list(values)).items():
        points(*values[n], ax, **style)
        if nulls is not None:
            ax.axhline(nulls[n], color=style["color"], ls=style["ls"], lw=0.8, alpha=0.8)
    return training_axis(ax)


def over_windows(windows: Sequence[tuple[float, float]], values: Sequence[Estimate], ax: Axes, **style: Any) -> Axes:
    """An estimate for each window of noise levels, drawn across the window, with its 95 % interval."""
    low, high = np.array(windows).T
    middle, errors = np.sqrt(low * high), [1.96 * value.stderr for value in values]
    spans = np.stack([middle - low, high - middle])
    ax.errorbar(middle, list(map(float, values)), errors, spans, fmt="none", elinewidth=1.6, capsize=3, **style)
    return noise_axis(ax)


def rates_over_sigma(sigmas: Tensor, rates: Mapping[str, Sequence[Estimate]], ax: Axes) -> Axes:
    """Shares at noise levels, of training and of validation images."""
    for part in ("train", "val"):
        label, style = PARTS[part]
        estimates(sigmas, rates[part], ax, label=label, **style)
    ax.set(ylim=(-0.05, 1.05))
    return noise_axis(ax)


def similarities_over_training(
    images_seen: Sequence[int], similarities: Sequence[FeatureSimilarity], ax: Axes, to: str
) -> Axes:
    """Similarity to the most similar image of a split over training, for each part."""
    for part, (label, style) in PARTS.items():
        estimates(images_seen, [getattr(s, to)[part] for s in similarities], ax, label=label, **style)
    return training_axis(ax)


def stopped_over_sigma(
    stopped: Mapping[str, Mapping[float, FrechetGap]], last: Mapping[str, FrechetGap], ax: Axes
) -> Axes:
    """The raw Fréchet gap of samples stopped early, over the σ at which they were, a line a snapshot; • are whole ones.

    The shaded band is the luck of the split at the last of them.
    """
    for (name, by_sigma), style in zip(stopped.items(), LINES, strict=False):
        points(list(by_sigma), [gap.raw for gap in by_sigma.values()], ax, label=name, marker="s", **style)
        points([min(by_sigma) / 2.5], [last[name].raw], ax, marker="o", color=style["color"], ls="none")
    luck = list(last.values())[-1].luck.stderr
    if luck == luck:
        ax.axhspan(-2 * luck, 2 * luck, color=GENERATED, alpha=0.12, lw=0)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(ylabel="raw Fréchet gap of $D(x; \\sigma)$")
    return noise_axis(ax)
