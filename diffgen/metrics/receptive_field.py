"""How far a denoiser looks: its effective receptive field, read off the Jacobian; the paper's range score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from diffgen.denoiser import Denoiser, expand, expand_labels
from diffgen.rng import generator

Channels = Literal["all", "own"]
GRADIENTS_AT_ONCE = 64
"""How many rows of the Jacobian a backward pass computes: memory grows with it, and beyond this speed does not."""


def effective_receptive_field(
    denoiser: Denoiser,
    x: Tensor,
    sigma: Tensor | float,
    labels: Tensor | None = None,
    *,
    pixels: int | None = None,
    channels: Channels = "all",
    seed: int = 0,
) -> Tensor:
    """How far away, in pixels, lies what a pixel of the denoised image depends on, for each image, (B,), float64.

    R = mean_i Σ_j dist(i, j) |J_ij| / Σ_j |J_ij|,  J_ij = ∂D_i / ∂x_j

    i runs over the pixels of the denoised image, j over those of the noisy one, and dist is Euclidean. In colour images
    |J_ij| is summed over the channels of both (`channels="all"`): what a red pixel draws from green ones counts. With
    `channels="own"` only gradients of a channel towards itself count, and the ratios are averaged over channels as over
    pixels: the number of the paper's authors. For grey images the two are one.

    R is 0 for a denoiser of single pixels. For one that weighs all pixels equally it is the mean distance of two
    pixels, about 0.52 of the side of a square image. A pixel that depends on nothing counts as 0.

    Cost: a backward pass of one image for every entry of the denoised one, 64 of them at a time. Fewer pixels i, drawn
    at random, cost less and estimate the same mean.

    Args:
        denoiser: D, differentiable.
        x: noisy images, (B, C, H, W), on the device of the denoiser.
        sigma: noise level, () or (B,), in units of the data.
        labels: classes, (B,), or None.
        pixels: how many pixels i of each image, drawn without replacement and for each image anew; None is all.
        channels: "all" pairs of channels, or each one's "own" alone.
        seed: of the pixels.

    Raises:
        ValueError: x is not a batch of images, pixels is not between 1 and H·W, or channels is neither.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (range score).
    """
    size = _pixels(x)
    count = size if pixels is None else pixels
    if not 1 <= count <= size:
        raise ValueError(f"pixels is {pixels}: an image of {size} pixels has from 1 to {size}")
    draws = [torch.randperm(size, generator=generator(seed, row))[:count] for row in range(len(x))]
    scores = [score.mean() for score in _ranges(denoiser, x, sigma, labels, draws, channels)]
    return torch.stack(scores) if scores else x.new_zeros(0, dtype=torch.float64)


def range_map(
    denoiser: Denoiser, x: Tensor, sigma: Tensor | float, labels: Tensor | None = None, *, channels: Channels = "all"
) -> Tensor:
    """How far away lies what each pixel of the denoised image depends on, (B, H, W), float64, in pixels.

    Its mean over an image is `effective_receptive_field`, whose arguments, cost and errors it shares. A pixel in a
    corner looks further than one in the middle for no other reason than its place: a denoiser that weighs all pixels
    equally shows how much.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (maps of the range score).
    """
    everywhere = [torch.arange(_pixels(x))] * len(x)
    maps = [score.mean(1).reshape(x.shape[2:]) for score in _ranges(denoiser, x, sigma, labels, everywhere, channels)]
    return torch.stack(maps) if maps else x.new_zeros((0, *x.shape[2:]), dtype=torch.float64)


def _pixels(x: Tensor) -> int:
    """How many pixels an image of the batch has."""
    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}: a range is that of images, (B, C, H, W)")
    return x.shape[2] * x.shape[3]


def _ranges(
    denoiser: Denoiser,
    x: Tensor,
    sigma: Tensor | float,
    labels: Tensor | None,
    pixels: list[Tensor],
    channels: Channels,
) -> Iterator[Tensor]:
    """Of each image the range of its chosen pixels i, (pixels, 1), or (pixels, C) for each channel's own."""
    if channels not in get_args(Channels):
        raise ValueError(f"channels is {channels!r}: give 'all' pairs of channels, or each one's 'own'")
    levels, classes = expand(sigma, x).flatten(), expand_labels(labels, x)
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64, device=x.device) for n in x.shape[2:]))
    for row, chosen in enumerate(part.to(x.device) for part in pixels):
        one = slice(row, row + 1)
        row_labels = None if labels is None else classes[one]
        weight = _dependence(denoiser, x[one], levels[one], row_labels, chosen, channels)
        total = weight.sum(2)
        moment = (weight * torch.cdist(places[chosen], places)[:, None]).sum(2)
        yield moment / total.where(total > 0, torch.ones_like(total))


def _dependence(
    denoiser: Denoiser, x: Tensor, sigma: Tensor, labels: Tensor | None, pixels: Tensor, channels: Channels
) -> Tensor:
    """|J_ij| of one image, (1, C, H, W): (pixels i, 1, all pixels j) summed over channels, or of each (…, C, …)."""
    size = x.shape[2] * x.shape[3]
    entries = torch.tensor([c * size + p for p in pixels.tolist() for c in range(x.shape[1])])
    rows = min(len(entries), GRADIENTS_AT_ONCE)
    # As many copies of the image as gradients at a time, denoised once: rows are independent, so a backward pass gives
    # each copy the gradient of an entry of its own, with any module, whether or not torch.func can vectorize it.
    with torch.enable_grad():
        copies = x.detach().expand(rows, *x.shape[1:]).clone().requires_grad_()
        denoised = denoiser(copies, sigma.expand(rows), None if labels is None else labels.expand(rows)).flatten(1)
    # the channels of each pixel i one after the other, as entries are
    weight = torch.zeros(len(entries), size, dtype=torch.float64, device=x.device)
    for start in range(0, len(entries), rows):
        part = entries[start : start + rows].to(x.device)
        directions = torch.zeros_like(denoised)
        directions[: len(part)] = F.one_hot(part, denoised.shape[1]).to(denoised.dtype)
        (gradient,) = torch.autograd.grad(denoised, copies, directions, retain_graph=True)
        steep = gradient[: len(part)].double().abs().flatten(2)
        own = torch.arange(len(part), device=x.device), part // size
        weight[start : start + rows] = steep[own] if channels == "own" else steep.sum(1)
    weight = weight.reshape(len(pixels), x.shape[1], size)
    return weight if channels == "own" else weight.sum(1, keepdim=True)
