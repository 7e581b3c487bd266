"""`dg.audit`: does a model copy its training data? One call, every question with its interval, null and control."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffgen.auditing import questions as ask
from diffgen.auditing.check import check_denoiser
from diffgen.auditing.effort import Effort, in_seconds
from diffgen.auditing.evaluator import Evaluator, alone, starts
from diffgen.auditing.outcome import ErrorEvidence, Outcome, SampleEvidence, TrajectoryEvidence
from diffgen.auditing.preflight import DataReport, data_report
from diffgen.auditing.report import save
from diffgen.auditing.verdict import Answer
from diffgen.data import Points, Split
from diffgen.data.duplicates import exact
from diffgen.denoiser import Denoiser
from diffgen.experiments import Measure
from diffgen.experiments.trajectories import trajectory_stats
from diffgen.features import FeatureMap, classifier_features, pixels
from diffgen.metrics.copying import authentic_fraction, copying_score
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import FrechetGap, frechet_gap
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.membership import clopper_pearson, most_at_risk, true_positive_rate
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.position import ROUNDING
from diffgen.metrics.trajectory import relative_position
from diffgen.optimal import GaussianDenoiser, OptimalDenoiser
from diffgen.runs import Subject, data_hash
from diffgen.schedule import edm_sigmas, log_sigmas

FALSE_RATES = (0.01, 0.001)
IMAGE_SPREAD = 0.5
"""The standard deviation of images in [−1, 1], for which noise levels are chosen; other data has them scaled."""
CONTROL_IMAGES, CONTROL_TRAJECTORIES = 512, 64
"""How many images, and how many trajectories, controls are measured on at most."""
SUSPICIOUS = 32
"""Samples, and training images, that the report shows."""


class Audit(Outcome):
    """What an audit came to: `.verdicts` is the short of it, `.table()` has the numbers, `.save(folder)` writes all.

    See `diffgen.auditing.outcome.Outcome` for what it holds.
    """

    def save(self, folder: str | Path) -> Path:
        """Write report.html, audit.json, figures and per-image errors; return the report's path."""
        return save(self, Path(folder))


