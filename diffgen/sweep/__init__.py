"""Sweeps: many runs by one command, on Snakemake. Here is what a sweep is; `run.py` runs it, `plan.py` says beforehand.

A sweep is a function that returns configs:

    def sizes(seed=0):
        config = diffgen.presets.quick(seed).train
        return [config.with_(data=replace(config.data, n_train=n)) for n in (64, 256, 1024)]

`diffgen sweep my_sweep.py:sizes` trains what is missing of it, each run in a process of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from diffgen.runs import Snapshot
from diffgen.runs.key import run_name
from diffgen.training import TrainConfig


@dataclass(frozen=True)
class Sweep:
    """Runs by what they are called, and what to compute from each.

    Args:
        runs: configs by label. A label names files: letters, digits and . _ = + , ~ -.
        measure: called with the snapshots of a trained run, the folder of runs and the device, in the run's process.
            What it computes is to be kept beside the run (`diffgen.runs.cached`): so it is quick the second time.
        version: of what is measured, raised by hand when it is to be done again.

    Raises:
        ValueError: no runs, or a label that can't name a file.
    """

    runs: Mapping[str, TrainConfig]
    measure: Callable[[list[Snapshot], Path, str], object] | None = None
    version: str = ""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs is empty: a sweep has at least one config")
        for label, config in self.runs.items():
            if not re.fullmatch(r"[\w=+,~-][\w.=+,~-]*", str(label)):
                raise ValueError(f"label is {label!r}: it names files, so use letters, digits and . _ = + , ~ -")
            if not isinstance(config, TrainConfig):
                raise ValueError(f"run {label!r} is a {type(config).__name__}: give a diffgen.TrainConfig")

    @classmethod
    def of(cls, runs: Sweep | Mapping[str, TrainConfig] | Iterable[TrainConfig]) -> Sweep:
        """The sweep of whatever a sweep function may return; configs in a list are labelled as their folders are."""
        if isinstance(runs, Sweep):
            return runs
        if not isinstance(runs, Mapping):
            runs = {run_name(c) if isinstance(c, TrainConfig) else str(i): c for i, c in enumerate(runs)}
        return cls(runs)

    @property
    def distinct(self) -> dict[str, TrainConfig]:
        """The runs, equal configs once, under the first of their labels."""
        first = {config: label for label, config in reversed([*self.runs.items()])}
        return {label: config for label, config in self.runs.items() if first[config] == label}
