"""Stored runs: what was computed from a run's snapshots, without the snapshots, small enough to be published.

A stored run is a folder named after its config alone. `diffgen.train` finds it like any other under the `root` it is
given, yields its snapshots, and whatever was computed from them is read instead of computed again, whatever the code
has become since. So figures can be drawn again in seconds from what took hours. That the present code still computes
the same is for a test to show, by computing a part of it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch

from diffgen.checkpoint import DamagedFile, read_about, read_tensors, write_whole
from diffgen.evaluate import gap_table
from diffgen.metrics.gap import GapCurve
from diffgen.results import EVALUATING, result_name
from diffgen.runs import STORED, Run, fingerprint

LARGEST_WEIGHTS = 3 * 2**17
"""Weights of the last snapshot go along if their file is at most so many bytes: enough to check the rest by."""


def store(run: Run, root: str | Path) -> Run:
    """Copy what the present code computed from a finished run to its stored run under `root`.

    What is there stays, unless it is computed anew: results can be added in several goes. `stored.json` says how the
    run was trained (its code, versions, machine, seconds), lists the snapshots, and has the SHA-256 of every file;
    each result's own metadata say the same of it. `gap.csv` has the plain gap curves for other programs.

    Args:
        run: a run folder with all its snapshots.
        root: folder of stored runs, such as `results/standard`.

    Raises:
        FileNotFoundError: the run is not finished.
        DamagedFile: a result of the run is damaged.
    """
    snapshots = run.snapshots
    if not run.finished:
        raise FileNotFoundError(f"{run.folder} is not finished: train it to its end, then store it")
    kept = Run(Path(root) / run.key)
    (kept.folder / "results").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "log.jsonl"):
        shutil.copyfile(run.folder / name, kept.folder / name)
    for path in sorted((run.folder / "results").glob("*.safetensors")):
        name, images, _ = path.stem.rsplit("-", 2)
        settings = read_about(path)["settings"]
        if path.name == result_name(name, int(images), settings, fingerprint(EVALUATING)):  # not of older code
            shutil.copyfile(path, kept.folder / "results" / result_name(name, int(images), settings, ""))
    last = snapshots[-1].path
    if last.is_file() and last.stat().st_size <= LARGEST_WEIGHTS:  # not dropped
        (kept.folder / "snapshots").mkdir(exist_ok=True)
        shutil.copyfile(last, kept.folder / "snapshots" / last.name)
    if curves := gap_curves(kept):
        table = gap_table(list(curves), list(curves.values()))
        write_whole(kept.folder / "gap.csv", table.to_csv(index=False, float_format="%.6g").encode())
    about = {
        "snapshots": [snapshot.images for snapshot in snapshots],
        "shape": list(snapshots[0].shape),
        "code": fingerprint(),
        "training": json.loads((run.folder / "run.json").read_text()),
        "sha256": {
            path.relative_to(kept.folder).as_posix(): _sha256(path)
            for path in sorted(kept.folder.rglob("*"))
            if path.is_file() and path.name != STORED
        },
    }
    write_whole(kept.folder / STORED, json.dumps(about, indent=1).encode())
    return kept


def check(run: Run) -> None:
    """Compare every file of a stored run with its checksum.

    Raises:
        DamagedFile: one is missing or differs, or the folder holds one that is not listed.
    """
    listed = (run.stored or {}).get("sha256", {})
    there = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()} - {STORED}
    for name in sorted(there | set(listed)):
        if name not in there or name not in listed or _sha256(run.folder / name) != listed[name]:
            raise DamagedFile(f"{run.folder / name} is not what was stored: restore it, or store the run again")


def gap_curves(run: Run) -> dict[int, GapCurve]:
    """The gap curves of a run that are kept, of its snapshots as they are, in pixels, by the images that each has seen.

    Of several the one at the most noise levels.
    """
    found = {}
    for path in sorted((run.folder / "results").glob("gap-*.safetensors")):
        errors, about = read_tensors(path)
        settings = about["settings"]
        other = settings["guide"] or settings["features"] or settings["norm"] != "mse" or "window" in settings
        if not other:
            sigmas = torch.tensor(settings["sigmas"])
            images, curve = int(path.stem.rsplit("-", 2)[1]), GapCurve(sigmas, errors["train"], errors["val"])
            if images not in found or len(found[images].sigmas) < len(sigmas):
                found[images] = curve
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