def audit(
    denoiser: Denoiser,
    train: Points | Tensor,
    val: Points | Tensor,
    rest: Points | Tensor | None = None,
    *,
    samples: Tensor | None = None,
    features: FeatureMap | None = None,
    reference: Denoiser | None = None,
    out: str | Path | None = None,
    effort: Effort = Effort(),  # noqa: B008 (frozen)
    budget: str | float | None = None,
    conditional: bool | None = None,
    name: str = "model",
    seed: int = 0,
    batch_size: int = 512,
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
    wait: Callable[[], None] = alone,
) -> Audit:
    """Ask a model five questions about its training data, and answer from intervals alone.

    1. gap: does it denoise its training images better than unseen ones?
    2. membership: can a training image be told from an unseen one by its errors?
    3. copies: are samples copies of training images?
    4. lean: do samples lie nearer to the training images than chance has it?
    5. recall: do trajectories that start on noisy training images return to them?

    A model that knows nothing of its training images is accused in any of them in at most 5 % of audits. What "nothing"
    looks like is measured on the very images, by exchanging training and validation images at random, and every audit
    puts the same questions to models and samples whose answer is known. Before all that `check_denoiser` asks whether
    the model is a denoiser at all, and images that are in both sets are left out.

    Args:
        denoiser: D, see `diffgen.adapters` for other people's models. Call `.eval()` on it first.
        train: what it was trained on, or a random part of that, (N, *), with classes if it is to be told them.
        val: images of the same source and preprocessing that it never saw.
        rest: more of these, for the reference denoiser and for nulls; None takes half of `val`.
        samples: samples of the model; None draws `effort.n_samples`.
        features: of Fréchet distances and of `lean`; None is the bundled classifier for small grey images, pixels for
            all else, and pixels for `lean`.
        reference: a denoiser that saw neither set, whose errors take out what makes an image hard; None fits a Wiener
            filter to `rest`. A network trained on `rest` takes out more.
        out: a folder for the report and for what was computed: the same call goes on from there. None keeps nothing.
        effort: how much to compute.
        budget: time for the model's evaluations, such as "20m"; fewer images and samples are taken to fit.
        conditional: whether the denoiser is told classes; None is yes where `train` and `val` have some.
        name: of the model, for the report.
        seed: of noise, splits and random deals.
        batch_size: rows a call.
        progress: show bars.
        share, wait: of processes that share the work, see `diffgen.auditing.evidence`.

    Returns:
        `Audit`: .verdicts .answers .check .data .gap .membership .samples .trajectories .save(folder) .exit_code

    Raises:
        ValueError: sets of different shapes or too small, a budget that nothing fits in, a model that returns NaN.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (gap, trajectories); Carlini et al. 2022, arXiv 2112.03570
    (membership); Yoon et al. 2023 (copies).
    """
    sets = {key: _points(x) for key, x in (("train", train), ("val", val), ("rest", rest)) if x is not None}
    told = _labelled(sets) if conditional is None else conditional
    if not told:
        sets = {key: Points(points.x) for key, points in sets.items()}
    shapes = {key: tuple(points.x.shape[1:]) for key, points in sets.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"sets have points of different shapes, {shapes}: the same preprocessing makes the same shape")
    data = data_report(sets["train"], sets["val"], seed=seed)
    split, unseen = _split(sets, data, seed)
    folder = None if out is None else Path(out) / "cache"
    subject = Subject(name, denoiser, split.train.x.shape[1:], results=folder)
    evaluator = Evaluator(subject=subject, seed=seed, batch_size=batch_size, progress=progress, share=share, wait=wait)
    few = split.val[:512]
    check = check_denoiser(denoiser, few.x, few.labels, reference=unseen.x)
    effort = effort.of_data(len(split.train), len(split.val), len(unseen))
    scale = split.sigma_data / IMAGE_SPREAD
    answers: dict[str, Answer] = {}
    errors = samples_ = trajectories = None
    notes = []
    if check.ok:
        if budget is not None:
            effort = effort.within(in_seconds(budget), evaluator.speed(few, scale))
        material = Material(split, unseen, effort, scale, seed)
        notes = _notes(data, effort)
        errors, of_errors = _errors(evaluator, material, reference)
        samples_, of_samples = _samples(evaluator, material, samples, features)
        trajectories, of_trajectories = _trajectories(evaluator, material)
        answers = {**of_errors, **of_samples, **of_trajectories}
        if missing := [key for key in ask.QUESTIONS if key not in answers]:
            notes.append(f"not asked, for nothing was drawn: {', '.join(missing)}")
        if data.differ:
            why = f"training and validation images differ without the model: {data.apart}"
            answers = {key: a if key == "copies" else a.without(why) for key, a in answers.items()}
    hashes = {key: data_hash(points) for key, points in sets.items()}
    result = Audit(
        name, check, data, effort, hashes, told, answers, errors, samples_, trajectories, tuple(notes)
    )  # fmt: skip
    if out is not None and share[0] == 0:
        result.save(out)
    return result


@dataclass(frozen=True)
class Material:
    """What an audit works on.

    split: training and validation images, without what is in both; unseen: images of neither; effort: how many; scale:
    the spread of the data over that of images; seed: of whatever is drawn.
    """

    split: Split
    unseen: Points
    effort: Effort
    scale: float
    seed: int

    @property
    def grid(self) -> Tensor:
        """The sampler's noise levels."""
        return edm_sigmas(self.effort.n_steps, sigma_min=0.002 * self.scale, sigma_max=80 * self.scale)

    @property
    def equal(self) -> int:
        """How many images of both sets are compared one by one."""
        return min(len(self.split.train), len(self.split.val), self.effort.n_images)


