"""The denoising error of any denoiser, row by row, and its weight in training."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from diffgen.denoiser import Denoiser, expand

Norm = Literal["mse", "l2", "psnr"]


def row_error(denoised: Tensor, y: Tensor, norm: Norm = "mse", peak_to_peak: float = 2.0) -> Tensor:
    """The error of each row of an estimate, (B,).

    "mse": ‖D − y‖² / d.  "l2": ‖D − y‖.  "psnr": 10 log₁₀(peak_to_peak² / mse), in dB, for data in [−1, 1] by default.

    Raises:
        ValueError: an unknown norm.
    """
    squared = (denoised - y).flatten(1).square()
    match norm:
        case "mse":
            return squared.mean(1)
        case "l2":
            return squared.sum(1).sqrt()
        case "psnr":
            return 10 * (peak_to_peak**2 / squared.mean(1)).log10()
    raise ValueError(f"norm is {norm!r}: it is 'mse', 'l2' or 'psnr'")


def edm_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """The EDM loss weight λ(σ) = (σ² + σ_d²) / (σ σ_d)²: with it every noise level starts with an equal loss.

    Source: Karras et al. 2022, arXiv 2206.00364, table 1.
    """
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()


def edm_loss(
    denoiser: Denoiser, y: Tensor, sigma: Tensor, noise: Tensor, sigma_data: float, labels: Tensor | None = None
) -> Tensor:
    """The training loss of each row, λ(σ) ‖D(y + σ n; σ) − y‖² / d, (B,).

    Args:
        denoiser: D.
        y: clean data, (B, *).
        sigma: noise levels, (B,).
        noise: n ~ N(0, I), (B, *): the randomness is the caller's.
        sigma_data: σ_d.
        labels: classes, (B,), or None.

    Source: Karras et al. 2022, arXiv 2206.00364, eq. 2 and 8.
    """
    x = y + expand(sigma, y) * noise
    return edm_weight(sigma, sigma_data) * row_error(denoiser(x, sigma.to(x), labels), y)
