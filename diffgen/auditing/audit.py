"""`dg.audit`: does a model copy its training data? One call, every question with its interval, null and control."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffgen.auditing import questions as ask
from diffgen.auditing.check import check_denoiser
from diffgen.auditing.effort import Effort, in_seconds
from diffgen.auditing.evidence import Bench, alone, starts
from diffgen.auditing.found import Found, SampleEvidence, TrajectoryEvidence
from diffgen.auditing.preflight import DataReport, data_report
from diffgen.auditing.report import save
from diffgen.data import Points, Split
from diffgen.denoiser import Denoiser
from diffgen.experiments import Measure
from diffgen.experiments.trajectories import trajectory_stats
from diffgen.features import FeatureMap, classifier_features, pixels
from diffgen.metrics.copying import authentic_fraction, copying_score
from diffgen.metrics.frechet import FrechetGap, frechet_gap
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.membership import clopper_pearson, most_at_risk, true_positive_rate
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.trajectory import relative_position
from diffgen.optimal import GaussianDenoiser, OptimalDenoiser
from diffgen.runs import Subject, data_hash
from diffgen.schedule import edm_sigmas, log_sigmas

if TYPE_CHECKING:
    from collections.abc import Mapping

FALSE_RATES = (0.01, 0.001)
IMAGE_SPREAD = 0.5
"""The standard deviation of images in [−1, 1], for which noise levels are chosen; other data has them scaled."""
CONTROL_IMAGES = 512
SUSPICIOUS = 32
GREY_STEP = 2 / 255


class Audit(Found):
    """What an audit found: `.verdicts` is the short of it, `.save(folder)` writes the whole.

    See `diffgen.auditing.found.Found` for all that it holds.
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
    split = _split(sets, data, seed)
    hashes = {key: data_hash(points) for key, points in sets.items()}
    folder = None if out is None else Path(out) / "cache"
    subject = Subject(name, denoiser, split.train.x.shape[1:], results=folder)
    bench = Bench(subject=subject, seed=seed, batch_size=batch_size, progress=progress, share=share, wait=wait)
    few = split.val[:512]
    assert split.holdout is not None
    check = check_denoiser(denoiser, few.x, few.labels, reference=split.holdout.x)
    effort = effort.of_data(len(split.train), len(split.val), len(split.holdout))
    found = Audit(name, check, data, effort, hashes, told)
    if not check.ok:
        return found
    scale = split.sigma_data / IMAGE_SPREAD
    if budget is not None:
        effort = effort.within(in_seconds(budget), bench.speed(few, scale))
    found = replace(found, effort=effort, notes=tuple(_notes(data, effort, split)))
    found = _errors(found, bench, split, reference, scale)
    found = _samples(found, bench, split, samples, features, scale)
    found = _trajectories(found, bench, split, scale)
    if data.differ:
        spoiled = f"training and validation images differ without the model: {data.apart}"
        answers = {key: a.without(spoiled) if key != "copies" else a for key, a in found.answers.items()}
        found = replace(found, answers=answers)
    if out is not None and share[0] == 0:
        found.save(out)
    return found