def _errors(
    evaluator: Evaluator, material: Material, reference: Denoiser | None
) -> tuple[ErrorEvidence, dict[str, Answer]]:
    """Questions 1 and 2."""
    effort, rest, n = material.effort, material.unseen, material.effort.n_images
    sigmas = log_sigmas(effort.n_levels, 0.02, 40) * material.scale
    parts = {"train": material.split.train[:n], "val": material.split.val[:n], "rest": rest[:n]}
    floor = ROUNDING * material.scale**2

    def errors_of(denoiser: Denoiser, what: str, few: int = n) -> tuple[Tensor, Tensor]:
        other = evaluator.of(denoiser, what)
        train, val = (other.errors(Points(parts[k].x[:few]), sigmas, effort.draws, what) for k in ("train", "val"))
        return train, val

    def gap_of(own: tuple[Tensor, Tensor], beside: tuple[Tensor, Tensor]) -> ask.Gap:
        few = tuple(errors[:, : own[0].shape[1]] for errors in beside)
        return ask.gap_of(own, few, sigmas, floor, material.seed)  # type: ignore[arg-type]  # of two

    errors = {key: evaluator.errors(points, sigmas, effort.draws, key) for key, points in parts.items()}
    beside = errors_of(reference or GaussianDenoiser.fit(rest.x), "reference")
    gap, few = gap_of((errors["train"], errors["val"]), beside), min(n, CONTROL_IMAGES)
    models = {
        "a denoiser that copies": (OptimalDenoiser(parts["train"].x[:few]), True),
        "a Wiener filter of other images": (GaussianDenoiser.fit(rest.x[: max(2, len(rest) // 2)]), False),
    }
    controls = {what: (gap_of(errors_of(model, what, few), beside), truth) for what, (model, truth) in models.items()}
    detections = (true_positive_rate(gap.told.members, gap.told.others, rate) for rate in FALSE_RATES)
    at_risk = most_at_risk(gap.told.members, gap.told.others)
    null = GapCurve(sigmas, *(errors[key].double().clamp(min=floor) for key in ("rest", "val")))
    risky = parts["train"].x[at_risk.index[:SUSPICIOUS]]
    evidence = ErrorEvidence(gap, null, at_risk, risky, tuple(d for d in detections if d))
    return evidence, {"gap": ask.about_gap(gap, controls), "membership": ask.about_membership(gap, controls)}


def _samples(
    evaluator: Evaluator, material: Material, samples: Tensor | None, features: FeatureMap | None
) -> tuple[SampleEvidence | None, dict[str, Answer]]:
    """Questions 3 and 4."""
    split = material.split
    train, val = split.train.x, split.val.x
    if samples is None:
        if material.effort.n_samples < 2:
            return None, {}
        samples = evaluator.samples(material.effort.n_samples, material.grid, split.val.labels)
    elif samples.shape[1:] != train.shape[1:]:
        raise ValueError(f"samples has shape {tuple(samples.shape)}: training points are {tuple(train.shape[1:])}")
    equal = min(len(train), len(val))
    which, of_val, of_train = ask.copied(samples, train, val)
    spaces = ask.leans(samples, train[:equal], val[:equal], material.unseen.x, features or pixels, material.seed)
    distance, index = nearest(samples, train, k=2)
    ratios = distance[:, 0] / distance[:, 1].clamp(min=torch.finfo(distance.dtype).tiny)
    worst = ratios.argsort()[:SUSPICIOUS]
    of_samples, of_unseen, _ = spaces
    frechet, name = _frechet(samples, material, features)
    evidence = SampleEvidence(
        n=len(samples),
        memorized=clopper_pearson(int(which.sum()), len(which)),
        memorized_null=clopper_pearson(int(of_val.sum()), len(of_val)),
        authentic=authentic_fraction(samples, train),
        authentic_null=authentic_fraction(val, train),
        copying_score=_copying_score(samples, train, val),
        lean=of_samples,
        lean_null=of_unseen,
        frechet=frechet,
        frechet_features=name,
        suspicious=samples[worst],
        originals=train[index[worst, 0]],
        ratios=ratios[worst],
    )
    return evidence, {"copies": ask.about_copies(which, of_val, of_train), "lean": ask.about_lean(*spaces)}


def _copying_score(samples: Tensor, train: Tensor, val: Tensor) -> Estimate | None:
    try:
        return copying_score(samples, train, val)
    except ValueError:  # too few points for cells
        return None


def _frechet(samples: Tensor, material: Material, features: FeatureMap | None) -> tuple[FrechetGap | None, str]:
    """The Fréchet gap, and in which features; None where there are too few images for so many features."""
    split = material.split
    if features is None:
        image = split.train.x.shape[1:]
        features = classifier_features if image in {(1, side, side) for side in (28, 14, 7)} else pixels
    points = (features(x) for x in (samples, split.train.x, split.val.x, material.unseen.x))
    drawn, train, val, rest = (x.flatten(1) for x in points)
    n = min(len(train), len(val))
    name = getattr(features, "identity", getattr(features, "__name__", "features"))
    if min(n, len(drawn)) < 2 * drawn.shape[1] or drawn.shape[1] > 2048:
        return None, name
    try:
        fresh = rest if len(rest) >= 2 * n else None
        return frechet_gap(drawn, train, val, fresh=fresh, n_resamples=12, seed=material.seed), name
    except ValueError:  # the samples are the training set
        return None, name


def _trajectories(evaluator: Evaluator, material: Material) -> tuple[TrajectoryEvidence | None, dict[str, Answer]]:
    """Question 5."""
    split, grid, scale, seed = material.split, material.grid, material.scale, material.seed
    n = min(material.effort.n_trajectories, material.equal)
    if n < 8:
        return None, {}
    measure = Measure(seed=seed, batch_size=evaluator.batch_size, progress=evaluator.progress)
    even = Split(split.train[: material.equal], split.val[: material.equal], material.unseen)
    labels = None if split.val.labels is None else split.val.labels[torch.arange(n) % len(split.val)]
    stats = trajectory_stats(evaluator.subject, even, n, grid, measure, labels=labels)
    window = (grid[:-1] >= 0.1 * scale) & (grid[:-1] <= 3 * scale)
    position = relative_position(stats, "similarity_gap", levels=window, seed=seed).interval()
    grids = list(starts(grid, 0.1 * scale, 2 * scale))
    train, val = (evaluator.recalled(part, grids, n, "recall") for part in (even.train, even.val))
    few, what = min(n, CONTROL_TRAJECTORIES), "a denoiser that copies"
    copier = evaluator.of(OptimalDenoiser(even.train.x[:few]), what)
    ends = [copier.recalled(Points(part.x[:few]), grids, few, what) for part in (even.train, even.val)]
    control = ask.difference(*ends, seed=seed)[0]
    returned = {"train": float(train.mean()), "val": float(val.mean())}
    answer = ask.about_recall(train, val, {what: (control, True)}, seed)
    return TrajectoryEvidence(n, position, stats, returned), {"recall": answer}


def _points(x: Points | Tensor) -> Points:
    return Points(x) if isinstance(x, Tensor) else x


def _labelled(sets: Mapping[str, Points]) -> bool:
    return all(points.labels is not None for key, points in sets.items() if key != "rest")


def _split(sets: Mapping[str, Points], data: DataReport, seed: int) -> tuple[Split, Points]:
    """Training and validation images in random order, without what is in both or there twice, and images of neither."""
    train, val = data.distinct(sets["train"], "train"), data.distinct(sets["val"], "val")
    if min(len(train), len(val)) < 16:
        raise ValueError(
            f"train has {len(train)} distinct points and val {len(val)} that are not in train: give 16 or more"
        )
    train, val = _shuffled(train, seed), _shuffled(val, seed)
    if "rest" not in sets:
        half = len(val) // 2
        return Split(train, val[:half]), val[half:]
    rest = sets["rest"]
    seen = torch.cat([exact(part, rest)[1] for part in (train, val)]).unique()
    left = torch.ones(len(rest), dtype=torch.bool)
    left[seen] = False
    if int(left.sum()) < 16:
        raise ValueError(f"rest has {int(left.sum())} points that are neither in train nor in val: give 16 or more")
    return Split(train, val), rest[left.nonzero()[:, 0]] if len(seen) else rest


def _shuffled(points: Points, seed: int) -> Points:
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))]


def _notes(data: DataReport, effort: Effort) -> list[str]:
    notes = [str(data)] if str(data) else []
    if math.floor(FALSE_RATES[-1] * effort.n_images) < 1:
        needed = round(1 / FALSE_RATES[-1])
        notes.append(f"true positives at {FALSE_RATES[-1]:.1%} false ones need {needed:,} validation images")
    return notes
