"""The sweeps that come with diffgen: the runs of chapter 4, at the scale of each preset."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from diffgen import presets
from diffgen.experiments import Measure, measure_run
from diffgen.experiments.gap import VERSION as GAP_VERSION
from diffgen.experiments.scaling import VERSION as SAMPLES_VERSION
from diffgen.runs import Snapshot, trained
from diffgen.sweep import Sweep


def named(name: str, seed: int = 0) -> Sweep:
    """The sweep of that name: what chapter 4 trains and measures with the preset of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in get_args(presets.PresetName):
        raise ValueError(f"sweep is {name!r}: it is one of {', '.join(get_args(presets.PresetName))}")
    plan = presets.named(cast(presets.PresetName, name), seed).scaling

    def measure(snapshots: list[Snapshot], root: Path, device: str) -> None:
        config = snapshots[0].run.config
        if config == plan.reference:  # by which the others are measured
            return
        reference = trained(plan.reference, root=root, device=device, progress=False) if plan.reference else None
        how = Measure(seed=config.seed, device=device, n_images=plan.n_eval, progress=False)
        split = config.data.load()
        measure_run(snapshots, split, plan.levels.sigmas, plan.n_samples, plan.sigmas, reference, how)

    return Sweep(plan.runs, measure, version=f"gap {GAP_VERSION}, samples {SAMPLES_VERSION}")
