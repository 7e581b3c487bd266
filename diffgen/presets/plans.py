"""What a preset decides, one small dataclass a chapter: which runs, and how much is computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from diffgen.data import DataConfig
from diffgen.data.pseudo_labels import LabelName
from diffgen.nets import DiTConfig, UNetConfig
from diffgen.schedule import edm_sigmas, log_sigmas
from diffgen.training import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Noise levels at which gaps are evaluated: n of them, log-spaced."""

    n: int
    sigma_min: float
    sigma_max: float

    @property
    def sigmas(self) -> Tensor:
        """The levels, (n,), ascending."""
        return log_sigmas(self.n, self.sigma_min, self.sigma_max)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A plan that draws samples by a sampler of `n_steps`."""

    n_steps: int

    @property
    def sigmas(self) -> Tensor:
        """The sampler's grid."""
        return edm_sigmas(self.n_steps)


@dataclass(frozen=True, kw_only=True)
class ToyPlan:
    """Chapter 1. n_noise: noise draws a point."""

    n_noise: int = 50


@dataclass(frozen=True, kw_only=True)
class GapPlan:
    """Chapter 2.

    networks: its runs by what they are called there; all but the network is equal. architectures: a U-Net and a
    transformer on equal images, few enough that the transformer memorizes as well. levels: of the gap curves. n_eval:
    images a split in the curves. n_peak: images a split at the noise level of the peak, where claims are decided; as
    many if None.
    """

    networks: Mapping[str, TrainConfig]
    architectures: Mapping[str, TrainConfig]
    levels: Levels
    n_eval: int
    n_peak: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrajectoriesPlan(Sampling):
    """Chapter 3.

    by_size: its runs by training-set size, the main one and others that share its first snapshots; the smallest is the
    control, a run that copies. disjoint_runs: runs of these sizes on as many other images, none in common, where the
    pool has as many; of one snapshot each, to be compared with its sibling after as many images. n: trajectories, and
    images a split. n_samples: samples a snapshot in a report. stops: steps of the sampler after which samples are
    stopped early. n_steps: of the sampler.
    """

    by_size: Mapping[int, TrainConfig]
    disjoint_runs: Mapping[int, TrainConfig]
    n: int
    n_samples: int
    stops: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ScalingPlan(Sampling):
    """Chapter 4: runs that are equal to `base` but for what their names say, and how each is measured.

    Args:
        base: what the runs have in common.
        train_sizes: training-set sizes of the grid, ascending.
        widths: channels of the grid's networks, ascending.
        base_cell: (training-set size, width) of the runs that differ in their labels, dropout or architecture.
        clusters: numbers of k-means labels.
        dropout: of the run with dropout.
        transformer: the network of the run without convolutions, of about as many parameters as that of the base cell.
        reference_images: images seen by the reference of adjusted gaps, a network of the largest width trained on the
            holdout; 0 takes the best linear denoiser.
        levels: of the gap curves.
        n_eval: images a split in gaps, or as many as there are.
        labels_n_eval: the same where labels are compared, at the last snapshot; `n_eval` if 0.
        n_samples: drawn from each snapshot.
        n_steps: of the sampler.
    """

    base: TrainConfig
    train_sizes: tuple[int, ...]
    widths: tuple[int, ...]
    base_cell: tuple[int, int]
    clusters: tuple[int, ...]
    dropout: float = 0.2
    transformer: DiTConfig
    reference_images: int = 0
    levels: Levels
    n_eval: int
    labels_n_eval: int = 0
    n_samples: int

    def at(self, n: int, width: int) -> TrainConfig:
        """The run with so many training images and that width."""
        data, network = self.base.data, self.base.network
        assert isinstance(data, DataConfig)
        assert isinstance(network, UNetConfig)
        return self.base.with_(data=replace(data, n_train=n), network=replace(network, channels=width))

    @property
    def grid(self) -> dict[tuple[int, int], TrainConfig]:
        """Runs by (training-set size, width)."""
        return {(n, width): self.at(n, width) for n in self.train_sizes for width in self.widths}

    @property
    def labelled(self) -> dict[str, TrainConfig]:
        """Runs that are told labels, by which, coarse ones first; "none" is that of the grid."""
        plain = self.at(*self.base_cell)

        def with_labels(labels: LabelName, k: int = 10) -> TrainConfig:
            assert isinstance(plain.data, DataConfig)
            data = replace(plain.data, labels=labels, n_labels=k)
            return plain.with_(data=data, conditional=True, label_dropout=0.0)

        runs = {"none": plain} | {f"{k} clusters": with_labels("clusters", k) for k in self.clusters}
        others: dict[str, LabelName] = {"classes": "classes", "random": "random", "one an image": "instances"}
        return runs | {name: with_labels(labels) for name, labels in others.items()}

    @property
    def architectures(self) -> dict[str, TrainConfig]:
        """Runs by what differs in the network; "U-Net" is that of the grid."""
        plain = self.at(*self.base_cell)
        assert isinstance(plain.network, UNetConfig)
        return {
            "U-Net": plain,
            "with dropout": plain.with_(network=replace(plain.network, dropout=self.dropout)),
            "transformer": plain.with_(network=self.transformer, precision="no"),
        }

    @property
    def runs(self) -> dict[str, TrainConfig]:
        """All of them, each once, by a name that fits a file; the reference first, which the others need."""
        named = {"reference": self.reference} if self.reference else {}
        named |= {f"n{n}-width{width}": config for (n, width), config in self.grid.items()}
        others = {**self.labelled, **self.architectures}
        return named | {name.replace(" ", "-"): c for name, c in others.items() if c not in named.values()}

    @property
    def reference(self) -> TrainConfig | None:
        """The run whose last snapshot is the reference of adjusted gaps; None stands for the best linear denoiser."""
        if not self.reference_images:
            return None
        return as_reference(self.at(max(self.train_sizes), max(self.widths)), self.reference_images)


