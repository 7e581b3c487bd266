"""Before a model is asked: are training and validation images two draws of one thing, and is anything in both?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffgen.data import Points
from diffgen.data.duplicates import exact, near
from diffgen.features import principal_components
from diffgen.metrics.estimate import Interval
from diffgen.metrics.membership import told_apart

CONFIDENCE = 0.99
"""Of the test whether the two sets are told apart without the model: it takes verdicts away, and accuses nobody."""
IMAGES, FITTED = 2048, 1024
"""How many images of each set are told apart, and on how many of both the principal components are fitted."""
COMPONENTS = 12


@dataclass(frozen=True)
class DataReport:
    """What is wrong with the data, if anything is.

    Attributes:
        n_train, n_val: images given.
        repeated: indices of training images that are in the training set before, exactly.
        shared: indices of validation images that are training images, or in the validation set before, exactly.
        near: pairs of a training and a validation image that are nearly equal, (K, 2).
        images: whether the points are grey or colour images, which can be shown.
        apart: how well training and validation images are told apart without the model, as an area under the ROC curve.
    """

    n_train: int
    n_val: int
    repeated: Tensor
    shared: Tensor
    near: Tensor
    apart: Interval
    images: bool

    @property
    def differ(self) -> bool:
        """Whether the two sets are told apart without the model: then a gap may be that of the images."""
        return self.apart.low > 0.5

    def distinct(self, points: Points, which: str) -> Points:
        """The points of "train" or "val" without those that are elsewhere."""
        drop = self.repeated if which == "train" else self.shared
        keep = torch.ones(len(points), dtype=torch.bool)
        keep[drop] = False
        return points[keep.nonzero()[:, 0]] if len(drop) else points

    def __str__(self) -> str:
        parts = []
        if len(self.repeated):
            parts.append(f"{len(self.repeated)} of {self.n_train} training images are repetitions")
        if len(self.shared):
            parts.append(f"{len(self.shared)} of {self.n_val} validation images are in the training set or repetitions")
        if len(self.near):
            parts.append(f"{len(self.near)} validation images are nearly equal to a training image")
        if self.differ:
            parts.append(f"training and validation images are told apart without the model, AUC {self.apart}")
        return "; ".join(parts)


def data_report(train: Points, val: Points, *, seed: int = 0) -> DataReport:
    """Duplicates, and a classifier two-sample test of the images themselves.

    The test scores images by their brightness, contrast, sharpness, extremes and principal components, see `summaries`,
    with `told_apart`: any difference in preprocessing that these show makes its area under the ROC curve exceed ½.

    Args:
        train, val: as given.
        seed: of the choice of images and of the folds.

    Source: Lopez-Paz and Oquab 2017, arXiv 1610.06545 (classifier two-sample tests).
    """
    repeated, shared = exact(train.x, val.x)
    close = near(train.x, val.x)
    few = [x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:IMAGES]] for x in (train.x, val.x)]
    told = told_apart(*summaries(*few), confidence=CONFIDENCE, seed=seed)
    images = train.x.ndim == 4 and train.x.shape[1] in (1, 3)
    return DataReport(len(train), len(val), repeated, shared, close, told.auc, images)


def summaries(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of each image that preprocessing moves: (N, F) and (M, F), float64.

    Mean, standard deviation, smallest and largest value, share of values at the extremes of both sets, mean square of
    the differences between neighbours, and the first principal components of both sets together.
    """
    both = torch.cat([a, b]).flatten(1).double()
    low, high = both.min(), both.max()
    columns = [both.mean(1), both.std(1), both.amin(1), both.amax(1),
               (both == low).double().mean(1), (both == high).double().mean(1)]  # fmt: skip
    if a.ndim == 4:
        images = torch.cat([a, b]).double()
        columns += [images.diff(dim=axis).square().mean((1, 2, 3)) for axis in (2, 3)]
    some = both[:: -(-len(both) // FITTED)]  # of both sets
    components = principal_components(some, min(COMPONENTS, both.shape[1], len(some) // 8))
    table = torch.cat([torch.stack(columns, 1), components(both)], 1)
    table = (table - table.mean(0)) / table.std(0).clamp(min=1e-12)
    return table[: len(a)], table[len(a) :]
