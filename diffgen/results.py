"""Results kept beside a run, found again by all that they depend on: snapshot, settings and code."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from diffgen.checkpoint import DamagedFile, read_tensors, write_tensors
from diffgen.data import Points
from diffgen.log import provenance
from diffgen.runs import DECIDING, Snapshot, fingerprint

METRICS = ("copying", "features", "frechet", "gap", "neighbours", "overlap", "quality", "receptive", "reconstruction")
EVALUATING = (
    *DECIDING, "along.py", "evaluate.py", "guidance.py", "guides.py", "optimal.py", "probes.py", "sample.py",
    "scaling.py",
    *(f"metrics/{name}.py" for name in METRICS),
)  # fmt: skip
"""The sources that decide what is computed from a snapshot."""


def kept(
    snapshot: Snapshot, name: str, settings: dict[str, Any], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What `compute` returns, from the run's folder if it was computed there before with equal settings and equal code.

    Of a stored run it is read whatever the code was; nothing is added to it.

    Args:
        snapshot: what is evaluated.
        name: what is computed, the beginning of the file's name.
        settings: all that the result depends on beside the snapshot, as JSON.
        compute: returns the result as named tensors.

    Raises:
        DamagedFile: a file of a stored run is damaged.
    """
    folder, stored = snapshot.run.folder / "results", snapshot.run.stored is not None
    path = folder / result_name(name, snapshot.images, settings, "" if stored else fingerprint(EVALUATING))
    try:
        return read_tensors(path)[0]
    except FileNotFoundError:
        pass
    except DamagedFile:  # a result can be computed again, where the weights are
        if stored:
            raise
    start = time.monotonic()
    result = compute()
    if not stored:
        path.parent.mkdir(exist_ok=True)
        about = {"settings": settings, "seconds": round(time.monotonic() - start, 1), **provenance()}
        write_tensors(path, result, about)
    return result


def result_name(name: str, images: int, settings: dict[str, Any], code: str) -> str:
    """The name of a result's file: what it is, of which snapshot, and a hash of its settings and of the code."""
    key = hashlib.sha256((json.dumps(_short(settings), sort_keys=True) + code).encode()).hexdigest()[:10]
    return f"{name}-{images:012d}-{key}.safetensors"


def _short(value: Any) -> Any:
    """Numbers to six digits: a logarithm's last bits differ between machines, and a stored result is found on all."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def digest(points: Points) -> str:
    """A hash of images and classes: results are of these, whatever split they came in."""
    found = hashlib.sha256(points.x.contiguous().numpy().tobytes())
    found.update(b"" if points.labels is None else points.labels.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
