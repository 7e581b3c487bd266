"""The toy model: gaps without chance, by quadrature, and with drawn noise; maps of the plane; the fit of δ.

In the plane the mean over the noise is a two-dimensional integral, so it need not be drawn: a grid does it exactly.
Noise is drawn to repeat the paper's experiment, and where a claim needs a number that could have come out otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffgen.data.toy import circle
from diffgen.denoiser import Denoiser
from diffgen.metrics.bootstrap import parabolic_peak
from diffgen.metrics.gap import GapCurve
from diffgen.optimal import ErrorProne
from diffgen.rng import generator

SPACING, REACH = 0.6, 4.5
"""The standard rule: 172 places. A rule with 40 times as many moves the peak of the paper's toy by less than 0.3 %."""


ROWS_AT_ONCE = 2**14
"""Rows a call of the denoiser, so that small sets do not pay for many calls nor large ones with memory."""


def normal_rule(spacing: float = SPACING, reach: float = REACH) -> tuple[Tensor, Tensor]:
    """A quadrature rule for n ~ N(0, I) in the plane: the midpoint rule, E f(n) ≈ Σ_k w_k f(n_k).

    n_k are the places ((i + ½) spacing, (j + ½) spacing) with ‖n_k‖ ≤ reach, w_k ∝ exp(−‖n_k‖²/2) with Σ w_k = 1. For
    smooth f the error falls as exp(−2π²/spacing²), and beyond the reach lies a share exp(−reach²/2) of the noise. What
    remains comes from the kink of a norm, of order spacing³: with no place at n = 0, where the error of a training
    point has its kink, it is a third of what a grid through 0 leaves.

    Args:
        spacing: of the grid, in standard deviations.
        reach: radius of the disc, in standard deviations.

    Returns:
        nodes n_k, (Q, 2), and weights w_k, (Q,), float64.

    Raises:
        ValueError: not 0 < spacing ≤ reach.

    Source: Trefethen and Weideman, *The exponentially convergent trapezoidal rule*, 2014, doi 10.1137/130932132.
    """
    if not 0 < spacing <= reach:
        raise ValueError(f"spacing is {spacing:g} and reach {reach:g}: need 0 < spacing <= reach")
    half = math.floor(reach / spacing + 0.5)
    axis = torch.arange(-half, half, dtype=torch.float64) + 0.5
    nodes = torch.cartesian_prod(axis, axis)
    nodes = nodes[nodes.square().sum(1) <= (reach / spacing) ** 2 + 1e-9] * spacing
    weights = (-nodes.square().sum(1) / 2).exp()
    return nodes, weights / weights.sum()


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
    return _errors(denoiser, y, sigmas, nodes.expand(len(y), -1, 2), lambda errors: errors @ weights)


