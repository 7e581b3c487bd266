"""What a subject does along sampling trajectories, beside noisy training and validation images; kept beside it.

Everything here that takes time is kept as numbers a state, not as images, so that published results without weights can
draw the figures of chapter 3, and any mean or interval can be computed from them later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.data import Points, Split
from diffgen.experiments.measure import Measure
from diffgen.experiments.sampling import initial_noise, split_hashes, where
from diffgen.features import FeatureMap, classifier_features, identity
from diffgen.guidance import Chunked
from diffgen.metrics.copying import recalled
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.neighbours import nearest, nearest_similarity
from diffgen.metrics.overlap import in_shells, noisy, shell_ratios
from diffgen.metrics.trajectory import PARTS, TrajectoryStats
from diffgen.optimal import OptimalDenoiser
from diffgen.runs import Subject, cached
from diffgen.sampling import Step, heun, stochastic, trajectory


def trajectory_stats(
    subject: Subject,
    split: Split,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    labels: Tensor | None = None,
) -> dict[str, TrajectoryStats]:
    """Statistics of noisy training images, noisy validation images and sampling trajectories, by these `PARTS`.

    If trajectories ran through the noisy training data, all measures of theirs would be those of noisy training images.
    Noisy images are those of `gap_curves`, trajectories those of `samples`, row by row.

    Args:
        subject: D.
        split: its data.
        n: trajectories, and images of each split or as many as there are.
        sigmas: the sampler's grid (Heun), such as `edm_sigmas(32)`.
        measure: how.
        labels: classes of the trajectories, (n,), or None; noisy images have their own, if D was trained with classes.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419; see also `diffgen.metrics.overlap.overlap`.
    """
    of_part = {"trajectory": labels}
    return {part: part_stats(subject, split, part, n, sigmas, measure, labels=of_part.get(part)) for part in PARTS}


def part_stats(
    subject: Subject,
    split: Split,
    part: str,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
    *,
    s_churn: float = 0.0,
    labels: Tensor | None = None,
) -> TrajectoryStats:
    """One of the `trajectory_stats`; that of trajectories may be of stochastic ones, see `stochastic`.

    The part may also be "holdout": noisy images that are in neither split. On a scale for similarity differences they
    are what unseen images have, luck of the split included.

    Raises:
        ValueError: an unknown part, or s_churn or labels in one that is not of trajectories.
    """
    if part not in (*PARTS, "holdout") or (s_churn and part != "trajectory"):
        raise ValueError(
            f"part is {part!r} with s_churn {s_churn:g}: it is one of {PARTS}, and trajectories alone are stochastic"
        )
    if labels is not None and part != "trajectory":
        raise ValueError(f"labels is given for part {part!r}: noisy images have classes of their own")

    def compute() -> dict[str, Tensor]:
        denoiser = Chunked(subject.denoiser(measure.device), measure.batch_size)
        if part == "trajectory":
            n_steps = len(sigmas) - 1
            step = stochastic(s_churn=s_churn, n_steps=n_steps, seed=measure.seed) if s_churn else heun
            pairs = _states(denoiser, sigmas, n, subject.shape, step, measure, labels)
        else:
            pairs = _noisy_states(denoiser, sigmas, getattr(split, part)[:n], measure)
        rows = [_statistics(x, d, float(sigma), split) for sigma, (x, d) in zip(sigmas[:-1], pairs)]
        return {name: torch.stack([row[name] for row in rows]).float() for name in rows[0]}

    settings = {
        "part": part, "n": n, "sigmas": sigmas.tolist(), "s_churn": float(s_churn), "seed": measure.seed,
        "labels": None if labels is None else labels.tolist(), **split_hashes(split),
    }  # fmt: skip
    return TrajectoryStats(sigmas[:-1], cached(subject, "trajectory", settings, compute, version=1))


def _states(
    denoiser: Chunked,
    sigmas: Tensor,
    n: int,
    shape: tuple[int, ...],
    step: Step,
    measure: Measure,
    labels: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    device = where(denoiser, measure)
    start = (sigmas[0] * initial_noise(n, shape, measure.seed)).to(device)
    for state in trajectory(denoiser, start, sigmas, None if labels is None else labels.to(device), step):
        if state.sigma > 0:
            yield state.x.cpu(), state.denoised.cpu()


@torch.no_grad()
def _noisy_states(
    denoiser: Chunked, sigmas: Tensor, points: Points, measure: Measure
) -> Iterator[tuple[Tensor, Tensor]]:
    device = where(denoiser, measure)
    labels = None if points.labels is None else points.labels.to(device)
    for sigma in sigmas[:-1]:
        x = noisy(points.x, float(sigma), measure.seed)
        yield x, denoiser(x.to(device), sigma.to(device, x.dtype), labels).cpu()


def _statistics(x: Tensor, denoised: Tensor, sigma: float, split: Split) -> dict[str, Tensor]:
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


def example_trajectories(
    subject: Subject,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
    *,
    labels: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A few whole trajectories, to look at: the sampler's levels, (S,), the states and the predictions, (S, n, *).

    The rows are the first of `samples` and of `trajectory_stats` with these labels, (n,).
    """

    def compute() -> dict[str, Tensor]:
        denoiser = Chunked(subject.denoiser(measure.device), measure.batch_size)
        x, denoised = zip(*_states(denoiser, sigmas, n, subject.shape, heun, measure, labels))
        return {"x": torch.stack(x), "denoised": torch.stack(denoised)}

    settings = {"n": n, "sigmas": sigmas.tolist(), "seed": measure.seed}
    settings |= {} if labels is None else {"labels": labels.tolist()}
    states = cached(subject, "example_trajectories", settings, compute, version=1)
    return sigmas[:-1], states["x"], states["denoised"]


