"""Stochastic sampling: the deterministic sampler without churn, algorithm 2 with it, and the right marginals."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import diffgen as dg
from diffgen.sampling import _row_noise

VARIANCES = torch.tensor([0.0, 0.04, 1.0, 9.0], dtype=torch.float64)
SIGMA_MAX, SIGMA_MIN = 20.0, 0.05
FULL = 100.0  # S_churn / N above √2 − 1 for every grid here


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


POINTS, START = randn(12, 3), 80 * randn(7, 3, seed=1)
DENOISER = dg.ErrorProne(POINTS, 0.3)
GRID = dg.edm_sigmas(12, dtype=torch.float64)


def exact(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
    """The denoiser of N(0, v) for rows whose coordinates are divided among the variances v."""
    v = VARIANCES.repeat_interleave(x.shape[1] // len(VARIANCES))
    return x * v / (v + sigma**2)


# Without churn


@pytest.mark.parametrize("step", [dg.euler, dg.heun])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_churn_is_the_deterministic_sampler_bit_for_bit(step, dtype: torch.dtype) -> None:
    x, expected = START.to(dtype), dg.sample(DENOISER, START.to(dtype), GRID, step=step)
    for stochastic in (
        dg.stochastic(step, s_churn=0, n_steps=12),
        dg.stochastic(step, s_churn=FULL, n_steps=12, s_tmin=100),
        dg.stochastic(step, s_churn=FULL, n_steps=12, s_tmax=1e-3),
    ):
        assert torch.equal(dg.sample(DENOISER, x, GRID, step=stochastic), expected)


# With churn


def algorithm_2(x: Tensor, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float, seed: int) -> Tensor:
    """Karras et al. 2022, algorithm 2, with a loop of its own and the noise of the library."""
    n = len(GRID) - 1
    for t, t_next in pairwise(GRID.tolist()):
        gamma = min(s_churn / n, math.sqrt(2) - 1) if s_tmin <= t <= s_tmax else 0
        epsilon = s_noise * _row_noise(dg.State(torch.tensor(t, dtype=torch.float64), x, x), seed, 0)
        t_hat = t + gamma * t
        x_hat = x + math.sqrt(t_hat**2 - t**2) * epsilon
        d = (x_hat - DENOISER(x_hat, t_hat)) / t_hat
        x = x_hat + (t_next - t_hat) * d
        if t_next != 0:
            d_next = (x - DENOISER(x, t_next)) / t_next
            x = x_hat + (t_next - t_hat) * (d / 2 + d_next / 2)
    return x


@pytest.mark.parametrize(
    ("s_churn", "s_tmin", "s_tmax", "s_noise"),
    [(2.0, 0.0, math.inf, 1.0), (40.0, 0.05, 50.0, 1.003), (FULL, 0.0, 1.0, 0.9)],
)
def test_is_algorithm_2(s_churn: float, s_tmin: float, s_tmax: float, s_noise: float) -> None:
    step = dg.stochastic(s_churn=s_churn, n_steps=12, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise, seed=3)
    samples = dg.sample(DENOISER, START, GRID, step=step)
    torch.testing.assert_close(samples, algorithm_2(START, s_churn, s_tmin, s_tmax, s_noise, 3), rtol=1e-9, atol=1e-9)
    assert (samples - dg.sample(DENOISER, START, GRID)).abs().max() > 1e-3


def solution(denoiser: dg.Denoiser, state: dg.State, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
    """A step that solves the ODE of N(0, v) exactly: x is as far from 0 as its standard deviation says."""
    v = VARIANCES.repeat_interleave(state.x.shape[1] // len(VARIANCES))
    return state.x * ((v + sigma**2) / (v + state.sigma**2)).sqrt()


@pytest.mark.parametrize(("step", "s_churn"), [(solution, 8.0), (solution, FULL), (dg.heun, 8.0)])
def test_the_variance_is_right_at_every_level(step, s_churn: float) -> None:
    """x ~ N(0, v + σ²): 4096 entries for each v, so a variance has a relative standard error of √(2/4096)."""
    grid = dg.edm_sigmas(65, SIGMA_MIN, SIGMA_MAX, dtype=torch.float64)[:-1]
    x = randn(16, 1024, seed=4) * (VARIANCES + SIGMA_MAX**2).sqrt().repeat_interleave(256)
    for state in dg.trajectory(exact, x, grid, step=dg.stochastic(step, s_churn=s_churn, n_steps=64)):
        variances = state.x.reshape(16, 4, 256).square().mean((0, 2))
        assert variances.tolist() == pytest.approx((VARIANCES + state.sigma**2).tolist(), rel=4.5 * math.sqrt(2 / 4096))


def test_noise_that_is_too_loud_is_seen_in_the_variance() -> None:
    """The control of the test above: S_noise = 1.2."""
    grid = dg.edm_sigmas(65, SIGMA_MIN, SIGMA_MAX, dtype=torch.float64)[:-1]
    x = randn(16, 1024, seed=4) * (VARIANCES + SIGMA_MAX**2).sqrt().repeat_interleave(256)
    end = dg.sample(exact, x, grid, step=dg.stochastic(solution, s_churn=FULL, n_steps=64, s_noise=1.2))
    assert end.reshape(16, 4, 256)[:, 2].square().mean() > 1.1 * (1 + SIGMA_MIN**2)


def test_churn_forgets_the_start_where_the_ode_keeps_it() -> None:
    """The end of the ODE is linear in its start; with churn the two are nearly independent."""
    x = SIGMA_MAX * randn(16, 1024, seed=5)
    grid = dg.edm_sigmas(65, SIGMA_MIN, SIGMA_MAX, dtype=torch.float64)[:-1]
    for step, correlated in ((dg.heun, True), (dg.stochastic(s_churn=FULL, n_steps=64), False)):
        end = dg.sample(exact, x, grid, step=step)[:, 512:768]
        correlation = torch.corrcoef(torch.stack([end.flatten(), x[:, 512:768].flatten()]))[0, 1]
        assert (correlation > 0.99) == correlated
        assert correlated or correlation.abs() < 4 / math.sqrt(4096)


def test_the_optimal_denoiser_still_ends_on_training_points() -> None:
    samples = dg.sample(
        dg.OptimalDenoiser(POINTS), START, dg.edm_sigmas(32), step=dg.stochastic(s_churn=FULL, n_steps=32, s_tmax=50.0)
    )
    assert torch.cdist(samples, POINTS).amin(1).max() < 1e-6


# Its randomness


def test_the_first_rows_stay_the_same_and_batches_fit_together() -> None:
    whole = dg.sample(DENOISER, START, GRID, step=dg.stochastic(s_churn=5, n_steps=12))
    few = dg.sample(DENOISER, START[:3], GRID, step=dg.stochastic(s_churn=5, n_steps=12))
    rest = dg.sample(DENOISER, START[3:], GRID, step=dg.stochastic(s_churn=5, n_steps=12, first=3))
    torch.testing.assert_close(torch.cat([few, rest]), whole, rtol=1e-9, atol=1e-9)
    same = dg.sample(DENOISER, START[:1].expand(4, -1), GRID, step=dg.stochastic(s_churn=5, n_steps=12))
    assert torch.pdist(same).min() > 1e-3  # rows have noise of their own
    other = dg.sample(DENOISER, START, GRID, step=dg.stochastic(s_churn=5, n_steps=12, seed=1))
    assert (other - whole).abs().max() > 1e-3


def test_a_trajectory_cut_in_two_is_the_same_and_global_randomness_is_left_alone() -> None:
    state, step = torch.get_rng_state(), dg.stochastic(s_churn=5, n_steps=12)
    middle = dg.sample(DENOISER, START, GRID[:6], step=step)
    assert torch.equal(dg.sample(DENOISER, middle, GRID[5:], step=step), dg.sample(DENOISER, START, GRID, step=step))
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_of_levels_rows_and_entries_is_independent() -> None:
    levels = [dg.State(sigma, torch.zeros(50, 40), torch.zeros(0)) for sigma in (GRID[3], GRID[4], GRID[5])]
    noise = torch.stack([_row_noise(state, 0, 0) for state in levels]).double()
    assert noise.mean().abs() < 4 / math.sqrt(6000)
    assert noise.var() == pytest.approx(1, abs=4 * math.sqrt(2 / 6000))
    between_levels, between_rows = (noise[1:] * noise[:-1]).mean(), (noise[:, 1:] * noise[:, :-1]).mean()
    assert max(between_levels.abs(), between_rows.abs()) < 4 / math.sqrt(4000)


def test_one_more_evaluation_a_step() -> None:
    calls: list[float] = []

    def counting(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        calls.append(float(sigma))
        return DENOISER(x, sigma)

    dg.sample(counting, START, dg.edm_sigmas(8), step=dg.stochastic(s_churn=FULL, n_steps=8))
    assert len(calls) == 15 + 8
    calls.clear()
    dg.sample(counting, START[:0], dg.edm_sigmas(8), step=dg.stochastic(s_churn=FULL, n_steps=8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"s_churn": -1, "n_steps": 8}, "s_churn is -1: it is finite, and 0 for no noise"),
        ({"s_churn": 1, "n_steps": 0}, "n_steps is 0: give the number of steps"),
    ],
)
def test_mistakes_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dg.stochastic(**arguments)
