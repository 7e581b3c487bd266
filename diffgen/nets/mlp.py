"""A multilayer perceptron for points in the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from diffgen.nets.layers import Conditioning, zero


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """A residual MLP of `depth` layers of `width` units."""

    version: ClassVar[int] = 1  # raised by hand when equal configs compute another function; the golden test holds it
    kind: Literal["mlp"] = "mlp"
    width: int = 128
    depth: int = 3

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"width is {self.width} and depth {self.depth}: both are at least 1")

    def build(self, shape: torch.Size, classes: int = 0) -> MLP:
        """The network for data points of that shape."""
        return MLP(self, shape.numel(), classes)


class Block(nn.ModuleList):
    """x ← x + Linear(SiLU(Linear(SiLU(x)) + Linear(condition))); the last layer starts at zero."""

    def __init__(self, width: int):
        super().__init__([nn.Linear(width, width), nn.Linear(width, width), zero(nn.Linear(width, width))])

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Return (B, width)."""
        inner, modulate, outer = self
        return h + outer(nn.functional.silu(inner(nn.functional.silu(h)) + modulate(condition)))


class MLP(nn.Module):
    """x ← x + Linear(SiLU(Linear(x) + embedding of c_noise)), `depth` times."""

    def __init__(self, config: MLPConfig, features: int, classes: int = 0):
        super().__init__()
        width = config.width
        self.condition = Conditioning(width, width, classes)
        self.enter = nn.Linear(features, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(config.depth))
        self.leave = zero(nn.Linear(width, features))

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        """Return F(x), (B, *)."""
        condition = self.condition(c_noise, labels)
        h = self.enter(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        return self.leave(nn.functional.silu(h)).reshape(x.shape)
