"""Small models of seven kinds, trained in seconds, and glue with switchable mistakes that makes denoisers of them.

The glue is written here from the papers, and shares nothing with `diffgen.adapters`.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

import diffgen as dg

SIZE, CLASSES = 7, 10
CORRECT = "correct"
MISTAKES = (
    "σ off by 1.3", "σ²", "no VP scaling", "ε taken for v", "noise returned", "time reversed", "clipped",
    "labels dropped", "labels shifted", "training mode", "bf16", "NaN", "input changed", "rows dependent",
)  # fmt: skip


def column(values, x):
    """Values of rows, (B,), over the entries of x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


class Linear:
    """The time of DDPM: σ² = exp(β₀ t + (β₁ − β₀) t² / 2) − 1, t in [0, 1], β from 0.1 to 20."""

    low, high = 0.1, 20.0

    def sigma(self, t):
        return torch.expm1(self.low * t + (self.high - self.low) * t**2 / 2).sqrt()

    def time(self, sigma):
        rise = self.high - self.low
        t = ((self.low**2 + 2 * rise * torch.log1p(sigma**2)).sqrt() - self.low) / rise
        return t.clamp(0, 1)

    def draw(self, n, noise):
        return self.sigma(torch.rand(n, generator=noise) * 0.999 + 0.001)


class Flow(Linear):
    """The time of a rectified flow: x_t = t y + (1 − t) n, σ = (1 − t) / t."""

    def sigma(self, t):
        return (1 - t) / t

    def time(self, sigma):
        return 1 / (1 + sigma)

    def draw(self, n, noise):
        return self.sigma(torch.rand(n, generator=noise) * 0.995 + 0.0025)


class LogSigma(Linear):
    """EDM's: the network is told ln(σ) / 4."""

    def sigma(self, t):
        return (4 * t).exp()

    def time(self, sigma):
        return sigma.log() / 4

    def draw(self, n, noise):
        return (torch.randn(n, generator=noise) * 1.6 - 0.6).exp()


class Diffusers(nn.Module):
    """UNet2DModel of diffusers: timesteps of 0 … 999, and always a class; the last stands for none."""

    def __init__(self):
        super().__init__()
        from diffusers import UNet2DModel

        self.unet = UNet2DModel(
            sample_size=SIZE, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(16,),
            norm_num_groups=8, dropout=0.1, down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
            num_class_embeds=CLASSES + 1, add_attention=False,
        )  # fmt: skip

    def forward(self, x, t, labels):
        return self.unet(x, 999 * t, class_labels=labels % (CLASSES + 1)).sample


def small(embedding="positional"):
    config = dg.UNetConfig(channels=16, multipliers=(1,), blocks=1, dropout=0.1, embedding=embedding)
    return config.build((1, SIZE, SIZE), CLASSES)


@dataclass(frozen=True)
class Kind:
    """How a kind of model turns the network's output into data: D = a x + b F(c x, time)."""

    network: object
    clock: Linear
    mix: object

    def draw(self, n, noise):
        return self.clock.draw(n, noise)


def vp(sigma):
    return 1 / (1 + sigma**2).sqrt()


def karras(sigma, std):
    scale = 1 / (sigma**2 + std**2).sqrt()
    return (std * scale) ** 2, sigma * std * scale, scale


MIX = {
    "ε": lambda s: (torch.ones_like(s), -s, vp(s)),
    "v": lambda s: (vp(s) ** 2, -s * vp(s), vp(s)),
    "flow": lambda s: (1 / (1 + s), s / (1 + s), 1 / (1 + s)),
    "edm": partial(karras, std=0.5),
    "azula": partial(karras, std=1.0),
    "own": partial(karras, std=0.6),
}
KINDS = {
    "diffusers ε": Kind(Diffusers, Linear(), MIX["ε"]),
    "diffusers v": Kind(Diffusers, Linear(), MIX["v"]),
    "flow": Kind(small, Flow(), MIX["flow"]),
    "EDM-like": Kind(small, LogSigma(), MIX["edm"]),
    "EDM2-like": Kind(partial(small, "fourier"), LogSigma(), MIX["edm"]),
    "azula-like": Kind(small, LogSigma(), MIX["azula"]),
    "our own": Kind(small, LogSigma(), MIX["own"]),
}
SCALED = ("diffusers ε", "diffusers v", "flow", "azula-like")
"""Kinds whose network is given the noisy data in other units than x: the glue can forget that."""