def _errors(denoiser: Denoiser, y: Tensor, sigmas: Tensor, noise: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    """A mean of ‖D(y + σ n; σ) − y‖, (levels, N, Q), for noise (N, Q, 2), of all noise levels: (S, *)."""
    y, errors = y.double(), []
    at_once = max(1, ROWS_AT_ONCE // max(1, noise[..., 0].numel()))
    for levels in torch.as_tensor(sigmas, dtype=torch.float64).flatten().split(at_once):
        x = y[:, None] + levels[:, None, None, None] * noise  # (levels, N, Q, 2)
        level = levels[:, None, None].expand(x.shape[:3]).flatten()
        denoised = denoiser(x.flatten(0, 2), level).reshape(x.shape)
        errors.append(mean((denoised - y[:, None]).norm(dim=3)))
    return torch.cat(errors)


def expected_gap(
    denoiser: Denoiser, train: Tensor, val: Tensor, sigmas: Tensor, *, spacing: float = SPACING, reach: float = REACH
) -> GapCurve:
    """G(σ) = (E_val − E_train) / E_train of points in the plane by quadrature: what infinitely many draws would give.

    The arguments are those of `expected_error`, with training and validation points (N, 2). What is left in `.stderr`
    is the spread between points, which for equidistant ones is 0.
    """
    errors = (expected_error(denoiser, y, sigmas, spacing=spacing, reach=reach) for y in (train, val))
    return GapCurve(torch.as_tensor(sigmas), *errors)


def even_gap(n: int, delta: float, sigmas: Tensor) -> GapCurve:
    """`expected_gap` of `ErrorProne` on n equidistant training points with n validation points between them.

    Two points of each stand for all, since all are alike.
    """
    points = circle(2 * n)
    return expected_gap(ErrorProne(points.train.x, delta), points.train.x[:2], points.val.x[:2], sigmas)


def posterior_spread(points: Tensor, sigmas: Tensor) -> Tensor:
    """How many training points have a say in y*(x, σ): 0 if one decides, 1 if all count the same, (S,), float64.

    The entropy of the posterior weights, E H(w(y_i + σ n)) / ln N, over noisy training points, by quadrature.

    Args:
        points: training points in the plane, (N, 2), two or more.
        sigmas: noise levels, (S,).
    """
    y, (nodes, weights) = points.double(), normal_rule()
    spread = []
    for sigma in torch.as_tensor(sigmas, dtype=torch.float64).flatten():
        x = (y[:, None] + sigma * nodes).flatten(0, 1)
        log_w = (-torch.cdist(x, y).square() / (2 * sigma**2)).log_softmax(1)
        entropy = -(log_w.exp() * log_w).sum(1).reshape(len(y), -1) @ weights
        spread.append(entropy.mean() / math.log(len(y)))
    return torch.stack(spread)


def paper_noise(draws: int, n: int = 20) -> Tensor:
    """The noise of the paper's toy experiments, (draws, n, 2): NumPy's legacy stream of seed 0, the same at every σ.

    The authors' code documents it and takes 50 draws. It prints no table of peaks: those made with this noise are ours,
    and so is any other number of draws. Even rows belong to training points, odd ones to validation points.
    """
    return torch.from_numpy(np.random.RandomState(0).standard_normal((draws, n, 2)))


@torch.no_grad()
def drawn_gap(denoiser: Denoiser, train: Tensor, val: Tensor, sigmas: Tensor, noise: Tensor) -> GapCurve:
    """G(σ) of points in the plane with given noise, every point its own: an experiment as the paper's.

    What the curve has one column for are the draws, each a mean over all points. So its `.stderr` is the error that the
    noise leaves, with the points as they are.

    Args:
        denoiser: D. It is called in float64.
        train: training points, (N, 2).
        val: validation points, (N, 2).
        sigmas: noise levels, (S,).
        noise: (draws, 2N, 2); row 2i is of the i-th training point, row 2i + 1 of the i-th validation point.

    Raises:
        ValueError: noise for another number of points.
    """
    if noise.ndim != 3 or noise.shape[1:] != (len(train) + len(val), 2):
        raise ValueError(f"noise has shape {tuple(noise.shape)}: give (draws, {len(train) + len(val)}, 2)")
    parts = ((train, noise[:, ::2]), (val, noise[:, 1::2]))
    errors = (_errors(denoiser, y, sigmas, n.double().transpose(0, 1), lambda errors: errors.mean(1)) for y, n in parts)
    return GapCurve(torch.as_tensor(sigmas), *errors)


class ToyPeak(NamedTuple):
    """The top of a gap curve between the noise levels of its grid."""

    sigma: float
    height: float


def toy_peak(curve: GapCurve) -> ToyPeak:
    """Where G(σ) is largest, and how large: the `parabolic_peak` of a curve without chance."""
    return ToyPeak(*map(float, parabolic_peak(curve.gap, curve.sigmas)))


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
    level = torch.tensor([sigma], dtype=torch.float64)
    base = expected_error(denoiser, train, level, spacing=spacing, reach=reach).mean()
    parts = [expected_error(denoiser, p, level, spacing=spacing, reach=reach)[0] for p in places.split(1024)]
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


def fit_delta(measured: Tensor, family: Tensor, deltas: Tensor, *, n_resamples: int = 200, seed: int = 0) -> Fit:
    """The model error δ whose denoising errors resemble measured ones most: least squares of ln E(σ).

    δ̂ = argmin_δ Σ_{σ,i} (ln E_i(σ) − ln E_i^δ(σ))² over a grid of δ. The interval (2.5 to 97.5 %) comes from drawing
    the points i anew with replacement: it says how far the points agree; `misfit` says how well the family fits.

    Args:
        measured: E_i(σ) of a denoiser, (S, N), positive.
        family: the errors of the same points at the same σ for each δ, (K, S, N), as `expected_error` of
            `ErrorProne(points, delta)` gives them.
        deltas: the grid of δ, (K,), ascending. A fit at its end means that the grid is too narrow.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        ValueError: an error that is not positive.
    """
    if not bool((measured > 0).all()):
        raise ValueError(f"measured holds {float(measured.min()):g}: logarithms are fitted, so errors are positive")
    squares = (measured.log() - family.log()).square().mean(1)  # (K, N)
    deltas = torch.as_tensor(deltas, dtype=torch.float64)
    draws = torch.randint(squares.shape[1], (n_resamples, squares.shape[1]), generator=generator(seed))
    fitted = deltas[squares[:, draws].mean(2).argmin(0)]
    best = int(squares.mean(1).argmin())
    low, high = torch.quantile(fitted, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    delta = float(deltas[best])
    return Fit(delta, min(low, delta), max(high, delta), float(squares[best].mean().sqrt()))
