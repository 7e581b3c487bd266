"""The gap and the samples at many guidance weights, and reconstructions; kept beside the main subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from diffgen.data import Split
from diffgen.experiments.measure import Measure
from diffgen.experiments.reports import SampleReport, sample_report
from diffgen.experiments.subject import guided, pair
from diffgen.features import FeatureMap, classifier_features, identity
from diffgen.metrics.contrast import AtWeight
from diffgen.metrics.gap import GapCurve, predictions
from diffgen.metrics.reconstruction import ReconstructionCurve, reconstruction_distance
from diffgen.runs import Subject, cached, data_hash


def guided_gap_curves(
    main: Subject,
    guide: Subject,
    weights: Sequence[float],
    split: Split,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    unconditional: bool = False,
    interval: tuple[float, float] | None = None,
) -> list[GapCurve]:
    """The generalization gap at any number of guidance weights, for two evaluations of each image at each noise level.

    With a = D − y and b = D − D_guide the error is quadratic in w: ‖D_w − y‖² = ‖a‖² + 2 w a·b + w² ‖b‖². The three
    numbers are kept for each image, so further weights and intervals cost nothing. Equal to `gap_curves` of each.

    Args:
        main: D.
        guide: D_guide.
        weights: w, any number of them.
        split, sigmas, measure: as of `gap_curves`.
        unconditional, interval: as of `guided`.

    Returns:
        A `GapCurve` a weight, of mean squared errors per pixel.
    """
    parts = {"train": measure.of(split.train), "val": measure.of(split.val)}
    settings = {
        "guide": guide.identity, "unconditional": unconditional, "sigmas": sigmas.tolist(), "seed": measure.seed,
        **{name: data_hash(points) for name, points in parts.items()},
    }  # fmt: skip

    @torch.no_grad()
    def compute() -> dict[str, Tensor]:
        denoisers, result = pair(main, guide, unconditional, measure.device), {}
        for name, points in parts.items():
            terms = torch.empty(3, len(sigmas), len(points.x))
            passes = (
                predictions(d, points.x, sigmas, labels=points.labels, seed=measure.seed, batch_size=measure.batch_size)
                for d in denoisers
            )
            for (at, part, denoised), (_, _, by_guide) in zip(*passes):
                a, b = (x.squeeze(2).flatten(2).double() for x in (denoised, denoised - by_guide))
                a = a - points.x[part].to(a).flatten(1)
                terms[:, at, part] = torch.stack([a * a, a * b, b * b]).mean(3).to(terms)
            result[name] = terms
        return result

    terms = cached(main, "guided_gap", settings, compute, version=1)
    low, high = interval or (-1, float("inf"))
    inside = ((sigmas > low) & (sigmas <= high)).double()[:, None]

    def errors(part: str, w: Tensor) -> Tensor:
        a, ab, b = terms[part].double()
        return a + 2 * w * ab + w.square() * b

    return [GapCurve(sigmas, errors("train", w * inside), errors("val", w * inside)) for w in weights]


def guided_reports(
    main: Subject,
    guide: Subject,
    weights: Sequence[float],
    split: Split,
    n: int,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
    *,
    unconditional: bool = False,
    others: Mapping[str, FeatureMap] = MappingProxyType({}),
) -> list[SampleReport]:
    """What is known of n samples at each guidance weight, from the same noise: see `sample_report` and `guided`.

    At weight 0 it is the report of the main subject, the same for every guide.
    """
    subjects = [guided(main, guide, w, unconditional=unconditional) for w in weights]
    return [sample_report(subject, split, n, sigmas, measure, others=others) for subject in subjects]


def at_weight(gap: float, report: SampleReport, unseen: float, copy: float) -> AtWeight:
    """One seed at one weight, for `contrast_rows`.

    Args:
        gap: G at the fixed noise level.
        report: of the samples.
        unseen: mean nearness of unseen images, see `Recognition`.
        copy: that of training images.
    """
    near, frechet = report.nearness.double() - float(unseen), report.frechet
    halves = float(near[::2].mean()), float(near[1::2].mean())
    numbers = (float(frechet.raw), float(frechet.corrected), float(near.mean()))
    copied = 0.99 * float(near.mean()) + 0.01 * (float(copy) - float(unseen))
    return AtWeight(float(gap), *numbers, halves, float(frechet.luck), float(report.luck.double().mean()), copied)


def reconstruction_curve(
    subject: Subject,
    split: Split,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
    *,
    features: FeatureMap = classifier_features,
    n_resamples: int = 20,
) -> ReconstructionCurve:
    """rFD(σ) of both splits: see `reconstruction_distance`. The arguments are those of `gap_curves` and of that."""
    train, val = measure.of(split.train), measure.of(split.val)
    settings = {
        "sigmas": sigmas.tolist(), "train": data_hash(train), "val": data_hash(val), "seed": measure.seed,
        "features": identity(features), "n_resamples": n_resamples,
    }  # fmt: skip
    names = ("train", "val", "train_draws", "val_draws")

    def compute() -> dict[str, Tensor]:
        curve = reconstruction_distance(
            subject.denoiser(measure.device), train, val, sigmas, features=features, n_resamples=n_resamples,
            seed=measure.seed, batch_size=measure.batch_size,
        )  # fmt: skip
        return {name: getattr(curve, name).clone(memory_format=torch.contiguous_format) for name in names}

    kept = cached(subject, "reconstruction", settings, compute, version=1)
    return ReconstructionCurve(sigmas, **{name: kept[name] for name in names}, n=min(len(train), len(val)))
