"""Averages of the weights with a length that nobody stored: combined after training from those that were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.training.ema import PowerFunction


class Profile(NamedTuple):
    """A power-function average after t images: the weights of time τ count as p(τ) = (γ + 1) τ^γ / t^(γ + 1), τ ≤ t."""

    gamma: float
    t: float


def overlap(a: Profile, b: Profile) -> float:
    """∫ p_a(τ) p_b(τ) dτ = (γ_a + 1)(γ_b + 1) / (γ_a + γ_b + 1) · m^(γ_a + γ_b + 1) / (t_a^(γ_a + 1) t_b^(γ_b + 1)).

    With m the smaller of t_a and t_b.
    """
    m, powers = min(a.t, b.t), a.gamma + b.gamma + 1
    relative = (m / a.t) ** (a.gamma + 1) * (m / b.t) ** (b.gamma + 1) / m
    return (a.gamma + 1) * (b.gamma + 1) / powers * relative


def posthoc_factors(stored: Sequence[Profile], std: float, t: float) -> Tensor:
    """The factors with which stored averages are added up to the average of relative width σ_rel at time t, (K,).

    They minimize ∫ (p(τ) − Σ_k w_k p_k(τ))² dτ under Σ_k w_k = 1, so that the average of weights that stand still is
    those weights. What is to be reconstructed should lie within what was stored: widths between the stored ones, or
    wider ones from many snapshots. `misfit` says how well it does.

    Args:
        stored: the profiles of the averages at hand.
        std: σ_rel of the average that is wanted, in (0, 0.28).
        t: images seen when it is wanted, at most those of the last stored one.

    Raises:
        ValueError: nothing stored, or a time after the last.

    Source: Karras et al. 2024, *Analyzing and Improving the Training Dynamics of Diffusion Models*, arXiv 2312.02696,
    section 3.2 and App. C.3; the condition on the sum is ours.
    """
    if not stored or t > max(profile.t for profile in stored):
        there = max((profile.t for profile in stored), default=0)
        raise ValueError(f"t is {t:g}: stored averages reach to {there:g} images; take a time up to that")
    target = Profile(PowerFunction(std=std).gamma, t)
    gram = torch.tensor([[overlap(a, b) for b in stored] for a in stored], dtype=torch.float64)
    with_target = torch.tensor([overlap(a, target) for a in stored], dtype=torch.float64)
    # in units in which every profile has length 1; an early snapshot's would be huge beside a late one's
    unit = gram.diagonal().sqrt()
    lagrange = torch.zeros(len(stored) + 1, len(stored) + 1, dtype=torch.float64)
    lagrange[:-1, :-1] = gram / unit.outer(unit)
    lagrange[-1, :-1] = lagrange[:-1, -1] = unit.min() / unit
    right = torch.cat([with_target / unit, unit.min()[None]])
    return torch.linalg.lstsq(lagrange, right[:, None], driver="gelsd").solution[:-1, 0] / unit


def misfit(stored: Sequence[Profile], factors: Tensor, std: float, t: float) -> float:
    """How far the combination is from the profile that was wanted, ‖p − Σ_k w_k p_k‖ / ‖p‖ in L²."""
    target = Profile(PowerFunction(std=std).gamma, t)
    gram = torch.tensor([[overlap(a, b) for b in stored] for a in stored], dtype=torch.float64)
    with_target = torch.tensor([overlap(a, target) for a in stored], dtype=torch.float64)
    square = overlap(target, target) - 2 * float(factors @ with_target) + float(factors @ gram @ factors)
    return (max(0.0, square) / overlap(target, target)) ** 0.5
