"""Denoisers of azula, which speak of a time and a schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffgen.adapters.adapter import Adapter, within

HALVINGS = 60
"""Of the interval of times in which that of a noise level is sought: more than float64 has digits."""


def from_azula(
    denoiser: Any, *, label_name: str = "label", n_labels: int | None = None, null_label: int | None = None
) -> Adapter:
    """A denoiser of azula as one of this package: the mean of its posterior.

    D(x; σ) = mean of denoiser(α_t x, t), where t solves σ_t / α_t = σ

    A schedule has no inverse, so t is found by bisection in float64, whatever the schedule is; it is handed on in
    float64, for σ_t of a variance-preserving schedule near t = 0 is a difference of which float32 keeps one digit.

    The schedule ends at t = 0 and t = 1. Outside of the noise levels there see `diffgen.adapters.adapter.within`.

    azula's own denoisers of published models can clip their mean (`clip_mean`): switch that off, for what is clipped is
    no posterior mean.

    Args:
        denoiser: called `denoiser(x_t, t)`, t (B,), or with labels under their keyword if it has classes; it returns an
            object with `.mean`. Its `.schedule(t)` returns α_t and σ_t, with σ_t / α_t rising from t = 0 to 1.
        label_name: that keyword.
        n_labels: number of classes; 0 ignores labels, None refuses them.
        null_label: the class that stands for none; None refuses rows without a class.

    Raises:
        ValueError: the denoiser has no schedule whose noise levels rise, and what `Adapter` raises.
    """
    schedule = getattr(denoiser, "schedule", None)
    if not callable(schedule):
        raise ValueError(f"denoiser is {type(denoiser).__name__}, without a schedule: give one of azula's Denoisers")
    alpha, sigma = schedule(torch.tensor([0.0, 1.0], dtype=torch.float64))
    low, high = (sigma / alpha).tolist()
    if not 0 <= low < high:
        raise ValueError(f"the schedule goes from σ = {low:g} at t = 0 to {high:g} at t = 1: noise levels rise with t")
    return AzulaAdapter(denoiser, low, high, label_name, n_labels, null_label)


class AzulaAdapter(Adapter):
    """What `from_azula` returns.

    Args:
        network: azula's denoiser.
        low: the smallest noise level of its schedule.
        high: the largest.
        label_name: as in `from_azula`.
        n_labels: as in `from_azula`.
        null_label: as in `from_azula`.
    """

    network: Any

    def __init__(
        self,
        network: Any,
        low: float,
        high: float,
        label_name: str,
        n_labels: int | None,
        null_label: int | None,
    ):
        super().__init__(network, n_labels, null_label)
        self.low, self.high, self.label_name = low, high, label_name

    def denoised(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        """The posterior mean at the time of σ."""
        labels = {} if classes is None else {self.label_name: classes}

        def known(x: Tensor, sigma: Tensor) -> Tensor:
            t = self.time(sigma)
            alpha, _ = self.network.schedule(t)
            posterior = self.network(alpha.to(x.dtype).reshape(sigma.shape) * x, t, **labels)
            return posterior.mean.to(x.dtype)

        return within(known, x, sigma, self.low, self.high)

    @torch.no_grad()
    def time(self, sigma: Tensor) -> Tensor:
        """The time of each noise level, (B,), float64, from 0 to 1."""
        level = sigma.flatten().double()
        low, high = torch.zeros_like(level), torch.ones_like(level)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            alpha, noise = self.network.schedule(middle)
            below = noise < level * alpha
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2
