"""Other labels for the same images: classes of any granularity, to train class-conditional denoisers with."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffgen.data.split import Points, Split
from diffgen.metrics.clusters import Clusters, kmeans
from diffgen.metrics.features import features
from diffgen.rng import generator

LabelName = Literal["classes", "clusters", "random", "images"]


def relabelled(split: Split, labels: LabelName, k: int, seed: int = 0) -> Split:
    """The images of a split under other labels, 0 … k − 1.

    "clusters": k-means cells of the training images in the features of the bundled classifier; every image has the
    label of its nearest centre. "images" is the finest of these, k = N: every training image is its own centre, and any
    other image has the label of the training image nearest to it. "random": independent of the image, uniform, the
    control that gives a network as many labels which mean nothing. Without a rule that gives unseen images a label
    there would be no validation error; this one gives them the label that a training image in their place would have.

    Args:
        split: images, (N, 1, H, W).
        labels: which; "classes" leaves the split as it is.
        k: how many labels; with "images" it is the number of training images whatever is given.
        seed: of k-means or of the random labels.

    Raises:
        ValueError: more labels than training images.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (granularity of conditions by k-means labels).
    """
    if labels == "classes":
        return split
    if labels == "images":
        x = features(split.train.x).double()
        cells = Clusters(x, torch.arange(len(x)), 0.0, True)
    elif labels == "clusters":
        if k > len(split.train):
            raise ValueError(f"n_labels is {k}: {len(split.train)} images have at most as many clusters")
        cells = kmeans(features(split.train.x), k, seed=seed)

    def of(points: Points, part: int) -> Tensor:
        if labels == "random":
            return torch.randint(k, (len(points),), generator=generator(seed, part))
        return cells.assign(features(points.x))

    parts = {"train": split.train, "val": split.val, "rest": split.rest}
    return Split(**{name: Points(p.x, of(p, i)) for i, (name, p) in enumerate(parts.items()) if p is not None})
