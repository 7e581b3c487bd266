"""What is measured of each run when runs are compared: gaps, copies and the quality of samples, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.data import Points, Split
from diffgen.experiments.gap import adjusted_curves, gap_curves, reference_curve
from diffgen.experiments.measure import Measure
from diffgen.experiments.sampling import draw_samples
from diffgen.features import FeatureMap, classifier_features, identity
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve, generalization_gap, paired_difference_at
from diffgen.metrics.neighbours import NeighbourTerms, copies, memorized_fraction, neighbour_gap, neighbour_terms
from diffgen.metrics.quality import paired_frechet
from diffgen.metrics.scaling_laws import crossing_time, overfit_time
from diffgen.optimal import GaussianDenoiser
from diffgen.runs import Snapshot, Subject, cached, data_hash

VERSION = 1
"""Of what is measured of samples; that of gaps is in `diffgen.experiments.gap`."""


class RunMetrics(NamedTuple):
    """What is known of a run, one entry for each snapshot.

    snapshots; images_seen; raw: gap curves; curves: adjusted, see `label_adjusted`; memorized: memorized fraction;
    null: that of validation images; sample_gap: of nearest neighbours, less that of the holdout; to_val: Fréchet
    distance of samples and validation images in features.
    """

    snapshots: list[Snapshot]
    images_seen: list[int]
    raw: list[GapCurve]
    curves: list[GapCurve]
    memorized: list[Estimate]
    null: Estimate
    sample_gap: list[Estimate]
    to_val: list[Estimate]

    @property
    def peak_gaps(self) -> list[Estimate]:
        """G over training, at the noise level at which the last is largest."""
        return [curve.at(self.curves[-1].peak_sigma) for curve in self.curves]

    @property
    def excess_memorized(self) -> list[Estimate]:
        """The memorized fraction over training, less its null."""
        return [memorized.minus(self.null) for memorized in self.memorized]

    @property
    def overfit_onset(self) -> Interval:
        """Images seen at the overfit onset, at the noise level of `peak_gaps`."""
        return overfit_time(self.raw, self.images_seen, self.curves[-1].peak_sigma)

    @property
    def onset_times(self) -> dict[str, Interval]:
        """Images seen when something happens, see `diffgen.metrics.scaling_laws`; the first three are memorization.

        "onset": of overfitting; "copies": more than one percent of them, above the null; "gap": G reaches 0.2;
        "quality": the Fréchet distance to validation images has come within half of its floor, the lowest of the run.
        """
        floor = 1.5 * min(map(float, self.to_val))
        return {
            "onset": self.overfit_onset,
            "copies": crossing_time(self.images_seen, self.excess_memorized, 0.01),
            "gap": crossing_time(self.images_seen, self.peak_gaps, 0.2),
            "quality": crossing_time(self.images_seen, self.to_val, floor, rising=False),
        }


def measure_run(
    snapshots: Sequence[Snapshot],
    split: Split,
    sigmas: Tensor,
    n_samples: int,
    sample_sigmas: Tensor,
    reference: Subject | None,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    features: FeatureMap = classifier_features,
) -> RunMetrics:
    """Measure each snapshot of a run, or find it measured.

    Samples of a network that was trained with labels are drawn with those of the validation images, in their order.
    They are not kept, only what is measured of them.

    Args:
        snapshots: of the run.
        split: its data.
        sigmas: noise levels of gaps, (S,).
        n_samples: drawn from each snapshot.
        sample_sigmas: the sampler's grid.
        reference: of adjusted gaps, see `diffgen.experiments.gap.reference_curve`.
        measure: how; `n_images` of each split in gaps, or as many as there are.
        features: in which the distance of samples to validation images is measured.
    """
    raw, curves = run_gap_curves(snapshots, split, sigmas, reference, measure)
    if split.holdout is None:
        raise ValueError("split has no holdout: the gap of samples is measured beside that of fresh images")
    of_holdout = neighbour_gap(split.holdout.x, split.train.x, split.val.x)
    rows = [_of_samples(snapshot, split, n_samples, sample_sigmas, measure, features) for snapshot in snapshots]
    terms = [NeighbourTerms(row["near_train"].double(), row["near_val"].double()) for row in rows]
    return RunMetrics(
        list(snapshots), [s.images_seen for s in snapshots], raw, curves,
        memorized=[Estimate.proportion(row["memorized"].bool()) for row in rows],
        null=memorized_fraction(split.val.x, split.train.x),
        sample_gap=[term.gap.minus(of_holdout) for term in terms],
        to_val=[Estimate(row["frechet"][0], row["frechet"][1], n_samples) for row in rows],
    )  # fmt: skip


class RunGaps(NamedTuple):
    """Gap curves of a run's snapshots: raw, and adjusted by `label_adjusted`."""

    raw: list[GapCurve]
    curves: list[GapCurve]


