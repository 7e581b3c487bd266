"""Data points, and their split into training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Points:
    """Clean data points and, where they have one, their classes.

    Args:
        x: the points, (N, *), float32, in units of the data.
        labels: class indices, (N,), int64, or None.

    Raises:
        ValueError: x is not a batch of points, or the labels are not one a point.
    """

    x: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.ndim < 2:
            raise ValueError(f"x has shape {tuple(self.x.shape)}: give points as (N, *), one a row")
        if self.labels is not None and self.labels.shape != (len(self.x),):
            raise ValueError(f"labels has shape {tuple(self.labels.shape)}: give one a point, ({len(self.x)},)")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: slice | Tensor) -> Points:
        """Some of the points, with their classes."""
        return Points(self.x[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True, eq=False)
class Split:
    """Training and validation points from one distribution, and what is left of the pool they were drawn from.

    Args:
        train: what a denoiser is trained on, or what an optimal denoiser recalls.
        val: points of the same distribution that training never sees.
        holdout: a third set that is in neither, for reference denoisers and features; None if nothing is left.
    """

    train: Points
    val: Points
    holdout: Points | None = None

    @cached_property
    def sigma_data(self) -> float:
        """The standard deviation σ_d of the training data over all points and entries, in units of the data."""
        return self.train.x.double().std(correction=0).item()

    @property
    def fresh(self) -> Split:
        """The same with images of the holdout in the place of the training images: a null.

        No denoiser that was trained on this split has seen them, so whatever is measured between them and the
        validation images is the draw's doing. As many as there are training images, or as the holdout has.

        Raises:
            ValueError: there is no holdout.
        """
        if self.holdout is None:
            raise ValueError("split has no holdout: ask for fewer training or validation images")
        n = min(len(self.train), len(self.holdout))
        left = self.holdout[n:] if n < len(self.holdout) else None
        return Split(self.holdout[:n], self.val, left)
