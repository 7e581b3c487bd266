"""Figures that compare runs: scaling factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from diffgen.metrics.estimate import Estimate
from diffgen.metrics.gap import GapCurve
from diffgen.plots import NEUTRAL, images_seen
from diffgen.plots.gap import band
from diffgen.plots.samples import estimates


def styles(runs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], dict[str, str]]:
    """One colour a training-set size, one line style a width: {(n_train, channels): keywords of a line}."""
    sizes, widths = sorted({n for n, _ in runs}), sorted({w for _, w in runs})
    colours = dict(zip(sizes, ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")))
    dashes = dict(zip(reversed(widths), ("-", "--", ":", "-.")))
    return {
        (n, w): {"color": colours[n], "ls": dashes[w], "label": f"{n:,} images, width {w}"} for n, w in sorted(runs)
    }


def gaps_of_runs(curves: Mapping[tuple[int, int], GapCurve], ax: Axes) -> Axes:
    """G(σ), one line a run."""
    for run, style in styles(list(curves)).items():
        band(curves[run].sigmas, curves[run].gap, curves[run].stderr, ax, **style)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
    ax.legend()
    return ax


def growth_of_runs(growth: Mapping[tuple[int, int], tuple[Sequence[int], Sequence[Estimate]]], ax: Axes) -> Axes:
    """The gap at one noise level against images seen, one line a run: {run: (images seen, gaps)}."""
    for run, style in styles(list(growth)).items():
        estimates(*growth[run], ax, **style)
    ax.axhline(0, color=NEUTRAL, lw=0.8)
    images_seen(ax).set(ylabel="relative gap")
    return ax
