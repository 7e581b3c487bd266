"""The sweeps that come with diffgen: the runs of chapter 4, at the scale of each preset."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from diffgen import presets
from diffgen.runs import Snapshot
from diffgen.scaling import measured
from diffgen.sweep import Sweep


def named(name: presets.PresetName, seed: int = 0) -> Sweep:
    """The sweep of that name: what chapter 4 trains and measures with the preset of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in get_args(presets.PresetName):
        raise ValueError(f"sweep is {name!r}: it is one of {', '.join(get_args(presets.PresetName))}")
    plan = presets.named(name, seed).scaling

    def measure(snapshots: list[Snapshot], root: Path, device: str) -> None:
        config = snapshots[0].run.config
        if config != plan.reference:  # which the others are measured by
            measured(config, plan, root=root, device=device, progress=False)

    return Sweep(plan.runs, measure)
