"""Noise levels: the grids on which one samples and evaluates, and the distribution from which one trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _check_range(n: int, sigma_min: float, sigma_max: float) -> None:
    if n < 1:
        raise ValueError(f"n is {n}: a grid has at least one noise level")
    if not 0 < sigma_min <= sigma_max < math.inf:
        raise ValueError(f"sigma_min is {sigma_min:g} and sigma_max {sigma_max:g}: need 0 < sigma_min <= sigma_max")


def edm_sigmas(
    n: int, sigma_min: float = 0.002, sigma_max: float = 80, rho: float = 7, *, dtype: torch.dtype | None = None
) -> Tensor:
    """The sampler's grid: σ_i = (σ_max^{1/ρ} + i/(n−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ for i < n, and σ_n = 0.

    ρ = 7 puts most steps at small σ, ρ → ∞ is the log-spaced grid.

    Args:
        n: number of steps.
        sigma_min: last noise level before 0.
        sigma_max: first noise level.
        rho: exponent ρ of the spacing.
        dtype: of the result; torch's default dtype if None. The grid is computed in float64.

    Returns:
        n + 1 values, descending, the last 0.

    Raises:
        ValueError: n < 1, or not 0 < sigma_min <= sigma_max.

    Source: Karras et al. 2022, arXiv 2206.00364, eq. 5.
    """
    _check_range(n, sigma_min, sigma_max)
    if rho <= 0:
        raise ValueError(f"rho is {rho:g}: the exponent of the grid is positive")
    t = torch.linspace(0, 1, n, dtype=torch.float64)
    sigmas = (sigma_max ** (1 / rho) + t * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).to(dtype or torch.get_default_dtype())


def log_sigmas(n: int, sigma_min: float = 0.002, sigma_max: float = 80, *, dtype: torch.dtype | None = None) -> Tensor:
    """The evaluation grid: n noise levels, evenly spaced in log σ, ascending from sigma_min to sigma_max.

    Raises:
        ValueError: n < 1, or not 0 < sigma_min <= sigma_max.
    """
    _check_range(n, sigma_min, sigma_max)
    sigmas = torch.linspace(math.log(sigma_min), math.log(sigma_max), n, dtype=torch.float64).exp()
    return sigmas.to(dtype or torch.get_default_dtype())


@dataclass(frozen=True, kw_only=True)
class LogNormal:
    """The training distribution of noise levels, ln σ ~ N(mean, std²).

    The defaults put most training on σ between 0.1 and 1, where data of standard deviation 0.5 have most to teach.

    Source: Karras et al. 2022, arXiv 2206.00364, table 1, P_mean and P_std.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"std is {self.std:g}: the spread of ln sigma is positive")

    def __call__(self, standard_normal: Tensor) -> Tensor:
        """Turn standard normal draws into noise levels: the caller owns the randomness."""
        return (self.mean + self.std * standard_normal).exp()
