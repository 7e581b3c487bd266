"""How much to compute: functions that return complete settings, from seconds to the paper's own.

A preset is a plain frozen dataclass. Take one, change what you like with `dataclasses.replace` or `config.with_`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from diffgen.data import DataConfig
from diffgen.data.fashion_mnist import POOL_SIZES
from diffgen.ema import HalfLife
from diffgen.nets import DiTConfig, UNetConfig
from diffgen.scaling import Scaling
from diffgen.train import TrainConfig

PresetName = Literal["smoke", "quick", "standard", "paper"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What the chapters of the book compute.

    Args:
        train: the main model, of chapters 2, 3 and 5.
        small: a narrower network, trained like the main one, in chapter 2.
        transformer: likewise, of about as many parameters as the main one.
        transformer_precision: that of its training. On CPUs bfloat16 slows small transformers (benchmarks/training.py).
        reference_images: images seen by the reference denoiser of adjusted gaps, a network like the main one trained on
            the rest of the pool; 0 takes the best linear denoiser instead.
        sizes: training-set sizes of chapter 3 beside that of the main model.
        sizes_images: images seen by its models of other sizes, one of the stops of the main model.
        trajectories: samples a snapshot, and images a split, in chapter 3.
        scaling: the runs of chapter 4, and how they are measured.
        sigmas: noise levels at which gaps are evaluated, log-spaced from `sigma_min` to `sigma_max`.
        evaluate: images a split in gaps.
        samples: samples drawn from a snapshot.
        steps: steps of the sampler.
        toy_draws: noise draws a point in the toy model.
        weights: guidance weights of chapter 5, from 0 on.
        guidance_images: images seen by the network with classes of chapter 5, one of the stops of the main model.
        guidance_sigmas: noise levels of its gaps, log-spaced from 0.1 to 10.
        guidance_samples: samples a weight.
        guidance_trajectories: trajectories a weight, and images a split beside them.
        windows: sides of the sliding windows in pixels, the smallest first; the image itself comes on top.
        window_stride: pixels from one window to the next, 2ᵏ for a network that halves its input k times.
        window_images: images a split in the gaps of windowed denoisers.
        range_images: noisy images of which range scores are taken.
        range_pixels: pixels of each of them, drawn at random.
    """

    train: TrainConfig
    small: UNetConfig
    transformer: DiTConfig
    transformer_precision: Literal["no", "bf16"] = "no"
    reference_images: int = 0
    sizes: tuple[int, ...]
    sizes_images: int
    trajectories: int
    scaling: Scaling
    sigmas: int
    sigma_min: float = 0.02
    sigma_max: float = 40
    evaluate: int
    samples: int
    steps: int
    toy_draws: int = 50
    weights: tuple[float, ...] = (0, 0.25, 0.5, 1, 1.5, 2)
    guidance_images: int
    guidance_sigmas: int
    guidance_samples: int
    guidance_trajectories: int
    windows: tuple[int, ...]
    window_stride: int
    window_images: int
    range_images: int
    range_pixels: int

    @property
    def networks(self) -> dict[str, TrainConfig]:
        """The runs of chapter 2 by what they are called there; all but the network is equal."""
        return {
            "U-Net": self.train,
            "small U-Net": self.train.with_(network=self.small),
            "transformer": self.train.with_(network=self.transformer, precision=self.transformer_precision),
        }

    @property
    def reference(self) -> TrainConfig | None:
        """The run whose last snapshot is the reference of adjusted gaps; None stands for the best linear denoiser."""
        if not self.reference_images:
            return None
        return self.train.with_(data=self.train.data.reference, images=self.reference_images, snapshots=1)

    @property
    def by_size(self) -> dict[int, TrainConfig]:
        """The runs of chapter 3 by training-set size: the main one, and others that share its first stops."""
        found = {n: self._until(self.train.with_(data=replace(self.train.data, n_train=n))) for n in self.sizes}
        found[self.train.data.n_train] = self.train
        return dict(sorted(found.items()))

    @property
    def twins(self) -> dict[int, TrainConfig]:
        """The runs of `by_size` on as many other images, none in common, where the pool has as many; one stop each.

        Each is to be compared with its sibling at `sizes_images`.
        """
        pool, n_val = POOL_SIZES[self.train.data.name], self.train.data.n_val
        return {
            n: config.with_(data=replace(config.data, skip=n), images=self.sizes_images, snapshots=1)
            for n, config in self.by_size.items()
            if 2 * n + n_val <= pool
        }

    def _until(self, config: TrainConfig, images: int | None = None) -> TrainConfig:
        """The config with the stops of the main model up to one of them, `sizes_images` by default."""
        last, stops = self.sizes_images if images is None else images, self.train.snapshot_images
        return config.with_(images=last, snapshots=stops.index(last) + 1)

    @property
    def conditional(self) -> TrainConfig:
        """The run of chapter 5 with classes, some rows shown without: the main one, up to `guidance_images`."""
        return self._until(self.train, self.guidance_images).with_(conditional=True)


