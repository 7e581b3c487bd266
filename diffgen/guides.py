"""What stands between a snapshot and the denoiser that is evaluated: a guide, or a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from diffgen.denoiser import Denoiser
from diffgen.guidance import Batched, Guided, Unconditional, Windowed
from diffgen.runs import Snapshot


@dataclass(frozen=True)
class Guide:
    """A snapshot that guides another one, D_w = D + w (D − D_guide): see `Guided`.

    Classifier-free guidance with one network: the guided snapshot itself, `unconditional`; with two: one of a run that
    never saw labels. Autoguidance: an earlier snapshot, one of a smaller network, or both.

    Args:
        snapshot: D_guide.
        weight: w.
        unconditional: D_guide is called without labels.
        interval: guide only at σ in (low, high]; None is everywhere.
    """

    snapshot: Snapshot
    weight: float
    unconditional: bool = False
    interval: tuple[float, float] | None = None

    @property
    def settings(self) -> dict[str, Any] | None:
        """What a result depends on; None at weight 0, where it is that of the guided snapshot alone.

        What is as by default has no entry, so that results are found which were kept when there was no such option.
        """
        if not self.weight:
            return None
        found = {"run": self.snapshot.run.key, "images": self.snapshot.images, "weight": self.weight}
        found |= {"unconditional": True} if self.unconditional else {}
        return found | ({} if self.interval is None else {"interval": [float(end) for end in self.interval]})


def guided(snapshot: Snapshot, guide: Guide | None, device: str | torch.device = "cpu") -> Denoiser:
    """The denoiser of a snapshot, guided or not. A snapshot that guides itself is loaded once, and called once."""
    main = snapshot.denoiser(device=device)
    if guide is None or not guide.weight:
        return main
    other = main if guide.snapshot == snapshot else guide.snapshot.denoiser(device=device)
    return Guided(main, Unconditional(other) if guide.unconditional else other, guide.weight, guide.interval)


def windowed(denoiser: Denoiser, window: int | None, stride: int = 1) -> Denoiser:
    """The denoiser behind a sliding window, see `Windowed`, some windows at a time; None leaves it as it is."""
    return denoiser if window is None else Windowed(Batched(denoiser, 1024), window, stride)
