"""Training a config to its end, whatever happens on the way: one process a run, and a killed run goes on."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from diffgen.files import DamagedFile, read_tensors, write_tensors
from diffgen.runs.folder import RunFolder, Snapshot, config_json
from diffgen.runs.log import Log
from diffgen.runs.publication import find_run
from diffgen.training.config import TrainConfig
from diffgen.training.trainer import Trainer, accelerator_on

STEPS_A_LOG_LINE = 25
SECONDS_BETWEEN_STATES = 30.0
"""A killed run repeats at most this much."""
SECONDS_OF_SILENCE = 3.0
"""How long one waits for another process that trains the same config, before one says so."""


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
        root: folder of run folders, which may be read-only for runs that are finished; or a folder or an address of
            published results, see `diffgen.runs.publication`, from which snapshots are read.
        device: where to compute, "cpu" or "cuda".
        progress: show a bar with images/s, loss and the time left.

    Yields:
        `Snapshot`, each as soon as its file is written: .images_seen, .path, .denoiser(). A file that was damaged later
        says so when it is loaded; delete it, and the same call makes it anew.

    Raises:
        ValueError: the config can't be built, the device is not there, or the processes can't share the batch equally.
        FileNotFoundError: published results that do not hold the run.
        OSError: a file can't be written, for example on a full disk. What was there is kept.
    """
    run = find_run(config, root)
    if run.finished or not isinstance(run, RunFolder):
        yield from run.snapshots
        return
    accelerator = accelerator_on(device, config.precision)
    # before the run has a folder: what can't be trained leaves none
    trainer = Trainer(config, config.data.load(), accelerator)
    with _locked(run) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            run.say(config)
        accelerator.wait_for_everyone()
        yield from _train(trainer, run, progress)


def trained(
    config: TrainConfig, *, root: str | Path = "runs", device: str | torch.device = "cpu", progress: bool = True
) -> Snapshot:
    """Train a config to its end, or find it trained: its last snapshot. The arguments are those of `train`."""
    *_, last = train(config, root=root, device=device, progress=progress)
    return last


@contextmanager
def _locked(run: RunFolder) -> Iterator[None]:
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


def _train(trainer: Trainer, run: RunFolder, progress: bool) -> Iterator[Snapshot]:
    config, accelerator = trainer.config, trainer.accelerator
    wanted, writes = config.snapshot_images, accelerator.is_main_process
    if run.finished:  # by the one that was waited for
        yield from run.snapshots
        return
    _restore(trainer, run)
    yield from (snapshot for snapshot in run.snapshots if snapshot.images_seen <= trainer.images_seen)
    log = Log(run.folder, trainer.images_seen, trainer.metadata) if writes else None
    losses: list[torch.Tensor] = []
    saved = time.monotonic()
    bar = tqdm(
        total=config.total_images, initial=trainer.images_seen, unit=" images", unit_scale=True, mininterval=0.5,
        desc=f"training {run.folder.name}", disable=not (progress and writes),
    )  # fmt: skip
    with bar, log or nullcontext():
        for loss in trainer:
            bar.update(config.batch)
            losses.append(loss)
            seen = trainer.images_seen
            if seen not in wanted and len(losses) < STEPS_A_LOG_LINE:
                continue
            mean = torch.stack(losses).double().mean().item()
            losses = []
            bar.set_postfix(loss=f"{mean:.4f}")
            if log:
                log.add(seen, mean, config.learning_rate_at(seen))
                if seen in wanted:
                    log.write()  # first: with its last snapshot a run is finished, and no kill may cut its log short
                    write_tensors(run.weights_path(seen), trainer.average_tensors(), snapshot_metadata(trainer))
                if seen in wanted or time.monotonic() - saved > SECONDS_BETWEEN_STATES:
                    _save(trainer, run, log)
                    saved = time.monotonic()
            if seen in wanted:
                accelerator.wait_for_everyone()
                yield Snapshot(run, seen)
    if writes:
        for state in _states(run):
            state.unlink(missing_ok=True)


def snapshot_metadata(trainer: Trainer) -> dict[str, Any]:
    """What a snapshot says of itself: all that it takes to build its denoiser, and when it was taken."""
    config = trainer.config
    return {
        "config": config_json(config),
        "versions": config.versions,
        "shape": list(trainer.x.shape[1:]),
        "classes": trainer.classes,
        "sigma_data": trainer.denoiser.sigma_data,
        "images_seen": trainer.images_seen,
    }


def _states(run: RunFolder) -> tuple[Path, Path]:
    return run.folder / "state.safetensors", run.folder / "state-before.safetensors"


def _save(trainer: Trainer, run: RunFolder, log: Log) -> None:
    """Write the log, then the state: a kill between the two leaves log lines that the next `Log` drops."""
    log.write()
    state, before = _states(run)
    if state.exists():
        state.replace(before)
    write_tensors(state, trainer.tensors(), {"images_seen": trainer.images_seen})


def _restore(trainer: Trainer, run: RunFolder) -> None:
    """Go on from the newest state that is whole, or from the start if there is none."""
    for path in _states(run):
        try:
            tensors, metadata = read_tensors(path)
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            warnings.warn(f"{error}; going on from the one before it", stacklevel=4)
            continue
        trainer.restore(tensors, metadata["images_seen"])
        return