def _errors(found: Audit, bench: Bench, split: Split, reference: Denoiser | None, scale: float) -> Audit:
    """Questions 1 and 2."""
    effort, rest = found.effort, split.holdout
    assert rest is not None
    n, seed = effort.n_images, bench.seed
    sigmas = log_sigmas(effort.n_levels, 0.02, 40) * scale
    parts = {"train": split.train[:n], "val": split.val[:n], "rest": rest[:n]}
    floor = GREY_STEP**2 / 12 * scale**2

    def errors_of(denoiser: Denoiser, what: str, few: int = n) -> dict[str, Tensor]:
        model = Subject(what, denoiser, split.train.x.shape[1:])
        other = replace(bench, subject=model, share=(0, 1), wait=alone)
        return {key: other.errors(Points(parts[key].x[:few]), sigmas, effort.draws, what) for key in ("train", "val")}

    errors = {key: bench.errors(points, sigmas, effort.draws, key) for key, points in parts.items()}
    wiener = GaussianDenoiser.fit(rest.x)
    beside = errors_of(reference or wiener, "reference")
    gap = ask.gap_of((errors["train"], errors["val"]), (beside["train"], beside["val"]), sigmas, floor, seed)
    few = min(n, CONTROL_IMAGES)
    controls: dict[str, tuple[ask.Gap, bool]] = {}
    models = {
        "a denoiser that copies": (OptimalDenoiser(parts["train"].x[:few]), True),
        "a Wiener filter of other images": (GaussianDenoiser.fit(rest.x[: max(2, len(rest) // 2)]), False),
    }
    for what, (model, truth) in models.items():
        own = errors_of(model, what, few)
        beside_few = (beside["train"][:, :few], beside["val"][:, :few])
        controls[what] = ask.gap_of((own["train"], own["val"]), beside_few, sigmas, floor, seed), truth
    answers = {"gap": ask.about_gap(gap, controls), "membership": ask.about_membership(gap, controls)}
    detections = (true_positive_rate(gap.told.members, gap.told.others, rate) for rate in FALSE_RATES)
    at_risk = most_at_risk(gap.told.members, gap.told.others)
    null = GapCurve(sigmas, errors["rest"].double().clamp(min=floor), errors["val"].double().clamp(min=floor))
    return replace(
        found, answers=answers, gap=gap, null_gap=null, at_risk=at_risk,
        risky_images=parts["train"].x[at_risk.index[:SUSPICIOUS]], detections=tuple(d for d in detections if d),
    )  # fmt: skip


def _samples(
    found: Audit, bench: Bench, split: Split, samples: Tensor | None, features: FeatureMap | None, scale: float
) -> Audit:
    """Questions 3 and 4."""
    effort, rest = found.effort, split.holdout
    assert rest is not None
    if samples is None:
        if effort.n_samples < 2:
            return replace(found, notes=(*found.notes, "no samples were drawn: two questions are not asked"))
        grid = edm_sigmas(effort.n_steps, sigma_min=0.002 * scale, sigma_max=80 * scale)
        samples = bench.samples(effort.n_samples, grid, split.val.labels)
    elif samples.shape[1:] != split.train.x.shape[1:]:
        raise ValueError(
            f"samples has shape {tuple(samples.shape)}: training points are {tuple(split.train.x.shape[1:])}"
        )
    train, val, equal = split.train.x, split.val.x, min(len(split.train), len(split.val))
    which, of_val, of_train = ask.copied(samples, train, val)
    spaces = ask.leans(samples, train[:equal], val[:equal], rest.x, features or pixels, bench.seed)
    two = nearest(samples, train, k=2)
    ratios = two.distance[:, 0] / two.distance[:, 1].clamp(min=1e-12)
    worst = ratios.argsort()[:SUSPICIOUS]
    fid, name = _frechet(samples, split, features, bench.seed)
    try:
        c_t = copying_score(samples, train, val)
    except ValueError:  # too few points for cells
        c_t = None
    evidence = SampleEvidence(
        n=len(samples),
        memorized=clopper_pearson(int(which.sum()), len(which)), memorized_null=clopper_pearson(int(of_val.sum()),
        len(of_val)), authentic=authentic_fraction(samples, train), authentic_null=authentic_fraction(val, train),
        copying_score=c_t, lean=spaces[0], lean_null=spaces[1], frechet=fid, frechet_features=name,
        suspicious=samples[worst], originals=train[two.index[worst, 0]], original_index=two.index[worst, 0],
        ratios=ratios[worst],
    )  # fmt: skip
    more = {"copies": ask.about_copies(which, of_val, of_train), "lean": ask.about_lean(*spaces)}
    return replace(found, samples=evidence, answers={**found.answers, **more})


def _frechet(samples: Tensor, split: Split, features: FeatureMap | None, seed: int) -> tuple[FrechetGap | None, str]:
    assert split.holdout is not None
    image = split.train.x.shape[1:]
    if features is None:
        features = classifier_features if image in {(1, side, side) for side in (28, 14, 7)} else pixels
    points = (features(x) for x in (samples, split.train.x, split.val.x, split.holdout.x))
    drawn, train, val, rest = (x.flatten(1) for x in points)
    n = min(len(train), len(val))
    name = getattr(features, "identity", getattr(features, "__name__", "features"))
    if min(n, len(drawn)) < 2 * drawn.shape[1] or drawn.shape[1] > 2048:
        return None, name
    try:
        fresh = rest if len(rest) >= 2 * n else None
        return frechet_gap(drawn, train, val, fresh=fresh, n_resamples=12, seed=seed), name
    except ValueError:  # the samples are the training set
        return None, name


def _trajectories(found: Audit, bench: Bench, split: Split, scale: float) -> Audit:
    """Question 5."""
    effort, gap, rest = found.effort, found.gap, split.holdout
    equal = min(len(split.train), len(split.val), effort.n_images)
    n = min(effort.n_trajectories, equal)
    if n < 8 or gap is None or rest is None:
        return replace(found, notes=(*found.notes, "no trajectories were followed: one question is not asked"))
    grid = edm_sigmas(effort.n_steps, sigma_min=0.002 * scale, sigma_max=80 * scale)
    measure = Measure(seed=bench.seed, batch_size=bench.batch_size, progress=bench.progress)
    even = Split(split.train[:equal], split.val[:equal], rest)
    labels = None if split.val.labels is None else split.val.labels[torch.arange(n) % len(split.val)]
    stats = trajectory_stats(bench.subject, even, n, grid, measure, labels=labels)
    window = (grid[:-1] >= 0.1 * scale) & (grid[:-1] <= 3 * scale)
    position = relative_position(stats, "similarity_gap", levels=window, seed=bench.seed).interval()
    grids = list(starts(grid, 0.1 * scale, 2 * scale, 4))
    returned = {key: bench.recalled(part, grids, n, key) for key, part in (("train", even.train), ("val", even.val))}
    few = min(n, 64)
    copier = Subject("a denoiser that copies", OptimalDenoiser(even.train.x[:few]), split.train.x.shape[1:])
    other = replace(bench, subject=copier, share=(0, 1), wait=alone)
    ends = [other.recalled(Points(part.x[:few]), grids, few, "control") for part in (even.train, even.val)]
    control = ask.difference(*ends, seed=bench.seed)[0]
    answer = ask.about_recall(
        returned["train"], returned["val"], {"a denoiser that copies": (control, True)}, bench.seed
    )
    evidence = TrajectoryEvidence(grid[:-1], position, stats, {k: float(v.mean()) for k, v in returned.items()})
    return replace(found, trajectories=evidence, answers={**found.answers, "recall": answer})


def _points(x: Points | Tensor) -> Points:
    return Points(x) if isinstance(x, Tensor) else x


def _labelled(sets: Mapping[str, Points]) -> bool:
    return all(points.labels is not None for key, points in sets.items() if key != "rest")


def _split(sets: Mapping[str, Points], data: DataReport, seed: int) -> Split:
    """Sets in random order, without what is in two of them or twice in one."""
    train, val = data.distinct(sets["train"], "train"), data.distinct(sets["val"], "val")
    if min(len(train), len(val)) < 16:
        raise ValueError(
            f"train has {len(train)} distinct points and val {len(val)} that are not in train: give 16 or more"
        )
    order = [torch.randperm(len(points), generator=torch.Generator().manual_seed(seed)) for points in (train, val)]
    train, val = train[order[0]], val[order[1]]
    if "rest" in sets:
        return Split(train, val, sets["rest"])
    half = len(val) // 2
    return Split(train, val[:half], val[half:])


def _notes(data: DataReport, effort: Effort, split: Split) -> list[str]:
    notes = [str(data)] if str(data) else []
    if math.floor(FALSE_RATES[-1] * effort.n_images) < 1:
        needed = round(1 / FALSE_RATES[-1])
        notes.append(f"true positives at {FALSE_RATES[-1]:.1%} false ones need {needed:,} validation images")
    return notes
