"""How much to compute: functions that return complete settings, from seconds to the paper's own.

A preset is a plain frozen dataclass. Take one, change what you like with `dataclasses.replace` or `config.with_`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from diffgen.data import DataConfig
from diffgen.nets import DiTConfig, UNetConfig
from diffgen.presets.plans import (
    GapPlan,
    GuidancePlan,
    Levels,
    Preset,
    ScalingPlan,
    ToyPlan,
    TrajectoriesPlan,
    YourModelPlan,
    by_size,
    disjoint_runs,
    until,
)
from diffgen.training import HalfLife, PowerFunction, TrainConfig

PresetName = Literal["smoke", "quick", "standard", "paper"]


def _gap(
    train: TrainConfig, small: UNetConfig, transformer: DiTConfig, levels: Levels, n_eval: int, *,
    n_peak: int | None = None, few: TrainConfig | None = None, small_images: int | None = None,
    transformer_precision: Literal["no", "bf16"] = "no",
) -> GapPlan:  # fmt: skip
    """The plan of chapter 2; `few` is the run that the transformer is compared with, the main one if None.

    The small network sees `small_images`, those of a snapshot of the main run, or as many as that if None. On CPUs
    bfloat16 slows small transformers (benchmarks/training.py).
    """
    few = few or train
    return GapPlan(
        networks={
            "U-Net": train,
            "small U-Net": until(train.with_(network=small), small_images or train.snapshot_images[-1], train),
        },
        architectures={"U-Net": few, "transformer": few.with_(network=transformer, precision=transformer_precision)},
        levels=levels, n_eval=n_eval, n_peak=n_peak,
    )  # fmt: skip


def _guides(train: TrainConfig, small: UNetConfig, total_images: int) -> dict[str, TrainConfig]:
    """The guides of chapter 5: smaller than the main run and stopped early, with classes and without."""
    guide = until(train.with_(network=small), total_images, train)
    return {"autoguidance": guide, "classifier-free": guide.with_(conditional=False)}


def smoke(seed: int = 0) -> Preset:
    """Seconds a chapter: proves that everything runs, and nothing else."""
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist", size=14, n_train=64, n_val=64, seed=seed),
        network=UNetConfig(channels=8),
        total_images=1_024, batch=64, n_snapshots=3, first_snapshot=256, warmup=256, ema=(HalfLife(images=256),),
        conditional=True, label_dropout=0.0, seed=seed,
    )  # fmt: skip
    transformer, small, runs = (
        DiTConfig(patch=2, width=16, depth=2),
        UNetConfig(channels=4),
        by_size(train, (8, 96), 512),
    )
    return Preset(
        train=train,
        n_seeds=2,
        reference_images=512,
        toy=ToyPlan(n_noise=20),
        gap=_gap(train, small, transformer, Levels(n=6, sigma_min=0.02, sigma_max=40), n_eval=48),
        trajectories=TrajectoriesPlan(
            by_size=runs, disjoint_runs=disjoint_runs(runs, 512), n=24, n_samples=64, stops=(1, 2), n_steps=4
        ),
        scaling=ScalingPlan(
            base=train.with_(total_images=512, n_snapshots=2, conditional=False, label_dropout=0.1),
            train_sizes=(32, 64), widths=(8, 12), base_cell=(32, 8), clusters=(2,), transformer=transformer,
            levels=Levels(n=6, sigma_min=0.05, sigma_max=10), n_eval=32, n_samples=24, n_steps=4,
        ),
        guidance=GuidancePlan(
            guides=_guides(train, small, 512), weights=(0, 1),
            levels=Levels(n=5, sigma_min=0.1, sigma_max=10), n_eval=48, n_samples=24, n_trajectories=16, n_steps=4,
            windows=(8, 10), window_n_eval=16, field_levels=3, field_images=2, field_pixels=4,
        ),
        your_model=YourModelPlan(
            n_train=64, n_val=128, ddpm_images=256, flow_images=256,
            effort={"n_images": 32, "n_levels": 3, "draws": 1, "n_samples": 32, "n_steps": 3, "n_trajectories": 8},
        ),
    )  # fmt: skip


def quick(seed: int = 0) -> Preset:
    """The default: real training on the bundled images, the whole book in minutes on two cores."""
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist", size=14, n_train=256, n_val=1_024, seed=seed),
        network=UNetConfig(channels=24),
        total_images=32_768, batch=64, learning_rate=3e-3, n_snapshots=7, first_snapshot=2_048, precision="bf16",
        conditional=True, label_dropout=0.0, seed=seed,
    )  # fmt: skip
    levels, transformer = Levels(n=12, sigma_min=0.02, sigma_max=40), DiTConfig(patch=2, width=64, depth=3)
    small, runs = UNetConfig(channels=8), by_size(train, (8, 1_024), 12_992)
    return Preset(
        train=train,
        n_seeds=2,
        gap=_gap(train, small, transformer, levels, n_eval=256),
        trajectories=TrajectoriesPlan(
            by_size=runs, disjoint_runs=disjoint_runs(runs, 12_992), n=160, n_samples=512, stops=(6, 8, 10), n_steps=14
        ),
        scaling=ScalingPlan(
            base=train.with_(total_images=16_384, n_snapshots=4, conditional=False, label_dropout=0.1),
            train_sizes=(16, 64, 256), widths=(8, 16), base_cell=(64, 16), clusters=(16,),
            transformer=DiTConfig(patch=2, width=48, depth=2),
            levels=Levels(n=8, sigma_min=0.05, sigma_max=10), n_eval=64, n_samples=64, n_steps=10,
        ),
        guidance=GuidancePlan(
            guides=_guides(train, small, 12_992), weights=(0, 0.5, 1, 2),
            levels=Levels(n=8, sigma_min=0.1, sigma_max=10), n_eval=256, n_samples=512, n_trajectories=64, n_steps=14,
            windows=(8, 10, 12), window_n_eval=256, field_levels=6, field_images=6, field_pixels=24,
        ),
    )  # fmt: skip


def standard(seed: int = 0) -> Preset:
    """The paper's regime: a training set of 8,192 images, seen until G is near 0.1; hours on two cores.

    The main run is trained three times. Beside it a run on 64 images, which copies, and one on 1,024, beyond the
    paper's regime.
    """
    data = DataConfig(name="fashion_mnist_70k", size=14, n_train=8_192, n_val=8_192, seed=seed)
    train = TrainConfig(
        data=data, network=UNetConfig(channels=24), conditional=True, label_dropout=0.0,
        total_images=3_000_000, batch=64, learning_rate=2e-3, warmup=16_384, decay=500_000,
        ema=(PowerFunction(std=0.05), PowerFunction(std=0.1)), n_snapshots=10, first_snapshot=48_000, precision="bf16",
        seed=seed,
    )  # fmt: skip
    small, quarter = UNetConfig(channels=16), train.snapshot_images[6]
    runs = by_size(train, (64, 1_024), quarter)
    return Preset(
        train=train,
        n_seeds=3,
        reference_images=500_000,
        toy=ToyPlan(n_noise=1_000),
        gap=_gap(
            train, small, DiTConfig(patch=2, width=64, depth=3), Levels(n=12, sigma_min=0.02, sigma_max=40),
            n_eval=4_096, n_peak=8_192, few=runs[1_024], small_images=quarter,
        ),
        trajectories=TrajectoriesPlan(
            by_size=runs, disjoint_runs=disjoint_runs(runs, train.snapshot_images[3]), n=512, n_samples=8_192,
            stops=(6, 8, 10, 12), n_steps=18,
        ),
        scaling=_scaling(seed),
        guidance=GuidancePlan(
            guides=_guides(train, small, quarter), weights=(0, 0.5, 1, 2),
            levels=Levels(n=10, sigma_min=0.05, sigma_max=10), n_eval=8_192, n_samples=8_192, n_trajectories=512,
            n_steps=18, windows=(8, 10, 12), window_n_eval=4_096, field_levels=10,
            field_images=32, field_pixels=49, map_images=16,
        ),
        your_model=YourModelPlan(
            ddpm_images=102_400,
            effort={"n_images": 1_024, "n_levels": 12, "draws": 2, "n_samples": 2_048, "n_trajectories": 256},
        ),
    )  # fmt: skip


def beyond(seed: int = 0) -> dict[str, TrainConfig]:
    """Runs beyond the paper's regime, on 28 × 28 pixels, as `standard` was until its noise was counted.

    Their results are published. "main" was trained on 1,024 images until G was near 2.
    """
    data = DataConfig(name="fashion_mnist", size=28, n_train=1_024, n_val=1_024, seed=seed)
    main = TrainConfig(
        data=data, network=UNetConfig(channels=24, multipliers=(1, 2, 4)),
        total_images=500_000, batch=64, learning_rate=2e-3, warmup=4_096, decay=200_000, ema=(HalfLife(images=10_000),),
        n_snapshots=8, first_snapshot=8_192, precision="bf16", noise="streamed", seed=seed,
    )  # fmt: skip
    sizes = by_size(main, (64, 4_096), 154_432)
    return {
        "main": main, "64 images": sizes[64], "4,096 images": sizes[4_096],
        "small": main.with_(network=UNetConfig(channels=8, multipliers=(1, 2, 4))),
        "transformer": main.with_(network=DiTConfig(patch=4, width=96, depth=5), precision="no"),
    }  # fmt: skip


def _scaling(seed: int) -> ScalingPlan:
    """The plan of chapter 4 at the scale of `standard`."""
    before = beyond(seed)["main"]
    assert isinstance(before.data, DataConfig)
    return ScalingPlan(
        base=before.with_(
            data=replace(before.data, size=14), network=UNetConfig(channels=16), total_images=65_536, warmup=2_048,
            learning_rate=3e-3, decay=49_152, ema=(HalfLife(images=4_000),), n_snapshots=8, first_snapshot=2_048,
        ),
        train_sizes=(32, 64, 96, 128, 192, 256, 512, 1_024, 4_096), widths=(8, 16, 24), base_cell=(512, 16),
        clusters=(2, 5, 10, 20, 50, 100, 200, 300, 400, 500),
        transformer=DiTConfig(patch=2, width=48, depth=3), reference_images=65_536,
        levels=Levels(n=10, sigma_min=0.05, sigma_max=10), n_eval=192, labels_n_eval=512,
        n_samples=128, n_steps=12,
    )  # fmt: skip


def paper(seed: int = 0) -> Preset:
    """The paper's protocol on all of Fashion-MNIST at full size, for a GPU and days; not run by us.

    64 noise levels in [0.002, 80], 8192 images a split, EDM's sampler with 32 steps, EDM's training settings.
    """
    train = TrainConfig(
        data=DataConfig(name="fashion_mnist_70k", size=28, n_train=50_000, n_val=10_000, seed=seed),
        network=UNetConfig(channels=128, multipliers=(1, 2, 2), blocks=3, attention=(14,), dropout=0.13),
        total_images=200_000_000, batch=512, learning_rate=1e-3, warmup=10_000_000, ema=(HalfLife(images=500_000),),
        n_snapshots=25, first_snapshot=2_000_000, precision="bf16", conditional=True, label_dropout=0.0, seed=seed,
    )  # fmt: skip
    levels = Levels(n=64, sigma_min=0.002, sigma_max=80)
    small = UNetConfig(channels=64, multipliers=(1, 2, 2), blocks=3, attention=(14,), dropout=0.13)
    transformer = DiTConfig(patch=2, width=384, depth=12, heads=6, dropout=0.13)
    late, quarter = train.snapshot_images[-5], train.snapshot_images[-8]
    runs = by_size(train, (1_024, 8_192), late)
    return Preset(
        train=train,
        n_seeds=3,
        toy=ToyPlan(n_noise=1_000),
        gap=_gap(train, small, transformer, levels, n_eval=8_192, transformer_precision="bf16"),
        trajectories=TrajectoriesPlan(
            by_size=runs, disjoint_runs=disjoint_runs(runs, late), n=10_000, n_samples=50_000,
            stops=(16, 17, 18, 19, 20), n_steps=32,
        ),
        scaling=ScalingPlan(
            base=train.with_(total_images=100_000_000, conditional=False, label_dropout=0.1),
            train_sizes=(1_024, 4_096, 16_384, 50_000), widths=(32, 64, 128), base_cell=(50_000, 64),
            clusters=(2, 5, 10, 20, 50, 100, 200, 300, 400, 500),
            transformer=DiTConfig(patch=2, width=256, depth=10, heads=4, dropout=0.13),
            levels=levels, n_eval=8_192, n_samples=10_000, n_steps=18,
        ),
        guidance=GuidancePlan(
            guides=_guides(train, small, quarter), weights=(0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2),
            levels=Levels(n=32, sigma_min=0.1, sigma_max=10), n_eval=8_192, n_samples=50_000, n_trajectories=10_000,
            n_steps=32, windows=(16, 20, 24), window_n_eval=8_192, field_levels=16,
            field_images=32, field_pixels=784, map_images=32,
        ),
    )  # fmt: skip


def named(name: PresetName, seed: int = 0) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none.
    """
    presets = {"smoke": smoke, "quick": quick, "standard": standard, "paper": paper}
    if name not in presets:
        raise ValueError(f"preset is {name!r}: it is one of {', '.join(presets)}")
    return presets[name](seed)
