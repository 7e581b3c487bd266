"""What chance decides in a step of training: which images, noise levels, noise, hidden labels, masks of dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.rng import generator, normal, uniform
from diffgen.training.config import TrainConfig

ORDER, NOISE, WEIGHTS, SIGMA, HIDDEN, DROPOUT = range(6)
"""What randomness is for: order of the images, noise, initial weights, noise levels, labels that are not shown,
dropout."""


class Draws(NamedTuple):
    """The draws of a step, a row for each of this process's images.

    sigma: noise levels, (B,). n: noise, (B, *). hidden: whose label is not shown, (B,) boolean. dropout: the seed of
    the masks.
    """

    sigma: Tensor
    n: Tensor
    hidden: Tensor
    dropout: int


def draws(
    config: TrainConfig,
    seen: int,
    shape: Sequence[int],
    *,
    process: int = 0,
    processes: int = 1,
    device: str | torch.device = "cpu",
) -> Draws:
    """The draws of the step after so many images; of several processes each has its rows of the same batch.

    Args:
        config: whose `noise` says how they are made.
        seen: images seen before the step.
        shape: of an image.
        process, processes: which rows: process, process + processes, ….
        device: where they are made.
    """
    make = counted if config.noise == "counted" else streamed
    return make(config, seen, shape, process, processes, torch.device(device))


def counted(
    config: TrainConfig, seen: int, shape: Sequence[int], process: int, processes: int, device: torch.device
) -> Draws:
    """Draws that depend on (seed, number of the image seen) alone: each process draws its own, where it computes."""
    seed = config.seed
    rows = torch.arange(seen + process, seen + config.batch, processes, device=device)
    return Draws(
        sigma=config.sigma(normal(rows, (), seed, SIGMA)),
        n=normal(rows, shape, seed, NOISE),
        hidden=uniform(rows, seed, HIDDEN) <= config.label_dropout,
        dropout=generator(seed, DROPOUT, seen, process).initial_seed(),
    )


def streamed(
    config: TrainConfig, seen: int, shape: Sequence[int], process: int, processes: int, device: torch.device
) -> Draws:
    """Draws from one stream a step: every process draws all of the batch, on the CPU, and takes its rows.

    So were runs trained before draws were counted, and they can be again.
    """
    stream = generator(config.seed, NOISE, seen)

    def mine(rows: Tensor) -> Tensor:
        return rows[process::processes].to(device)

    sigma = mine(config.sigma(torch.randn(config.batch, generator=stream)))
    n = mine(torch.randn(config.batch, *shape, generator=stream))
    hidden = mine(torch.rand(config.batch, generator=stream) < config.label_dropout)
    return Draws(sigma, n, hidden, stream.initial_seed() + process)


def batch_order(seed: int, n: int, seen: int, batch: int) -> Tensor:
    """Which training images are number seen, …, seen + batch − 1: every epoch is a permutation of its own."""
    number = torch.arange(seen, seen + batch)
    epochs = number // n
    return torch.cat(
        [
            torch.randperm(n, generator=generator(seed, ORDER, int(epoch)))[number[epochs == epoch] % n]
            for epoch in epochs.unique()
        ]
    )
