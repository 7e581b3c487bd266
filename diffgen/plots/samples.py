"""Figures of samples and of predictions along their trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from torch import Tensor

from diffgen.metrics.estimate import Estimate
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, VAL, images_seen
from diffgen.plots.gap import band

PARTS = {
    "train": ("noisy training images", TRAIN),
    "trajectory": ("sampling trajectories", GENERATED),
    "val": ("noisy validation images", VAL),
}


def estimates(x: Sequence[float], values: Sequence[Estimate], ax: Axes, **style) -> Axes:
    """Estimates with their 95 % intervals, as a line with a band."""
    return band(x, [float(v) for v in values], [v.stderr for v in values], ax, marker="o", ms=4, **style)


def gap_and_samples(images: Sequence[int], gaps: Sequence[Estimate], samples: Sequence[Estimate], ax: Axes) -> Axes:
    """The gap of the denoiser and the gap of its samples against images seen: the paper's main claim in one figure."""
    estimates(images, gaps, ax, color=TRAIN, label="denoiser: gap between validation and training images")
    estimates(images, samples, ax, color=GENERATED, label="its samples: the same gap")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    images_seen(ax).set(ylabel="relative gap")
    ax.legend(loc="upper left")
    return ax


def similarity_over_sigma(sigmas: Tensor, similarities: Mapping[str, Tensor], ax: Axes) -> Axes:
    """Similarity of one-step predictions to the nearest training image, (S, n) a part, against σ."""
    for part, (label, colour) in PARTS.items():
        values = similarities[part].double()
        band(sigmas, values.mean(1), values.std(1) / values.shape[1] ** 0.5, ax, color=colour, label=label)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="similarity to the nearest training image")
    ax.legend()
    return ax