def level_groups(sigmas: Tensor, count: int) -> list[tuple[float, float]]:
    """The sampler's noise levels above 0 in `count` groups of neighbours: (low, high) of each, the noisiest first."""
    groups = torch.as_tensor(sigmas)[:-1].tensor_split(min(count, len(sigmas) - 1))
    return [(float(group[-1]), float(group[0])) for group in groups]


def recall_rates(
    subject: Subject,
    split: Split,
    starts: Sequence[int],
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
) -> dict[str, list[Estimate]]:
    """How often trajectories that start on noisy images at a noise level return to that image: see `recall_rate`.

    Args:
        subject: D.
        split: its data. n images of each part, or as many as there are, are searched among equally many of their part.
        starts: indices of the sampler's grid at which to start.
        n: starts of each split.
        sigmas: the sampler's grid.
        measure: how.

    Returns:
        {"train", "val"}: a rate for each of `starts`; that of validation images is what a field without memory of them
        does, the null.
    """
    equal = min(len(split.train), len(split.val))

    def compute() -> dict[str, Tensor]:
        denoiser, few = subject.denoiser(measure.device), min(n, equal)
        return {
            part: torch.stack(
                [recalled(denoiser, points.x[:equal], sigmas[i:], n=few, seed=measure.seed) for i in starts]
            )
            for part, points in (("train", split.train), ("val", split.val))
        }

    settings = {"n": n, "sigmas": sigmas.tolist(), "starts": list(starts), "seed": measure.seed, **split_hashes(split)}
    recall = cached(subject, "recall", settings, compute, version=1)
    return {part: [Estimate.proportion(row) for row in recall[part].bool()] for part in ("train", "val")}


class FeatureSimilarity(NamedTuple):
    """Similarity to the most similar image of a split, in features: the mean over queries.

    to_train and to_val: by the part that the queries are predictions for, one of `PARTS`.
    """

    to_train: dict[str, Estimate]
    to_val: dict[str, Estimate]


def feature_similarity(
    subject: Subject,
    split: Split,
    n: int,
    sigmas: Tensor,
    step: int,
    measure: Measure = Measure(),  # noqa: B008
    *,
    labels: Tensor | None = None,
    features: FeatureMap = classifier_features,
) -> FeatureSimilarity:
    """How similar one-step predictions are to their most similar training and validation image, in features.

    mean_q max_j cos(φ(D(x_q; σ)), φ(y_j)), not centred, with x_q noisy training images, noisy validation images, or
    states of sampling trajectories at the same σ.

    Args:
        subject: D.
        split: its data; references are equally many images of both.
        n: queries of each part.
        sigmas: the sampler's grid.
        step: index of σ on it.
        measure: how.
        labels: classes of the trajectories, (n,), or None.
        features: φ.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (there in DINOv2 and Inception features).
    """
    equal = min(len(split.train), len(split.val))

    @torch.no_grad()
    def compute() -> dict[str, Tensor]:
        denoiser = Chunked(subject.denoiser(measure.device), measure.batch_size)
        until = torch.cat([sigmas[: step + 1], sigmas.new_zeros(1)])
        *_, (_, of_trajectories) = _states(denoiser, until, n, subject.shape, heun, measure, labels)
        denoised = {"trajectory": of_trajectories}
        for part in ("train", "val"):
            level = torch.stack([sigmas[step], sigmas.new_zeros(())])
            ((_, denoised[part]),) = _noisy_states(denoiser, level, getattr(split, part)[:n], measure)
        references = {"train": features(split.train.x[:equal]), "val": features(split.val.x[:equal])}
        return {
            f"{part}-{name}": nearest_similarity(features(x), of_split).float()
            for part, x in denoised.items()
            for name, of_split in references.items()
        }

    settings = {
        "n": n, "sigmas": sigmas.tolist(), "step": step, "seed": measure.seed, "features": identity(features),
        "labels": None if labels is None else labels.tolist(), **split_hashes(split),
    }  # fmt: skip
    kept = cached(subject, "feature_similarity", settings, compute, version=1)
    means = [{part: Estimate.mean(kept[f"{part}-{name}"].double()) for part in PARTS} for name in ("train", "val")]
    return FeatureSimilarity(*means)
