"""Runs: what was trained, and its snapshots. A run is a folder, filled by `diffgen.runs.loop`, or published."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffgen.files import read_metadata, read_tensors, write_whole
from diffgen.precondition import Preconditioned
from diffgen.runs.cache import Cache, FolderCache
from diffgen.runs.key import run_name
from diffgen.runs.log import read_lines
from diffgen.runs.subject import Subject
from diffgen.training.config import TrainConfig
from diffgen.training.trainer import build_denoiser

if TYPE_CHECKING:
    import pandas as pd

CONFIG_FILE = "config.json"
PRUNED_FILE = "pruned.json"
"""The file that lists snapshots that were deleted on purpose, see `diffgen.sweep.state.prune`."""


class Run(ABC):
    """A config and what it was trained to: snapshots, a log, and results computed from the snapshots."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A name that says what was trained, wherever it lies: see `diffgen.runs.key.run_name`."""

    @property
    @abstractmethod
    def config(self) -> TrainConfig:
        """What was trained."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""

    @property
    @abstractmethod
    def snapshots(self) -> list[Snapshot]:
        """What is there, in the order of the images seen."""

    @property
    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """How it was trained: number of parameters, device, precision, versions, machine, seconds."""

    @property
    @abstractmethod
    def log_lines(self) -> list[dict[str, float]]:
        """The lines of the log: images seen, mean training loss since the line before, learning rate."""

    @property
    @abstractmethod
    def cache(self) -> Cache:
        """Where results computed from its snapshots are kept."""

    @abstractmethod
    def weights(self, images_seen: int) -> Path:
        """The file of a snapshot's weights; FileNotFoundError, with the remedy, if it is not there."""

    @property
    def log(self) -> pd.DataFrame:
        """The log as a table."""
        import pandas as pd  # slow to import

        return pd.DataFrame(self.log_lines)

    @property
    def finished(self) -> bool:
        """Whether all snapshots were made."""
        return [snapshot.images_seen for snapshot in self.snapshots] == self.config.snapshot_images


