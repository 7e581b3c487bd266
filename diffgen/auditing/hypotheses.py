"""Mistakes in the glue between a network and a denoiser, each with what undoes it.

A denoiser is D = a(σ) x + b(σ) F(c(σ) x, σ) with a network F. So whoever knows a and b can read F off a black box, and
put it together again in another way. Each hypothesis says which mistake was made and returns the denoiser as it would
be without it. The hypothesis that brings the error down most is the likely cause.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from diffgen.denoiser import Denoiser, expand

Mix = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""σ → a, b, c of D = a x + b F(c x, σ)."""
Level = Callable[[Tensor], Tensor]
"""σ → another noise level."""

FACTOR, SQUARED, UNSCALED = "σ off by a factor", "σ² for σ", "no VP scaling"
KIND, NOISE, REVERSED, RANGE = "ε, v or data confused", "noise returned", "time reversed", "range of the data"
CLIPPED, DROPPED, SHIFTED, TRAINING = "clipped", "labels dropped", "labels shifted", "training mode"
PRECISION, NOT_FINITE, IN_PLACE, ROWS = "low precision", "not finite", "input changed in place", "rows dependent"
MISTAKES = (
    FACTOR, SQUARED, UNSCALED, KIND, NOISE, REVERSED, RANGE, CLIPPED, DROPPED, SHIFTED, TRAINING, PRECISION, NOT_FINITE,
    IN_PLACE, ROWS,
)  # fmt: skip
"""The names of the mistakes that `check_denoiser` knows."""

BETAS = 0.1, 20.0
"""The usual linear schedule: σ² = exp(β₀ t + (β₁ − β₀) t² / 2) − 1, t in [0, 1]."""
SAME_AS_V = "EDM's F (σ_data 1)"
"""−v, so its time is that of v."""


@dataclass(frozen=True)
class Hypothesis:
    """A mistake that may have been made.

    Attributes:
        mistake: its name.
        words: what it looks like.
        corrected: the denoiser without it.
    """

    mistake: str
    words: str
    corrected: Denoiser


