"""Run folders: trained once, found again by the config, resumed exactly where a kill left them."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from torch import Tensor
from tqdm import tqdm

import diffgen
from diffgen.checkpoint import DamagedFile, read_about, read_tensors, write_tensors, write_whole
from diffgen.log import Log, read_lines
from diffgen.precondition import Preconditioned
from diffgen.train import TrainConfig, Training, accelerator_on, build_denoiser

STEPS_A_LOG_LINE = 25
SECONDS_BETWEEN_STATES = 30.0
"""A killed run repeats at most this much."""
STORED = "stored.json"
"""The file that makes a folder a stored run."""
DROPPED = "dropped.json"
"""The file that lists snapshots that were deleted on purpose, see `diffgen.sweep.state.drop`."""
SECONDS_OF_SILENCE = 3.0
"""How long one waits for another process that trains the same config, before one says so."""

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


def train(
    config: TrainConfig, *, root: str | Path = "runs", device: str | torch.device = "cpu", progress: bool = True
) -> Iterator[Snapshot]:
    """Train a config, or find it trained, and yield its snapshots in the order of the images seen.

    The run lives in a folder under `root` that the config finds again: a finished run is read, not repeated; one that
    was killed goes on from its last state, and ends with the weights and the log it would have ended with. To resume,
    call again. Of two programs that ask for the same config at once one trains and the other waits. The processes that
    `torchrun` starts are one program: they share each batch, and the first of them writes.

    Args:
        config: what to train, for example `dg.presets.quick().train`.
        root: folder of run folders.
        device: where to compute, "cpu" or "cuda".
        progress: show a bar with images/s, loss and the time left.

    Yields:
        `Snapshot`, each as soon as its file is written: .images, .path, .denoiser(). A file that was damaged later says
        so when it is loaded; delete it, and the same call makes it anew.

    Raises:
        ValueError: the device is not there, or the processes can't share the batch equally.
        OSError: a file can't be written, for example on a full disk. What was there is kept.
    """
    run = find_run(config, root)
    if run.stored:
        yield from run.snapshots
        return
    accelerator = accelerator_on(device, config.precision)
    with _locked(run) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            write_whole(run.folder / "config.json", CONFIG.dump_json(config, indent=2))
        accelerator.wait_for_everyone()
        yield from _train(config, run, accelerator, progress)


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Hold the run's folder alone. Whoever held it and was killed left its half-written files: they go."""
    (run.folder / "snapshots").mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.folder / "lock")
    try:
        held = lock.acquire(timeout=SECONDS_OF_SILENCE)
    except Timeout:
        print(f"{run.folder} is being trained by another process: waiting for it", file=sys.stderr)
        held = lock.acquire()
    with held:
        for part in (run.folder, run.folder / "snapshots"):
            for left in part.glob(".*.tmp"):
                left.unlink(missing_ok=True)
        yield


def _train(config: TrainConfig, run: Run, accelerator: Accelerator, progress: bool) -> Iterator[Snapshot]:
    wanted, writes = config.snapshot_images, accelerator.is_main_process
    if run.finished:
        yield from run.snapshots
        return
    split = config.data.load()
    training = Training(config, split, accelerator)
    _restore(training, run)
    yield from (snapshot for snapshot in run.snapshots if snapshot.images <= training.images)
    about = {
        "config": CONFIG.dump_python(config, mode="json"),
        "shape": list(split.train.x.shape[1:]),
        "classes": training.classes,
        "sigma_data": split.sigma_data,
    }
    log = Log(run.folder, training.images, training.about) if writes else None
    losses, saved = [], time.monotonic()
    bar = tqdm(
        total=config.images, initial=training.images, unit=" images", unit_scale=True, mininterval=0.5,
        desc=f"training {run.folder.name}", disable=not (progress and writes),
    )  # fmt: skip
    with bar, log or nullcontext():
        for loss in training:
            bar.update(config.batch)
            losses.append(loss)
            at_snapshot = training.images in wanted
            if not at_snapshot and len(losses) < STEPS_A_LOG_LINE:
                continue
            mean = torch.stack(losses).double().mean().item()
            losses = []
            bar.set_postfix(loss=f"{mean:.4f}")
            path = run.folder / "snapshots" / f"{training.images:012d}.safetensors"
            if log:
                log.add(training.images, mean, config.rate(training.images))
                if at_snapshot:
                    write_tensors(path, training.average_tensors(), {**about, "images": training.images})
                if at_snapshot or time.monotonic() - saved > SECONDS_BETWEEN_STATES:
                    _save(training, run, log)
                    saved = time.monotonic()
            if at_snapshot:
                accelerator.wait_for_everyone()
                yield Snapshot(training.images, path)
    if writes:
        for state in _states(run):
            state.unlink(missing_ok=True)


def _states(run: Run) -> tuple[Path, Path]:
    return run.folder / "state.safetensors", run.folder / "state-before.safetensors"


def _save(training: Training, run: Run, log: Log) -> None:
    """Write the log, then the state: a kill between the two leaves log lines that the next `Log` drops."""
    log.write()
    state, before = _states(run)
    if state.exists():
        state.replace(before)
    write_tensors(state, training.tensors(), {"images": training.images})


def _restore(training: Training, run: Run) -> None:
    """Go on from the newest state that is whole, or from the start if there is none."""
    for path in _states(run):
        try:
            tensors, about = read_tensors(path)
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            warnings.warn(f"{error}; going on from the one before it", stacklevel=4)
            continue
        training.restore(tensors, about["images"])
        return


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
