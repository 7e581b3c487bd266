"""A network trained on the toy data: what the error-prone denoiser is a model of."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from diffgen.data.split import Points, Split
from diffgen.data.toy import ToyConfig
from diffgen.nets import MLPConfig
from diffgen.precondition import Preconditioned
from diffgen.schedule import LogNormal
from diffgen.training.config import TrainConfig
from diffgen.training.ema import HalfLife
from diffgen.training.trainer import Trainer

COPIES = 25
"""Noisy copies of each training point in a batch."""


def toy_config(
    steps: int, *, width: int = 64, n_snapshots: int = 8, data: ToyConfig | None = None, seed: int = 0
) -> TrainConfig:
    """A small MLP on the circle: settings with which it passes from the manifold to the single points.

    Noise levels are drawn around σ ≈ 2, where on a circle of radius 10 the points begin to tell apart; the defaults of
    `TrainConfig` are for data of standard deviation 0.5.

    Args:
        steps: of the optimizer, each with 25 noisy copies of every training point.
        width: of the network.
        n_snapshots: log-spaced, the first after a quarter of the steps.
        data: the points; by default the paper's circle.
        seed: of weights, order and noise.
    """
    data = ToyConfig() if data is None else data
    batch = COPIES * data.n_train
    return TrainConfig(
        data=data, network=MLPConfig(width=width, depth=2), total_images=steps * batch, batch=batch, learning_rate=3e-3,
        warmup=50 * batch, sigma=LogNormal(mean=0.7, std=1.2), ema=(HalfLife(images=20 * batch),),
        n_snapshots=n_snapshots, first_snapshot=max(1, steps // 4) * batch, seed=seed,
    )  # fmt: skip


def train_toy(config: TrainConfig) -> Iterator[tuple[int, Preconditioned]]:
    """Train in memory and yield (steps done, averaged denoiser in float64) at each of the config's snapshots.

    Seconds on one core. The denoisers are copies: they stay what they were while training goes on.
    """
    data = config.data.load()
    # With as many copies as a batch has, an epoch is a step: every batch holds all points equally often, which makes
    # the gradient much less noisy, and their order is drawn once a step.
    train = Points(data.train.x.repeat(COPIES, 1))
    trainer = Trainer(config, Split(train, data.val))
    marks = set(config.snapshot_images)
    for _ in trainer:
        if trainer.images_seen in marks:
            average = copy.deepcopy(next(iter(trainer.averages.values())).module)
            assert isinstance(average, Preconditioned)
            yield trainer.images_seen // config.batch, average.double().eval()
