"""Sampling: the probability-flow ODE, dx/dσ = (x − D(x; σ)) / σ, from high noise to none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from diffgen.denoiser import Denoiser


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
    slope_next = (x - denoiser(x, sigma, labels)) / sigma
    return state.x + (sigma - state.sigma) * (slope + slope_next) / 2


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
        step: `heun` or `euler`, or a function like them.

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
    for sigma, following in pairwise(levels):
        state = State(sigma, x, denoiser(x, sigma, labels))
        yield state
        x = step(denoiser, state, following, labels)
    yield State(levels[-1], x, x if levels[-1] == 0 else denoiser(x, levels[-1], labels))


def sample(denoiser: Denoiser, x: Tensor, sigmas: Tensor, labels: Tensor | None = None, step: Step = heun) -> Tensor:
    """Follow the probability-flow ODE to its end: the last x of `trajectory`, (B, *)."""
    for state in trajectory(denoiser, x, sigmas, labels, step):
        x = state.x
    return x
