"""The sampler follows the probability-flow ODE, at the order of its step."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import diffgen as dg

SIGMA_MAX, SIGMA_MIN = 20.0, 0.05


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MEAN, FACTOR = randn(4, seed=0), randn(4, 4, seed=1)
COVARIANCE = FACTOR @ FACTOR.T
DENOISER = dg.GaussianDenoiser(MEAN, COVARIANCE)
START = MEAN + SIGMA_MAX * randn(5, 4, seed=2)


def exact(sigma: float) -> Tensor:
    """x(σ) = m + U √((λ + σ²) / (λ + σ_max²)) Uᵀ (x₀ − m): the solution for y ~ N(m, U λ Uᵀ)."""
    variances, axes = torch.linalg.eigh(COVARIANCE)
    shrink = ((variances + sigma**2) / (variances + SIGMA_MAX**2)).sqrt()
    return MEAN + (START - MEAN) @ axes * shrink @ axes.T


def error(step: dg.sample, n: int, denoiser: dg.Denoiser = DENOISER) -> float:
    grid = dg.edm_sigmas(n + 1, SIGMA_MIN, SIGMA_MAX, dtype=torch.float64)[:-1]  # n steps, down to σ_min
    return (dg.sample(denoiser, START, grid, step=step) - exact(SIGMA_MIN)).abs().max().item()


@pytest.mark.parametrize(("step", "order"), [(dg.euler, 1), (dg.heun, 2)])
def test_convergence_order(step: Callable, order: int) -> None:
    errors = [error(step, n) for n in (64, 128, 256, 512)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders[-1] == pytest.approx(order, abs=0.1)
    assert all(a > b for a, b in pairwise(errors))


def test_the_sampler_ends_at_the_solution() -> None:
    # The last step, Euler's from σ_min to 0, must be small beside the narrowest direction of the data.
    grid = dg.edm_sigmas(400, 1e-3, SIGMA_MAX, dtype=torch.float64)
    torch.testing.assert_close(dg.sample(DENOISER, START, grid), exact(0.0), rtol=1e-3, atol=1e-3)


def test_every_state_is_on_the_solution() -> None:
    grid = dg.edm_sigmas(400, SIGMA_MIN, SIGMA_MAX, dtype=torch.float64)
    states = list(dg.trajectory(DENOISER, START, grid))
    assert [s.sigma.item() for s in states] == grid.tolist()
    for state in states[:-1:40]:
        torch.testing.assert_close(state.x, exact(state.sigma.item()), rtol=2e-3, atol=5e-3)
        torch.testing.assert_close(state.denoised, DENOISER(state.x, state.sigma))
    assert torch.equal(states[-1].denoised, states[-1].x)


def test_the_start_is_the_first_state_and_is_left_alone() -> None:
    x = START.clone()
    first = next(dg.trajectory(DENOISER, x, dg.edm_sigmas(4)))
    assert torch.equal(first.x, START)
    dg.sample(DENOISER, x, dg.edm_sigmas(4))
    assert torch.equal(x, START)


def test_one_step_to_zero_is_the_denoiser() -> None:
    for step in (dg.euler, dg.heun):
        torch.testing.assert_close(
            dg.sample(DENOISER, START, torch.tensor([SIGMA_MAX, 0.0]), step=step), DENOISER(START, SIGMA_MAX)
        )


def test_the_optimal_denoiser_ends_on_training_points() -> None:
    points = randn(30, 2, seed=3)
    x = 20 * randn(50, 2, seed=4)
    samples = dg.sample(dg.OptimalDenoiser(points), x, dg.edm_sigmas(64, 0.002, 20))
    assert torch.cdist(samples, points).amin(1).max() < 1e-6


def test_a_trajectory_cut_in_two_is_the_same() -> None:
    grid = dg.edm_sigmas(16, dtype=torch.float64)
    middle = dg.sample(DENOISER, START, grid[:9])
    assert torch.equal(dg.sample(DENOISER, middle, grid[8:]), dg.sample(DENOISER, START, grid))


def test_a_sampler_in_float32_stays_in_it_and_near_float64() -> None:
    x = dg.sample(DENOISER, START.float(), dg.edm_sigmas(32, dtype=torch.float64))
    assert x.dtype == torch.float32
    torch.testing.assert_close(
        x.double(), dg.sample(DENOISER, START, dg.edm_sigmas(32, dtype=torch.float64)), rtol=1e-4, atol=1e-4
    )


def test_evaluations_are_counted_as_the_docstrings_say() -> None:
    calls: list[float] = []

    def counting(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        calls.append(float(sigma))
        return DENOISER(x, sigma)

    dg.sample(counting, START, dg.edm_sigmas(8), step=dg.euler)
    assert len(calls) == 8
    calls.clear()
    dg.sample(counting, START, dg.edm_sigmas(8), step=dg.heun)
    assert len(calls) == 15  # two a step, one in the last


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        (torch.tensor([1.0]), r"sigmas has shape \(1,\): give two or more"),
        (torch.eye(2), r"sigmas has shape \(2, 2\)"),
        (torch.tensor([0.0, 1.0]), r"sigmas is \[0.0, 1.0\]: noise levels descend"),
        (torch.tensor([1.0, 1.0, 0.0]), "noise levels descend"),
        (torch.tensor([1.0, -1.0]), "end at 0 or above"),
        (torch.tensor([float("nan"), 0.0]), "noise levels descend"),
    ],
)
def test_a_grid_that_is_none(sigmas: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dg.sample(DENOISER, START, sigmas)