@dataclass(frozen=True, kw_only=True)
class GuidancePlan(Sampling):
    """Chapter 5.

    guides: runs by the kind of guidance, both of the smaller network of chapter 2 and stopped early, as in the paper:
    with classes for autoguidance, without for classifier-free guidance. weights: guidance weights, from 0 on. levels:
    of its gap curves. n_eval: images a split in them. n_samples: a weight. n_trajectories: a weight, and images a split
    beside them. n_steps: of the sampler. windows: sides of the windows in the four corners, in pixels, the smallest
    first, from about half the side of the image to less than all of it; the image itself comes on top. window_n_eval:
    images a split in the gaps of windowed denoisers. field_levels: noise levels at which receptive fields are taken,
    from 0.002 to 80. field_images: noisy images a split of which they are. field_pixels: pixels of each of them, drawn
    at random. map_images: images of whose every pixel a map is drawn, at a few of these levels.
    """

    guides: Mapping[str, TrainConfig]
    weights: tuple[float, ...] = (0, 0.25, 0.5, 1, 1.5, 2)
    levels: Levels
    n_eval: int
    n_samples: int
    n_trajectories: int
    windows: tuple[int, ...]
    window_n_eval: int
    field_levels: int
    field_images: int
    field_pixels: int
    map_images: int = 2


@dataclass(frozen=True, kw_only=True)
class YourModelPlan:
    """Chapter 6.

    size: of the images. n_train: training images of the DDPM. few: those of the flow, which is to copy them. n_val:
    images that neither saw. ddpm_images, flow_images: images seen in training. effort: of audits, fields of
    `diffgen.auditing.effort.Effort`.
    """

    size: int = 14
    n_train: int = 1_024
    few: int = 32
    n_val: int = 2_048
    ddpm_images: int = 25_600
    flow_images: int = 64_000
    effort: Mapping[str, int] = field(default_factory=lambda: {
        "n_images": 1_024, "n_levels": 8, "draws": 1, "n_samples": 640, "n_steps": 12, "n_trajectories": 64
    })  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What the chapters of the book compute.

    Args:
        train: the main model, of chapters 2, 3 and 5, which is told the classes of the images.
        n_seeds: how many times the main model and its guides are trained, each with a split, weights and noise of its
            own: verdicts have the error over these.
        reference_images: images seen by the reference denoiser of adjusted gaps, a network like the main one trained on
            the holdout; 0 takes the best linear denoiser instead.
        toy, gap, trajectories, scaling, guidance, your_model: the plans of the chapters.
    """

    train: TrainConfig
    n_seeds: int = 1
    reference_images: int = 0
    toy: ToyPlan = ToyPlan()
    gap: GapPlan
    trajectories: TrajectoriesPlan
    scaling: ScalingPlan
    guidance: GuidancePlan
    your_model: YourModelPlan = YourModelPlan()

    @property
    def reference(self) -> TrainConfig | None:
        """The run whose last snapshot is the reference of adjusted gaps; None stands for the best linear denoiser."""
        return as_reference(self.train, self.reference_images) if self.reference_images else None


def as_reference(config: TrainConfig, total_images: int) -> TrainConfig:
    """A run like another one on that one's holdout, of one snapshot: a reference denoiser that saw neither split."""
    assert isinstance(config.data, DataConfig)
    return config.with_(data=config.data.reference, total_images=total_images, n_snapshots=1)


def until(config: TrainConfig, total_images: int, like: TrainConfig) -> TrainConfig:
    """A config with the snapshots of another one, up to one of them."""
    snapshots = like.snapshot_images
    return config.with_(total_images=total_images, n_snapshots=snapshots.index(total_images) + 1)


def by_size(train: TrainConfig, sizes: tuple[int, ...], total_images: int) -> dict[int, TrainConfig]:
    """Runs by training-set size: the main one, and others that share its snapshots up to `total_images`."""
    data = train.data
    assert isinstance(data, DataConfig)
    runs = {n: until(train.with_(data=replace(data, n_train=n)), total_images, train) for n in sizes}
    return dict(sorted({**runs, data.n_train: train}.items()))


def disjoint_runs(runs: Mapping[int, TrainConfig], total_images: int) -> dict[int, TrainConfig]:
    """Runs of these sizes on as many other images, where the pool has as many, of one snapshot each."""
    disjoint = {}
    for n, config in runs.items():
        data = config.data
        assert isinstance(data, DataConfig)
        if 2 * n + data.n_val <= data.source.pool_size:
            disjoint[n] = config.with_(data=replace(data, skip=n), total_images=total_images, n_snapshots=1)
    return disjoint
