"""What is known of many samples of a subject, in numbers: of the samples themselves only a few are kept.

Eight thousand images of each snapshot and each guidance weight would be too many to publish. Their distances to the
training set, counts of copies and Fréchet gaps are a few kilobytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.data import Points, Split
from diffgen.data.arrays import from_bytes, to_bytes
from diffgen.experiments.measure import Measure
from diffgen.experiments.sampling import ROWS, initial_noise, split_hashes, where
from diffgen.experiments.subject import Derived
from diffgen.features import FeatureMap, classifier_features, identity
from diffgen.guidance import Chunked
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import FrechetGap, frechet_gap
from diffgen.metrics.neighbours import copies
from diffgen.metrics.overlap import noisy
from diffgen.metrics.position import nearness, position, with_luck
from diffgen.rng import generator
from diffgen.runs import Snapshot, Subject, cached, data_hash
from diffgen.sampling import trajectory
from diffgen.training import TrainConfig
from diffgen.training.precision import has_bf16

SHOWN = 32
"""Samples that are kept as images."""
SPLITS = 6
"""Splits drawn anew from the holdout, for the luck of the split."""
QUERIES = 2048
"""Samples whose nearness to these splits is measured."""


class SampleReport(NamedTuple):
    """What is known of the samples of a subject.

    nearness: of each sample, (n,), see `diffgen.metrics.position.nearness`; copied: which are copies, (n,); luck: the
    mean nearness to splits drawn anew, (K,); frechet: the Fréchet gap; stopped: of samples stopped early, by the noise
    level at which they were, mean nearness and Fréchet gap; others: Fréchet gaps in other features, by their name;
    shown: a few samples, (·, *).
    """

    nearness: Tensor
    copied: Tensor
    luck: Tensor
    frechet: FrechetGap
    stopped: dict[float, tuple[Estimate, FrechetGap]]
    others: dict[str, FrechetGap]
    shown: Tensor

    @property
    def near(self) -> Estimate:
        """The mean nearness, with the luck of the split in its error."""
        return with_luck(Estimate.mean(self.nearness), self.luck)

    @property
    def memorized(self) -> Estimate:
        """The share of copies."""
        return Estimate.proportion(self.copied)


def val_labels(subject: Subject, split: Split, n: int) -> Tensor | None:
    """Classes of n samples, those of the validation images in their order; None if the subject is told of none.

    A subject that is made of others is told what the main one is told.
    """
    config = _trained_as(subject)
    if config is None or not config.conditional or split.val.labels is None:
        return None
    return split.val.labels[torch.arange(n) % len(split.val)]


def _trained_as(subject: Subject) -> TrainConfig | None:
    """The config of a snapshot, or of the main one of those that a subject is made of; None of any other subject."""
    while isinstance(subject, Derived):
        subject = subject.base
    return subject.run.config if isinstance(subject, Snapshot) else None


def _in_bf16(subject: Subject, device: torch.device) -> bool:
    config = _trained_as(subject)
    return config is not None and config.precision == "bf16" and has_bf16(device)


def sample_report(
    subject: Subject,
    split: Split,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    stops: Sequence[int] = (),
    features: FeatureMap = classifier_features,
    others: Mapping[str, FeatureMap] = MappingProxyType({}),
) -> SampleReport:
    """Draw n samples as `samples` does, with the classes of validation images, and say what they are like.

    Args:
        subject: what to sample from.
        split: its data, with a holdout from which splits are drawn anew.
        n: how many samples.
        sigmas: the sampler's grid.
        measure: how; its seed is that of the initial noise.
        stops: steps after which trajectories are left early, with D(x) at that noise level as the sample.
        features: of Fréchet gaps.
        others: further features by name, in which the Fréchet gap of all samples is measured, too.

    Raises:
        ValueError: a split without a holdout.
    """
    if split.holdout is None:
        raise ValueError("split has no holdout: the luck of the split is measured on fresh images")
    labels = val_labels(subject, split, n)

    def compute() -> dict[str, Tensor]:
        drawn = _drawn(subject, n, sigmas, measure, labels, stops)
        result = {"nearness": nearness(drawn[-1], split.train.x, split.val.x).float()}
        result["copied"] = copies(drawn[-1], split.train.x)
        result["luck"] = luck_of_split(drawn[-1], split, measure.seed)
        result["shown"] = to_bytes(drawn[-1][:SHOWN])
        result["frechet"] = _frechet(drawn[-1], split, features, measure.seed)
        for name, space in others.items():
            result[f"others/{name}"] = _frechet(drawn[-1], split, space, measure.seed)
        for step, x in zip(stops, drawn):
            near = Estimate.mean(nearness(x[:QUERIES], split.train.x, split.val.x))
            result[f"near/{step}"] = torch.tensor([near, near.stderr, near.n], dtype=torch.float64)
            result[f"frechet/{step}"] = _frechet(x, split, features, measure.seed)
        return {name.replace("/", "-"): value for name, value in result.items()}

    settings: dict[str, Any] = {
        "n": n, "sigmas": sigmas.tolist(), "seed": measure.seed, "stops": list(stops),
        "labels": None if labels is None else data_hash(Points(labels[:, None])), "features": identity(features),
        **split_hashes(split),
    }  # fmt: skip
    if others:
        settings["others"] = {name: identity(space) for name, space in others.items()}
    kept = cached(subject, "sample_report", settings, compute, version=1)
    stopped = {float(sigmas[step]): (_estimate(kept[f"near-{step}"]), _gap(kept[f"frechet-{step}"])) for step in stops}
    elsewhere = {name: _gap(kept[f"others-{name}"]) for name in others}
    near, copied = kept["nearness"].double(), kept["copied"].bool()
    return SampleReport(
        near, copied, kept["luck"], _gap(kept["frechet"]), stopped, elsewhere, from_bytes(kept["shown"])
    )


@torch.no_grad()
def _drawn(
    subject: Subject, n: int, sigmas: Tensor, measure: Measure, labels: Tensor | None, stops: Sequence[int]
) -> list[Tensor]:
    """Samples stopped after each of these steps, then whole ones; in 256 steps, as image files hold them.

    The network computes in bfloat16 if it was trained so, as EDM's samplers do. That moves pixels by a third of a grey
    level (root mean square; 14 × 14, 18 steps) and the mean nearness by 0.0004 ± 0.0003.
    """
    denoiser = subject.denoiser(measure.device)
    device, start = where(denoiser, measure), sigmas[0] * initial_noise(n, subject.shape, measure.seed)
    drawn: list[list[Tensor]] = [[] for _ in (*stops, None)]
    parts = list(zip(start.split(ROWS), [None] * n if labels is None else labels.split(ROWS)))
    for x, c in tqdm(parts, desc="sampling", unit="batch", leave=False, disable=not measure.progress):
        states = trajectory(denoiser, x.to(device), sigmas, None if c is None else c.to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=_in_bf16(subject, device)):
            for step, state in enumerate(states):
                if step in stops:
                    drawn[list(stops).index(step)].append(state.denoised.float().cpu())
        drawn[-1].append(state.x.cpu())
    return [from_bytes(to_bytes(torch.cat(parts))) for parts in drawn]


def luck_of_split(queries: Tensor, split: Split, seed: int = 0, n_splits: int = SPLITS) -> Tensor:
    """The mean nearness of queries to splits drawn anew from the holdout, (K,): sets of which they know nothing."""
    assert split.holdout is not None
    n = min(len(split.train), len(split.val), len(split.holdout) // 2)
    means = []
    for k in range(n_splits):
        order = torch.randperm(len(split.holdout), generator=generator(seed, 7, k))
        a, b = (split.holdout.x[part] for part in order[: 2 * n].split(n))
        means.append(nearness(queries[:QUERIES], a, b).mean())
    return torch.stack(means)


def _frechet(x: Tensor, split: Split, features: FeatureMap, seed: int) -> Tensor:
    """The Fréchet gap as a table: a row each field with its standard error and n."""
    assert split.holdout is not None
    n = min(len(split.train), len(split.val))
    fresh = features(split.holdout.x) if len(split.holdout) >= 2 * n else None
    gap = frechet_gap(
        features(x), features(split.train.x), features(split.val.x), fresh=fresh, n_resamples=12, seed=seed
    )
    return torch.tensor([[value, value.stderr, value.n] for value in gap], dtype=torch.float64)


def _gap(table: Tensor) -> FrechetGap:
    return FrechetGap._make(_estimate(row) for row in table)


def _estimate(row: Tensor) -> Estimate:
    value, stderr, n = row.tolist()
    return Estimate(value, stderr, int(n))


class Recognition(NamedTuple):
    """How near one-step predictions for noisy images lie to the training set, the ends of a scale for samples.

    train, val, fresh: mean nearness of predictions for noisy training, validation and unseen images, at a noise level;
    unseen: that of unseen images themselves.
    """

    train: Estimate
    val: Estimate
    fresh: Estimate
    unseen: Estimate


def recognition(
    subject: Subject,
    split: Split,
    sigma: float,
    measure: Measure = Measure(),  # noqa: B008
    *,
    n: int = QUERIES,
) -> Recognition:
    """The `Recognition` of a subject at a noise level, from n images of each part."""
    if split.holdout is None:
        raise ValueError("split has no holdout: recognition is measured beside that of unseen images")
    parts = {"train": split.train, "val": split.val, "fresh": split.holdout}

    @torch.no_grad()
    def compute() -> dict[str, Tensor]:
        denoiser = Chunked(subject.denoiser(measure.device), measure.batch_size)
        device, result = where(denoiser, measure), {}
        told = val_labels(subject, split, 1) is not None
        for name, points in parts.items():
            few = points[:n]
            labels = few.labels.to(device) if told and few.labels is not None else None
            x = noisy(few.x, sigma, measure.seed).to(device)
            denoised = denoiser(x, torch.tensor(sigma, device=device, dtype=x.dtype), labels).cpu()
            result[name] = nearness(denoised, split.train.x, split.val.x).float()
        fresh = parts["fresh"].x[:n]
        return result | {"unseen": nearness(fresh, split.train.x, split.val.x).float()}

    settings = {"sigma": float(sigma), "n": n, "seed": measure.seed, **split_hashes(split)}
    kept = cached(subject, "recognition", settings, compute, version=1)
    means = {name: Estimate.mean(kept[name].double()) for name in (*parts, "unseen")}
    return Recognition(**means)


def sample_position(report: SampleReport, ends: Recognition) -> Estimate:
    """Where samples lie between unseen images (0) and recognized training images (1): see `position`."""
    return position(report.near, ends.unseen, ends.train)