class Snapshot(Subject):
    """The averaged weights of a run after `images_seen` images: a `Subject`.

    Args:
        run: that it is of.
        images_seen: when it was taken.
    """

    def __init__(self, run: Run, images_seen: int) -> None:
        self.run, self.images_seen = run, images_seen

    @property
    def name(self) -> str:
        """The run's name and the images seen."""
        return f"{self.run.name} at {self.images_seen:,} images"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return self.run.shape

    @property
    def cache(self) -> Cache:
        """Where its results are kept: with the run."""
        return self.run.cache

    @property
    def label(self) -> str:
        """The images seen, so that files are in the order of training."""
        return f"{self.images_seen:012d}"

    @property
    def identity(self) -> dict[str, Any]:
        """The run's name and the images seen."""
        return {"run": self.run.name, "images_seen": self.images_seen}

    @property
    def path(self) -> Path:
        """The file of its weights; raises as `Run.weights` does if it is not there."""
        return self.run.weights(self.images_seen)

    def denoiser(self, device: str | torch.device = "cpu", *, average: str | None = None) -> Preconditioned:
        """The denoiser, ready to be evaluated: see `load_denoiser`."""
        return _load(self.path, average, device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash((self.run.name, self.images_seen))


@dataclass(frozen=True)
class RunFolder(Run):
    """A run in a folder: config.json, log.jsonl, run.json, snapshots and results."""

    folder: Path

    @property
    def name(self) -> str:
        """From the config and the versions that it was trained with, whatever the folder is called."""
        said = self._said()
        return run_name(config_of(said["config"]), said["versions"])

    @property
    def config(self) -> TrainConfig:
        """What was trained."""
        return config_of(self._said()["config"])

    @property
    def versions(self) -> dict[str, Any]:
        """The versions that it was trained with, see `TrainConfig.versions`."""
        return self._said()["versions"]

    def say(self, config: TrainConfig) -> None:
        """Write down what is trained, and with which versions: with that the folder is a run's."""
        said = {"config": config_json(config), "versions": config.versions}
        write_whole(self.folder / CONFIG_FILE, json.dumps(said, indent=2).encode())

    def _said(self) -> dict[str, Any]:
        path = self.folder / CONFIG_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} is no run folder: it has no {CONFIG_FILE}")
        said = json.loads(path.read_text())
        if not {"config", "versions"} <= said.keys():
            raise ValueError(
                f"{path} is of another version of diffgen: train the run again, it gets a folder of its own"
            )
        return said

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return tuple((self.pruned or read_metadata(self._files()[0]))["shape"])

    @property
    def pruned(self) -> dict[str, Any] | None:
        """Which snapshots were deleted on purpose once they were measured, and the shape of a data point; mostly None.

        They count as there: the run is finished, and what was computed from them is read.
        """
        path = self.folder / PRUNED_FILE
        return json.loads(path.read_text()) if path.is_file() else None

    def _files(self) -> list[Path]:
        return sorted((self.folder / "snapshots").glob("*.safetensors"))

    @property
    def snapshots(self) -> list[Snapshot]:
        """What is there, in the order of the images seen."""
        there = {int(path.stem) for path in self._files()}
        return [Snapshot(self, n) for n in sorted(there.union((self.pruned or {"snapshots": []})["snapshots"]))]

    @property
    def finished(self) -> bool:
        """Whether all snapshots were made."""
        return (self.folder / CONFIG_FILE).is_file() and super().finished

    @property
    def metadata(self) -> dict[str, Any]:
        """How it was trained: number of parameters, device, precision, versions, machine, seconds."""
        return json.loads((self.folder / "run.json").read_text())

    @property
    def log_lines(self) -> list[dict[str, float]]:
        """The lines of the log."""
        return read_lines(self.folder)

    @property
    def cache(self) -> Cache:
        """Where results computed from its snapshots are kept."""
        return FolderCache(self.folder / "results")

    def weights_path(self, images_seen: int) -> Path:
        """Where the weights of a snapshot are, or will be."""
        return self.folder / "snapshots" / f"{images_seen:012d}.safetensors"

    def weights(self, images_seen: int) -> Path:
        """The file of a snapshot's weights; FileNotFoundError, with the remedy, if it is not there."""
        path = self.weights_path(images_seen)
        if path.is_file():
            return path
        if images_seen in (self.pruned or {"snapshots": []})["snapshots"]:
            remedy = f"delete {self.folder / PRUNED_FILE} and train the run again"
            raise FileNotFoundError(f"{path} was pruned once it was measured (--keep): {remedy}")
        raise FileNotFoundError(f"{path} does not exist")


@cache
def _config_type() -> Any:
    from pydantic import TypeAdapter  # slow to import

    return TypeAdapter(TrainConfig)


def config_of(said: dict[str, Any]) -> TrainConfig:
    """The config back from `config_json`, checked."""
    return _config_type().validate_python(said)


def config_json(config: TrainConfig) -> dict[str, Any]:
    """A config as JSON."""
    return _config_type().dump_python(config, mode="json")


def load_denoiser(
    path: str | Path, *, average: str | None = None, device: str | torch.device = "cpu"
) -> Preconditioned:
    """Load a trained denoiser from a snapshot file, or from a run folder (its last snapshot).

    Args:
        path: the file or the folder.
        average: which average of the weights, by its name ("half-life-2000"); the config's first if None.
        device: where to put it.

    Returns:
        The denoiser in evaluation mode, its parameters frozen.

    Raises:
        FileNotFoundError: nothing is there.
        DamagedFile: the file does not hold what was written.
        ValueError: the run did not keep that average.
    """
    path = Path(path)
    if path.is_dir():
        snapshots = RunFolder(path).snapshots
        if not snapshots:
            raise FileNotFoundError(f"{path} holds no snapshot: train it first, or name a snapshot file")
        path = snapshots[-1].path
    return _load(path, average, device)


def _load(path: Path, average: str | None, device: str | torch.device) -> Preconditioned:
    tensors, metadata = read_tensors(path)
    config = config_of(metadata["config"])
    names = [ema.name for ema in config.ema]
    if average is not None and average not in names:
        raise ValueError(f"average is {average!r}: {path} holds {', '.join(names)}")
    denoiser = build_denoiser(config, tuple(metadata["shape"]), metadata["classes"], metadata["sigma_data"])
    denoiser.load_state_dict(_weights(tensors, average or names[0]))
    return denoiser.to(device).eval().requires_grad_(False)


def _weights(tensors: dict[str, Tensor], average: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{average}/"): v for k, v in tensors.items() if k.startswith(f"{average}/")}
