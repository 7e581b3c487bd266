"""Other labels for the same images: classes of any granularity, to train class-conditional denoisers with."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from diffgen.data.split import Points, Split
from diffgen.features import Clusters, FeatureMap, identity, kmeans
from diffgen.rng import generator

LabelName = Literal["classes", "clusters", "random", "instances"]
VERSION = 1
"""Raised by hand when the same images get other labels; the golden test holds it."""


def versions(labels: LabelName, features: FeatureMap | None) -> dict[str, Any]:
    """What labels depend on beside the images, by version: a part of a run's key."""
    if labels == "classes":
        return {}
    by_features = {} if labels == "random" or features is None else {"features": identity(features)}
    return {"labels": VERSION, **by_features}


def pseudo_labelled(
    split: Split, labels: LabelName, k: int, features: FeatureMap | None = None, seed: int = 0
) -> Split:
    """The images of a split under other labels, 0 … k − 1.

    "clusters": k-means cells of the training images in a feature space; every image has the label of its nearest
    centre. "instances" is the finest of these, k = N: every training image is its own centre, and any other image has
    the label of the training image nearest to it. "random": independent of the image, uniform, the control that gives a
    network as many labels which mean nothing. Without a rule that gives unseen images a label there would be no
    validation error; this one gives them the label that a training image in their place would have.

    Args:
        split: images, (N, C, H, W).
        labels: which; "classes" leaves the split as it is.
        k: how many labels; with "instances" it is the number of training images whatever is given.
        features: the feature space of the nearest centre; "random" needs none.
        seed: of k-means or of the random labels.

    Raises:
        ValueError: more labels than training images, or no features where they are needed.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (granularity of conditions by k-means labels).
    """
    if labels == "classes":
        return split
    parts = {"train": split.train, "val": split.val, "holdout": split.holdout}
    if labels == "random":
        drawn = {
            name: torch.randint(k, (len(points),), generator=generator(seed, i))
            for i, (name, points) in enumerate(parts.items())
            if points is not None
        }
        return _with_labels(split, drawn)
    if features is None:
        raise ValueError(f"labels is {labels!r}: these images have no feature space to find neighbours in")
    if labels == "instances":
        x = features(split.train.x).double()
        cells = Clusters(x, torch.arange(len(x)), 0.0, True)
    elif k > len(split.train):
        raise ValueError(f"n_labels is {k}: {len(split.train)} images have at most as many clusters")
    else:
        cells = kmeans(features(split.train.x), k, seed=seed)
    nearest = {name: cells.assign(features(points.x)) for name, points in parts.items() if points is not None}
    return _with_labels(split, nearest)


def _with_labels(split: Split, labels: dict[str, Tensor]) -> Split:
    holdout = None if split.holdout is None else Points(split.holdout.x, labels["holdout"])
    return Split(Points(split.train.x, labels["train"]), Points(split.val.x, labels["val"]), holdout)
