"""What decides a training run: one frozen dataclass, checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from diffgen.data import DataConfig, ToyConfig
from diffgen.nets import Network, UNetConfig
from diffgen.schedule import LogNormal
from diffgen.training.ema import Average, HalfLife

VERSION = {"streamed": 1, "counted": 2}
"""By how noise is drawn. Raised by hand when equal configs train to other weights; the golden test holds it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a trained model is; two runs with equal configs are equal to the bit.

    Args:
        data: what to train on.
        network: what to train.
        total_images: how many images to see, counted with repetition.
        batch: images a step.
        learning_rate: of Adam, at its highest.
        warmup: images over which the learning rate rises linearly from 0.
        decay: images after which it falls as √(decay / images); None keeps it constant.
        clip: largest norm of the gradient.
        sigma: distribution of the noise levels.
        ema: averages of the weights that are kept; the first is the one used unless said otherwise.
        n_snapshots: how many to keep, log-spaced from `first_snapshot` to `total_images`.
        first_snapshot: images seen at the first.
        conditional: train with class labels.
        label_dropout: probability that a row is shown without its label, for classifier-free guidance.
        precision: "no" computes in float32, "bf16" the network in bfloat16 where that is safe (autocast) and where the
            device has instructions for it (`has_bf16`), else in float32 too. Weights, loss and averages are float32
            either way. On a CPU it pays for U-Nets, not for small transformers (benchmarks/training.py).
        noise: "counted" draws for each image by its number, on the device, the same on all devices and however many
            processes share a batch; "streamed" draws for each batch, on the CPU, as runs were trained before version 2.
        seed: of the weights, the order and the noise (the split has its own).

    Raises:
        ValueError: a value out of range.
    """

    data: DataConfig | ToyConfig
    network: Network = field(default_factory=UNetConfig)
    total_images: int
    batch: int = 128
    learning_rate: float = 2e-3
    warmup: int = 2_000
    decay: int | None = None
    clip: float = 1.0
    sigma: LogNormal = field(default_factory=LogNormal)
    ema: tuple[Average, ...] = (HalfLife(images=2_000),)
    n_snapshots: int = 8
    first_snapshot: int = 1_000
    conditional: bool = False
    label_dropout: float = 0.1
    precision: Literal["no", "bf16"] = "no"
    noise: Literal["counted", "streamed"] = field(default="counted", metadata={"versioned": True})
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {"total_images": 1, "batch": 1, "n_snapshots": 1, "first_snapshot": 1, "warmup": 0, "seed": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least {least}")
        if not self.learning_rate > 0 or not self.clip > 0:
            raise ValueError(f"learning_rate is {self.learning_rate:g} and clip {self.clip:g}: both are positive")
        if self.decay is not None and not self.decay > 0:
            raise ValueError(f"decay is {self.decay}: give a positive number of images, or None")
        if not self.ema:
            raise ValueError("ema is empty: keep at least one average, such as HalfLife(images=2000)")
        if not 0 <= self.label_dropout <= 1:
            raise ValueError(f"label_dropout is {self.label_dropout:g}: it is a probability")
        if self.precision not in ("no", "bf16"):
            raise ValueError(f"precision is {self.precision!r}: it is 'no' (float32) or 'bf16'")
        if self.noise not in VERSION:
            raise ValueError(f"noise is {self.noise!r}: it is {' or '.join(map(repr, sorted(VERSION)))}")

    @property
    def snapshot_images(self) -> list[int]:
        """Images seen at each snapshot: log-spaced, rounded to whole steps, without repetition."""
        last = math.ceil(self.total_images / self.batch)
        first = min(max(1, round(self.first_snapshot / self.batch)), last)
        if self.n_snapshots == 1:
            return [last * self.batch]
        log_steps = torch.linspace(math.log(first), math.log(last), self.n_snapshots, dtype=torch.float64)
        return [step * self.batch for step in sorted({round(math.exp(s)) for s in log_steps.tolist()})]

    @property
    def versions(self) -> dict[str, Any]:
        """The versions of all that decides what it trains to, beside what it says: a part of a run's key."""
        return {"training": VERSION[self.noise], "network": self.network.version, **self.data.versions}

    def learning_rate_at(self, images_seen: int) -> float:
        """The learning rate once so many images have been seen."""
        warm = min(1.0, images_seen / self.warmup) if self.warmup else 1.0
        return self.learning_rate * warm / math.sqrt(max(1.0, images_seen / self.decay if self.decay else 0.0))

    def with_(self, **changes: Any) -> TrainConfig:
        """The same config with some fields changed."""
        return replace(self, **changes)
