"""How much an audit computes, and how to fit it into a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

STARTS = 4
"""From how many noise levels trajectories start that may return."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How many images, noise levels, samples and trajectories.

    Args:
        n_images: images of each split whose errors are measured, at most.
        n_levels: noise levels of the gap.
        draws: noise draws an image and level. More of them tell members better, see `diffgen.metrics.membership`.
        n_samples: samples that are drawn.
        n_steps: of the sampler (Heun), two evaluations each.
        n_trajectories: trajectories, and noisy images of each split beside them.

    Raises:
        ValueError: a number that is too small.
    """

    n_images: int = 4096
    n_levels: int = 16
    draws: int = 2
    n_samples: int = 10_000
    n_steps: int = 18
    n_trajectories: int = 512

    def __post_init__(self) -> None:
        least = {"n_images": 8, "n_levels": 3, "draws": 1, "n_samples": 0, "n_steps": 2, "n_trajectories": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} is {getattr(self, name)}: give {smallest} or more")

    @property
    def evaluations(self) -> dict[str, int]:
        """Rows that the denoiser is called with, by part of the audit."""
        steps = 2 * self.n_steps - 1  # calls of a Heun trajectory
        along = steps + 2 * self.n_steps  # of the trajectories, and of noisy images of both sets at each level
        returning = 2 * STARTS * steps  # of both sets, at most the whole way
        return {
            "errors": 3 * self.n_images * self.n_levels * self.draws,
            "samples": self.n_samples * steps,
            "trajectories": self.n_trajectories * (along + returning),
        }

    def of_data(self, n_train: int, n_val: int, n_rest: int) -> Effort:
        """With no more images than there are."""
        return replace(
            self,
            n_images=min(self.n_images, n_train, n_val),
            n_trajectories=min(self.n_trajectories, n_train, n_val, n_rest),
        )

    def within(self, seconds: float, per_row: float) -> Effort:
        """The same with fewer of everything, so that the denoiser takes no longer than that.

        Images, samples and trajectories shrink alike, draws go first. What is left is small where the time is short,
        and intervals are then wide: an audit that was too short says "undecided", not "does not".

        Args:
            seconds: to spend.
            per_row: seconds a row of a call takes.

        Raises:
            ValueError: not even the smallest audit fits.
        """
        if sum(self.evaluations.values()) * per_row <= seconds:
            return self
        one = replace(self, draws=1)
        share = seconds / (sum(one.evaluations.values()) * per_row)
        if share >= 1:
            return one
        fewer = replace(
            one,
            n_images=max(64, math.floor(one.n_images * share)),
            n_samples=math.floor(one.n_samples * share),
            n_trajectories=math.floor(one.n_trajectories * share),
        )
        needed = sum(fewer.evaluations.values()) * per_row
        if needed > 1.2 * seconds:
            raise ValueError(f"budget is {seconds:.0f} s: the smallest audit of this model takes about {needed:.0f} s")
        return fewer


def in_seconds(budget: str | float) -> float:
    """A time such as "90s", "20m" or "1.5h", or a number of seconds.

    Raises:
        ValueError: no time.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    text = str(budget).strip()
    number, unit = (text[:-1], units[text[-1]]) if text and text[-1] in units else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"budget is {budget!r}: give a time such as 90s, 20m or 1.5h")
    return seconds
