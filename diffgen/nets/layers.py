"""Layers that the networks share."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn


class PositionalEmbedding(nn.Module):
    """cos and sin of c_noise at log-spaced frequencies up to `max_frequency`, (B,) → (B, channels)."""

    frequencies: Tensor

    def __init__(self, channels: int, max_frequency: float = 30.0):
        super().__init__()
        frequencies = torch.logspace(-1, math.log10(max_frequency), channels // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Return (B, channels)."""
        phase = c_noise[:, None] * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], 1) * math.sqrt(2)


class FourierEmbedding(nn.Module):
    """cos and sin of c_noise at frequencies drawn once from N(0, (2π scale)²) and kept, (B,) → (B, channels).

    Source: Tancik et al. 2020, arXiv 2006.10739; Karras et al. 2022, arXiv 2206.00364, App. F (scale 16, for NCSN++).
    """

    frequencies: Tensor

    def __init__(self, channels: int, scale: float = 16.0):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(channels // 2) * 2 * math.pi * scale)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Return (B, channels)."""
        phase = c_noise[:, None] * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], 1) * math.sqrt(2)


Embedding = Literal["positional", "fourier"]


class LabelEmbedding(nn.Module):
    """One learned vector a class, and one for −1, the row without a class: (B,) → (B, channels)."""

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.classes = classes
        self.vectors = nn.Embedding(classes + 1, channels)

    def forward(self, labels: Tensor) -> Tensor:
        """Return (B, channels).

        Raises:
            ValueError: a label outside −1 … classes − 1.
        """
        if bool((labels >= self.classes).any()) or bool((labels < -1).any()):
            bad = labels[(labels >= self.classes) | (labels < -1)][0].item()
            raise ValueError(f"labels holds {bad}: the network knows 0 … {self.classes - 1} and −1 for none")
        return self.vectors(labels + 1)


class Conditioning(nn.Module):
    """The vector that tells a network its noise level and class, (B,), (B,) → (B, width)."""

    def __init__(self, channels: int, width: int, classes: int, embedding: Embedding = "positional"):
        super().__init__()
        self.noise = PositionalEmbedding(channels) if embedding == "positional" else FourierEmbedding(channels)
        self.label = LabelEmbedding(classes, channels) if classes else None
        self.mix = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, c_noise: Tensor, labels: Tensor) -> Tensor:
        """Return (B, width). Without classes, labels are ignored."""
        embedding = self.noise(c_noise)
        if self.label is not None:
            embedding = embedding + self.label(labels)
        return self.mix(embedding)


def zero(module: nn.Module) -> nn.Module:
    """Start a layer at zero, so that its residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def groups(channels: int, most: int = 32, least: int = 4) -> int:
    """Groups for a group norm: up to `most`, each of at least `least` channels, that divide the channels."""
    return max(g for g in range(1, min(most, max(1, channels // least)) + 1) if channels % g == 0)
