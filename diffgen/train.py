"""Training: a config, and the loop as an iterator that yields after every step. Files are the business of `loop.py`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from diffgen.data import DataConfig, Split
from diffgen.ema import Average, HalfLife, averaged
from diffgen.loss import edm_loss
from diffgen.nets import DiTConfig, MLPConfig, UNetConfig
from diffgen.precondition import Preconditioned
from diffgen.rng import generator
from diffgen.schedule import LogNormal

ORDER, NOISE, WEIGHTS = range(3)
"""First key of the three streams of randomness: order of the images, noise, initial weights and dropout."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a trained model is; two runs with equal configs are equal to the bit.

    Args:
        data: what to train on.
        network: what to train.
        images: how many images to see, counted with repetition.
        batch: images a step.
        learning_rate: of Adam, at its highest.
        warmup: images over which the learning rate rises linearly from 0.
        decay: images after which it falls as √(decay / images); None keeps it constant.
        clip: largest norm of the gradient.
        sigma: distribution of the noise levels.
        ema: averages of the weights that are kept; the first is the one used unless said otherwise.
        snapshots: how many to keep, log-spaced from `first_snapshot` to `images`.
        first_snapshot: images seen at the first.
        conditional: train with class labels.
        label_dropout: probability that a row is shown without its label, for classifier-free guidance.
        precision: "no" computes in float32, "bf16" the network in bfloat16 where that is safe (autocast) and where the
            device has instructions for it (`has_bf16`), else in float32 too. Weights, loss and averages are float32
            either way. On a CPU it pays for U-Nets, not for small transformers (benchmarks/training.py).
        seed: of the weights, the order and the noise (the split has its own).

    Raises:
        ValueError: a value out of range.
    """

    data: DataConfig
    network: UNetConfig | DiTConfig | MLPConfig = field(default_factory=UNetConfig)
    images: int
    batch: int = 128
    learning_rate: float = 2e-3
    warmup: int = 2_000
    decay: int | None = None
    clip: float = 1.0
    sigma: LogNormal = field(default_factory=LogNormal)
    ema: tuple[Average, ...] = (HalfLife(images=2_000),)
    snapshots: int = 8
    first_snapshot: int = 1_000
    conditional: bool = False
    label_dropout: float = 0.1
    precision: Literal["no", "bf16"] = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {"images": 1, "batch": 1, "snapshots": 1, "first_snapshot": 1, "warmup": 0, "seed": 0}
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

    @property
    def snapshot_images(self) -> list[int]:
        """Images seen at each snapshot: log-spaced, rounded to whole steps, without repetition."""
        last = math.ceil(self.images / self.batch)
        first = min(max(1, round(self.first_snapshot / self.batch)), last)
        if self.snapshots == 1:
            return [last * self.batch]
        log_steps = torch.linspace(math.log(first), math.log(last), self.snapshots, dtype=torch.float64)
        return [step * self.batch for step in sorted({round(math.exp(s)) for s in log_steps.tolist()})]

    def rate(self, images: int) -> float:
        """The learning rate once `images` images have been seen."""
        warm = min(1.0, images / self.warmup) if self.warmup else 1.0
        return self.learning_rate * warm / math.sqrt(max(1.0, images / self.decay if self.decay else 0.0))

    def with_(self, **changes) -> TrainConfig:
        """The same config with some fields changed."""
        return replace(self, **changes)


def classes_of(config: TrainConfig, split: Split) -> int:
    """Number of classes that the network is told of, 0 if it is unconditional."""
    if not config.conditional or split.train.labels is None:
        return 0
    return 1 + max(int(part.labels.max()) for part in (split.train, split.val) if part.labels is not None)


def build_denoiser(config: TrainConfig, shape: tuple[int, ...], classes: int, sigma_data: float) -> Preconditioned:
    """The untrained denoiser of a config, its weights drawn from the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(config.seed, WEIGHTS).initial_seed())
        return Preconditioned(config.network.build(torch.Size(shape), classes), sigma_data)


def batch_order(seed: int, n: int, seen: int, batch: int) -> Tensor:
    """Which training images are number seen, …, seen + batch − 1: every epoch is a permutation of its own."""
    places = torch.arange(seen, seen + batch)
    epochs = places // n
    return torch.cat(
        [
            torch.randperm(n, generator=generator(seed, ORDER, int(epoch)))[places[epochs == epoch] % n]
            for epoch in epochs.unique()
        ]
    )


