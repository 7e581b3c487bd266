"""Questions to a snapshot that is guided at many weights, or asked how far it looks; answers are kept with its run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.data import Points, Split
from diffgen.guidance import Unconditional
from diffgen.guides import Guide, guided, windowed
from diffgen.metrics.gap import GapCurve, predictions
from diffgen.metrics.overlap import noisy
from diffgen.metrics.receptive import range_scores
from diffgen.metrics.reconstruction import ReconstructionCurve, reconstruction_distance
from diffgen.results import digest, kept
from diffgen.runs import Snapshot


def guided_curves(
    snapshot: Snapshot,
    guide: Guide,
    weights: Sequence[float],
    split: Split,
    sigmas: Tensor,
    *,
    images: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> list[GapCurve]:
    """The generalization gap at any number of guidance weights, for two evaluations of each image at each noise level.

    With a = D − y and b = D − D_guide the error is quadratic in w: ‖D_w − y‖² = ‖a‖² + 2 w a·b + w² ‖b‖². The three
    numbers are kept for each image, so further weights and intervals cost nothing. Equal to `gap_curves` of each.

    Args:
        snapshot: D.
        guide: D_guide, and the interval, if any; its own weight is of no account.
        weights: w, any number of them.
        split, sigmas, images, seed, device: as of `diffgen.evaluate.gap_curves`.

    Returns:
        A `GapCurve` a weight, of mean squared errors per pixel.
    """
    parts = {"train": split.train[:images], "val": split.val[:images]}
    settings = {"sigmas": sigmas.tolist(), "seed": seed, **{name: digest(points) for name, points in parts.items()}}
    settings |= {"run": guide.snapshot.run.key, "images": guide.snapshot.images, "unconditional": guide.unconditional}

    @torch.no_grad()
    def compute() -> dict[str, Tensor]:
        main = snapshot.denoiser(device=device)
        other = main if guide.snapshot == snapshot else guide.snapshot.denoiser(device=device)
        pair = (main, Unconditional(other) if guide.unconditional else other)
        found = {}
        for name, points in parts.items():
            terms = torch.empty(3, len(sigmas), len(points.x))
            passes = (predictions(d, points.x, sigmas, labels=points.labels, seed=seed) for d in pair)
            for (at, part, denoised), (_, _, by_guide) in zip(*passes):
                a, b = (x.squeeze(2).flatten(2).double() for x in (denoised, denoised - by_guide))
                a = a - points.x[part].to(a).flatten(1)
                terms[:, at, part] = torch.stack([a * a, a * b, b * b]).mean(3).to(terms)
            found[name] = terms
        return found

    terms = kept(snapshot, "guided", settings, compute)
    low, high = guide.interval or (-1, float("inf"))
    inside = ((sigmas > low) & (sigmas <= high)).double()[:, None]
    curves = []
    for weight in weights:
        w = weight * inside
        errors = [a + 2 * w * ab + w.square() * b for a, ab, b in (terms[name].double() for name in ("train", "val"))]
        curves.append(GapCurve(sigmas, *errors))
    return curves


def reconstructions(
    snapshot: Snapshot,
    split: Split,
    sigmas: Tensor,
    *,
    guide: Guide | None = None,
    images: int | None = None,
    resamples: int = 20,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> ReconstructionCurve:
    """rFD(σ) of both splits in the bundled features, guided or not: see `reconstruction_distance`.

    The arguments are those of `diffgen.evaluate.gap_curves` and of `reconstruction_distance`.
    """
    known, unknown = split.train[:images], split.val[:images]
    settings = {"sigmas": sigmas.tolist(), "train": digest(known), "val": digest(unknown), "seed": seed}
    settings |= {"resamples": resamples, "guide": guide and guide.settings}

    def compute() -> dict[str, Tensor]:
        denoiser = guided(snapshot, guide, device)
        curve = reconstruction_distance(denoiser, known, unknown, sigmas, resamples=resamples, seed=seed)
        parts = ("train", "val", "train_draws", "val_draws")
        return {name: getattr(curve, name).clone(memory_format=torch.contiguous_format) for name in parts}

    found = kept(snapshot, "reconstructions", settings, compute)
    return ReconstructionCurve(sigmas, **found, n=min(len(known), len(unknown)))


def ranges(
    snapshot: Snapshot,
    points: Points,
    sigmas: Tensor,
    *,
    window: int | None = None,
    stride: int = 1,
    pixels: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """The range scores of a snapshot for a few images at several noise levels, (S, N), in pixels: see `range_scores`.

    Args:
        snapshot: D.
        points: clean images, with their classes if D knows classes.
        sigmas: noise levels, (S,).
        window: side of a sliding window through which D sees the images; stride: of the window.
        pixels: how many pixels of each image, drawn at random; None is all.
        seed: of the noise, that of `gap_curves`, and of the pixels.
        device: where to compute.
    """
    settings = {"sigmas": sigmas.tolist(), "points": digest(points), "window": window, "stride": stride}
    settings |= {"pixels": pixels, "seed": seed}

    def compute() -> dict[str, Tensor]:
        denoiser = windowed(snapshot.denoiser(device=device), window, stride)
        labels = None if points.labels is None else points.labels.to(device)
        states = [(noisy(points.x, float(sigma), seed).to(device), sigma) for sigma in sigmas]
        found = [range_scores(denoiser, x, sigma, labels, pixels=pixels, seed=seed).cpu() for x, sigma in states]
        return {"scores": torch.stack(found)}

    return kept(snapshot, "ranges", settings, compute)["scores"]
