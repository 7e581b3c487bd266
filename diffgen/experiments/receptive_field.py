"""How far a subject looks, kept beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.data import Points
from diffgen.denoiser import Denoiser
from diffgen.experiments.measure import Measure
from diffgen.experiments.sampling import where
from diffgen.metrics.overlap import noisy
from diffgen.metrics.receptive_field import Channels, effective_receptive_field, range_map
from diffgen.runs import Subject, cached, data_hash


def receptive_fields(
    subject: Subject,
    points: Points,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    pixels: int | None = None,
    channels: Channels = "all",
) -> Tensor:
    """The `effective_receptive_field` of a subject for a few images at several noise levels, (S, N), in pixels.

    Args:
        subject: D.
        points: clean images, with their classes if D knows classes.
        sigmas: noise levels, (S,).
        measure: how; its seed is that of the noise, which is that of `gap_curves`, and of the pixels.
        pixels: how many pixels of each image, drawn at random; None is all.
        channels: "all" pairs of them, or each one's "own" alone, as the paper's authors do; grey images have one.
    """
    settings = {"sigmas": sigmas.tolist(), "points": data_hash(points), "pixels": pixels, "seed": measure.seed}
    if channels != "all":
        settings["channels"] = channels

    def field(denoiser: Denoiser, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        return effective_receptive_field(
            denoiser, x, sigma, labels, pixels=pixels, channels=channels, seed=measure.seed
        )

    def compute() -> dict[str, Tensor]:
        return {"scores": _over_sigma(field, subject, points, sigmas, measure)}

    return cached(subject, "receptive_field", settings, compute, version=1)["scores"]


def range_maps(
    subject: Subject,
    points: Points,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
) -> Tensor:
    """The `range_map` of a subject for a few images at several noise levels, (S, N, H, W), in pixels.

    The arguments and the noise are those of `receptive_fields`.
    """
    settings = {"sigmas": sigmas.tolist(), "points": data_hash(points), "seed": measure.seed}

    def compute() -> dict[str, Tensor]:
        return {"maps": _over_sigma(range_map, subject, points, sigmas, measure).float()}

    return cached(subject, "range_map", settings, compute, version=1)["maps"].double()


def _over_sigma(
    score: Callable[..., Tensor], subject: Subject, points: Points, sigmas: Tensor, measure: Measure
) -> Tensor:
    """Scores of noisy images at each noise level, one below the other."""
    denoiser = subject.denoiser(measure.device)
    device = where(denoiser, measure)
    labels = None if points.labels is None else points.labels.to(device)
    levels = tqdm(sigmas, desc="range score", unit="level", leave=False, disable=not measure.progress)
    return torch.stack(
        [
            score(denoiser, noisy(points.x, float(sigma), measure.seed).to(device), sigma, labels).cpu()
            for sigma in levels
        ]
    )
