"""What a run writes down about itself: the log (JSON lines), the same for TensorBoard, and how it came about."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from diffgen.files import write_whole

PACKAGE = Path(__file__).parent.parent
COLUMNS = ("images_seen", "loss", "learning_rate")
"""Of a run's log: images seen, mean training loss since the line before, learning rate."""


@cache
def code() -> dict[str, str | None]:
    """Which code computes: a hash of the package's sources, and the commit where they lie in a clone of the project.

    It is written down beside results, and never part of what they are found by.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    commit = None
    if (PACKAGE.parent / ".git").exists():
        command = ["git", "-C", str(PACKAGE.parent), "rev-parse", "HEAD"]
        with suppress(OSError):
            commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    return {"sha256": digest.hexdigest()[:16], "commit": commit}


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    packages = ("diffgen", "torch", "numpy", "accelerate")
    return ("python", platform.python_version()), *((name, version(name)) for name in packages)


def provenance() -> dict[str, Any]:
    """The code, the versions and the machine that results come from."""
    return {
        "code": code(),
        "versions": dict(_versions()),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
    }


def read_lines(folder: Path, images_seen: int | None = None) -> list[dict[str, Any]]:
    """The lines of a run's log, up to a number of images seen."""
    path = folder / "log.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if images_seen is None or line["images_seen"] <= images_seen]


class Log:
    """The log of a run that has seen `images_seen` images; lines that a killed process wrote beyond them are dropped.

    `log.jsonl` holds what the config decides, equal to the bit however often the run was interrupted. What depends on
    the machine goes elsewhere: `run.json` (parameters, device, versions, seconds spent) and, if TensorBoard is
    installed (`pip install 'diffgen[tensorboard]'`), its event files under `tensorboard/`, with images/s.

    Args:
        folder: the run's.
        images_seen: so far.
        metadata: what else goes into `run.json`.
    """

    def __init__(self, folder: Path, images_seen: int, metadata: dict[str, Any]):
        self.folder, self.lines = folder, read_lines(folder, images_seen)
        path = folder / "run.json"
        before = json.loads(path.read_text())["seconds"] if images_seen and path.exists() else 0.0
        self.metadata, self.start = {**metadata, **provenance()}, time.monotonic() - before
        self.last = images_seen, time.monotonic()
        self.board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=images_seen + 1)

    def add(self, images_seen: int, loss: float, learning_rate: float) -> None:
        """Note the mean loss since the line before."""
        self.lines.append({"images_seen": images_seen, "loss": loss, "learning_rate": learning_rate})
        (seen, then), now = self.last, time.monotonic()
        self.last = images_seen, now
        if self.board:
            speed = (images_seen - seen) / max(now - then, 1e-9)
            for name, value in {"loss": loss, "learning_rate": learning_rate, "images_per_second": speed}.items():
                self.board.add_scalar(name, value, images_seen)

    def write(self) -> None:
        """Write all lines and `run.json`, whole."""
        write_whole(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.lines).encode())
        metadata = {**self.metadata, "seconds": round(time.monotonic() - self.start, 1)}
        write_whole(self.folder / "run.json", json.dumps(metadata, indent=2).encode())
        if self.board:
            self.board.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self.board:
            self.board.close()
