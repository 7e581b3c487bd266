"""Subjects made of subjects, as denoisers are made of denoisers: guided, switched in a window of σ, seen in windows.

Their results are kept where those of the main subject are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from diffgen.denoiser import Denoiser
from diffgen.guidance import Chunked, Guided, Switched, Unconditional, Windowed
from diffgen.runs import Snapshot, Subject
from diffgen.runs.cache import Cache
from diffgen.training import PowerFunction
from diffgen.training.posthoc import Profile, posthoc_factors

Build = Callable[[str | torch.device], Denoiser]


class Derived(Subject):
    """A subject that is made of another one.

    Args:
        base: what it is made of, and where its results are kept.
        name: for people.
        how: what is done to the base, as JSON: with its identity the identity of this one.
        build: makes the denoiser on a device.
    """

    def __init__(self, base: Subject, name: str, how: dict[str, Any], build: Build) -> None:
        self.base, self._name, self.how, self.build = base, name, how, build

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return self.base.shape

    @property
    def cache(self) -> Cache:
        """Where its results are kept: with those of the base."""
        return self.base.cache

    @property
    def label(self) -> str:
        """That of the base."""
        return self.base.label

    @property
    def identity(self) -> dict[str, Any]:
        """That of the base, and what is done to it."""
        return {"base": self.base.identity, **self.how}

    def denoiser(self, device: str | torch.device = "cpu") -> Denoiser:
        """The denoiser, made of that of the base."""
        return self.build(device)


def guided(
    main: Subject,
    guide: Subject,
    weight: float,
    *,
    unconditional: bool = False,
    interval: tuple[float, float] | None = None,
) -> Subject:
    """A subject that another one guides, D_w = D + w (D − D_guide): see `Guided`. At weight 0 it is the main one.

    Classifier-free guidance with one network: the main subject itself, `unconditional`, as its guide; with two: one
    that never saw labels. Autoguidance: an earlier snapshot, one of a smaller network, or both.

    Args:
        main: D.
        guide: D_guide. A subject that guides itself is loaded once, and called once.
        weight: w.
        unconditional: D_guide is called without labels.
        interval: guide only at σ in (low, high]; None is everywhere.
    """
    if not weight:
        return main

    def build(device: str | torch.device) -> Denoiser:
        denoiser, other = pair(main, guide, unconditional, device)
        return Guided(denoiser, other, weight, interval)

    how = {
        "guide": guide.identity, "weight": float(weight), "unconditional": unconditional,
        "interval": None if interval is None else [float(end) for end in interval],
    }  # fmt: skip
    return Derived(main, f"{main.name}, guided by {guide.name} with weight {weight:g}", {"guided": how}, build)


def pair(main: Subject, guide: Subject, unconditional: bool, device: str | torch.device) -> tuple[Denoiser, Denoiser]:
    """The denoisers of a subject and of its guide; one network where both are the same subject."""
    denoiser = main.denoiser(device)
    other = denoiser if guide is main or guide.identity == main.identity else guide.denoiser(device)
    return denoiser, Unconditional(other) if unconditional else other


def switched(main: Subject, other: Subject, window: tuple[float, float] | None) -> Subject:
    """A subject with another one in its place at low ≤ σ ≤ high, see `Switched`; None is no window, and the main one.

    The switch test: where a late snapshot has memorized, and trajectories ran through what it has memorized, samples
    lie less near the training set with an early one in the window.
    """
    if window is None:
        return main
    low, high = map(float, window)

    def build(device: str | torch.device) -> Denoiser:
        return Switched(main.denoiser(device), other.denoiser(device), low, high)

    how = {"other": other.identity, "window": [low, high]}
    return Derived(main, f"{main.name}, with {other.name} at σ from {low:.2g} to {high:.2g}", {"switched": how}, build)


def windowed(base: Subject, size: int, stride: int = 1) -> Subject:
    """A subject that sees images through a sliding window, see `Windowed`.

    With stride = side − size these are the four windows of the paper, see `Windowed.corners`.
    """

    def build(device: str | torch.device) -> Denoiser:
        return Windowed(Chunked(base.denoiser(device), 1024), size, stride)

    return Derived(base, f"{base.name}, in windows of {size}", {"windowed": {"size": size, "stride": stride}}, build)


def averaged_over(snapshots: Sequence[Snapshot], std: float) -> Subject:
    """The last snapshot with an average of its weights that was not stored: of relative width `std`.

    It is added up from all power-function averages of the run's snapshots: see `posthoc_factors`.

    Args:
        snapshots: of one run, whose config keeps one or more `PowerFunction` averages.
        std: σ_rel, about 0.05 to 0.25.

    Raises:
        ValueError: the run kept no power-function average.
    """
    last, powers = snapshots[-1], [a for a in snapshots[-1].run.config.ema if isinstance(a, PowerFunction)]
    if not powers:
        raise ValueError(
            f"{last.run.name} keeps no PowerFunction average: train it with ema=(PowerFunction(std=0.05),)"
        )

    def build(device: str | torch.device) -> Denoiser:
        stored = [(snapshot, average) for snapshot in snapshots for average in powers]
        profiles = [Profile(average.gamma, snapshot.images_seen) for snapshot, average in stored]
        factors = posthoc_factors(profiles, std, last.images_seen)
        states = [snapshot.denoiser(average=average.name).state_dict() for snapshot, average in stored]
        denoiser = last.denoiser(device)
        summed = {name: sum(float(f) * state[name].double() for f, state in zip(factors, states)) for name in states[0]}
        denoiser.load_state_dict({name: value.float() for name, value in summed.items()})
        return denoiser

    how = {"posthoc": {"std": float(std), "snapshots": [snapshot.images_seen for snapshot in snapshots]}}
    return Derived(last, f"{last.name}, averaged over {std:g}", how, build)
