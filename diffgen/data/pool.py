"""Points where they lie: in an array, a mapped file or image files, and tensors only once they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from diffgen.data.split import Points, Split, split_points

ROWS_AT_ONCE = 1024
"""How many rows are read at a time where all are."""


class Rows(Protocol):
    """What a `Pool` reads from.

    Attributes:
        shape: of one point, (*).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __len__(self) -> int: ...

    def read(self, index: np.ndarray) -> Tensor:
        """Rows by their numbers, (n, *shape), float32, in units of the data.

        Raises:
            OSError: a file is missing or damaged.
        """
        ...


class Pool(Points):
    """`Points` that are read when they are asked for, and may stand wherever `Points` do.

    `len`, `.shape`, `.labels`, slices and `.split` read nothing. `.x` reads all rows and keeps them, 4 bytes an entry:
    of a large pool take a slice or a split first, whose parts are pools, too.

    Args:
        rows: where the points are.
        labels: class indices, (N,), int64, or None.
        class_names: what the labels 0, 1, … mean, or ().
        name: what it is, for errors and reports.
        index: which rows these are, (N,); None is all.

    Raises:
        ValueError: no points, labels that are not one a point, or a label without a name.
    """

    def __init__(
        self,
        rows: Rows,
        labels: Tensor | None = None,
        class_names: Sequence[str] = (),
        name: str = "points",
        index: np.ndarray | None = None,
    ):
        index = np.arange(len(rows)) if index is None else index
        if not len(rows):
            raise ValueError(f"{name} is empty: give one point or more")
        if labels is not None and labels.shape != (len(index),):
            raise ValueError(f"labels has shape {tuple(labels.shape)}: give one a point, ({len(index)},)")
        if labels is not None and class_names and len(labels) and int(labels.max()) >= len(class_names):
            raise ValueError(f"labels go to {int(labels.max())}, but there are {len(class_names)} class names")
        fields = {"rows": rows, "index": index, "labels": labels, "class_names": tuple(class_names), "name": name}
        for field, value in fields.items():
            object.__setattr__(self, field, value)  # the dataclass above is frozen

    rows: Rows
    index: np.ndarray
    class_names: tuple[str, ...]
    name: str

    @cached_property
    def x(self) -> Tensor:
        """The points, (N, *), float32, in units of the data. The first time reads them, and keeps them."""
        x = torch.empty(len(self), *self.shape)
        for start in range(0, len(self), ROWS_AT_ONCE):
            x[start : start + ROWS_AT_ONCE] = self._read(start)
        return x

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one point: (C, H, W) of images."""
        return tuple(self.rows.shape)

    @cached_property
    def hash(self) -> str:
        """A hash of points and classes, that of `diffgen.runs.data_hash`: results are kept under it."""
        digest = hashlib.sha256()
        for start in range(0, len(self), ROWS_AT_ONCE):
            digest.update(self._read(start).contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def split(self, n_train: int, n_val: int, *, seed: int = 0) -> Split:
        """Training, validation and holdout points, all pools: see `split_points`."""
        return split_points(self, n_train, n_val, seed=seed)

    def _read(self, start: int) -> Tensor:
        if "x" in self.__dict__:
            return self.x[start : start + ROWS_AT_ONCE]
        return self.rows.read(self.index[start : start + ROWS_AT_ONCE])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: slice | Tensor | np.ndarray | int) -> Pool:
        """Some of the points, with their classes, unread."""
        where = index.cpu().numpy() if isinstance(index, Tensor) else index
        chosen = np.atleast_1d(np.arange(len(self))[where])
        labels = None if self.labels is None else self.labels[torch.from_numpy(chosen)]
        pool = Pool(self.rows, labels, self.class_names, self.name, self.index[chosen])
        if "x" in self.__dict__ and isinstance(index, slice) and (index.step or 1) > 0:
            pool.__dict__["x"] = self.x[index]  # a view of what is there
        return pool

    def __repr__(self) -> str:
        classes = "no classes" if self.labels is None else f"{len(self.labels.unique())} classes"
        return f"Pool({self.name!r}: {len(self)} points of shape {self.shape}, {classes})"
