"""Sampling: the probability-flow ODE, dx/dσ = (x − D(x; σ)) / σ, from high noise to none, and its stochastic kin."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from diffgen.denoiser import Denoiser
from diffgen.rng import generator


class State(NamedTuple):
    """One state of a denoising trajectory.

    sigma: the noise level, (); x: the state, (B, *); denoised: the one-step prediction D(x; σ), (B, *), which at σ = 0
    is x itself.
    """

    sigma: Tensor
    x: Tensor
    denoised: Tensor


class Step(Protocol):
    """Takes a state to the next noise level."""

    def __call__(self, denoiser: Denoiser, state: State, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return x at the noise level sigma, (B, *)."""
        ...


def euler(denoiser: Denoiser, state: State, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
    """Euler's step, first order, no further evaluation: x + (σ' − σ) (x − D) / σ, that is D + (σ'/σ) (x − D)."""
    return state.denoised + (sigma / state.sigma) * (state.x - state.denoised)


def heun(denoiser: Denoiser, state: State, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
    """Heun's step, second order: the mean of the slopes at both ends; Euler's step where σ' = 0.

    Source: Karras et al. 2022, arXiv 2206.00364, algorithm 1.
    """
    x = euler(denoiser, state, sigma, labels)
    if sigma == 0:
        return x
    slope = (state.x - state.denoised) / state.sigma
    slope_next = (x - denoiser(x, sigma.to(x), labels)) / sigma
    return state.x + (sigma - state.sigma) * (slope + slope_next) / 2


def stochastic(
    step: Step = heun,
    *,
    s_churn: float,
    n_steps: int,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    seed: int = 0,
    first: int = 0,
) -> Step:
    """Stochastic sampling: before every step go back to more noise, by adding some.

    σ̂ = (1 + γ) σ, γ = min(S_churn / N, √2 − 1) where S_tmin ≤ σ ≤ S_tmax and 0 elsewhere
    x̂ = x + √(σ̂² − σ²) S_noise ε, ε ~ N(0, I); then a step from (σ̂, x̂) to the next level

    With the exact denoiser of a distribution x̂ is distributed as it should be at σ̂, whatever γ: the noise leaves the
    distribution of the states alone, and averages out what errors have put into them. S_churn = 0 is `step` itself.

    The error of a step is that of one from σ̂: full churn makes the steps large, however fine the grid.

    The noise is a function of the seed, σ and the index of the row, so the result is a step like any other: a
    trajectory cut in two is the same, and so are the first rows of a larger batch. Samples that are drawn in several
    batches need `first`, or every batch gets the noise of the first one. A stochastic step costs one evaluation more
    than `step`, for the one at (σ, x) belongs to the state that `trajectory` yields.

    Args:
        step: what follows the noise, `heun` or `euler`.
        s_churn: S_churn, 0 or more. From (√2 − 1) N on, all steps are as stochastic as they get.
        n_steps: N, of the whole grid.
        s_tmin: S_tmin, the smallest noise level to which noise is added.
        s_tmax: S_tmax, the largest.
        s_noise: S_noise. The published settings have it a little above 1, against denoisers that remove too much.
        seed: of the noise.
        first: the index of the first row among all samples.

    Returns:
        A step for `trajectory` and `sample`.

    Raises:
        ValueError: an s_churn that is negative, or fewer than one step.

    Source: Karras et al. 2022, arXiv 2206.00364, algorithm 2.
    """
    if not 0 <= s_churn < math.inf:
        raise ValueError(f"s_churn is {s_churn:g}: it is finite, and 0 for no noise")
    if n_steps < 1:
        raise ValueError(f"n_steps is {n_steps}: give the number of steps of the grid, 1 or more")

    def stochastic_step(denoiser: Denoiser, state: State, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        gamma = min(s_churn / n_steps, math.sqrt(2) - 1) if s_tmin <= state.sigma <= s_tmax else 0.0
        if gamma == 0 or not len(state.x):
            return step(denoiser, state, sigma, labels)
        raised = (1 + gamma) * state.sigma
        x = state.x + s_noise * (raised.square() - state.sigma.square()).sqrt() * _row_noise(state, seed, first)
        return step(denoiser, State(raised, x, denoiser(x, raised.to(x), labels)), sigma, labels)

    return stochastic_step


def _row_noise(state: State, seed: int, first: int) -> Tensor:
    """N(0, I) of the shape of x: a row depends on the seed, σ and its index, not on the other rows."""
    (level,) = struct.unpack("<Q", struct.pack("<d", float(state.sigma)))
    shape = state.x.shape[1:]
    rows = [torch.randn(shape, generator=generator(seed, level, first + i)) for i in range(len(state.x))]
    return torch.stack(rows).to(state.x)


@torch.no_grad()
def trajectory(
    denoiser: Denoiser, x: Tensor, sigmas: Tensor, labels: Tensor | None = None, step: Step = heun
) -> Iterator[State]:
    """Follow the probability-flow ODE and yield every state on the way.

    Args:
        denoiser: D.
        x: the start, (B, *), usually sigmas[0] · N(0, I). The randomness is the caller's.
        sigmas: (n + 1,), descending, usually `edm_sigmas(n)`. It may end above 0.
        labels: classes, (B,), or None.
        step: `heun` or `euler`, one of them `stochastic`, or a function like them.

    Yields:
        n + 1 states, the first at sigmas[0] with the x given.

    Raises:
        ValueError: sigmas is not a descending vector of at least two levels.
    """
    levels = torch.as_tensor(sigmas, device=x.device)
    if levels.ndim != 1 or len(levels) < 2:
        raise ValueError(f"sigmas has shape {tuple(levels.shape)}: give two or more noise levels, see edm_sigmas(n)")
    if not bool((levels[1:] < levels[:-1]).all()) or levels[-1] < 0:
        raise ValueError(f"sigmas is {levels.tolist()}: noise levels descend and end at 0 or above, see edm_sigmas(n)")
    # The levels are 0-dimensional tensors: in float64 they take part in the arithmetic without changing the dtype of x.
    # A denoiser gets them in the dtype of x.
    for sigma, following in pairwise(levels):
        state = State(sigma, x, denoiser(x, sigma.to(x), labels))
        yield state
        x = step(denoiser, state, following, labels)
    yield State(levels[-1], x, x if levels[-1] == 0 else denoiser(x, levels[-1].to(x), labels))


def sample(denoiser: Denoiser, x: Tensor, sigmas: Tensor, labels: Tensor | None = None, step: Step = heun) -> Tensor:
    """Follow the probability-flow ODE to its end: the last x of `trajectory`, (B, *)."""
    for state in trajectory(denoiser, x, sigmas, labels, step):
        x = state.x
    return x
