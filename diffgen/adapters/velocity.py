"""Flow matching: networks that predict the velocity between noise and data."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from diffgen.adapters.adapter import Adapter, Network, network_dtype, output_of, time_dtype

Path = Literal["linear", "cosine"]
"""How x_t gets from noise to data: by shares that add to 1, or by sine and cosine, which keep the variance."""


def from_velocity(
    v: Network,
    *,
    path: Path = "linear",
    data_at: Literal[0, 1] = 1,
    time_first: bool = False,
    time_scale: float = 1.0,
    n_labels: int | None = None,
    null_label: int | None = None,
) -> Adapter:
    """A flow-matching network as a denoiser: v(x_t, t) is the mean of dx_t/dt, of the path from noise n to data y.

    With s = t if the data is at 1, and s = 1 − t if it is at 0,

    x_t = s y + (1 − s) n = s x,  s = 1 / (1 + σ)  (linear)
    x_t = sin(πs/2) y + cos(πs/2) n = sin(πs/2) x,  s = (2/π) arctan(1/σ)  (cosine)

    and with w = v if the data is at 1, and w = −v if it is at 0,

    D = x_t + (1 − s) w  (linear)
    D = sin(πs/2) x_t + (2/π) cos(πs/2) w  (cosine)

    Every σ has its time, so there is nothing outside of what the network knows.

    Who has which: rectified flow and torchcfm have data at 1 (torchcfm calls v(t, x): `time_first`). Stable Diffusion 3
    and the flow-matching schedulers of diffusers have data at 0, v = n − y, and times of 0 to 1000 (`time_scale=1000`).

    Args:
        v: called `v(x_t, t)`, or `v(x_t, t, labels)` if it has classes; t is (B,). It returns a tensor, an object with
            `.sample`, or a tuple.
        path: "linear" or "cosine".
        data_at: the time at which x_t is data, 1 or 0.
        time_first: it is called `v(t, x_t)`.
        time_scale: what t is multiplied by for the network. v stays dx_t/dt for t from 0 to 1.
        n_labels: number of classes; 0 ignores labels, None refuses them.
        null_label: the class that stands for none; None refuses rows without a class.

    Raises:
        ValueError: an unknown path, a data_at other than 0 and 1, a time_scale that is not positive, and what `Adapter`
            raises.

    Source: Lipman et al. 2023, *Flow Matching for Generative Modeling*, arXiv 2210.02747; Liu et al. 2023, *Flow
    Straight and Fast*, arXiv 2209.03003; the cosine path: Albergo and Vanden-Eijnden 2023, *Building Normalizing Flows
    with Stochastic Interpolants*, arXiv 2209.15571.
    """
    if path not in get_args(Path):
        raise ValueError(f"path is {path!r}: it is one of {get_args(Path)}")
    if data_at not in (0, 1):
        raise ValueError(f"data_at is {data_at!r}: x_t is data at t = 0 or at t = 1")
    if not 0 < time_scale < math.inf:
        raise ValueError(f"time_scale is {time_scale:g}: give what the times of 0 to 1 are multiplied by, 1000 say")
    return VelocityAdapter(v, path, data_at, time_first, time_scale, n_labels, null_label)


class VelocityAdapter(Adapter):
    """What `from_velocity` returns; its arguments are described there."""

    def __init__(
        self,
        network: Network,
        path: str,
        data_at: int,
        time_first: bool,
        time_scale: float,
        n_labels: int | None,
        null_label: int | None,
    ):
        super().__init__(network, n_labels, null_label)
        self.path, self.data_at, self.time_first, self.time_scale = path, data_at, time_first, float(time_scale)

    def denoised(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        """D = a x_t + b w, with x_t and t of the path."""
        if self.path == "linear":
            share, left = 1 / (1 + sigma), sigma / (1 + sigma)  # s and 1 − s, both without a difference
            x_t, a, b = share * x, torch.ones_like(sigma), left
        else:
            share, left = sigma.reciprocal().atan() * (2 / math.pi), sigma.atan() * (2 / math.pi)
            a = (1 + sigma.square()).rsqrt()  # sin(πs/2)
            x_t, b = a * x, sigma * a * (2 / math.pi)
        dtype, classed = network_dtype(self.network, x), () if classes is None else (classes,)
        t = (self.time_scale * (share if self.data_at == 1 else left)).flatten().to(time_dtype(dtype))
        given = (t, x_t.to(dtype)) if self.time_first else (x_t.to(dtype), t)
        velocity = output_of(self.network(*given, *classed), x)
        return a * x_t + (b if self.data_at == 1 else -b) * velocity