def has_bf16(device: str | torch.device = "cpu") -> bool:
    """Whether the device computes in bfloat16 by instructions of its own, rather than by emulation, which is slow."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("arm_bf16"))


def accelerator_on(device: str | torch.device = "cpu", precision: str = "no") -> Accelerator:
    """What drives device, precision and the processes that `torchrun` started, if it did.

    Where the device has no bfloat16 the precision is float32: a config says what may be done, not which machine it is.

    Raises:
        ValueError: torch finds no such device here.
    """
    # accelerate keeps its settings for the life of the process, but the next run may have others
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)
    wanted = torch.device(device).type
    if precision == "bf16" and wanted in ("cpu", "cuda") and not has_bf16(wanted):
        precision = "no"
    found = Accelerator(cpu=wanted == "cpu", mixed_precision=precision)
    if found.device.type != wanted:
        raise ValueError(f"device is {wanted!r}: accelerate finds {found.device.type!r} here, so say that")
    return found


class Training:
    """A training run in memory. Iterating does steps; between steps it can be saved, restored and looked at.

    Order, noise levels, noise and dropout of a step depend on (seed, images seen) alone, and nothing else in the state
    is random. So a run that was saved and restored goes on exactly as if it had never stopped. With several processes
    each takes its rows of the same batch and noise, and gradients are averaged: equal to one process up to rounding,
    and to the masks of dropout, which each process draws for its own rows.

    Args:
        config: what to train.
        split: the data, as `config.data.load()` returns it.
        accelerator: where and how to compute; by default on the CPU.

    Raises:
        ValueError: the processes can't share the batch equally.
    """

    def __init__(self, config: TrainConfig, split: Split, accelerator: Accelerator | None = None):
        self.config, self.accelerator = config, accelerator or accelerator_on("cpu", config.precision)
        if config.batch % self.accelerator.num_processes:
            raise ValueError(
                f"batch is {config.batch}: {self.accelerator.num_processes} processes can't share it equally"
            )
        self.device = self.accelerator.device
        self.x = split.train.x.to(self.device)
        self.classes = classes_of(config, split)
        self.labels = split.train.labels.to(self.device) if self.classes else None
        self.denoiser = build_denoiser(config, tuple(self.x.shape[1:]), self.classes, split.sigma_data).to(self.device)
        self.averages = {average.name: averaged(self.denoiser, average, config.batch) for average in config.ema}
        self.optimizer = torch.optim.Adam(self.denoiser.parameters(), lr=config.learning_rate, fused=True)
        self.model = self.accelerator.prepare_model(self.denoiser)
        self.images = 0

    def __iter__(self) -> Iterator[Tensor]:
        """Do steps until the config's number of images is reached; yield the mean loss of each, ()."""
        while self.images < self.config.images:
            yield self.step()

    def step(self) -> Tensor:
        """One step of the optimizer and of the averages; returns the mean loss of the batch, ()."""
        config, noise = self.config, generator(self.config.seed, NOISE, self.images)
        process, processes = self.accelerator.process_index, self.accelerator.num_processes

        def mine(rows: Tensor) -> Tensor:  # everything is drawn for the whole batch
            return rows[process::processes].to(self.device)

        index = mine(batch_order(config.seed, len(self.x), self.images, config.batch))
        y, labels = self.x[index], None
        sigma = mine(config.sigma(torch.randn(config.batch, generator=noise)))
        n = mine(torch.randn(config.batch, *y.shape[1:], generator=noise))
        if self.labels is not None:
            hidden = mine(torch.rand(config.batch, generator=noise) < config.label_dropout)
            labels = self.labels[index].masked_fill(hidden, -1)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(noise.initial_seed() + process)  # dropout draws from the global stream
            loss = edm_loss(self.model, y, sigma, n, self.denoiser.sigma_data, labels).mean()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.denoiser.parameters(), config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.images + config.batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for average in self.averages.values():
            average.update_parameters(self.denoiser)
        self.images += config.batch
        return self.accelerator.reduce(loss.detach(), "mean")

    @property
    def about(self) -> dict[str, str | int]:
        """How large the network is, and where it is trained."""
        return {
            "parameters": sum(parameter.numel() for parameter in self.denoiser.parameters()),
            "device": str(self.device),
            "precision": self.accelerator.mixed_precision,
            "processes": self.accelerator.num_processes,
        }

    def average_tensors(self) -> dict[str, Tensor]:
        """The averaged weights, by "average/parameter"."""
        return {
            f"{name}/{key}": value
            for name, average in self.averages.items()
            for key, value in average.module.state_dict().items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """All that a step depends on beside the config and the images seen, as plain tensors."""
        adam = self.optimizer.state_dict()["state"]
        return {
            **{f"weights/{key}": value for key, value in self.denoiser.state_dict().items()},
            **{f"average/{key}": value for key, value in self.average_tensors().items()},
            **{f"adam/{i}/{key}": value for i, state in adam.items() for key, value in state.items()},
        }

    def restore(self, tensors: dict[str, Tensor], images: int) -> None:
        """Go on from `tensors()` of a run with the same config at the same number of images seen."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.denoiser.load_state_dict(under("weights/"))
        for name, average in self.averages.items():
            average.module.load_state_dict(under(f"average/{name}/"))
            average.n_averaged.fill_(images // self.config.batch)
        adam = itertools.groupby(sorted(under("adam/").items()), key=lambda item: item[0].split("/")[0])
        state = {int(i): {key.split("/")[1]: value for key, value in entries} for i, entries in adam}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.images = images
