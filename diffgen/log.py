"""What a run writes down about itself: the log (JSON lines), the same for TensorBoard, and how it came about."""

from __future__ import annotations

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from diffgen.checkpoint import write_whole


def provenance() -> dict[str, Any]:
    """The versions and the machine that results come from."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("diffgen", "torch", "numpy", "accelerate")},
        },
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
    }


def read_lines(folder: Path, images: int | None = None) -> list[dict[str, Any]]:
    """The lines of a run's log, up to a number of images seen."""
    path = folder / "log.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if images is None or line["images"] <= images]


class Log:
    """The log of a run that has seen `images` images; lines that a killed process wrote beyond them are dropped.

    `log.jsonl` holds what the config decides, equal to the bit however often the run was interrupted. What depends on
    the machine goes elsewhere: `run.json` (parameters, device, versions, seconds spent) and, if TensorBoard is
    installed (`pip install 'diffgen[tensorboard]'`), its event files under `tensorboard/`, with images/s.

    Args:
        folder: the run's.
        images: images seen so far.
        about: what else goes into `run.json`.
    """

    def __init__(self, folder: Path, images: int, about: dict[str, Any]):
        self.folder, self.lines = folder, read_lines(folder, images)
        path = folder / "run.json"
        before = json.loads(path.read_text())["seconds"] if images and path.exists() else 0.0
        self.about, self.start = {**about, **provenance()}, time.monotonic() - before
        self.last = images, time.monotonic()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=images + 1)

    def add(self, images: int, loss: float, learning_rate: float) -> None:
        """Note the mean loss since the line before."""
        self.lines.append({"images": images, "loss": loss, "learning_rate": learning_rate})
        (seen, then), now = self.last, time.monotonic()
        self.last = images, now
        if self.board:
            speed = (images - seen) / max(now - then, 1e-9)
            for name, value in {"loss": loss, "learning_rate": learning_rate, "images_per_second": speed}.items():
                self.board.add_scalar(name, value, images)

    def write(self) -> None:
        """Write all lines and `run.json`, whole."""
        write_whole(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.lines).encode())
        about = {**self.about, "seconds": round(time.monotonic() - self.start, 1)}
        write_whole(self.folder / "run.json", json.dumps(about, indent=2).encode())
        if self.board:
            self.board.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self.board:
            self.board.close()
