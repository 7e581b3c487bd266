"""Figures of an audit's report."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from diffgen.metrics.exchange import GapBand
from diffgen.metrics.gap import GapCurve
from diffgen.plots import GENERATED, NEUTRAL, TRAIN, VAL
from diffgen.plots.images import image_rows


def gap_with_band(adjusted: GapCurve, band: GapBand, raw: GapCurve, null: GapCurve, ax: Axes) -> Axes:
    """G(σ) with the band that holds it at all σ at once; raw, and of images that no training saw."""
    ax.fill_between(adjusted.sigmas, band.low, band.high, color=TRAIN, alpha=0.2, lw=0)
    ax.plot(adjusted.sigmas, band.gap, color=TRAIN, marker="o", ms=3, label="adjusted, with its band")
    ax.plot(raw.sigmas, raw.gap, color=TRAIN, ls=":", lw=1.2, label="raw")
    ax.plot(null.sigmas, null.gap, color=NEUTRAL, ls="--", lw=1.2, label="unseen images in place of training images")
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    shown = np.concatenate([band.gap.numpy(), null.gap.numpy(), raw.gap.numpy(), band.low.numpy(), band.high.numpy()])
    shown = shown[np.isfinite(shown)]
    low, high = np.quantile(shown, [0.02, 0.98])
    if high > 30:  # a copier: the gap spans decades
        ax.set_yscale("symlog", linthresh=0.1)
    else:
        ax.set_ylim(min(low, -0.02) * 1.3, max(high, 0.05) * 1.25)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
    ax.legend(loc="upper left", fontsize=8)
    return ax


def roc(members: Tensor, others: Tensor, ax: Axes) -> Axes:
    """True positives against false ones, both logarithmic: the left end is what an accusation would be made of."""
    thresholds, order = np.sort(others.numpy())[::-1], np.sort(members.numpy())[::-1]
    false = np.arange(1, len(thresholds) + 1) / len(thresholds)
    true = np.searchsorted(-order, -thresholds, side="left") / len(order)
    ax.plot(false, true, color=TRAIN, drawstyle="steps-post", label="this model")
    chance = np.geomspace(1 / len(thresholds), 1, 50)
    ax.plot(chance, chance, color=NEUTRAL, ls="--", lw=1, label="chance")
    ax.set(xscale="log", yscale="log", xlabel="share of unseen images", ylabel="share of training images",
           xlim=(1 / len(thresholds), 1), ylim=(0.5 / len(order), 1.1))  # fmt: skip
    ax.legend(loc="upper left", fontsize=8)
    return ax


def scores(members: Tensor, others: Tensor, ax: Axes) -> Axes:
    """How the membership scores of training and of unseen images are distributed."""
    both = np.concatenate([members.numpy(), others.numpy()])
    edges = np.linspace(float(np.quantile(both, 0.002)), float(np.quantile(both, 0.998)), 41)
    for values, colour, name in ((others, VAL, "validation"), (members, TRAIN, "training")):
        ax.hist(values.numpy(), edges.tolist(), density=True, histtype="step", lw=1.6, color=colour, label=name)
    ax.set(xlabel="membership score", ylabel="density")
    ax.legend(fontsize=8)
    return ax


def pairs(samples: Tensor, originals: Tensor, ratios: Tensor, ax: Axes, columns: int = 8) -> Axes:
    """Samples above the training images that are nearest to them, the most suspicious first."""
    rows, labels = [], []
    for start in range(0, len(samples) - columns + 1, columns):
        rows += [samples[start : start + columns], originals[start : start + columns]]
        labels += [f"samples, d₁/d₂ from {float(ratios[start]):.2f}", "nearest training images"]
    if not rows:
        rows, labels = [samples, originals], [f"samples, d₁/d₂ from {float(ratios[0]):.2f}", "nearest training images"]
    return image_rows(rows, ax, labels)


def place(position: tuple[float, float, float], ax: Axes) -> Axes:
    """Where sampling trajectories run between noisy validation images and noisy training images."""
    value, low, high = position
    ax.errorbar([value], [0], xerr=[[value - low], [high - value]], color=GENERATED, marker="D", capsize=3)
    for x, colour, name in ((0, VAL, "validation"), (1, TRAIN, "training")):
        ax.axvline(x, color=colour, lw=1.2)
        ax.annotate(
            name, (x, 0.8), xycoords=ax.get_xaxis_transform(), xytext=(3, 0), textcoords="offset points", size=8
        )
    ax.set(yticks=[], xlabel="relative position of trajectories", xlim=(min(-0.5, low), max(1.5, high)))
    return ax