def epsilon(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The network returns the noise: D = x − σ ε(α x), α = 1 / √(1 + σ²)."""
    return torch.ones_like(sigma), -sigma, alpha(sigma)


def velocity(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """It returns v = α n − σ α y: D = α² x − σ α v(α x)."""
    return alpha(sigma).square(), -sigma * alpha(sigma), alpha(sigma)


def flow(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """It returns y − n at x_t = t y + (1 − t) n: D = t x + (1 − t) v(t x), t = 1 / (1 + σ)."""
    t = 1 / (1 + sigma)
    return t, sigma * t, t


def data(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """It returns the clean data: D = F(α x)."""
    return torch.zeros_like(sigma), torch.ones_like(sigma), alpha(sigma)


def karras(sigma: Tensor, std: float) -> tuple[Tensor, Tensor, Tensor]:
    """The preconditioning of EDM, see `diffgen.precondition`."""
    scale = (sigma.square() + std**2).rsqrt()
    return (std * scale).square(), sigma * std * scale, scale


def alpha(sigma: Tensor) -> Tensor:
    """α = 1 / √(1 + σ²): x_t = α x has the variance of the data at σ = 0 and 1 at σ → ∞ (VP)."""
    return (1 + sigma.square()).rsqrt()


def linear_reversed(sigma: Tensor) -> Tensor:
    """The σ at 1 − t of the usual linear schedule."""
    low, rise = BETAS[0], BETAS[1] - BETAS[0]
    t = ((low**2 + 2 * rise * sigma.square().log1p()).sqrt() - low) / rise
    back = (1 - t).clamp(1e-3, 1)
    return torch.expm1(low * back + rise * back.square() / 2).sqrt()


def at(denoiser: Denoiser, level: Level) -> Denoiser:
    """D(x, level(σ))."""
    return lambda x, sigma, labels=None: denoiser(x, level(sigma), labels)


def scaled(denoiser: Denoiser, scale: Level) -> Denoiser:
    """D(scale(σ) x, σ)."""
    return lambda x, sigma, labels=None: denoiser(x * expand(scale(sigma), x), sigma, labels)


def rewired(
    denoiser: Denoiser, made: Mix, meant: Mix, level: Level | None = None, scale: Level | None = None
) -> Denoiser:
    """Read the network off a denoiser that was put together with one mix, and put it together with another.

    F = (D(x′, σ′) − a′(σ′) x′) / b′(σ′),  D_meant = a(σ) x + b(σ) F,  x′ = scale(σ) x,  σ′ = level(σ)

    Without a scale, x′ is such that the glue, which multiplies by its c(σ′), gives the network what belongs to σ.
    """

    def corrected(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        asked = sigma if level is None else level(sigma)
        ratio = made(sigma)[2] / made(asked)[2] if scale is None else scale(sigma)
        given = x * expand(ratio, x)
        a_made, b_made, _ = (_rows(value, x) for value in made(asked))
        a, b, _ = (_rows(value, x) for value in meant(sigma))
        return a * x + b * (denoiser(given.clone(), asked, labels) - a_made * given) / b_made

    return corrected


def _rows(value: Tensor, x: Tensor) -> Tensor:
    """Numbers of any sign, () or (B,), over the entries of x."""
    return value.to(x).expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))


def mixes(std: float) -> dict[str, Mix]:
    """What a network may return, by name, with EDM's preconditioning for the std of the data and for the usual ones."""
    stds = sorted({round(std, 3), 0.5, 1.0})
    wired: dict[str, Mix] = {"ε": epsilon, "v": velocity, "a flow's velocity": flow, "the data": data}
    return wired | {f"EDM's F (σ_data {s:g})": partial(karras, std=s) for s in stds}


def elsewhere(denoiser: Denoiser, std: float, level: Level) -> Iterator[tuple[str, Denoiser]]:
    """The denoiser with another noise level in all of it, or in the time of its network only, for each mix."""
    yield "", at(denoiser, level)
    for name, mix in mixes(std).items():
        if mix is not data and name != SAME_AS_V:
            yield f", in the time of a network that returns {name}", rewired(denoiser, mix, mix, level)


def factors(denoiser: Denoiser, std: float, *factors: float) -> dict[str, tuple[Denoiser, ...]]:
    """What becomes of a denoiser, by where σ is multiplied, with each of the factors."""
    each = [elsewhere(denoiser, std, partial(torch.mul, other=factor)) for factor in factors]
    return {ways[0][0]: tuple(changed for _, changed in ways) for ways in zip(*each)}


def hypotheses(denoiser: Denoiser, std: float) -> Iterator[Hypothesis]:
    """The mistakes that leave a smooth function of x and σ behind, each with the denoiser without it.

    Args:
        denoiser: what may hold a mistake.
        std: standard deviation of the data.
    """
    wired = mixes(std)
    yield Hypothesis(
        NOISE, "the output looks like the noise n", rewired(denoiser, data, epsilon, scale=torch.ones_like)
    )
    score: Denoiser = lambda x, sigma, labels=None: x + expand(sigma, x) ** 2 * denoiser(x, sigma, labels)  # noqa: E731
    yield Hypothesis(NOISE, "the output looks like the score (D − x) / σ²", score)

    def levels(mistake: str, words: str, level: Level) -> Iterator[Hypothesis]:
        for where, corrected in elsewhere(denoiser, std, level):
            yield Hypothesis(mistake, words + where, corrected)

    yield from levels(SQUARED, "the model was given σ² where it takes σ", torch.sqrt)
    yield from levels(SQUARED, "the model was given σ where it takes σ²", torch.square)
    for name, level in (("1/σ", torch.reciprocal), ("0.16/σ", _edm_reversed), ("1 − t", linear_reversed)):
        yield from levels(REVERSED, f"the model's time runs backwards ({name})", level)
    turned: Mix = lambda sigma: (flow(sigma)[0], -flow(sigma)[1], flow(sigma)[2])  # noqa: E731
    words = "the flow's time runs backwards and its velocity points to the noise"
    yield Hypothesis(REVERSED, words, rewired(denoiser, turned, flow, torch.reciprocal))

    unscaled = "the network saw x in place of x / √(1 + σ²)"
    yield Hypothesis(UNSCALED, unscaled, scaled(denoiser, alpha))
    for mix in (epsilon, velocity):
        yield Hypothesis(UNSCALED, unscaled, rewired(denoiser, mix, mix, scale=alpha))
    bare: Mix = lambda sigma: (alpha(sigma), *velocity(sigma)[1:])  # noqa: E731
    yield Hypothesis(UNSCALED, unscaled, rewired(denoiser, bare, velocity, scale=alpha))
    unscaled = "the network saw x in place of x / (1 + σ)"
    bare_flow: Mix = lambda sigma: (torch.ones_like(sigma), *flow(sigma)[1:])  # noqa: E731
    for bare in (flow, bare_flow):
        yield Hypothesis(UNSCALED, unscaled, rewired(denoiser, bare, flow, scale=lambda s: flow(s)[2]))

    for (was, made), (name, meant) in itertools.permutations(wired.items(), 2):
        if (was, name) != ("the data", "ε") and not (was.startswith("EDM") and name.startswith("EDM")):
            words = f"the network's output is {name}, and was taken for {was}"
            yield Hypothesis(KIND, words, rewired(denoiser, made, meant, scale=torch.ones_like))

    for unit in (2.0, 1 / 127.5):
        yield Hypothesis(RANGE, f"the model takes the data as {unit:.3g} x − 1", _ranged(denoiser, unit))


def _edm_reversed(sigma: Tensor) -> Tensor:
    """σ_min σ_max / σ of EDM's range, 0.002 to 80."""
    return 0.16 / sigma


def _ranged(denoiser: Denoiser, unit: float) -> Denoiser:
    """D of a model whose data are unit · y − 1, for data y."""
    return lambda x, sigma, labels=None: (denoiser(unit * x - 1, unit * sigma, labels) + 1) / unit
