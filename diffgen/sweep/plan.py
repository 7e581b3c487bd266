"""What a sweep will do, before it does it: which runs are missing, and what they will take."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffgen.data import DataConfig, Split, ToyConfig
from diffgen.runs import Run, RunFolder, find_run
from diffgen.runs.key import run_name
from diffgen.runs.log import provenance
from diffgen.sweep import Sweep
from diffgen.sweep.estimate import disk, images_per_second, memory, size_of
from diffgen.sweep.state import Keep, images_seen, measured_mark
from diffgen.training import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run of a sweep, how far it is, and what the rest of it will take; sizes in bytes, time in seconds."""

    label: str
    config: TrainConfig
    run: Run
    parameters: int
    trained: bool
    measured: bool
    seen: int
    speed: float = float("inf")
    memory: float = 0
    disk: float
    disk_on_the_way: float = 0

    @property
    def images(self) -> int:
        """Images that it sees in all."""
        return self.config.snapshot_images[-1]

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.trained and self.measured

    @property
    def state(self) -> str:
        """How far it is, in words."""
        if self.trained:
            return "finished" if self.measured else "to measure"
        return f"{self.seen:,} of {self.images:,}" if self.seen else "missing"

    @property
    def seconds(self) -> float:
        """Time that its training still takes."""
        return (self.images - self.seen) / self.speed


def plan(sweep: Sweep, root: Path, *, key: str, device: str = "cpu", keep: Keep = "all") -> list[Planned]:
    """Look every distinct run of a sweep up, and estimate what the missing ones take. Writes nothing.

    Images/s come from finished runs of the same network and batch under `root`, trained on one thread of such a
    machine, else from a few real steps here. Those have the machine to themselves; beside others a job is slower.
    """
    speeds: dict[tuple[Any, ...], float] = {}
    rows = []
    for label, config in sweep.distinct.items():
        run = find_run(config, root)
        trained = run.finished
        if not isinstance(run, RunFolder) or trained:
            row = Planned(
                label=label, config=config, run=run, trained=True,
                measured=not isinstance(run, RunFolder) or not sweep.measure or measured_mark(run, key).is_file(),
                parameters=run.metadata["parameters"], seen=config.snapshot_images[-1], disk=_bytes_of(run),
            )  # fmt: skip
        else:
            split = alike_data(config.data)
            size = size_of(config, split)
            done, on_the_way = disk(config, size, keep)
            like = alike(config)
            if not speeds:
                speeds.update(speeds_of_finished(root, device))
            if like not in speeds:
                speeds[like] = images_per_second(config, split, device)
            row = Planned(
                label=label, config=config, run=run, trained=False, measured=False, parameters=size.parameters,
                seen=images_seen(run), speed=speeds[like], memory=memory(config, split, size), disk=done,
                disk_on_the_way=on_the_way,
            )  # fmt: skip
        rows.append(row)
    return rows


def _bytes_of(run: Run) -> int:
    """Bytes that a run takes; of a published one, nothing here."""
    files = run.folder.rglob("*") if isinstance(run, RunFolder) else ()
    return sum(path.stat().st_size for path in files if path.is_file())


@lru_cache(maxsize=1)  # runs on the same images follow one another
def alike_data(data: DataConfig | ToyConfig) -> Split:
    """The images, with as many labels as they have, but without the features and clusters that those may take."""
    if isinstance(data, DataConfig) and data.labels != "classes":
        data = replace(data, labels="random", n_labels=data.n_train if data.labels == "instances" else data.n_labels)
    return data.load()


def alike(config: TrainConfig) -> tuple[Any, ...]:
    """All that the speed of a config's training depends on."""
    data = config.data.name, getattr(config.data, "size", None)
    return *data, config.network, config.batch, config.precision, config.conditional, len(config.ema)


def speeds_of_finished(root: Path, device: str) -> dict[tuple[Any, ...], float]:
    """Images/s of the runs under a folder that were trained here as a job trains: on one thread."""
    here, speeds = {**provenance()["machine"], "threads": 1}, {}
    for path in sorted(root.glob("*/run.json")):
        run = RunFolder(path.parent)
        try:
            config, how = run.config, run.metadata
        except ValueError:  # of another version
            continue
        if how["machine"] == here and how["device"] == device and how["seconds"] >= 1 and run.finished:
            speeds[alike(config)] = config.snapshot_images[-1] / how["seconds"]
    return speeds


def wall_seconds(seconds: Iterable[float], at_once: int) -> float:
    """How long jobs take that are started in this order, so many at once, each as soon as another has ended."""
    ends = [0.0] * at_once
    for job in seconds:
        heapq.heapreplace(ends, ends[0] + job)
    return max(ends)


def table(planned: list[Planned], also: dict[str, list[str]], at_once: int) -> str:
    """The plan as text: a row a run, then what all of it takes.

    Args:
        planned: the runs.
        also: further labels of the same config.
        at_once: jobs at a time.
    """
    rows = [("run", "folder", "parameters", "images", "state", "images/s", "time", "memory", "disk")]
    for p in planned:
        estimates = ("", "", "") if p.trained else (f"{p.speed:,.0f}", duration(p.seconds), amount(p.memory))
        label = " = ".join([p.label, *also.get(p.label, [])])
        numbers = f"{p.parameters:,}", f"{p.images:,}"
        rows.append((label, run_name(p.config), *numbers, p.state, *estimates, amount(p.disk)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust, str.ljust, str.rjust, str.rjust, str.ljust, *[str.rjust] * 4]
    lines = ["  ".join(side(text, width) for side, text, width in zip(sides, row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, "", totals(planned, at_once)])


def totals(planned: list[Planned], at_once: int) -> str:
    """What all runs take together: time, memory, disk."""
    left = [p for p in planned if not p.done]
    if not left:
        return f"all {len(planned)} runs are finished; disk {amount(sum(p.disk for p in planned))}"
    wall, work = wall_seconds([p.seconds for p in left], at_once), sum(p.seconds for p in left)
    peak = sum(sorted((p.memory for p in left), reverse=True)[:at_once])
    on_the_way = sum(sorted((max(0, p.disk_on_the_way - p.disk) for p in left), reverse=True)[:at_once])
    disk_now = sum(p.disk for p in planned)
    return (
        f"{len(left)} of {len(planned)} runs to do, {at_once} at once: about {duration(wall)} of training "
        f"({duration(work)} of one core), memory up to {amount(peak)}, "
        f"disk {amount(disk_now)} (up to {amount(disk_now + on_the_way)} on the way); measuring comes on top"
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def amount(size: float) -> str:
    """Bytes as a person says them."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1e3:.0f} kB"
