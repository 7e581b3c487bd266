"""The sweeps that come with diffgen: the runs of chapter 4, at the scale of each preset."""

from __future__ import annotations

from pathlib import Path

from diffgen import presets
from diffgen.runs import Snapshot
from diffgen.scaling import measured
from diffgen.sweep import Sweep


def named(name: presets.PresetName, seed: int = 0) -> Sweep:
    """The sweep of that name: what chapter 4 trains and measures with the preset of that name.

    Raises:
        ValueError: there is none.
    """
    found = {preset.__name__: preset for preset in (presets.smoke, presets.quick, presets.standard, presets.paper)}
    if name not in found:
        raise ValueError(f"sweep is {name!r}: it is one of {', '.join(found)}")
    plan = found[name](seed).scaling

    def measure(snapshots: list[Snapshot], root: Path, device: str) -> None:
        config = snapshots[0].run.config
        if config != plan.reference:  # which the others are measured by
            measured(config, plan, root=root, device=device, progress=False)

    return Sweep(plan.runs, measure)