class Glue(nn.Module):
    """The denoiser of a trained network, with at most one mistake in it.

    `everywhere`: a wrong noise level is handed to all of D, and not to the network alone.
    """

    def __init__(self, kind, network, mistake=CORRECT, everywhere=False):
        super().__init__()
        self.kind, self.network, self.mistake, self.everywhere = kind, network, mistake, everywhere

    def wrong(self, sigma):
        clock = KINDS[self.kind].clock
        match self.mistake:
            case "σ off by 1.3":
                return 1.3 * sigma
            case "σ²":
                return sigma**2
            case "time reversed" if isinstance(clock, LogSigma):
                return 0.16 / sigma if self.everywhere else 1 / sigma
            case "time reversed":
                return clock.sigma(1 - clock.time(sigma).clamp(1e-4, 1 - 1e-4))
        return sigma

    def forward(self, x, sigma, labels=None):
        mistake, kind = self.mistake, KINDS[self.kind]
        sigma = torch.as_tensor(sigma).to(x.dtype).expand(len(x))
        labels = torch.full((len(x),), -1) if labels is None else labels
        if mistake == "labels dropped":
            labels = torch.full_like(labels, -1)
        if mistake == "labels shifted":
            labels = torch.where(labels < 0, labels, (labels + 1) % CLASSES)
        if mistake == "rows dependent":
            sigma = sigma[:1].expand(len(x))
        told = self.wrong(sigma)
        level = told if self.everywhere else sigma
        a, b, c = (column(v, x) for v in kind.mix(level))
        given = x if mistake == "no VP scaling" and kind.mix is not MIX["azula"] else c * x
        if mistake == "no VP scaling" and kind.mix is MIX["azula"]:  # it wants x_t = α y + σ n
            x = x / column(vp(sigma), x)
            given = c * x
        if mistake == "input changed":
            x.mul_(c)
            given, x = x, x / c
        out = self.network(given, kind.clock.time(told), labels)
        if mistake == "bf16":
            a, b, x, out = (v.bfloat16() for v in (a, b, x, out))
        if mistake == "noise returned":
            return out if kind.mix is MIX["ε"] else (x - a * x - b * out) / column(sigma, x)
        if mistake == "ε taken for v":
            s = column(sigma, x)
            if kind.mix is MIX["ε"]:  # and the other way round in all the rest
                return vp(s) ** 2 * x - s * vp(s) * out
            return x - s * out
        y = (a * x + b * out).float()
        if mistake == "clipped":
            y = y.clamp(-1, 1)
        if mistake == "NaN":
            y = y.masked_fill(column(sigma, x) > 20, math.nan)
        return y


def trained(kind, x, labels, steps=250, batch=128, seed=0, dropout_of_labels=0.15):
    """Train the network of a kind: the error of D in units of b, which is that of the network's own output."""
    torch.manual_seed(seed)
    noise = torch.Generator().manual_seed(seed)
    network = KINDS[kind].network()
    network.train()
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.97)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1, step / 40) * (1 - step / steps)
        i = torch.randint(len(x), (batch,), generator=noise)
        y, sigma = x[i], KINDS[kind].draw(batch, noise)
        hidden = torch.rand(batch, generator=noise) < dropout_of_labels
        noisy = y + column(sigma, y) * torch.randn(y.shape, generator=noise)
        a, b, c = (column(v, y) for v in KINDS[kind].mix(sigma))
        out = network(c * noisy, KINDS[kind].clock.time(sigma), labels[i].masked_fill(hidden, -1))
        loss = F.mse_loss(out, (y - a * noisy) / b)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
    return average.module.eval()
