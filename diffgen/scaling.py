"""What makes a denoiser memorize: a grid of runs that differ in one thing at a time, and what is measured of each.

`diffgen sweep` trains and measures them (`diffgen.sweeps`), chapter 4 draws them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen import evaluate
from diffgen.data import Points, Split
from diffgen.loop import train
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.features import features
from diffgen.metrics.gap import GapCurve, difference_at
from diffgen.metrics.laws import crossing_time, overfit_time
from diffgen.metrics.neighbours import GapTerms, copies, gap_terms, memorized_fraction, neighbour_gap
from diffgen.metrics.quality import paired_frechet
from diffgen.nets import DiTConfig
from diffgen.results import digest, kept
from diffgen.runs import Snapshot
from diffgen.schedule import log_sigmas
from diffgen.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The runs of chapter 4, all equal to `base` but for what their names say, and how each is measured.

    Args:
        base: what the runs have in common.
        n_train: training-set sizes of the grid, ascending.
        channels: widths of the grid, ascending.
        middle: (training-set size, width) of the runs that differ in their labels, dropout or architecture.
        clusters: numbers of k-means labels.
        dropout: of the run with dropout.
        transformer: the network of the run without convolutions, of about as many parameters as the middle one.
        reference_images: images seen by the reference of adjusted gaps, a network of the largest width trained on the
            rest of the pool; 0 takes the best linear denoiser.
        sigmas: noise levels, log-spaced from `sigma_min` to `sigma_max`.
        evaluate: images a split in gaps, or as many as there are.
        samples: drawn from each snapshot.
        steps: of the sampler.
    """

    base: TrainConfig
    n_train: tuple[int, ...]
    channels: tuple[int, ...]
    middle: tuple[int, int]
    clusters: tuple[int, ...]
    dropout: float = 0.2
    transformer: DiTConfig
    reference_images: int = 0
    sigmas: int
    sigma_min: float = 0.05
    sigma_max: float = 10
    evaluate: int
    samples: int
    steps: int

    def at(self, n: int, channels: int) -> TrainConfig:
        """The run with so many training images and that width."""
        data, network = replace(self.base.data, n_train=n), replace(self.base.network, channels=channels)
        return self.base.with_(data=data, network=network)

    @property
    def grid(self) -> dict[tuple[int, int], TrainConfig]:
        """Runs by (training-set size, width)."""
        return {(n, channels): self.at(n, channels) for n in self.n_train for channels in self.channels}

    @property
    def labelled(self) -> dict[str, TrainConfig]:
        """Runs that are told labels, by which, coarse ones first; "none" is that of the grid."""
        plain = self.at(*self.middle)

        def told(labels: str, k: int = 10) -> TrainConfig:
            data = replace(plain.data, labels=labels, n_labels=k)
            return plain.with_(data=data, conditional=True, label_dropout=0.0)

        found = {"none": plain} | {f"{k} clusters": told("clusters", k) for k in self.clusters}
        return found | {"classes": told("classes"), "random": told("random"), "one an image": told("images")}

    @property
    def architectures(self) -> dict[str, TrainConfig]:
        """Runs by what differs in the network; "U-Net" is that of the grid."""
        plain = self.at(*self.middle)
        return {
            "U-Net": plain,
            "with dropout": plain.with_(network=replace(plain.network, dropout=self.dropout)),
            "transformer": plain.with_(network=self.transformer, precision="no"),
        }

    @property
    def runs(self) -> dict[str, TrainConfig]:
        """All of them, each once, by a name that fits a file; the reference first, which the others need."""
        named = {"reference": self.reference} if self.reference else {}
        named |= {f"n{n}-width{channels}": config for (n, channels), config in self.grid.items()}
        others = {**self.labelled, **self.architectures}
        return named | {name.replace(" ", "-"): c for name, c in others.items() if c not in named.values()}

    @property
    def reference(self) -> TrainConfig | None:
        """The run whose last snapshot is the reference of adjusted gaps; None stands for the best linear denoiser."""
        if not self.reference_images:
            return None
        widest = self.at(max(self.n_train), max(self.channels))
        return widest.with_(data=widest.data.reference, images=self.reference_images, snapshots=1)


