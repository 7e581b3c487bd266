"""Points of a latent model: what its encoder makes of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffgen.data.arrays import ArrayRows
from diffgen.data.pool import Pool
from diffgen.data.split import Points


@torch.no_grad()
def encoded(
    points: Points,
    encode: Callable[[Tensor], Tensor],
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> Pool:
    """The points of a latent model, E(x), with the classes of x: its gap is then measured between latents.

    An encoder that draws at random, as that of a VAE, should return its mean: what is drawn here is drawn once, and
    the denoiser then is measured on that draw. Scale latents as the model was trained on them, for a Stable Diffusion
    VAE `lambda x: vae.encode(x).latent_dist.mean * vae.config.scaling_factor`.

    Args:
        points: images, (N, C, H, W), in [−1, 1].
        encode: E, (B, C, H, W) → (B, *), rows independent.
        batch_size: rows a call; it changes memory and speed, not the result.
        device: where `encode` is; None leaves images where they are.

    Returns:
        (N, *), float32, in memory, in units of the latents.

    Raises:
        ValueError: batch_size below 1, no points, what is encoded is no tensor of one row an image, or not finite.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give 1 or more")
    if not len(points):
        raise ValueError("points is empty: give one point or more")
    parts = []
    for start in range(0, len(points), batch_size):
        x = points[start : start + batch_size].x
        z = encode(x if device is None else x.to(device))
        if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != len(x):
            what = f"a tensor {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
            raise ValueError(
                f"encode returns {what} for {len(x)} images: it returns a tensor, (B, *), one row an image"
            )
        parts.append(z.float().cpu())
    rows = ArrayRows(torch.cat(parts).numpy(), "any", "encode(x)")
    names = points.class_names if isinstance(points, Pool) else ()
    name = f"{points.name}, encoded" if isinstance(points, Pool) else "encoded"
    return Pool(rows, points.labels, names, name)
