"""One way to every image data set: its name, the image size, and how many images to train and to validate on."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from diffgen.data import fashion_mnist
from diffgen.data.labels import LabelName, relabelled
from diffgen.data.split import Points, Split

DataName = Literal["fashion_mnist", "fashion_mnist_70k"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, how large, and how they are split. Checked where it is made, before anything is read.

    Args:
        name: "fashion_mnist" (10,000 images in the package) or "fashion_mnist_70k" (all, where they are installed).
        size: side of the images in pixels: 28, 14, 7 or 4.
        n_train: number of training images.
        n_val: number of validation images.
        skip: leave out so many images of the pool before the training images begin; see `DataConfig.reference`.
        labels: "classes" (the ten of Fashion-MNIST), "clusters", "random" or "images": see `labels.relabelled`.
        n_labels: how many "clusters" or "random" labels.
        seed: of the permutation that splits the pool.

    Raises:
        ValueError: an unknown name, size or kind of labels, a number that is not whole or out of range, more images
            than there are.
    """

    name: DataName = "fashion_mnist"
    size: int = 28
    n_train: int
    n_val: int
    skip: int = 0
    labels: LabelName = "classes"
    n_labels: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in get_args(DataName):
            raise ValueError(f"name is {self.name!r}: the data sets are {', '.join(map(repr, get_args(DataName)))}")
        for field, least in {"size": 1, "n_train": 1, "n_val": 1, "skip": 0, "n_labels": 1, "seed": 0}.items():
            object.__setattr__(self, field, _whole(field, getattr(self, field), least))
        if self.size not in fashion_mnist.SIZES:
            sizes = ", ".join(map(str, fashion_mnist.SIZES))
            raise ValueError(f"size is {self.size}: {self.name} comes in {sizes} pixels")
        if self.labels not in get_args(LabelName):
            kinds = ", ".join(map(repr, get_args(LabelName)))
            raise ValueError(f"labels is {self.labels!r}: images are labelled by {kinds}")
        if self.labels == "clusters" and self.n_labels > self.n_train:
            raise ValueError(f"n_labels is {self.n_labels}: {self.n_train} images have at most as many clusters")
        pool = fashion_mnist.POOL_SIZES[self.name]
        parts = {"skip": self.skip} if self.skip else {}
        parts |= {"n_train": self.n_train, "n_val": self.n_val}
        if sum(parts.values()) > pool:
            remedy = " or load 'fashion_mnist_70k'" if self.name == "fashion_mnist" else ""
            raise ValueError(
                f"{' + '.join(parts)} is {' + '.join(map(str, parts.values()))} = {sum(parts.values())}, but "
                f"{self.name} has {pool} images: ask for fewer{remedy}"
            )

    @property
    def reference(self) -> DataConfig:
        """The rest of the pool as training set, the validation images as they are: for a reference denoiser.

        Trained on it, a denoiser has seen neither split of this config.

        Raises:
            ValueError: nothing is left of the pool.
        """
        skip = self.skip + self.n_train
        left = fashion_mnist.POOL_SIZES[self.name] - skip - self.n_val
        if left < 1:
            raise ValueError(f"n_train + n_val leaves nothing of {self.name} for a reference: ask for fewer of either")
        return replace(self, skip=skip, n_train=left, labels="classes", n_labels=10)

    def load(self) -> Split:
        """Read the images and split them.

        The seed orders the pool at random. Training images are taken from the front of that order (behind those that
        are skipped), validation images from its back, and the rest is what lies between. So the three never overlap
        and are identically distributed, a smaller training set is the beginning of a larger one with the same seed,
        and neither n_train changes the validation images nor n_val the training images: models of different n_train
        are compared on the same images.

        Returns:
            x (N, 1, size, size), float32 in [−1, 1]; labels (N,), int64.

        Raises:
            OSError: a file of the data set is missing (FileNotFoundError) or damaged.
        """
        images, labels = fashion_mnist.read_pool(self.name)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed)).numpy()
        end = self.skip + self.n_train
        cuts = {"train": order[self.skip : end], "val": order[::-1][: self.n_val]}
        if end + self.n_val < len(order):
            cuts["rest"] = order[end : len(order) - self.n_val]
        split = Split(
            **{
                part: Points(fashion_mnist.to_tensor(images[index], self.size), torch.from_numpy(labels[index]).long())
                for part, index in cuts.items()
            }
        )
        return relabelled(split, self.labels, self.n_labels, self.seed)


def load_data(name: DataName, *, size: int, n_train: int, n_val: int, seed: int = 0) -> Split:
    """Load a data set, split at random into training and validation: `DataConfig(...).load()` in one call."""
    return DataConfig(name=name, size=size, n_train=n_train, n_val=n_val, seed=seed).load()


def _whole(field: str, value: object, least: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{field} is {value!r}: give a whole number") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{field} is {value}: give a whole number of at least {least}")
    return number
