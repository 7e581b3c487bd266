"""What a training will take: parameters, memory, disk, and images/s, measured by real steps."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from diffgen.data import Split
from diffgen.loss import edm_loss
from diffgen.training import TrainConfig, Trainer, accelerator_on, classes_of, untrained

LIBRARIES = 400e6
"""Bytes of a process that has loaded torch, pandas and this package, and trained something tiny."""
BACKWARD = 1.25
"""What the backward pass holds for a moment beside the activations, as a factor on these; measured on our U-Nets."""
HEADER, NAME = 2_000, 100
"""Bytes of a snapshot file beside the weights: the config, and about so many for each tensor."""
SECONDS_TO_TIME = 0.3
"""How long steps are timed, once they are of the config's batch or one alone takes so long."""


@dataclass(frozen=True)
class Size:
    """How large a denoiser is; weights in bytes, activations in bytes that a step holds for each image."""

    parameters: int
    tensors: int
    weights: int
    activations: int


def size_of(config: TrainConfig, split: Split) -> Size:
    """Build the denoiser, and count what autograd keeps for the backward pass of an image.

    That is the difference of two images and one, for weights are kept too, once.
    """
    denoiser = untrained(config, split)
    points, labels = split.train.x, split.train.labels if classes_of(config, split) else None

    def saved(n: int) -> int:
        storages = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        rows = torch.arange(n) % len(points)
        y, classes = points[rows], None if labels is None else labels[rows]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = edm_loss(denoiser, y, torch.ones(n), torch.zeros_like(y), split.sigma_data, classes)
        del loss
        return sum(storages.values())

    return Size(
        parameters=sum(parameter.numel() for parameter in denoiser.parameters()),
        tensors=len(denoiser.state_dict()),
        weights=sum(value.nbytes for value in denoiser.state_dict().values()),
        activations=saved(2) - saved(1),
    )


def memory(config: TrainConfig, split: Split, size: Size) -> float:
    """Bytes of a process at the peak of its training, estimated; what measuring takes may be more.

    libraries + data + weights · (1 + gradient + 2 of Adam + averages) + the bytes of the state while it is written
    + batch · activations · `BACKWARD`. Within a tenth of the peak of five trainings of the presets' networks, from 0.4
    to 0.75 GB, and checked within a fifth in tests/test_sweep.py; for bfloat16, and on a GPU, which has a memory of its
    own, it is too much.
    """
    parts = [part for part in (split.train, split.val, split.holdout) if part is not None]
    data = sum(part.x.nbytes for part in parts)
    state = size.weights * (3 + len(config.ema))
    return LIBRARIES + data + size.weights + 2 * state + BACKWARD * config.batch * size.activations


def disk(config: TrainConfig, size: Size, keep: str) -> tuple[float, float]:
    """Bytes of a run's folder once it is done, and at most while it is trained; results of measuring come on top.

    Done: snapshots · averages · weights. On the way two states lie there too, of weights, averages and Adam's moments.
    """
    snapshot = HEADER + (size.weights + NAME * size.tensors) * len(config.ema)
    every = snapshot * len(config.snapshot_images)
    done = {"all": every, "last": snapshot, "none": 0}[keep]
    return done, every + 2 * size.weights * (3 + len(config.ema))


def images_per_second(config: TrainConfig, split: Split, device: str) -> float:
    """Time real training steps, on one thread, as in a job that has a core of its own.

    Batches grow up to the config's, unless a smaller one takes long already: then the speed is taken from that.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batch = min(8, config.batch)
        while True:
            trainer = Trainer(config.with_(batch=batch), split, accelerator_on(device, config.precision))
            float(trainer.step())  # the first also sets things up; float waits for a GPU
            start, steps = time.monotonic(), 0
            while not steps or (batch == config.batch and time.monotonic() - start < SECONDS_TO_TIME):
                float(trainer.step())
                steps += 1
            seconds = time.monotonic() - start
            if batch == config.batch or seconds > SECONDS_TO_TIME:
                return steps * batch / seconds
            batch = min(4 * batch, config.batch)
    finally:
        torch.set_num_threads(threads)