class Measured(NamedTuple):
    """What is known of a run, a row a snapshot.

    snapshots; images: seen; raw: gap curves; curves: adjusted, or raw where the training set is smaller than the images
    to be evaluated; copied: memorized fraction; null: that of validation images; sample_gap: of nearest neighbours,
    less the luck of the split; to_val: Fréchet distance of samples and validation images in classifier features.
    """

    snapshots: list[Snapshot]
    images: list[int]
    raw: list[GapCurve]
    curves: list[GapCurve]
    copied: list[Estimate]
    null: Estimate
    sample_gap: list[Estimate]
    to_val: list[Estimate]

    @property
    def heights(self) -> list[Estimate]:
        """G over training, at the noise level at which the last is largest."""
        return [curve.at(self.curves[-1].peak_sigma) for curve in self.curves]

    @property
    def excess(self) -> list[Estimate]:
        """The memorized fraction over training, less its null."""
        return [copied.minus(self.null) for copied in self.copied]

    @property
    def onset(self) -> Interval:
        """Images seen at the overfit onset, at the noise level of `heights`."""
        return overfit_time(self.raw, self.images, self.curves[-1].peak_sigma)

    @property
    def times(self) -> dict[str, Interval]:
        """Images seen when something happens, see `diffgen.metrics.laws`; the first three are memorization.

        "onset": of overfitting; "copies": more than one percent of them, above the null; "gap": G reaches 0.2;
        "quality": the Fréchet distance to validation images has come within half of its floor, the lowest of the run.
        """
        floor = 1.5 * min(map(float, self.to_val))
        return {
            "onset": self.onset,
            "copies": crossing_time(self.images, self.excess, 0.01),
            "gap": crossing_time(self.images, self.heights, 0.2),
            "quality": crossing_time(self.images, self.to_val, floor, rising=False),
        }


def measured(
    config: TrainConfig, plan: Scaling, *, root: str | Path = "runs", device: str = "cpu", progress: bool = True
) -> Measured:
    """Train a run of the plan, or find it trained, and measure each of its snapshots, or find that measured.

    Samples of a network that was trained with labels are drawn with those of the validation images, in their order.
    They are not kept, only what is measured of them.

    Args:
        config: the run, one of `plan.runs`.
        plan: how it is measured.
        root: folder of run folders.
        device: where to compute.
        progress: show bars.
    """
    snapshots = list(train(config, root=root, device=device, progress=progress))
    split, sigmas = config.data.load(), log_sigmas(plan.sigmas, plan.sigma_min, plan.sigma_max)
    seen = split if config.conditional else _unlabelled(split)
    options = {"images": plan.evaluate, "seed": config.seed, "device": device, "progress": progress}
    raw = evaluate.gap_curves(snapshots, seen, sigmas, **options)
    curves = evaluate.without_luck(raw, _unlabelled(split), plan.reference, root=root, **options)
    luck = neighbour_gap(split.rest.x, split.train.x, split.val.x)
    rows = [_generated(snapshot, split, plan, device) for snapshot in snapshots]
    return Measured(
        snapshots, [s.images for s in snapshots], raw, curves,
        copied=[Estimate.share(row["copied"].bool()) for row in rows],
        null=memorized_fraction(split.val.x, split.train.x),
        sample_gap=[GapTerms(row["near_train"].double(), row["near_val"].double()).gap.minus(luck) for row in rows],
        to_val=[Estimate(*row["frechet"].tolist(), plan.samples) for row in rows],
    )  # fmt: skip


def contrast(a: Measured, b: Measured, sigma: float) -> Estimate:
    """The difference of the last gaps of two runs at a noise level, over the images that both have in common.

    Where one of them is not adjusted neither is: what the images contribute to both must be the same to cancel.
    """
    raw = any(run.curves[-1] is run.raw[-1] for run in (a, b))
    pair = [(run.raw if raw else run.curves)[-1] for run in (a, b)]
    same = min(curve.train_errors.shape[1] for curve in pair)
    return difference_at(*(GapCurve(c.sigmas, c.train_errors[:, :same], c.val_errors) for c in pair), sigma)


def _generated(snapshot: Snapshot, split: Split, plan: Scaling, device: str) -> dict[str, Tensor]:
    """What is measured of a snapshot's samples, a number a sample."""
    config = snapshot.run.config
    labels = split.val.labels[torch.arange(plan.samples) % len(split.val)] if config.conditional else None

    def compute() -> dict[str, Tensor]:
        options = {"steps": plan.steps, "labels": labels, "seed": config.seed, "device": device, "progress": False}
        x = evaluate.drawn(snapshot, plan.samples, **options)
        terms = gap_terms(x, split.train.x, split.val.x)
        # to all validation images, whatever n_train is: of fewer points the distance would be larger by its bias
        (to_val,), _ = paired_frechet([features(x)], features(split.val.x), resamples=12, seed=config.seed)
        return {
            "copied": copies(x, split.train.x),
            "near_train": terms.to_train.float(),
            "near_val": terms.to_val.float(),
            "frechet": torch.tensor([to_val, to_val.stderr]),
        }

    settings = {"n": plan.samples, "steps": plan.steps, "seed": config.seed, "labels": labels is not None}
    settings |= {"train": digest(split.train), "val": digest(split.val)}
    return kept(snapshot, "generated", settings, compute)


def _unlabelled(split: Split) -> Split:
    return Split(*(None if points is None else Points(points.x) for points in (split.train, split.val, split.rest)))
