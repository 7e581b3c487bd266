"""What a snapshot does along sampling trajectories, beside noisy training and validation images; kept with its run.

Everything here that takes time is kept as numbers a state (`diffgen.results.kept`), not as images, so that a stored run
without weights can draw the figures of chapter 3, and any mean or interval can be computed from it later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diffgen.data import Points, Split
from diffgen.evaluate import from_bytes, initial_noise, to_bytes
from diffgen.guidance import Batched, Swapped
from diffgen.guides import Guide, guided
from diffgen.metrics.copying import returns
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.features import features, principal_components
from diffgen.metrics.frechet import FrechetGap, frechet_gap
from diffgen.metrics.neighbours import nearest, nearest_similarity
from diffgen.metrics.overlap import in_shells, noisy, shell_ratios
from diffgen.metrics.passage import PARTS, Passage
from diffgen.optimal import OptimalDenoiser
from diffgen.results import digest, kept
from diffgen.runs import Snapshot
from diffgen.sample import Step, churned, heun, sample, trajectory
from diffgen.schedule import edm_sigmas

COMPONENTS = 32
"""Principal components in which the Fréchet gap of pixels is measured: no more than few images can fit."""


def passages(
    snapshot: Snapshot,
    split: Split,
    *,
    n: int,
    steps: int = 32,
    guide: Guide | None = None,
    labels: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> dict[str, Passage]:
    """The passages of noisy training images, noisy validation images and sampling trajectories, by these `PARTS`.

    If trajectories ran through the noisy training data, all measures of theirs would be those of noisy training images.
    Noisy images are those of `gap_curves`, trajectories those of `samples`, row by row.

    Args:
        snapshot: D.
        split: its data.
        n: trajectories, and images of each split or as many as there are.
        steps: of the sampler (Heun).
        guide: what guides D, on trajectories and on noisy images alike.
        labels: classes of the trajectories, (n,), or None; noisy images have their own, if D was trained with classes.
        seed: of the noise.
        device: where to compute.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419; see also `diffgen.metrics.overlap.overlap`.
    """
    options = {"n": n, "steps": steps, "guide": guide, "seed": seed, "device": device}
    of_part = {"trajectory": {"labels": labels}}
    return {part: passage(snapshot, split, part, **options, **of_part.get(part, {})) for part in PARTS}


def passage(
    snapshot: Snapshot,
    split: Split,
    part: str = "trajectory",
    *,
    n: int,
    steps: int = 32,
    churn: float = 0.0,
    guide: Guide | None = None,
    labels: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Passage:
    """One of the `passages`; that of trajectories may be stochastic, see `churned`.

    Raises:
        ValueError: an unknown part, or churn or labels in one that is not of trajectories.
    """
    if part not in PARTS or (churn and part != "trajectory"):
        raise ValueError(f"part is {part!r} with churn {churn:g}: it is one of {PARTS}, and trajectories alone churn")
    if labels is not None and part != "trajectory":
        raise ValueError(f"labels is given for part {part!r}: noisy images have classes of their own")
    sigmas = edm_sigmas(steps)

    def compute() -> dict[str, Tensor]:
        denoiser = Batched(guided(snapshot, guide, device))
        if part == "trajectory":
            step = churned(churn=churn, steps=steps, seed=seed) if churn else heun
            pairs = _states(denoiser, sigmas, n, snapshot.shape, step, seed, device, labels)
        else:
            pairs = _noisy_states(denoiser, sigmas, getattr(split, part)[:n], seed, device)
        rows = [_measured(x, d, float(sigma), split) for sigma, (x, d) in zip(sigmas[:-1], pairs)]
        return {name: torch.stack([row[name] for row in rows]).float() for name in rows[0]}

    settings = {"part": part, "n": n, "steps": steps, "churn": churn, "seed": seed, **_digests(split)}
    settings |= {"guide": guide.settings} if guide and guide.settings else {}  # no entry: kept before there were guides
    settings |= {} if labels is None else {"labels": labels.tolist()}
    return Passage(sigmas[:-1], kept(snapshot, "along", settings, compute))


def _states(
    denoiser: Batched,
    sigmas: Tensor,
    n: int,
    shape: tuple[int, ...],
    step: Step,
    seed: int,
    device: Any,
    labels: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    start = (sigmas[0] * initial_noise(n, shape, seed)).to(device)
    for state in trajectory(denoiser, start, sigmas, None if labels is None else labels.to(device), step):
        if state.sigma > 0:
            yield state.x.cpu(), state.denoised.cpu()


@torch.no_grad()
def _noisy_states(
    denoiser: Batched, sigmas: Tensor, points: Points, seed: int, device: Any
) -> Iterator[tuple[Tensor, Tensor]]:
    labels = None if points.labels is None else points.labels.to(device)
    for sigma in sigmas[:-1]:
        x = noisy(points.x, float(sigma), seed)
        yield x, denoiser(x.to(device), sigma.to(device), labels).cpu()


def _measured(x: Tensor, denoised: Tensor, sigma: float, split: Split) -> dict[str, Tensor]:
    train, val = split.train.x, split.val.x
    optimal, weight = OptimalDenoiser(train).posterior(x, torch.tensor(sigma, dtype=torch.float64))
    equal = min(len(train), len(val))
    mean = torch.cat([train[:equal], val[:equal]]).mean(0)  # which favours neither
    query = (denoised - mean).flatten(1)
    two = nearest(denoised, train, k=min(2, len(train))).distance
    return {
        "shell": shell_ratios(x, sigma, train),
        "inside": in_shells(x, sigma, train),
        "concentration": weight,
        "distance": (denoised.double() - optimal.double()).flatten(1).square().mean(1),
        "similarity": nearest_similarity(query, (train[:equal] - mean).flatten(1)),
        "similarity_val": nearest_similarity(query, (val[:equal] - mean).flatten(1)),
        "first": two[:, 0],
        "second": two[:, -1],
        "near_train": two[:, 0] if equal == len(train) else nearest(denoised, train[:equal], k=1).distance[:, 0],
        "near_val": nearest(denoised, val[:equal], k=1).distance[:, 0],
    }


def paths(
    snapshot: Snapshot, *, n: int, steps: int = 32, seed: int = 0, device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor, Tensor]:
    """A few whole trajectories, to look at: the sampler's levels, (S,), the states and the predictions, (S, n, *).

    The rows are the first of `samples` and of `passages`.
    """
    sigmas = edm_sigmas(steps)

    def compute() -> dict[str, Tensor]:
        found = _states(Batched(snapshot.denoiser(device=device)), sigmas, n, snapshot.shape, heun, seed, device)
        return dict(zip(("x", "denoised"), map(torch.stack, zip(*found))))

    found = kept(snapshot, "paths", {"n": n, "steps": steps, "seed": seed}, compute)
    return sigmas[:-1], found["x"], found["denoised"]


def swapped_samples(
    late: Snapshot,
    early: Snapshot,
    window: tuple[float, float] | None,
    *,
    n: int,
    steps: int = 32,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Samples of the late snapshot with the early one in its place at low ≤ σ ≤ high, see `Swapped`: (n, *).

    The swap test: where the late one has memorized and trajectories ran through what it has memorized, samples would
    lie less near the training set without it.

    Args:
        late: D elsewhere.
        early: D inside the window.
        window: (low, high), both ends included; None is empty, and gives the samples of the late one.
        n, steps, seed, device: of the sampler.
    """

    def compute() -> dict[str, Tensor]:
        sigmas, denoiser = edm_sigmas(steps), late.denoiser(device=device)
        if window is not None:
            denoiser = Swapped(denoiser, early.denoiser(device=device), *window)
        start = (sigmas[0] * initial_noise(n, late.shape, seed)).to(device)
        return {"samples": to_bytes(sample(Batched(denoiser), start, sigmas).cpu())}

    other = {"run": early.run.key, "images": early.images, "window": window and [float(end) for end in window]}
    return from_bytes(kept(late, "swapped", {"n": n, "steps": steps, "seed": seed, **other}, compute)["samples"])


