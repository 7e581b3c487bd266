"""Figures of the generalization gap: over training (the paper's Figure 1) and over the noise level (Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import EngFormatter, NullFormatter

from diffgen.metrics.bootstrap import overfit_onset
from diffgen.metrics.gap import GapCurve
from diffgen.plots import NEUTRAL, TRAIN, VAL, images_seen


def band(x, estimate, stderr, ax: Axes, z: float = 1.96, **style) -> Axes:
    """A line with its 95 % interval as a band."""
    x, estimate, stderr = (np.asarray(v, dtype=float) for v in (x, estimate, stderr))
    (line,) = ax.plot(x, estimate, **style)
    ax.fill_between(x, estimate - z * stderr, estimate + z * stderr, color=line.get_color(), alpha=0.18, lw=0)
    return ax


def errors_over_training(images: Sequence[int], curves: Sequence[GapCurve], i: int, ax: Axes) -> Axes:
    """E_train and E_val at noise level number i against images seen, the overfit onset marked."""
    for name, errors, colour in (
        ("training images", [c.train_errors[i] for c in curves], TRAIN),
        ("validation images", [c.val_errors[i] for c in curves], VAL),
    ):
        means = [float(e.double().mean()) for e in errors]
        stderrs = [float(e.double().std() / len(e) ** 0.5) for e in errors]
        band(images, means, stderrs, ax, color=colour, marker="o", ms=4, label=name)
    best = int(np.argmin([float(c.val[i]) for c in curves]))
    ax.axvline(images[best], color=NEUTRAL, ls=":", lw=1.2, label="smallest validation error")
    images_seen(ax).set(ylabel="denoising error $E(\\sigma)$ per pixel")
    ax.legend()
    return ax


def gap_over_sigma(images: Sequence[int], curves: Sequence[GapCurve], ax: Axes, onset: bool = True) -> Axes:
    """G(σ), one line a snapshot, coloured by images seen; the black line joins the overfit onsets of all σ."""
    colours = plt.cm.ScalarMappable(LogNorm(images[0], images[-1]), "viridis_r")
    for seen, curve in zip(images, curves):
        band(curve.sigmas, curve.gap, curve.stderr, ax, color=colours.to_rgba(seen))
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    if onset:
        at = overfit_onset(curves).at
        gaps, begun = torch.stack([c.gap for c in curves])[at, torch.arange(len(at))], at < len(curves) - 1
        ax.plot(curves[0].sigmas[begun], gaps[begun], color="black", lw=2, marker="o", ms=4, label="overfit onset")
        ax.legend(loc="upper left")
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
    bar = ax.figure.colorbar(colours, ax=ax, label="images seen", format=EngFormatter(sep="", places=0))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_ticks(images[:: max(1, len(images) // 4)])
    return ax