def run_gap_curves(
    snapshots: Sequence[Snapshot], split: Split, sigmas: Tensor, reference: Subject | None,
    measure: Measure = Measure(),  # noqa: B008
) -> RunGaps:  # fmt: skip
    """The gap curves of snapshots of a run, with labels if it was trained with them.

    Args:
        snapshots: of the run.
        split: its data.
        sigmas: noise levels, (S,).
        reference: that knows no labels; see `diffgen.experiments.reference_curve`.
        measure: how; `n_images` of each split.
    """
    conditional = snapshots[0].run.config.conditional
    raw = gap_curves(snapshots, split if conditional else _unlabelled(split), sigmas, measure)
    return RunGaps(raw, label_adjusted(raw, split, conditional, reference, measure))


def label_adjusted(
    curves: Sequence[GapCurve], split: Split, conditional: bool, reference: Subject | None,
    measure: Measure = Measure(),  # noqa: B008
) -> list[GapCurve]:  # fmt: skip
    """Gap curves adjusted by a reference, and of networks with labels by `label_reference` beside it.

    Raw where the training set has fewer images than are evaluated, see `diffgen.experiments.adjusted_curves`.

    Args:
        curves: over the same images and noise levels.
        split: with labels where they are needed.
        conditional: whether the networks were told labels.
        reference: that knows no labels; see `diffgen.experiments.reference_curve`.
        measure: as for these curves.
    """
    plain = _unlabelled(split)
    adjusted = adjusted_curves(curves, plain, reference, measure)
    if not conditional or adjusted[-1] is curves[-1]:
        return adjusted
    sigmas = curves[0].sigmas
    beside = (reference_curve(reference, plain, sigmas, measure), label_reference(split, sigmas, measure))
    return [control_variate_adjusted(curve, *beside) for curve in curves]


def label_reference(split: Split, sigmas: Tensor, measure: Measure = Measure()) -> GapCurve:  # noqa: B008
    """The gap of a linear denoiser that knows labels and saw neither split: what luck and labels leave by themselves.

    D(x, σ, c) = m_c + W(x − m_c), with m_c the mean of the holdout's images of a label, drawn to the mean of all as if
    by one image of it, and W the Wiener filter of what these means leave. As σ → ∞ it returns m_c, the best guess of
    who knows nothing but the label, as any network does there.

    Labels that were made from the training images describe these better than others, the more of them the better. So
    this gap is luck for coarse labels, and for fine ones more than that.

    Args:
        split: images with labels.
        sigmas: noise levels, (S,).
        measure: how; `n_images` of each split.

    Raises:
        ValueError: the split has no holdout, or no labels.
    """
    if split.holdout is None or split.holdout.labels is None:
        raise ValueError("split has no holdout with labels: the means of labels are those of images of neither split")
    x, labels = split.holdout.x, split.holdout.labels
    parts = [measure.of(split.train), measure.of(split.val)]
    count = 1 + max(int(p.labels.max()) for p in (*parts, split.holdout) if p.labels is not None)
    size = labels.bincount(minlength=count).to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    mean = x.mean(0)
    means = mean + torch.zeros(count, *x.shape[1:]).index_add_(0, labels, x - mean) / (size + 1)
    within = GaussianDenoiser.fit(x - means[labels])
    train, val = (p.x - means[p.labels] for p in parts)
    return generalization_gap(within, train, val, sigmas, seed=measure.seed)


