"""A diffusion transformer: patches as tokens, modulated by the noise level and class through adaLN-Zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.nets.layers import Conditioning, zero


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """A diffusion transformer; the defaults have 0.4 million parameters.

    patch: side of a patch in pixels; every patch is a token. width: of a token. depth: number of blocks. heads: of
    attention. dropout: in both branches of every block. The paper-sized DiT-XL/2 is patch 2, width 1152, depth 28,
    heads 16.

    Source: Peebles and Xie 2023, *Scalable Diffusion Models with Transformers*, arXiv 2212.09748, table 1.
    """

    version: ClassVar[int] = 1  # raised by hand when equal configs compute another function; the golden test holds it
    kind: Literal["dit"] = "dit"
    patch: int = 2
    width: int = 64
    depth: int = 5
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.patch, self.depth, self.heads) < 1:
            raise ValueError(f"patch is {self.patch}, depth {self.depth} and heads {self.heads}: each is at least 1")
        if self.width < 4 or self.width % 4 or self.width % self.heads:
            raise ValueError(f"width is {self.width}: give a multiple of 4 and of heads, {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: it is a probability below 1")

    def build(self, shape: torch.Size, classes: int = 0) -> DiT:
        """The network for images of that shape, (C, H, W)."""
        if len(shape) != 3 or shape[1] % self.patch or shape[2] % self.patch:
            raise ValueError(f"patch is {self.patch}: it doesn't divide the sides of shape {tuple(shape)}")
        return DiT(self, shape, classes)


def position_embedding(rows: int, columns: int, width: int) -> Tensor:
    """sin and cos of a token's row, then of its column, at frequencies 10000^{−4i/width}: (rows · columns, width)."""
    frequencies = 10_000 ** -torch.linspace(0, 1, width // 4 + 1)[:-1]
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    phase = grid[:, :, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], 2).flatten(1)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) LayerNorm(x) + shift, for tokens (B, T, W) and one shift and scale (B, 1, W) a row."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), scale + 1)


class Block(nn.Module):
    """x ← x + g₁ attention(modulated x), then x ← x + g₂ MLP(modulated x); both gates g start at zero."""

    def __init__(self, config: DiTConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.modulate = zero(nn.Linear(width, 6 * width))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def attention(self, x: Tensor) -> Tensor:
        """Multi-head self-attention over the tokens, (B, T, W) → (B, T, W)."""
        q, k, v = rearrange(self.qkv(x), "b t (n g c) -> n b g t c", n=3, g=self.heads)
        return self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b g t c -> b t (g c)"))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (B, T, W)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(condition)[:, None].chunk(6, 2)
        x = torch.addcmul(x, gate1, self.dropout(self.attention(modulated(x, shift1, scale1))))
        return torch.addcmul(x, gate2, self.dropout(self.mlp(modulated(x, shift2, scale2))))


class DiT(nn.Module):
    """Patches → tokens plus fixed positions → blocks → a last modulated norm and a linear layer, zero at the start."""

    def __init__(self, config: DiTConfig, shape: torch.Size, classes: int = 0):
        super().__init__()
        channels, rows, columns = shape[0], shape[1] // config.patch, shape[2] // config.patch
        width, values = config.width, channels * config.patch**2
        self.patch, self.rows = config.patch, rows
        self.register_buffer("positions", position_embedding(rows, columns, width), persistent=False)
        self.condition = Conditioning(width, width, classes)
        self.enter = nn.Linear(values, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.modulate, self.leave = zero(nn.Linear(width, 2 * width)), zero(nn.Linear(width, values))

    def refusal(self, side: int) -> str | None:
        """Why it can't take images of that side, and which it can; None if it does. `Windowed` asks."""
        own = self.rows * self.patch
        if side == own:
            return None
        return f"for its transformer knows the positions in an image of {own} alone: take {own}, or a U-Net"

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        """Return F(x), (B, C, H, W)."""
        condition, p = self.condition(c_noise, labels), self.patch
        h = self.enter(rearrange(x, "b c (i p) (j q) -> b (i j) (c p q)", p=p, q=p)) + self.positions
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulate(condition)[:, None].chunk(2, 2)
        return rearrange(
            self.leave(modulated(h, shift, scale)), "b (i j) (c p q) -> b c (i p) (j q)", i=self.rows, p=p, q=p
        )
