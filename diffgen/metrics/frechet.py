"""The Fréchet distance between two samples, each taken as a Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The squared 2-Wasserstein distance between the Gaussians with the means and covariances of two samples.

    FD = ‖m_a − m_b‖² + tr(C_a + C_b − 2 (C_a C_b)^{1/2})

    With features of an Inception network it is the FID, of DINOv2 the FDD. Covariances are the unbiased ones. It is
    computed in float64 without forming a covariance: with C = RᵀR, R the triangular factor of the centred sample over
    √(n − 1), the last trace is the sum of the singular values of R_a R_bᵀ. A matrix square root of C_a C_b would lose
    half of the digits where C is near singular, as it is for n < D. Cost: O((N + M) D²).

    A sample of finite size is biased upwards, the more the smaller it is: compare distances at equal N and M only, and
    beside that of two samples of the same distribution.

    Args:
        a: features, (N, *), flattened to (N, D); N ≥ 2.
        b: features, (M, *); M ≥ 2.

    Returns:
        FD, in squared units of the features; 0 for equal samples.

    Raises:
        ValueError: fewer than two rows, different D, or a value that is not finite.

    Source: Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500, eq. 6; Stein et al. 2023, arXiv 2306.04675.
    """
    a, b = (_checked(name, features) for name, features in (("a", a), ("b", b)))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a has {a.shape[1]} features and b has {b.shape[1]}: they must come from the same feature map"
        )
    (mean_a, r_a), (mean_b, r_b) = _moments(a), _moments(b)
    cross = torch.linalg.svdvals(r_a @ r_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + r_a.square().sum() + r_b.square().sum() - 2 * cross
    return max(0.0, distance.item())


def _checked(name: str, features: Tensor) -> Tensor:
    if features.ndim < 2 or len(features) < 2:
        raise ValueError(f"{name} has shape {tuple(features.shape)}: give (N, D) features with N >= 2")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name} holds a value that is not finite: check the samples or the feature map")
    return features.flatten(1).double()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, (D,), and a factor R of the covariance, RᵀR = C, (min(N, D), D)."""
    mean = features.mean(0)
    return mean, torch.linalg.qr(features - mean, mode="r").R / (len(features) - 1) ** 0.5
