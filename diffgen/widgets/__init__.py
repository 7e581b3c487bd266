"""Widgets that need no kernel, in the reader's browser.

Those of the toy model compute in JavaScript what torch computes, and are tested equal to it in `tests/test_widgets.py`;
`Scrubber` shows what torch has computed. In a notebook with a kernel, Python reads and sets the same traits. On a
static page they work alone, offline.
"""

from __future__ import annotations

from typing import Any

import anywidget
import torch
import traitlets as t
from torch import Tensor

from diffgen.data.split import Split
from diffgen.data.toy import circle
from diffgen.guidance import Guided
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.toy import expected_gap
from diffgen.optimal import ErrorProne
from diffgen.widgets.javascript import source
from diffgen.widgets.parts import Curves, Images, Slider
from diffgen.widgets.scrubber import Scrubber

__all__ = ["Curves", "FieldExplorer", "Images", "Scrubber", "Slider", "TrajectoryPlayer", "spread_normal"]


def _rows(x: Tensor) -> list[list[float]]:
    return x.double().tolist()


def spread_normal(n: int) -> Tensor:
    """n places that stand for N(0, I) in the plane without chance, (n, 2): radial quantiles, a golden angle apart."""
    k = torch.arange(n, dtype=torch.float64)
    radius = (-2 * (1 - (k + 0.5) / n).log()).sqrt()
    angle = k * torch.pi * (3 - 5**0.5)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


class FieldExplorer(anywidget.AnyWidget):
    """The toy model under the reader's hands: flow, predictions, the region where the gap is below 0.5, and G(σ).

    Args:
        data: training and validation points; by default the paper's circle.
        traits: any of the traits below.

    Traits are synchronized with a kernel where there is one.

    Attributes:
        train, val: points, lists of [x, y].
        sigma: noise level σ.
        delta: model error δ.
        weight: guidance weight w, 0 for none. delta_guide: model error of the guide. guidance: show sliders for both.
        manifold, n: changing one in the browser draws n + n points on the manifold anew; Python sets train and val.
        flow: "lines" or "arrows". predictions, region: whether they are shown.
    """

    _esm = source("toy.js", "ui.js", "field.js")
    _css = source("widgets.css")
    train: t.List[Any] = t.List().tag(sync=True)
    val: t.List[Any] = t.List().tag(sync=True)
    sigma = t.Float(1.1).tag(sync=True)
    delta = t.Float(1.6).tag(sync=True)
    weight = t.Float(0.0).tag(sync=True)
    delta_guide = t.Float(2.2).tag(sync=True)
    guidance = t.Bool(False).tag(sync=True)
    n = t.Int(10).tag(sync=True)
    manifold = t.Enum(["circle", "line", "moons", "spiral", "grid"], "circle").tag(sync=True)
    flow = t.Enum(["lines", "arrows"], "lines").tag(sync=True)
    predictions = t.Bool(True).tag(sync=True)
    region = t.Bool(True).tag(sync=True)

    def __init__(self, data: Split | None = None, **traits: Any):
        data = circle() if data is None else data
        super().__init__(**{"train": _rows(data.train.x), "val": _rows(data.val.x), **traits})

    def denoiser(self) -> ErrorProne | Guided:
        """The denoiser that is shown: the error-prone one of the training points, guided or not, in float64."""
        points = torch.tensor(self.train, dtype=torch.float64)
        main = ErrorProne(points, self.delta)
        return Guided(main, ErrorProne(points, self.delta_guide), self.weight) if self.weight else main

    def gap(self, sigmas: Tensor) -> GapCurve:
        """The curve that is shown, by torch: `expected_gap` of the points and of δ as they are now."""
        train, val = (torch.tensor(points, dtype=torch.float64) for points in (self.train, self.val))
        return expected_gap(self.denoiser(), train, val, sigmas)


class TrajectoryPlayer(anywidget.AnyWidget):
    """Start points fall along the probability-flow ODE, with the optimal denoiser and an error-prone one side by side.

    Args:
        data: whose training points attract; by default the paper's ten.
        traits: any of the traits below.

    Traits are synchronized with a kernel where there is one.

    Attributes:
        train: points, a list of [x, y].
        starts: where trajectories start at σ = 80, a list of [x, y].
        delta: model error of the right pane.
        steps: of Heun's method. step: the one shown, 0 to steps.
    """

    _esm = source("toy.js", "ui.js", "player.js")
    _css = source("widgets.css")
    train: t.List[Any] = t.List().tag(sync=True)
    starts: t.List[Any] = t.List().tag(sync=True)
    delta = t.Float(1.6).tag(sync=True)
    steps = t.Int(64).tag(sync=True)
    step = t.Int(0).tag(sync=True)

    def __init__(self, data: Split | None = None, **traits: Any):
        data = circle() if data is None else data
        super().__init__(**{"train": _rows(data.train.x), "starts": _rows(80 * spread_normal(20)), **traits})
