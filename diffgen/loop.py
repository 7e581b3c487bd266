"""Training a config to its end, whatever happens on the way: one process a run, and a killed run goes on."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from tqdm import tqdm

from diffgen.checkpoint import DamagedFile, read_tensors, write_tensors, write_whole
from diffgen.log import Log
from diffgen.runs import CONFIG, Run, Snapshot, find_run
from diffgen.train import TrainConfig, Training, accelerator_on

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
