"""The toy model without chance: gaps by deterministic quadrature, the gap as a map of the plane, and the fit of δ.

In the plane the mean over the noise is a two-dimensional integral, so it need not be drawn: a grid does it exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.denoiser import Denoiser
from diffgen.metrics.gap import GapCurve
from diffgen.rng import generator

SPACING, REACH = 0.4, 4.8
"""The standard rule: 25 × 25 places. Halving the spacing moves the peak of G(σ) in the paper's toy by less than 0.5 %."""


def normal_rule(spacing: float = SPACING, reach: float = REACH) -> tuple[Tensor, Tensor]:
    """A quadrature rule for n ~ N(0, I) in the plane: the trapezoidal rule, E f(n) ≈ Σ_k w_k f(n_k).

    n_k are the places of a square grid within ±reach, w_k ∝ exp(−‖n_k‖²/2) with Σ w_k = 1. For smooth f the error
    falls as exp(−2π²/spacing²); what remains comes from the kink of the norm at 0, about 0.04 spacing³ there.

    Args:
        spacing: of the grid, in standard deviations.
        reach: half its side, in standard deviations.

    Returns:
        nodes n_k, (Q, 2), and weights w_k, (Q,), float64.

    Raises:
        ValueError: not 0 < spacing ≤ reach.

    Source: Trefethen and Weideman, *The exponentially convergent trapezoidal rule*, 2014, doi 10.1137/130932132.
    """
    if not 0 < spacing <= reach:
        raise ValueError(f"spacing is {spacing:g} and reach {reach:g}: need 0 < spacing <= reach")
    half = round(reach / spacing)
    axis = torch.arange(-half, half + 1, dtype=torch.float64) * spacing
    weights = (-axis.square() / 2).exp()
    weights = weights / weights.sum()
    return torch.cartesian_prod(axis, axis), torch.outer(weights, weights).flatten()


@torch.no_grad()
def expected_error(
    denoiser: Denoiser, y: Tensor, sigmas: Tensor, *, spacing: float = SPACING, reach: float = REACH
) -> Tensor:
    """E_n ‖D(y + σ n; σ) − y‖ of points in the plane, the mean L2 norm of the toy model, without noise draws.

    Args:
        denoiser: D. It is called in float64.
        y: points, (N, 2).
        sigmas: noise levels, (S,).
        spacing, reach: of `normal_rule`.

    Returns:
        (S, N), float64.

    Raises:
        ValueError: y are not points in the plane.
    """
    if y.ndim != 2 or y.shape[1] != 2:
        raise ValueError(f"y has shape {tuple(y.shape)}: the quadrature takes points in the plane, (N, 2)")
    nodes, weights = normal_rule(spacing, reach)
    y = y.double()
    errors = []
    for sigma in torch.as_tensor(sigmas, dtype=torch.float64).flatten():
        x = y[:, None] + sigma * nodes
        denoised = denoiser(x.flatten(0, 1), sigma).reshape(x.shape)
        errors.append((denoised - y[:, None]).norm(dim=2) @ weights)
    return torch.stack(errors)


def expected_gap(
    denoiser: Denoiser, train: Tensor, val: Tensor, sigmas: Tensor, *, spacing: float = SPACING, reach: float = REACH
) -> GapCurve:
    """G(σ) = (E_val − E_train) / E_train of points in the plane by quadrature: what infinitely many draws would give.

    The arguments are those of `expected_error`, with training and validation points (N, 2). What is left in `.stderr`
    is the spread between points, which for equidistant ones is 0.
    """
    errors = (expected_error(denoiser, y, sigmas, spacing=spacing, reach=reach) for y in (train, val))
    return GapCurve(torch.as_tensor(sigmas), *errors)


def gap_map(
    denoiser: Denoiser, train: Tensor, places: Tensor, sigma: float, *, spacing: float = SPACING, reach: float = REACH
) -> Tensor:
    """(E(y) − E_train) / E_train at each place y of the plane: what the gap would be if y were the validation set.

    Args:
        denoiser: D.
        train: training points, (N, 2).
        places: (M, 2).
        sigma: noise level.
        spacing, reach: of `normal_rule`.

    Returns:
        (M,), float64.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, fig. 5.
    """
    base = expected_error(denoiser, train, [sigma], spacing=spacing, reach=reach).mean()
    parts = [expected_error(denoiser, p, [sigma], spacing=spacing, reach=reach)[0] for p in places.split(1024)]
    return torch.cat(parts) / base - 1


def rms_distance(x: Tensor, points: Tensor, scale: float) -> Tensor:
    """√E[‖x − y‖² | x] when x = y + scale · n and y is uniform over the points: how far x has come from its point.

    Averaged over such x, its square is d · scale² whatever the points are, with d the dimension.

    Args:
        x: (B, d).
        points: (N, d).
        scale: standard deviation of the noise that x is supposed to carry.

    Returns:
        (B,), float64.
    """
    squared = torch.cdist(x.double(), points.double()).square()
    weights = (-squared / (2 * scale**2)).softmax(1)
    return (weights * squared).sum(1).sqrt()


class Fit(NamedTuple):
    """The δ that fits, its interval, and how far apart measured and fitted errors are (root mean square of ln E)."""

    delta: float
    low: float
    high: float
    misfit: float


def fit_delta(
    measured: Tensor, model: Callable[[float], Tensor], deltas: Tensor, *, resamples: int = 200, seed: int = 0
) -> Fit:
    """The model error δ whose denoising errors resemble measured ones most: least squares of ln E(σ).

    δ̂ = argmin_δ Σ_{σ,i} (ln E_i(σ) − ln E_i^δ(σ))² over a grid of δ. The interval (5 to 95 %) comes from drawing the
    points i anew with replacement: it says how much the points disagree, not how well the family fits; `misfit` does.

    Args:
        measured: E_i(σ) of a denoiser, (S, N), positive.
        model: gives the errors (S, N) of the same points for a δ, as `expected_error` of `ErrorProne(points, delta)`.
        deltas: the grid of δ, (K,), ascending. A fit at its end means that the grid is too narrow.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        ValueError: an error that is not positive.
    """
    if not bool((measured > 0).all()):
        raise ValueError(f"measured holds {float(measured.min()):g}: logarithms are fitted, so errors are positive")
    deltas = torch.as_tensor(deltas, dtype=torch.float64)
    squares = torch.stack([(measured.log() - model(float(d)).log()).square().mean(0) for d in deltas])  # (K, N)
    draws = torch.randint(squares.shape[1], (resamples, squares.shape[1]), generator=generator(seed))
    fitted = deltas[squares[:, draws].mean(2).argmin(0)]
    best = int(squares.mean(1).argmin())
    low, high = torch.quantile(fitted, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return Fit(float(deltas[best]), low, high, float(squares[best].mean().sqrt()))
