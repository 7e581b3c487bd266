"""Averages of the weights over training: what one evaluates and samples from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


@dataclass(frozen=True, kw_only=True)
class HalfLife:
    """Exponential moving average whose memory halves every `images` images.

    Early in training the half-life is shortened to `ramp` times the images seen, so that the random initial weights are
    forgotten in time.

    Source: Karras et al. 2022, arXiv 2206.00364, App. F.1 (half-life counted in images).
    """

    kind: Literal["half-life"] = "half-life"
    images: float
    ramp: float = 0.05

    def __post_init__(self) -> None:
        if not self.images > 0 or not self.ramp > 0:
            raise ValueError(f"images is {self.images:g} and ramp {self.ramp:g}: a half-life and its ramp are positive")

    @property
    def name(self) -> str:
        """A name that is unique among averages: "half-life-2000"."""
        return f"half-life-{self.images:g}"

    def decay(self, images: int, batch: int) -> float:
        """β of the update ema ← β ema + (1 − β) weights that brings the images seen to `images`."""
        return 0.5 ** (batch / min(self.images, self.ramp * images))


@dataclass(frozen=True, kw_only=True)
class PowerFunction:
    """The power-function average of EDM2: the weights of time t count in proportion to t^γ, so it widens with time.

    β(t) = (1 − 1/t)^{γ+1} after t steps; γ follows from the relative width σ_rel of the profile by
    σ_rel² = (γ + 1) / ((γ + 2)² (γ + 3)).

    Args:
        std: σ_rel, between 0 and 0.28; 0.1 averages over roughly the last 10 % of training.

    Source: Karras et al. 2024, *Analyzing and Improving the Training Dynamics of Diffusion Models*, arXiv 2312.02696,
    eq. 3, 5 and App. C.
    """

    kind: Literal["power"] = "power"
    std: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.std < 0.28:
            raise ValueError(f"std is {self.std:g}: the relative width of a power-function average lies in (0, 0.28)")

    @property
    def name(self) -> str:
        """A name that is unique among averages: "power-0.1"."""
        return f"power-{self.std:g}"

    @property
    def gamma(self) -> float:
        """γ, the largest real root of γ³ + 7γ² + 16γ + 12 = (γ + 1) / σ_rel²."""
        s = self.std**-2
        roots = np.roots([1, 7, 16 - s, 12 - s])
        return float(roots[np.isreal(roots)].real.max())

    def decay(self, images: int, batch: int) -> float:
        """β of the update ema ← β ema + (1 − β) weights that brings the images seen to `images`."""
        return (1 - batch / images) ** (self.gamma + 1)


Average = HalfLife | PowerFunction
Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged(model: nn.Module, average: Average, batch: int) -> AveragedModel:
    """torch's `AveragedModel` of a model, updated once a step of `batch` images by the rule of the average."""

    @torch.no_grad()
    def update(ema: Tensors, weights: Tensors, updates: Tensor | int) -> None:
        torch._foreach_lerp_(ema, weights, 1 - average.decay((int(updates) + 1) * batch, batch))

    return AveragedModel(model, multi_avg_fn=update)
