"""The loop of training in memory, as an iterator over its steps. Files are the business of `diffgen.runs`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffgen.data import Split
from diffgen.loss import edm_loss
from diffgen.precondition import Preconditioned
from diffgen.rng import generator
from diffgen.training.config import TrainConfig
from diffgen.training.ema import averaged
from diffgen.training.precision import has_bf16
from diffgen.training.randomness import WEIGHTS, batch_order, draws

if TYPE_CHECKING:
    from accelerate import Accelerator


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


def untrained(config: TrainConfig, split: Split) -> Preconditioned:
    """The `build_denoiser` for data."""
    return build_denoiser(config, tuple(split.train.x.shape[1:]), classes_of(config, split), split.sigma_data)


def accelerator_on(device: str | torch.device = "cpu", precision: str = "no") -> Accelerator:
    """What drives device, precision and the processes that `torchrun` started, if it did.

    Where the device has no bfloat16 the precision is float32: a config says what may be done, not which machine it is.

    Raises:
        ValueError: torch finds no such device here.
    """
    from accelerate import Accelerator  # slow to import, and only training needs it
    from accelerate.state import AcceleratorState

    # accelerate keeps its settings for the life of the process, but the next run may have others
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)
    wanted = torch.device(device).type
    if precision == "bf16" and wanted in ("cpu", "cuda") and not has_bf16(wanted):
        precision = "no"
    accelerator = Accelerator(cpu=wanted == "cpu", mixed_precision=precision)
    if accelerator.device.type != wanted:
        raise ValueError(f"device is {wanted!r}: accelerate finds {accelerator.device.type!r} here, so say that")
    return accelerator


class Trainer:
    """A training run in memory. Iterating does steps; between steps it can be saved, restored and looked at.

    Which image is seen as number k, with which noise level and noise, depends on (seed, k) alone, and nothing else in
    the state is random. So a run that was saved and restored goes on exactly as if it had never stopped, and a GPU sees
    the noise that a CPU sees. With several processes each takes its rows of the same batch, and gradients are averaged:
    equal to one process up to rounding, and to the masks of dropout, which each process draws for its own rows.

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
        labels = split.train.labels if self.classes else None
        self.labels = None if labels is None else labels.to(self.device)
        self.denoiser = untrained(config, split).to(self.device)
        self.averages = {average.name: averaged(self.denoiser, average, config.batch) for average in config.ema}
        self.optimizer = torch.optim.Adam(self.denoiser.parameters(), lr=config.learning_rate, fused=True)
        self.model = self.accelerator.prepare_model(self.denoiser)
        self.images_seen = 0

    def __iter__(self) -> Iterator[Tensor]:
        """Do steps until the config's number of images is reached; yield the mean loss of each, ()."""
        while self.images_seen < self.config.total_images:
            yield self.step()

    def step(self) -> Tensor:
        """One step of the optimizer and of the averages; returns the mean loss of the batch, ()."""
        config, accelerator = self.config, self.accelerator
        process, processes = accelerator.process_index, accelerator.num_processes
        order = batch_order(config.seed, len(self.x), self.images_seen, config.batch)
        index = order[process::processes].to(self.device)
        y, labels = self.x[index], None
        drawn = draws(
            config, self.images_seen, y.shape[1:], process=process, processes=processes, device=self.device
        )  # fmt: skip
        if self.labels is not None:
            labels = self.labels[index].masked_fill(drawn.hidden, -1)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(drawn.dropout)  # dropout draws from the global stream
            loss = edm_loss(self.model, y, drawn.sigma, drawn.n, self.denoiser.sigma_data, labels).mean()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.denoiser.parameters(), config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(self.images_seen + config.batch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for average in self.averages.values():
            average.update_parameters(self.denoiser)
        self.images_seen += config.batch
        return self.accelerator.reduce(loss.detach(), "mean")

    @property
    def metadata(self) -> dict[str, str | int]:
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

    def restore(self, tensors: dict[str, Tensor], images_seen: int) -> None:
        """Go on from `tensors()` of a run with the same config at the same number of images seen."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.denoiser.load_state_dict(under("weights/"))
        for name, average in self.averages.items():
            average.module.load_state_dict(under(f"average/{name}/"))
            average.n_averaged.fill_(images_seen // self.config.batch)
        adam = itertools.groupby(sorted(under("adam/").items()), key=lambda item: item[0].split("/")[0])
        state = {int(i): {key.split("/")[1]: value for key, value in entries} for i, entries in adam}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.images_seen = images_seen