def last_gap_difference(a: RunMetrics, b: RunMetrics, sigma: float) -> Estimate:
    """The difference of the last gaps of two runs at a noise level, over the images that both have in common.

    Where one of them is not adjusted neither is: what the images contribute to both must be the same to cancel.
    """
    first, second = comparable_curves([a, b])
    return paired_difference_at(first, second, sigma)


def comparable_curves(runs: Sequence[RunMetrics]) -> list[GapCurve]:
    """The last gap curves of runs over the images that all have in common; where one is not adjusted none is."""
    raw = any(run.curves[-1] is run.raw[-1] for run in runs)
    curves = [(run.raw if raw else run.curves)[-1] for run in runs]
    same = min(curve.train_errors.shape[1] for curve in curves)
    return [GapCurve(c.sigmas, c.train_errors[:, :same], c.val_errors) for c in curves]


class SampleDistances(NamedTuple):
    """Fréchet distances of the same samples to equally many training and validation images, in features."""

    to_train: Estimate
    to_val: Estimate


def sample_distances(
    snapshot: Snapshot, split: Split, n: int, sigmas: Tensor, measure: Measure = Measure(),  # noqa: B008
    *, features: FeatureMap = classifier_features,
) -> SampleDistances:  # fmt: skip
    """The Fréchet distances of a snapshot's samples to both splits, which are cut to the smaller of them.

    The samples are those of `measure_run`.

    Args:
        snapshot: of a run.
        split: its data.
        n: samples.
        sigmas: the sampler's grid.
        measure: how.
        features: in which the distances are measured.
    """
    labels, settings = _labels_and_settings(snapshot, split, n, sigmas, measure, features)
    same = min(len(split.train), len(split.val))

    def compute() -> dict[str, Tensor]:
        x = features(draw_samples(snapshot, n, sigmas, measure.with_(progress=False), labels=labels))
        distances = {}
        for name, part in (("train", split.train), ("val", split.val)):
            (to,), _ = paired_frechet([x], features(part.x[:same]), n_resamples=12, seed=measure.seed)
            distances[name] = torch.tensor([to, to.stderr], dtype=torch.float64)
        return distances

    known = cached(snapshot, "sample_distances", settings, compute, version=VERSION)
    to_train, to_val = (Estimate(known[name][0], known[name][1], n) for name in ("train", "val"))
    return SampleDistances(to_train, to_val)


def _labels_and_settings(
    snapshot: Snapshot, split: Split, n: int, sigmas: Tensor, measure: Measure, features: FeatureMap
) -> tuple[Tensor | None, dict[str, object]]:
    labels = None
    if snapshot.run.config.conditional and split.val.labels is not None:
        labels = split.val.labels[torch.arange(n) % len(split.val)]
    settings = {
        "n": n, "sigmas": sigmas.tolist(), "seed": measure.seed, "labels": labels is not None,
        "features": identity(features), "train": data_hash(split.train), "val": data_hash(split.val),
    }  # fmt: skip
    return labels, settings


def _of_samples(
    snapshot: Snapshot, split: Split, n: int, sigmas: Tensor, measure: Measure, features: FeatureMap
) -> dict[str, Tensor]:
    """What is measured of a snapshot's samples, one number for each sample."""
    labels, settings = _labels_and_settings(snapshot, split, n, sigmas, measure, features)

    def compute() -> dict[str, Tensor]:
        x = draw_samples(snapshot, n, sigmas, measure.with_(progress=False), labels=labels)
        terms = neighbour_terms(x, split.train.x, split.val.x)
        # to all validation images, whatever n_train is: of fewer points the distance would be larger by its bias
        (to_val,), _ = paired_frechet([features(x)], features(split.val.x), n_resamples=12, seed=measure.seed)
        return {
            "memorized": copies(x, split.train.x),
            "near_train": terms.to_train.float(),
            "near_val": terms.to_val.float(),
            "frechet": torch.tensor([to_val, to_val.stderr]),
        }

    return cached(snapshot, "sample_metrics", settings, compute, version=VERSION)


def _unlabelled(split: Split) -> Split:
    holdout = None if split.holdout is None else Points(split.holdout.x)
    return Split(Points(split.train.x), Points(split.val.x), holdout)