def windows(sigmas: Tensor, count: int) -> list[tuple[float, float]]:
    """The sampler's noise levels above 0 in `count` groups of neighbours: (low, high) of each, the noisiest first."""
    groups = torch.as_tensor(sigmas)[:-1].tensor_split(min(count, len(sigmas) - 1))
    return [(float(group[-1]), float(group[0])) for group in groups]


def returned(
    snapshot: Snapshot,
    split: Split,
    starts: Sequence[int],
    *,
    n: int,
    steps: int = 32,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> dict[str, list[Estimate]]:
    """How often trajectories that start on noisy images at a noise level return to that image: see `return_rate`.

    Args:
        snapshot: D.
        split: its data. n images of each part, or as many as there are, are searched among equally many of their part.
        starts: places on the sampler's grid at which to start.
        n, steps, seed, device: of the starts, the sampler and the noise.

    Returns:
        {"train", "val"}: a rate for each of `starts`; that of validation images is what a field without memory of them
        does, the null.
    """
    sigmas, equal = edm_sigmas(steps), min(len(split.train), len(split.val))

    def compute() -> dict[str, Tensor]:
        denoiser = snapshot.denoiser(device=device)
        return {
            part: torch.stack(
                [returns(denoiser, points.x[:equal], sigmas[i:], n=min(n, equal), seed=seed) for i in starts]
            )
            for part, points in (("train", split.train), ("val", split.val))
        }

    settings = {"n": n, "steps": steps, "starts": list(starts), "seed": seed, **_digests(split)}
    found = kept(snapshot, "returned", settings, compute)
    return {part: [Estimate.share(row) for row in found[part].bool()] for part in ("train", "val")}


def frechet(
    snapshot: Snapshot, drawn: Tensor, split: Split, space: str = "classifier", *, resamples: int = 12, seed: int = 0
) -> FrechetGap:
    """The Fréchet gap of samples of a snapshot, see `frechet_gap`.

    Args:
        snapshot: that drew them.
        drawn: the samples.
        split: its data.
        space: "classifier", the features that come with the package, or "pixels", `COMPONENTS` principal components,
            fitted to training and validation images alike.
        resamples: draws for the standard errors.
        seed: of subsets and draws.

    Raises:
        ValueError: an unknown space, and what `frechet_gap` raises.
    """
    if space not in ("classifier", "pixels"):
        raise ValueError(f"space is {space!r}: it is 'classifier' or 'pixels'")

    def compute() -> dict[str, Tensor]:
        equal = min(len(split.train), len(split.val))
        both = torch.cat([split.train.x[:equal], split.val.x[:equal]])
        phi = features if space == "classifier" else principal_components(both, min(COMPONENTS, len(both) - 1))
        found = frechet_gap(*map(phi, (drawn, split.train.x, split.val.x)), resamples=resamples, seed=seed)
        return {
            name: torch.tensor([value, value.stderr, value.n], dtype=torch.float64)
            for name, value in found._asdict().items()
        }

    settings = {"space": space, "samples": digest(Points(drawn)), "resamples": resamples, "seed": seed}
    found = kept(snapshot, "frechet", settings | _digests(split), compute)
    return FrechetGap(**{name: Estimate(*found[name].tolist()) for name in FrechetGap._fields})


def _digests(split: Split) -> dict[str, str]:
    return {"train": digest(Points(split.train.x)), "val": digest(Points(split.val.x))}
