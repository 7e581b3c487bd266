"""The one idea of this package: everything is a denoiser.

A trained network, the optimal denoiser of a training set, the error-prone toy model, a guided pair of models, a model
of somebody else's are all called the same way, so one sampler and one set of metrics serve all of them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

NO_LABEL = -1
"""The class index of a row that carries no class: such a row is denoised unconditionally."""


class Denoiser(Protocol):
    """An estimate of the clean data y behind x = y + σ n, n ~ N(0, I).

    A protocol of one call, which `isinstance` can't check: print would pass. What makes a denoiser is the contract,
    which `tests/test_contract.py` holds every implementation to:

    - rows are independent: the estimate for a row does not depend on the other rows;
    - a scalar σ equals the same σ repeated for every row;
    - no hidden randomness and no clipping: the same call returns the same numbers;
    - shape, dtype and device of x are kept.

    Args:
        x: noisy data, (B, *), in units of the data.
        sigma: noise level, () or (B,), in units of the data; positive. The caller gives it in the dtype of x and on the
            device of x, as all of this package does, so that a denoiser of two lines may compute with it as it is.
        labels: class indices, (B,), or None; −1 marks a row without a class.

    Returns:
        The denoised data, (B, *).

    Source: the notation D(x; σ) of Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*,
    2022, arXiv 2206.00364.
    """

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the denoised data."""
        ...


def expand(sigma: Tensor | float, x: Tensor) -> Tensor:
    """Bring σ to the shape (B, 1, …, 1), the dtype and the device of x, so that it broadcasts over x.

    Args:
        sigma: () or (B,), or a number; positive.
        x: (B, *).

    Returns:
        σ as (B, 1, …, 1).

    Raises:
        ValueError: σ is neither a scalar nor one value a row, or a value is not positive and finite.
    """
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    if sigma.ndim > 1 or (sigma.ndim == 1 and len(sigma) != len(x)):
        raise ValueError(f"sigma has shape {tuple(sigma.shape)}: give a scalar or one value a row, ({len(x)},)")
    if not bool(((sigma > 0) & sigma.isfinite()).all()):
        bad = sigma[~((sigma > 0) & sigma.isfinite())].flatten()[0].item() if sigma.ndim else sigma.item()
        raise ValueError(f"sigma holds {bad:g}: a noise level is positive and finite")
    return sigma.expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))


def expand_labels(labels: Tensor | None, x: Tensor) -> Tensor:
    """Bring class labels to shape (B,) on the device of x; None becomes `NO_LABEL` in every row.

    Raises:
        ValueError: the labels are not one integer a row.
    """
    if labels is None:
        return torch.full((len(x),), NO_LABEL, dtype=torch.long, device=x.device)
    labels = torch.as_tensor(labels, device=x.device)
    if labels.shape != (len(x),) or labels.is_floating_point():
        raise ValueError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}: give ({len(x)},) integers")
    return labels.long()


def score(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The score ∇ log p(x; σ) = (D(x; σ) − x) / σ² (Karras et al. 2022, arXiv 2206.00364, eq. 3)."""
    return (denoised - x) / expand(sigma, x) ** 2


def noise(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The noise that the denoiser sees in x, n = (x − D(x; σ)) / σ: also dx/dσ of the probability-flow ODE."""
    return (x - denoised) / expand(sigma, x)


def device_of(denoiser: Denoiser, default: torch.device) -> torch.device:
    """Where the denoiser computes: the device of its first parameter or buffer, or the default if it has none."""
    if isinstance(denoiser, torch.nn.Module):
        for tensor in (*denoiser.parameters(), *denoiser.buffers()):
            return tensor.device
    return default
