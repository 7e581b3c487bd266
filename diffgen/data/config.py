"""One way to every image data set: its name, the image size, and how many images to train and to validate on."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffgen.data.pseudo_labels import LabelName, pseudo_labelled, versions
from diffgen.data.source import Source
from diffgen.data.sources import source
from diffgen.data.split import Points, Split


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, how large, and how they are split. Checked where it is made, before anything is read.

    Args:
        name: of a `Source`, such as "fashion_mnist" (10,000 images in the package) or "fashion_mnist_70k" (all, where
            they are installed).
        size: side of the images in pixels, one of the source's.
        n_train: number of training images.
        n_val: number of validation images.
        skip: leave out so many images of the pool before the training images begin; see `DataConfig.reference`.
        labels: "classes" (those of the source), "clusters", "random" or "instances": see `pseudo_labelled`.
        n_labels: how many "clusters" or "random" labels.
        seed: of the permutation that splits the pool.

    Raises:
        ValueError: an unknown name, size or kind of labels, a number that is not whole or out of range, more images
            than there are.
    """

    kind: Literal["images"] = "images"
    name: str = "fashion_mnist"
    size: int = 28
    n_train: int
    n_val: int
    skip: int = 0
    labels: LabelName = "classes"
    n_labels: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        pool = self.source
        for field, least in {"size": 1, "n_train": 1, "n_val": 1, "skip": 0, "n_labels": 1, "seed": 0}.items():
            object.__setattr__(self, field, _whole(field, getattr(self, field), least))
        if self.size not in pool.sizes:
            raise ValueError(f"size is {self.size}: {self.name} comes in {', '.join(map(str, pool.sizes))} pixels")
        if self.labels not in get_args(LabelName):
            kinds = ", ".join(map(repr, get_args(LabelName)))
            raise ValueError(f"labels is {self.labels!r}: images are labelled by {kinds}")
        if self.labels in ("clusters", "instances") and pool.features is None:
            raise ValueError(f"labels is {self.labels!r}: {self.name} has no feature space; take 'classes' or 'random'")
        if self.labels == "clusters" and self.n_labels > self.n_train:
            raise ValueError(f"n_labels is {self.n_labels}: {self.n_train} images have at most as many clusters")
        parts = {"skip": self.skip} if self.skip else {}
        parts |= {"n_train": self.n_train, "n_val": self.n_val}
        if sum(parts.values()) > pool.pool_size:
            remedy = " or load 'fashion_mnist_70k'" if self.name == "fashion_mnist" else ""
            raise ValueError(
                f"{' + '.join(parts)} is {' + '.join(map(str, parts.values()))} = {sum(parts.values())}, but "
                f"{self.name} has {pool.pool_size} images: ask for fewer{remedy}"
            )

    @property
    def source(self) -> Source:
        """The pool of images."""
        return source(self.name)

    @property
    def versions(self) -> dict[str, Any]:
        """The versions of all that decides what is loaded: a part of a run's key."""
        return {"data": self.source.version, **versions(self.labels, self.source.features)}

    @property
    def reference(self) -> DataConfig:
        """The holdout of this config as training set, its validation images as they are: for a reference denoiser.

        Trained on it, a denoiser has seen neither split of this config.

        Raises:
            ValueError: nothing is left of the pool.
        """
        skip = self.skip + self.n_train
        left = self.source.pool_size - skip - self.n_val
        if left < 1:
            raise ValueError(f"n_train + n_val leaves nothing of {self.name} for a reference: ask for fewer of either")
        return replace(self, skip=skip, n_train=left, labels="classes", n_labels=10)

    def load(self) -> Split:
        """Read the images and split them.

        The seed orders the pool at random. Training images are taken from the front of that order (behind those that
        are skipped), validation images from its back, and the holdout is what lies between. So the three never overlap
        and are identically distributed, a smaller training set is the beginning of a larger one with the same seed,
        and neither n_train changes the validation images nor n_val the training images: models of different n_train
        are compared on the same images.

        Returns:
            x (N, C, size, size), float32 in [−1, 1]; labels (N,), int64.

        Raises:
            OSError: a file of the data set is missing (FileNotFoundError) or damaged.
        """
        images, labels = self.source.read()
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed)).numpy()

        def points(index: np.ndarray) -> Points:
            return Points(as_images(images[index], self.size), torch.from_numpy(labels[index]).long())

        end, back = self.skip + self.n_train, len(order) - self.n_val
        split = Split(
            train=points(order[self.skip : end]),
            val=points(order[::-1][: self.n_val]),
            holdout=points(order[end:back]) if end < back else None,
        )
        return pseudo_labelled(split, self.labels, self.n_labels, self.source.features, self.seed)


def load_data(name: str, *, size: int, n_train: int, n_val: int, seed: int = 0) -> Split:
    """Load a data set, split at random into training and validation: `DataConfig(...).load()` in one call."""
    return DataConfig(name=name, size=size, n_train=n_train, n_val=n_val, seed=seed).load()


def as_images(pixels: np.ndarray, size: int) -> Tensor:
    """Average bytes (N, C, H, H) over blocks to (N, C, size, size), and scale 0…255 to [−1, 1], float32.

    Raises:
        ValueError: a size that does not divide the image into equal blocks.
    """
    side = pixels.shape[-1]
    if size < 1 or side % size:
        raise ValueError(f"size is {size}: it does not divide the {side} pixels of a side into equal blocks")
    return F.avg_pool2d(torch.from_numpy(pixels).float(), side // size).div_(127.5).sub_(1)


def _whole(field: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{field} is {value!r}: give a whole number") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{field} is {value}: give a whole number of at least {least}")
    return number
