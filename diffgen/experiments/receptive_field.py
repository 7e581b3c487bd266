"""How far a subject looks, kept beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from diffgen.data import Points
from diffgen.experiments.measure import Measure
from diffgen.experiments.sampling import where
from diffgen.metrics.overlap import noisy
from diffgen.metrics.receptive_field import Channels, effective_receptive_field
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

    def compute() -> dict[str, Tensor]:
        denoiser = subject.denoiser(measure.device)
        device = where(denoiser, measure)
        labels = None if points.labels is None else points.labels.to(device)
        scores = []
        for sigma in sigmas:
            x = noisy(points.x, float(sigma), measure.seed).to(device)
            score = effective_receptive_field(
                denoiser, x, sigma, labels, pixels=pixels, channels=channels, seed=measure.seed
            )
            scores.append(score.cpu())
        return {"scores": torch.stack(scores)}

    return cached(subject, "receptive_field", settings, compute, version=1)["scores"]
