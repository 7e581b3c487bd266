"""Run folders: what was trained, found again by the config. They are filled by `diffgen.loop`."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import TypeAdapter
from torch import Tensor

import diffgen
from diffgen.checkpoint import read_about, read_tensors
from diffgen.log import read_lines
from diffgen.precondition import Preconditioned
from diffgen.train import TrainConfig, build_denoiser

STORED = "stored.json"
"""The file that makes a folder a stored run."""
DROPPED = "dropped.json"
"""The file that lists snapshots that were deleted on purpose, see `diffgen.sweep.state.drop`."""

CONFIG = TypeAdapter(TrainConfig)
DECIDING = (
    "denoiser.py", "ema.py", "loss.py", "precondition.py", "rng.py", "schedule.py", "train.py", "nets", "data",
    "metrics/clusters.py", "metrics/features.py",
)  # fmt: skip
"""The sources that decide what a config trains to."""


@cache
def fingerprint(sources: tuple[str, ...] = DECIDING) -> str:
    """A hash of the code in these files and folders of the package, without its comments and docstrings.

    By default that is the code that training runs through. It is part of a run's key: after a change of that code the
    same config is another run, and is trained anew.
    """
    here, digest = Path(diffgen.__file__).parent, hashlib.sha256()
    for source in sources:
        place = here / source
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list):
                    node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            digest.update(f"{path.relative_to(here).as_posix()} {ast.dump(tree)}".encode())
    return digest.hexdigest()


def run_name(config: TrainConfig, code: str | None = None) -> str:
    """The name of a config's run folder: what a person wants to read, and a hash of all that decides the result.

    That is what the config says beside defaults, so that it keeps its name when configs learn to say more, and the
    code, `fingerprint()`. A stored run goes by its config alone, code = "".
    """
    code = fingerprint() if code is None else code
    key = hashlib.sha256((json.dumps(_said(config)) + code).encode()).hexdigest()[:10]
    data, network = config.data, config.network
    parts = [data.name, getattr(data, "size", None), f"n{data.n_train}", network.kind]
    return "-".join(str(part) for part in parts if part is not None) + f"-{key}"


def _said(value: Any) -> Any:
    """A config as JSON: the names of its classes, and those of their fields that differ from their defaults."""
    if isinstance(value, tuple | list):
        return [_said(item) for item in value]
    if not is_dataclass(value):
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    default = {f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(value)}
    said = {name: _said(getattr(value, name)) for name in default if getattr(value, name) != default[name]}
    return {type(value).__name__: said}


@dataclass(frozen=True)
class Snapshot:
    """The averaged weights of a run after `images` images, in a file."""

    images: int
    path: Path

    @property
    def run(self) -> Run:
        """The run that it is of."""
        return Run(self.path.parent.parent)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return tuple((self.run.stored or self.run.dropped or read_about(self.path))["shape"])

    def denoiser(self, *, average: str | None = None, device: str | torch.device = "cpu") -> Preconditioned:
        """The denoiser, ready to be evaluated: see `load_denoiser`."""
        return load_denoiser(self.path, average=average, device=device)


@dataclass(frozen=True)
class Run:
    """A folder with a config, a log and snapshots, or a stored one: what was computed from snapshots, without them."""

    folder: Path

    @property
    def stored(self) -> dict[str, Any] | None:
        """What a stored run says of itself, see `diffgen.store`; None of a run with its weights."""
        path = self.folder / STORED
        return json.loads(path.read_text()) if path.is_file() else None

    @property
    def dropped(self) -> dict[str, Any] | None:
        """Which snapshots were deleted on purpose once they were measured, and the shape of a data point; mostly None.

        They count as there: the run is finished, and what was computed from them is read.
        """
        path = self.folder / DROPPED
        return json.loads(path.read_text()) if path.is_file() else None

    @property
    def key(self) -> str:
        """A name that says which config was trained, wherever the run lies and whatever the code."""
        return run_name(self.config, code="")

    @property
    def config(self) -> TrainConfig:
        """What was trained."""
        return CONFIG.validate_json((self.folder / "config.json").read_bytes())

    @property
    def snapshots(self) -> list[Snapshot]:
        """What is there, in the order of the images seen."""
        folder, stored = self.folder / "snapshots", self.stored
        if stored:
            images = set(stored["snapshots"])
        else:
            dropped = self.dropped or {"snapshots": []}
            images = {int(path.stem) for path in folder.glob("*.safetensors")}.union(dropped["snapshots"])
        return [Snapshot(n, folder / f"{n:012d}.safetensors") for n in sorted(images)]

    @property
    def finished(self) -> bool:
        """Whether all snapshots were made; of a stored run they were."""
        there = bool(self.stored) or (self.folder / "config.json").is_file()
        return there and [snapshot.images for snapshot in self.snapshots] == self.config.snapshot_images

    @property
    def about(self) -> dict[str, Any]:
        """How it was trained: number of parameters, device, precision, versions, machine, seconds."""
        stored = self.stored
        return stored["training"] if stored else json.loads((self.folder / "run.json").read_text())

    @property
    def log(self) -> pd.DataFrame:
        """The log: images seen, mean training loss since the line before, learning rate."""
        return pd.DataFrame(read_lines(self.folder))


def find_run(config: TrainConfig, root: str | Path = "runs") -> Run:
    """The run of a config under the folder `root`: the stored one if there is one, else its own, trained or not."""
    stored = Run(Path(root) / run_name(config, code=""))
    # a default that has changed since would lend its name to another config
    return stored if stored.stored and stored.config == config else Run(Path(root) / run_name(config))


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
        snapshots = Run(path).snapshots
        if not snapshots:
            raise FileNotFoundError(f"{path} holds no snapshot: train it first, or name a snapshot file")
        path = snapshots[-1].path
    if not path.exists() and Run(path.parent.parent).stored:
        raise FileNotFoundError(f"{path} was not stored: its run has only results; train it in another folder, as runs")
    if not path.exists() and (dropped := Run(path.parent.parent).dropped):
        remedy = f"delete {path.parent.parent / DROPPED} and train the run again"
        if int(path.stem) in dropped["snapshots"]:
            raise FileNotFoundError(f"{path} was dropped once it was measured (--keep): {remedy}")
    tensors, about = read_tensors(path)
    config = CONFIG.validate_python(about["config"])
    names = [a.name for a in config.ema]
    if average is not None and average not in names:
        raise ValueError(f"average is {average!r}: {path} holds {', '.join(names)}")
    denoiser = build_denoiser(config, tuple(about["shape"]), about["classes"], about["sigma_data"])
    denoiser.load_state_dict(_weights(tensors, average or names[0]))
    return denoiser.to(device).eval().requires_grad_(False)


def _weights(tensors: dict[str, Tensor], average: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{average}/"): v for k, v in tensors.items() if k.startswith(f"{average}/")}
