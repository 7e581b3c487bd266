"""Samples of subjects, and images that they denoise, kept beside them."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.data import Points, Split
from diffgen.data.arrays import from_bytes, to_bytes
from diffgen.denoiser import Denoiser, device_of
from diffgen.experiments.measure import Measure
from diffgen.features import FeatureMap, classifier_features, identity, principal_components
from diffgen.guidance import Chunked
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import FrechetGap, frechet_gap
from diffgen.metrics.overlap import noisy
from diffgen.rng import generator
from diffgen.runs import Subject, cached, data_hash
from diffgen.sampling import sample

COMPONENTS = 32
"""Principal components in which the Fréchet gap of pixels is measured: no more than few images can fit."""
FRESH = 4
"""Times the smaller set: so many images of the holdout show the luck of a split. More cost more and say little more."""
ROWS = 256
"""Samples that follow their trajectories together."""


def samples(
    subject: Subject,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    labels: Tensor | None = None,
) -> Tensor:
    """Draw n samples of a subject by Heun's method; the i-th starts from the same noise in every subject.

    Images are kept in 256 steps, see `to_bytes`: Fréchet distances in the literature are of such images. Points in the
    plane have no such bounds and are kept as they are.

    Args:
        subject: what to sample from.
        n: how many.
        sigmas: the sampler's grid, such as `edm_sigmas(32)`.
        measure: how; its seed is that of the initial noise.
        labels: classes, (n,), or None.

    Returns:
        (n, *), on the CPU; images are cut off at ±1.
    """

    def compute() -> dict[str, Tensor]:
        drawn = draw_samples(subject, n, sigmas, measure, labels=labels)
        return {"samples": to_bytes(drawn) if len(subject.shape) == 3 else drawn}

    classes = None if labels is None else labels.tolist()
    settings = {"n": n, "sigmas": sigmas.tolist(), "labels": classes, "seed": measure.seed}
    kept = cached(subject, "samples", settings, compute, version=1)["samples"]
    return from_bytes(kept) if kept.dtype == torch.uint8 else kept


def draw_samples(
    subject: Subject,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
    *,
    labels: Tensor | None = None,
    rows: slice = slice(None),
) -> Tensor:
    """The `samples`, or some rows of them, neither kept nor rounded."""
    denoiser = subject.denoiser(measure.device)
    device = where(denoiser, measure)
    noise = sigmas[0] * initial_noise(n, subject.shape, measure.seed)[rows]
    parts = zip(noise.split(ROWS), [None] * n if labels is None else labels[rows].split(ROWS))
    done = [
        sample(denoiser, x.to(device), sigmas, None if c is None else c.to(device)).cpu()
        for x, c in tqdm(list(parts), desc="sampling", unit="batch", leave=False, disable=not measure.progress)
    ]
    return torch.cat(done)


def where(denoiser: Denoiser, measure: Measure) -> torch.device:
    """The device on which a denoiser computes: its own, or the one asked for if it has none."""
    return device_of(denoiser, torch.device(measure.device))


def initial_noise(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """N(0, I), (n, *shape); the first rows stay the same when n grows."""
    whole = -(-n // 16) * 16  # torch draws normal numbers in blocks of 16, and a rest that fills none anew
    return torch.randn((whole, *shape), generator=generator(seed))[:n]


def denoised_images(
    subject: Subject,
    points: Points,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
) -> tuple[Tensor, Tensor]:
    """A few images to look at: noisy, and as the subject denoises them, at several noise levels.

    Args:
        subject: D.
        points: clean images, (N, C, H, W) with labels or without.
        sigmas: noise levels, (S,).
        measure: how; its noise is that of `gap_curves`, one an image, the same at every level.

    Returns:
        y + σ n and D(y + σ n; σ), (S, N, C, H, W) each, cut off at ±1 and the latter in 256 steps, as it is kept.
    """
    levels = [float(sigma) for sigma in sigmas]
    x = torch.stack([noisy(points.x, sigma, measure.seed) for sigma in levels])

    @torch.no_grad()
    def compute() -> dict[str, Tensor]:
        denoiser = Chunked(subject.denoiser(measure.device), measure.batch_size)
        device = where(denoiser, measure)
        labels = None if points.labels is None else points.labels.to(device)
        given = [(rows.to(device), torch.tensor(s, dtype=x.dtype, device=device)) for rows, s in zip(x, levels)]
        images = [denoiser(rows, sigma, labels).cpu() for rows, sigma in given]
        return {"denoised": to_bytes(torch.stack(images))}

    settings = {"sigmas": levels, "images": data_hash(points), "seed": measure.seed}
    denoised = cached(subject, "denoised", settings, compute, version=1)["denoised"]
    return x.clamp(-1, 1), from_bytes(denoised)


def frechet_gap_of(
    subject: Subject,
    drawn: Tensor,
    split: Split,
    features: FeatureMap | None = classifier_features,
    measure: Measure = Measure(),  # noqa: B008
    *,
    n_resamples: int = 12,
) -> FrechetGap:
    """The Fréchet gap of samples of a subject, see `frechet_gap`, with the luck of its split where a holdout shows it.

    Args:
        subject: that drew them.
        drawn: the samples.
        split: its data.
        features: φ; None is pixels, in `COMPONENTS` principal components, fitted to training and validation images
            alike.
        measure: how; its seed is that of subsets and draws.
        n_resamples: draws for the standard errors.

    Raises:
        ValueError: what `frechet_gap` raises.
    """

    fresh = fresh_images(split)

    def compute() -> dict[str, Tensor]:
        phi = features
        if phi is None:
            equal = min(len(split.train), len(split.val))
            both = torch.cat([split.train.x[:equal], split.val.x[:equal]])
            phi = principal_components(both, min(COMPONENTS, len(both) - 1))
        gap = frechet_gap(
            *map(phi, (drawn, split.train.x, split.val.x)), fresh=None if fresh is None else phi(fresh),
            n_resamples=n_resamples, seed=measure.seed,
        )  # fmt: skip
        return {
            name: torch.tensor([value, value.stderr, value.n], dtype=torch.float64)
            for name, value in gap._asdict().items()
        }

    settings = {
        "features": None if features is None else identity(features), "samples": data_hash(Points(drawn)),
        "n_resamples": n_resamples, "seed": measure.seed, **split_hashes(split),
        "fresh": None if fresh is None else data_hash(Points(fresh)),
    }  # fmt: skip
    kept = cached(subject, "frechet", settings, compute, version=2)
    return FrechetGap(*(Estimate(*kept[name].tolist()) for name in FrechetGap._fields))


def fresh_images(split: Split) -> Tensor | None:
    """Images of neither set, to draw the split anew from: those of the holdout, up to `FRESH` times the smaller set.

    None where there are fewer than two such sets of them.
    """
    n = min(len(split.train), len(split.val))
    return split.holdout.x[: FRESH * n] if split.holdout is not None and len(split.holdout) >= 2 * n else None


def split_hashes(split: Split) -> dict[str, str]:
    """Hashes of the images of a split, whatever their labels."""
    return {"train": data_hash(Points(split.train.x)), "val": data_hash(Points(split.val.x))}
