"""Two models as other people train them, for the chapter on your own model: a DDPM of diffusers, and a flow.

Neither knows anything of this package's training: the one is diffusers' own loop, the other that of rectified flow.
They stand for the model that a reader brings along.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from diffgen.data import Points
from diffgen.denoiser import expand_labels
from diffgen.nets import UNetConfig

BATCH = 64


def ddpm(points: Points, images_seen: int, *, width: int = 32, seed: int = 0) -> tuple[Any, Any]:
    """diffusers' `UNet2DModel` with its `DDPMScheduler`, trained to predict the noise in images, with their classes.

    Args:
        points: images with classes, (N, C, H, W), H even.
        images_seen: how long.
        width: channels of the finest level.
        seed: of weights, order, time steps and noise.

    Returns:
        The network in evaluation mode, and its scheduler.
    """
    import diffusers

    make: Any = diffusers  # whose classes say nothing of their types
    torch.manual_seed(seed)
    assert points.labels is not None
    unet = make.UNet2DModel(
        sample_size=points.x.shape[-1], in_channels=points.x.shape[1], out_channels=points.x.shape[1],
        layers_per_block=1, block_out_channels=(width, 2 * width), norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=int(points.labels.max()) + 1,
    )  # fmt: skip
    scheduler = make.DDPMScheduler(num_train_timesteps=1000)

    def loss(y: Tensor, labels: Tensor) -> Tensor:
        t, n = torch.randint(1000, (len(y),)), torch.randn_like(y)
        predicted = unet(scheduler.add_noise(y, n, t), t, class_labels=labels).sample
        return F.mse_loss(predicted, n)

    _train(unet, loss, points, images_seen)
    return unet, scheduler


class Flow(nn.Module):
    """A velocity field v(x_t, t) with x_t = (1 − t) n + t y: a U-Net that is told the time and no class."""

    def __init__(self, shape: tuple[int, ...], width: int):
        super().__init__()
        self.network = UNetConfig(channels=width).build(torch.Size(shape))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The velocity y − n as it is expected for x_t, (B, C, H, W)."""
        return self.network(x, 4 * t, expand_labels(None, x))


def rectified_flow(points: Points, images_seen: int, *, width: int = 24, seed: int = 0) -> Flow:
    """A rectified flow: v(x_t, t) learns y − n along straight lines from noise n to images y.

    The arguments are those of `ddpm`.

    Source: Liu et al. 2023, arXiv 2209.03003, eq. 1.
    """
    torch.manual_seed(seed)
    flow = Flow(tuple(points.x.shape[1:]), width)

    def loss(y: Tensor, labels: Tensor | None) -> Tensor:
        t, n = torch.rand(len(y)), torch.randn_like(y)
        s = t.reshape(-1, 1, 1, 1)
        return F.mse_loss(flow((1 - s) * n + s * y, t), y - n)

    _train(flow, loss, points, images_seen)
    return flow


def _train(network: nn.Module, loss: Callable[..., Tensor], points: Points, images_seen: int) -> None:
    """Adam, its learning rate falling to 0 as a cosine."""
    steps = max(1, math.ceil(images_seen / BATCH))
    adam = torch.optim.Adam(network.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    network.train()
    for _ in tqdm(range(steps), desc="training", unit="step", leave=False):
        index = torch.randint(len(points), (BATCH,))
        adam.zero_grad()
        loss(points.x[index], None if points.labels is None else points.labels[index]).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        decay.step()
    network.eval().requires_grad_(False)
