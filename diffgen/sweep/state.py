"""How far a run is, read from its folder: trained, measured, and which snapshots are still there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from filelock import FileLock

from diffgen.checkpoint import write_whole
from diffgen.log import read_lines
from diffgen.runs import DROPPED, Run

Keep = Literal["all", "last", "none"]


def images_seen(run: Run) -> int:
    """Images seen by a run that is not finished, as of its last state, from which it goes on."""
    lines = read_lines(run.folder) if any(run.folder.glob("state*.safetensors")) else []
    return lines[-1]["images"] if lines else 0


def measured_mark(run: Run, key: str) -> Path:
    """The file that says that a run was measured by a sweep; `key` stands for the sweep and its code."""
    return run.folder / "results" / f"measured-{key}.json"


def measuring(run: Run) -> FileLock:
    """Held while a run is measured and its snapshots are dropped, so that no sweep drops what another is measuring."""
    return FileLock(run.folder / "measuring.lock")


def drop(run: Run, keep: Keep) -> None:
    """Delete snapshots of a finished, measured run: "none" deletes all, "last" all but the last, "all" nothing.

    The list of what was deleted is written first: a crash leaves files too many, which the next call deletes. Without
    the list, `dropped.json`, the run counts as unfinished, and is trained again to the same bits.
    """
    there = [] if run.stored else [snapshot for snapshot in run.snapshots if snapshot.path.is_file()]
    last = run.config.snapshot_images[-1] if there else None
    gone = [s for s in there if keep == "none" or (keep == "last" and s.images != last)]
    if not gone:
        return
    before = run.dropped or {"snapshots": []}
    images = sorted({*before["snapshots"], *(snapshot.images for snapshot in gone)})
    about = {"snapshots": images, "shape": list(there[0].shape)}
    write_whole(run.folder / DROPPED, json.dumps(about).encode())
    for snapshot in gone:
        snapshot.path.unlink()
