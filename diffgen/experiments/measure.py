"""How something is measured, whatever it is: one settings object for all experiments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from diffgen.data import Points


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How something is measured; passed on whole.

    Args:
        seed: of noise, and of whatever else is drawn in measuring.
        device: where snapshots are loaded to compute; any other subject is measured where it is.
        n_images: use the first so many images of each split; None is all.
        batch_size: rows a call of the denoiser: it changes memory and speed, not the result.
        progress: show bars.

    Raises:
        ValueError: a number that is too small.
    """

    seed: int = 0
    device: str = "cpu"
    n_images: int | None = None
    batch_size: int = 512
    progress: bool = True

    def __post_init__(self) -> None:
        for name, least in {"seed": 0, "n_images": 1, "batch_size": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}: give {least} or more")

    def with_(self, **changes: Any) -> Measure:
        """The same with some fields changed."""
        return replace(self, **changes)

    def of(self, points: Points) -> Points:
        """The images of a split that are measured."""
        return points if self.n_images is None else points[: self.n_images]