def smoke(seed: int = 0) -> Preset:
    """Seconds a chapter: proves that everything runs, and nothing else."""
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist", size=14, n_train=64, n_val=64, seed=seed),
        network=UNetConfig(channels=8),
        images=1_024, batch=64, snapshots=3, first_snapshot=256, warmup=256, ema=(HalfLife(images=256),), seed=seed,
    )  # fmt: skip
    scaling = Scaling(
        base=train.with_(images=512, snapshots=2),
        n_train=(32, 64), channels=(8, 12), middle=(32, 8), clusters=(2,),
        transformer=DiTConfig(patch=2, width=16, depth=2), sigmas=6, evaluate=32, samples=24, steps=4,
    )  # fmt: skip
    return Preset(
        train=train,
        small=UNetConfig(channels=4), transformer=DiTConfig(patch=2, width=16, depth=2), reference_images=512,
        sizes=(8, 96), sizes_images=512, trajectories=24,
        scaling=scaling,
        sigmas=6, evaluate=48, samples=24, steps=4, toy_draws=20, weights=(0, 1),
        guidance_images=1_024, guidance_sigmas=5, guidance_samples=24, guidance_trajectories=16,
        windows=(6, 10), window_stride=2, window_images=16, range_images=2, range_pixels=4,
    )  # fmt: skip


def quick(seed: int = 0) -> Preset:
    """The default: real training on the bundled images, the whole book in minutes on two cores."""
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist", size=14, n_train=256, n_val=1_024, seed=seed),
        network=UNetConfig(channels=24),
        images=32_768, batch=64, learning_rate=3e-3, snapshots=7, first_snapshot=2_048, precision="bf16", seed=seed,
    )  # fmt: skip
    scaling = Scaling(
        base=train.with_(images=16_384, snapshots=4),
        n_train=(16, 64, 256), channels=(8, 16), middle=(64, 16), clusters=(16,),
        transformer=DiTConfig(patch=2, width=48, depth=2), sigmas=8, evaluate=64, samples=64, steps=10,
    )  # fmt: skip
    return Preset(
        train=train,
        small=UNetConfig(channels=8), transformer=DiTConfig(patch=2, width=64, depth=3),
        sizes=(8, 1_024), sizes_images=12_992, trajectories=160,
        scaling=scaling,
        sigmas=12, evaluate=256, samples=256, steps=14, weights=(0, 0.5, 1, 2),
        guidance_images=32_768, guidance_sigmas=8, guidance_samples=192, guidance_trajectories=64,
        windows=(6, 8, 10, 12), window_stride=2, window_images=256, range_images=6, range_pixels=24,
    )  # fmt: skip


