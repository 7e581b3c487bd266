"""A small U-Net with the lessons of EDM: residual blocks modulated by the noise level, group norm, attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.nets.layers import Conditioning, Embedding, groups, zero


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """A U-Net; the defaults have 0.4 million parameters.

    channels: width of the finest level. multipliers: width of each level in units of it; every level halves the side.
    blocks: residual blocks a level. attention: sides of the levels at which attention follows each block. dropout: in
    every residual block. embedding: of the noise level, "positional" (EDM's DDPM++) or "fourier" (EDM's NCSN++).

    What a parameter costs falls fourfold from level to level, so a narrow first level and wide later ones, such as
    channels 24 and multipliers (1, 3, 6), are fast for their size (measured by benchmarks/training.py).
    """

    version: ClassVar[int] = 1  # raised by hand when equal configs compute another function; the golden test holds it
    kind: Literal["unet"] = "unet"
    channels: int = 32
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = ()
    dropout: float = 0.0
    embedding: Embedding = "positional"

    def __post_init__(self) -> None:
        if self.channels < 4 or self.channels % 4:
            raise ValueError(f"channels is {self.channels}: give a multiple of 4")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(f"multipliers is {self.multipliers}: give one positive width a level, such as (1, 2)")
        if self.blocks < 1:
            raise ValueError(f"blocks is {self.blocks}: a level has at least one residual block")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: it is a probability below 1")
        if self.embedding not in get_args(Embedding):
            raise ValueError(f"embedding is {self.embedding!r}: it is 'positional' or 'fourier'")

    def build(self, shape: torch.Size, classes: int = 0) -> UNet:
        """The network for images of that shape, (C, H, W)."""
        halvings = len(self.multipliers) - 1
        if len(shape) != 3 or shape[1] % 2**halvings or shape[2] % 2**halvings:
            raise ValueError(
                f"multipliers has {halvings + 1} levels: shape {tuple(shape)} can't be halved {halvings} times"
            )
        return UNet(self, shape, classes)


class Attention(nn.Module):
    """Self-attention over the pixels, one head a 32 channels, as a residual branch that starts at zero."""

    def __init__(self, channels: int):
        super().__init__()
        self.heads = max(1, channels // 32)
        self.norm = nn.GroupNorm(groups(channels), channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (n g c) h w -> n b g (h w) c", n=3, g=self.heads)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(mixed, "b g (h w) c -> b (g c) h w", h=x.shape[2]))


class Block(nn.Module):
    """norm, SiLU, convolution, twice; between them the noise level and class scale and shift the channels."""

    def __init__(self, inputs: int, outputs: int, width: int, attend: bool, dropout: float):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups(inputs), inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(width, 2 * outputs)
        self.norm2, self.conv2 = nn.GroupNorm(groups(outputs), outputs), zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.attention = Attention(outputs) if attend else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, 1)
        h = torch.addcmul(shift, self.norm2(h), scale + 1)
        return self.attention(self.skip(x) + self.conv2(self.dropout(F.silu(h))))


class UNet(nn.Module):
    """Levels of residual blocks down and up again; each block on the way up also sees its twin on the way down."""

    def __init__(self, config: UNetConfig, shape: torch.Size, classes: int = 0):
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        width = 4 * config.channels

        def level(i: int, inputs: int, skip: int) -> nn.ModuleList:
            attend = shape[1] >> i in config.attention
            ins = [inputs, *[widths[i]] * (config.blocks - 1)]
            return nn.ModuleList(Block(c + skip, widths[i], width, attend, config.dropout) for c in ins)

        self.condition = Conditioning(config.channels, width, classes, config.embedding)
        self.enter = nn.Conv2d(shape[0], widths[0], 3, padding=1)
        self.down = nn.ModuleList(level(i, widths[max(i - 1, 0)], 0) for i in range(len(widths)))
        self.middle = Block(widths[-1], widths[-1], width, bool(config.attention), config.dropout)
        self.up = nn.ModuleList(
            level(i, widths[min(i + 1, len(widths) - 1)], widths[i]) for i in reversed(range(len(widths)))
        )
        self.norm = nn.GroupNorm(groups(widths[0]), widths[0])
        self.leave = zero(nn.Conv2d(widths[0], shape[0], 3, padding=1))

    def refusal(self, side: int) -> str | None:
        """Why it can't take images of that side, and which it can; None if it does. `Windowed` asks."""
        halvings = len(self.down) - 1
        if side % 2**halvings == 0:
            return None
        return f"which its U-Net can't halve {halvings} times: take a multiple of {2**halvings}"

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        """Return F(x), (B, C, H, W)."""
        condition = self.condition(c_noise, labels)
        # convolutions on CPUs and on GPUs with tensor cores are fastest with the channels last in memory
        h = self.enter(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for i, level in enumerate(self.down):
            h = F.avg_pool2d(h, 2) if i else h
            for block in level.children():
                h = block(h, condition)
                skips.append(h)
        h = self.middle(h, condition)
        for i, level in enumerate(self.up):
            h = F.interpolate(h, scale_factor=2, mode="nearest") if i else h
            for block in level.children():
                h = block(torch.cat([h, skips.pop()], 1), condition)
        return self.leave(F.silu(self.norm(h)))
