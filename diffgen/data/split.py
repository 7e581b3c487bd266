"""Data points, and their split into training and validation."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cached_property

import torch
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


def split_points(points: Points, n_train: int, n_val: int, *, seed: int = 0) -> Split:
    """Split points at random by a seed: no row is in two parts, and what is left over is the holdout.

    The rule is that of `DataConfig.load`. The seed orders the rows, training points are taken from the front of that
    order and validation points from its back. So a smaller training set is the beginning of a larger one with the same
    seed, and neither number changes the other part.

    Rows are told apart by their place alone. A set that holds an image twice may put it into both parts: take
    `diffgen.data.distinct` of it before.

    Args:
        points: all there are; of a `Pool` nothing is read.
        n_train: number of training points.
        n_val: number of validation points.
        seed: of the order.

    Raises:
        ValueError: a number that is not whole or below 1, or more points than there are.
    """
    for name, value, least in (("n_train", n_train, 1), ("n_val", n_val, 1), ("seed", seed, 0)):
        try:
            whole = operator.index(value) >= least
        except TypeError:
            whole = False
        if not whole:
            raise ValueError(f"{name} is {value!r}: give a whole number of at least {least}")
    if n_train + n_val > len(points):
        raise ValueError(f"n_train + n_val is {n_train} + {n_val}, but there are {len(points)} points: ask for fewer")
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    end, back = n_train, len(order) - n_val
    holdout = points[order[end:back]] if end < back else None
    return Split(points[order[:end]], points[order.flip(0)[:n_val]], holdout)
