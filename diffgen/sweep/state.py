"""How far a run is, read from its folder: trained, measured, and which snapshots are still there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from filelock import FileLock

from diffgen.files import write_whole
from diffgen.runs import RunFolder
from diffgen.runs.folder import PRUNED_FILE
from diffgen.runs.log import read_lines

Keep = Literal["all", "last", "none"]


def images_seen(run: RunFolder) -> int:
    """Images seen by a run that is not finished, as of its last state, from which it goes on."""
    lines = read_lines(run.folder) if any(run.folder.glob("state*.safetensors")) else []
    return lines[-1]["images_seen"] if lines else 0


def measured_mark(run: RunFolder, key: str) -> Path:
    """The file that says that a run was measured by a sweep; `key` stands for the sweep and how it measures."""
    return run.folder / f"measured-{key}.json"


def measuring(run: RunFolder) -> FileLock:
    """Held while a run is measured and its snapshots are pruned, so that no sweep prunes what another is measuring."""
    return FileLock(run.folder / "measuring.lock")


def prune(run: RunFolder, keep: Keep) -> None:
    """Delete snapshots of a finished, measured run: "none" deletes all, "last" all but the last, "all" nothing.

    The list of what was deleted is written first: a crash leaves files too many, which the next call deletes. Without
    the list, `pruned.json`, the run counts as unfinished, and is trained again to the same bits.
    """
    there = [s.images_seen for s in run.snapshots if run.weights_path(s.images_seen).is_file()]
    last = run.config.snapshot_images[-1] if there else None
    gone = [seen for seen in there if keep == "none" or (keep == "last" and seen != last)]
    if not gone:
        return
    before = run.pruned or {"snapshots": []}
    metadata = {"snapshots": sorted({*before["snapshots"], *gone}), "shape": list(run.shape)}
    write_whole(run.folder / PRUNED_FILE, json.dumps(metadata).encode())
    for seen in gone:
        run.weights_path(seen).unlink()