def standard(seed: int = 0) -> Preset:
    """About an hour on two cores for each of chapters 2 to 5: images at full size (but in chapter 4), long training."""
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist", size=28, n_train=1_024, n_val=1_024, seed=seed),
        network=UNetConfig(channels=24, multipliers=(1, 2, 4)),
        images=500_000, batch=64, learning_rate=2e-3, warmup=4_096, decay=200_000, ema=(HalfLife(images=10_000),),
        snapshots=8, first_snapshot=8_192, precision="bf16", seed=seed,
    )  # fmt: skip
    scaling = Scaling(
        base=train.with_(
            data=replace(train.data, size=14), network=UNetConfig(channels=16), images=65_536, warmup=2_048,
            learning_rate=3e-3, decay=49_152, ema=(HalfLife(images=4_000),), snapshots=8, first_snapshot=2_048,
        ),
        n_train=(32, 64, 96, 128, 192, 256, 512, 1_024, 4_096), channels=(8, 16, 24), middle=(512, 16),
        clusters=(2, 10, 50, 200), transformer=DiTConfig(patch=2, width=48, depth=3), reference_images=65_536,
        sigmas=10, evaluate=192, samples=128, steps=12,
    )  # fmt: skip
    return Preset(
        train=train,
        small=UNetConfig(channels=8, multipliers=(1, 2, 4)), transformer=DiTConfig(patch=4, width=96, depth=5),
        reference_images=200_000,
        sizes=(64, 4_096), sizes_images=154_432, trajectories=256,
        scaling=scaling,
        sigmas=18, evaluate=1_024, samples=1_024, steps=18, toy_draws=1_000,
        guidance_images=277_888, guidance_sigmas=9, guidance_samples=512, guidance_trajectories=128,
        windows=(12, 16, 20, 24), window_stride=4, window_images=512, range_images=8, range_pixels=32,
    )  # fmt: skip


def paper(seed: int = 0) -> Preset:
    """The paper's protocol on all of Fashion-MNIST at full size, for a GPU and days; not run by us.

    64 noise levels in [0.002, 80], 8192 images a split, EDM's sampler with 32 steps, EDM's training settings.
    """
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist_70k", size=28, n_train=50_000, n_val=10_000, seed=seed),
        network=UNetConfig(channels=128, multipliers=(1, 2, 2), blocks=3, attention=(14,), dropout=0.13),
        images=200_000_000, batch=512, learning_rate=1e-3, warmup=10_000_000, ema=(HalfLife(images=500_000),),
        snapshots=25, first_snapshot=2_000_000, precision="bf16", seed=seed,
    )  # fmt: skip
    scaling = Scaling(
        base=train.with_(images=100_000_000),
        n_train=(1_024, 4_096, 16_384, 50_000), channels=(32, 64, 128), middle=(50_000, 64),
        clusters=(2, 5, 10, 20, 50, 100, 200, 300, 400, 500),
        transformer=DiTConfig(patch=2, width=256, depth=10, heads=4, dropout=0.13),
        sigmas=64, sigma_min=0.002, sigma_max=80, evaluate=8_192, samples=10_000, steps=18,
    )  # fmt: skip
    return Preset(
        train=train,
        small=UNetConfig(channels=64, multipliers=(1, 2, 2), blocks=3, attention=(14,), dropout=0.13),
        transformer=DiTConfig(patch=2, width=384, depth=12, heads=6, dropout=0.13), transformer_precision="bf16",
        sizes=(1_024, 8_192), sizes_images=92_830_720, trajectories=10_000,
        scaling=scaling,
        sigmas=64, sigma_min=0.002, sigma_max=80, evaluate=8_192, samples=10_000, steps=32, toy_draws=1_000,
        weights=(0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2),
        guidance_images=200_000_000, guidance_sigmas=32, guidance_samples=10_000, guidance_trajectories=10_000,
        windows=(8, 12, 16, 20, 24), window_stride=4, window_images=8_192, range_images=64, range_pixels=784,
    )  # fmt: skip


def named(name: PresetName, seed: int = 0) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none.
    """
    found = {"smoke": smoke, "quick": quick, "standard": standard, "paper": paper}
    if name not in found:
        raise ValueError(f"preset is {name!r}: it is one of {', '.join(found)}")
    return found[name](seed)
