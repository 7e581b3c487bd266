"""Publishing runs: what was computed from them, without most weights, in one file for each run and a manifest of all.

`diffgen.runs.publication` says what such a folder holds, and reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffgen.experiments.gap import gap_table
from diffgen.files import read_tensors, sha256_of, write_tensors, write_whole
from diffgen.metrics.gap import GapCurve
from diffgen.runs import Publication, PublishedRun, RunFolder, publication_at
from diffgen.runs.folder import config_json
from diffgen.runs.log import COLUMNS
from diffgen.runs.publication import FORMAT, MANIFEST

LARGEST_WEIGHTS = 3 * 2**19
"""Weights of the last snapshot, of the average that is used, go along if their file is at most so many bytes: to check
the rest by, and to measure more."""
TABLE = "gaps.csv"
PROVENANCE = ("code", "versions", "machine")


def publish(runs: Sequence[RunFolder], root: str | Path) -> Publication:
    """Write what was computed from finished runs to published results under `root`.

    What is published already stays, unless it is computed anew: results can be added in several goes. Of a measure
    whose version was raised only the newest results are taken. The manifest says how each run was trained and has the
    SHA-256 of every file; each result says in the metadata of its file when and by what it was computed. `gaps.csv` has
    the plain gap curves of all runs for other programs.

    Args:
        runs: run folders with all their snapshots.
        root: folder of published results, such as `results/standard`.

    Raises:
        FileNotFoundError: a run is not finished.
        DamagedFile: a result of a run is damaged.
    """
    folder = Path(root)
    for run in runs:
        if not run.finished:
            raise FileNotFoundError(f"{run.folder} is not finished: train it to its end, then publish it")
    folder.mkdir(parents=True, exist_ok=True)
    before = publication_at(folder)
    said = dict(before.runs) if before else {}
    for run in runs:
        said[run.name] = _write(run, folder, before)
    files = sorted(path for path in folder.glob("*.safetensors") if path.name.split(".")[0] in said)
    checksums = {path.name: sha256_of(path) for path in files}
    manifest = {"format": FORMAT, "runs": dict(sorted(said.items())), "sha256": checksums}
    publication = Publication(str(folder), manifest)
    write_whole(folder / TABLE, _table([PublishedRun(publication, name) for name in publication.runs]))
    checksums[TABLE] = sha256_of(folder / TABLE)
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")
    return publication


def _write(run: RunFolder, folder: Path, before: Publication | None) -> dict[str, Any]:
    """Write the files of a run; returns what the manifest says of it."""
    config, snapshots = run.config, run.snapshots
    tensors, results = _published_already(before, run.name)
    for path in sorted((run.folder / "results").glob("*.safetensors")):
        values, metadata = read_tensors(path)
        tensors |= {f"{path.stem}/{key}": value for key, value in values.items()}
        results[path.stem] = metadata
    results = dict(_newest(results))
    tensors = {key: value for key, value in tensors.items() if key.split("/")[0] in results}
    lines = run.log_lines
    tensors |= {f"log/{key}": torch.tensor([line[key] for line in lines], dtype=torch.float64) for key in COLUMNS}
    write_tensors(folder / f"{run.name}.safetensors", tensors, _shared_provenance(results))
    last = run.weights_path(snapshots[-1].images_seen)
    if last.is_file():  # not pruned
        _write_weights(last, config.ema[0].name, folder / f"{run.name}.weights.safetensors")
    return {
        "config": config_json(config),
        "versions": run.versions,
        "shape": list(run.shape),
        "snapshots": [snapshot.images_seen for snapshot in snapshots],
        "training": run.metadata,
    }


def _write_weights(snapshot: Path, average: str, path: Path) -> None:
    tensors, metadata = read_tensors(snapshot)
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{average}/")}
    if sum(tensor.nbytes for tensor in kept.values()) <= LARGEST_WEIGHTS:
        write_tensors(path, kept, metadata)


def _published_already(before: Publication | None, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if before is None or name not in before.runs:
        return {}, {}
    run = PublishedRun(before, name)
    return read_tensors(before.file(f"{name}.safetensors"))[0], run.cache.results


def _newest(results: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    newest: dict[str, int] = {}
    for said in results.values():
        newest[said["measure"]] = max(said["version"], newest.get(said["measure"], 0))
    return ((name, said) for name, said in results.items() if said["version"] == newest[said["measure"]])


def _shared_provenance(results: dict[str, Any]) -> dict[str, Any]:
    """Results and how they came about, which many of them share."""
    provenance: list[dict[str, Any]] = []
    shared = {}
    for name, said in results.items():
        how = {key: said[key] for key in PROVENANCE if key in said}
        if how not in provenance:
            provenance.append(how)
        rest = {key: value for key, value in said.items() if key not in PROVENANCE}
        shared[name] = {**rest, "provenance": provenance.index(how)}
    return {"results": shared, "provenance": provenance}


def plain_gap_curves(run: PublishedRun) -> dict[int, GapCurve]:
    """The published gap curves of a run's snapshots as they are, in pixels, by the images that each has seen.

    Of several the one at the most noise levels.
    """
    curves: dict[int, GapCurve] = {}
    for name, said in run.cache.results.items():
        subject, settings = said["subject"], said["settings"]
        if said["measure"] != "gap" or "base" in subject or settings["features"] or settings["norm"] != "mse":
            continue
        seen, sigmas = subject["images_seen"], torch.tensor(settings["sigmas"])
        errors = run.cache.read(name)
        if errors is not None and (seen not in curves or len(curves[seen].sigmas) < len(sigmas)):
            curves[seen] = GapCurve(sigmas, errors["train"], errors["val"])
    return dict(sorted(curves.items()))


def _table(runs: Sequence[PublishedRun]) -> bytes:
    """All plain gap curves as one tidy table, CSV: a row for each run, snapshot and noise level."""
    import pandas as pd  # slow to import

    tables = []
    for run in runs:
        if curves := plain_gap_curves(run):
            config, table = run.config, gap_table(list(curves), list(curves.values()))
            who = {"run": run.name, "data": config.data.name, "n_train": config.data.n_train,
                   "network": config.network.kind, "parameters": run.metadata["parameters"]}  # fmt: skip
            tables.append(table.assign(**who)[[*who, *table.columns]])
    return pd.concat(tables).to_csv(index=False, float_format="%.6g").encode() if tables else b""
