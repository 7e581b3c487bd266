"""Points from other people's data sets: PyTorch's and Hugging Face's, by what they can do, not by their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from diffgen.data.arrays import Layout, ValueRange, from_array
from diffgen.data.pictures import as_bytes, channels_of, checked_size, one_size
from diffgen.data.pool import Pool

IMAGE_COLUMNS = ("image", "img", "pixel_values", "x")
LABEL_COLUMNS = ("label", "labels", "fine_label", "y")
READ_TWICE = 8


def from_dataset(
    dataset: Any,
    *,
    image: str | None = None,
    label: str | None = None,
    labels: bool = True,
    size: int | None = None,
    layout: Layout | None = None,
    value_range: ValueRange | None = None,
    class_names: Sequence[str] | None = None,
) -> Pool:
    """Points from a map-style PyTorch `Dataset` or a Hugging Face `datasets.Dataset`.

    It is read once, to the end, and kept in memory: a byte an entry where it holds bytes or Pillow's images. Take a
    `Subset`, or `dataset.select(range(n))`, of a large one. Its random transforms must be off: an image that is another
    one each time has no place in a training set to be compared with.

    Args:
        dataset: anything with a length whose items are images, (image, class) or dictionaries; an image is Pillow's, a
            tensor or an array, in the layouts and units of `from_array`. What torchvision's ToTensor makes is in
            [0, 1]: give value_range=(0, 1).
        image: the key of images in dictionaries; None takes the one with a usual name ("image", "img", …).
        label: the key of classes; None takes the one with a usual name ("label", "labels", …), if there is one.
        labels: False leaves classes out.
        size: cut Pillow's images to their middle squares and average these over areas to so many pixels a side.
        layout, value_range: see `from_array`.
        class_names: what the labels mean; None asks the data set.

    Raises:
        ValueError: no length, items of another kind or of different sizes, other images on second reading, labels that
            are not integers, and what `from_array` raises.
    """
    checked_size(size)
    try:
        n = len(dataset)
    except TypeError:
        raise ValueError("dataset has no length: give a map-style one, or a list of its first items") from None
    if not n:
        raise ValueError("dataset is empty: give one point or more")
    keys = _columns(dataset, image, label, labels)
    for i in range(min(n, READ_TWICE)):
        if not np.array_equal(_pixels(_item(dataset, i, keys)[0], i), _pixels(_item(dataset, i, keys)[0], i)):
            raise ValueError(f"dataset gives another image each time item {i} is read: turn its random transforms off")
    images, classes = zip(*(_item(dataset, i, keys) for i in range(n)))
    named = class_names if class_names is not None else _class_names(dataset, keys)
    array, layout = _stacked(images, size, layout)
    indices = None if not labels or all(c is None for c in classes) else _classes(classes)
    return from_array(
        array, indices, layout=layout, value_range=value_range, class_names=named if indices is not None else (),
        name=type(dataset).__name__,
    )  # fmt: skip


Keys = tuple[str, str | None] | None
"""The keys of images and classes in items that are dictionaries."""


def _columns(dataset: Any, image: str | None, label: str | None, labels: bool) -> Keys:
    item = dataset[0]
    if not isinstance(item, Mapping):
        if image is not None or label is not None:
            raise ValueError(f"{'image' if image else 'label'} names a key, but dataset's items are no dictionaries")
        return None
    picture = _column("image", image, IMAGE_COLUMNS, item)
    if picture is None:
        raise ValueError(f"dataset has {', '.join(map(repr, item))}: say by image= which are the images")
    return picture, _column("label", label, LABEL_COLUMNS, item) if labels else None


def _column(parameter: str, given: str | None, usual: Sequence[str], item: Mapping[str, Any]) -> str | None:
    if given is not None and given not in item:
        raise ValueError(f"{parameter} is {given!r}, but dataset has {', '.join(map(repr, item))}")
    known = [key for key in item if key in usual] if given is None else [given]
    if len(known) > 1:
        raise ValueError(f"dataset has {' and '.join(map(repr, known))}: say which you mean by {parameter}=")
    return known[0] if known else None


def _item(dataset: Any, i: int, keys: Keys) -> tuple[Any, Any]:
    """The image and the class, or None, of an item."""
    item = dataset[i]
    if keys is not None:
        return item[keys[0]], None if keys[1] is None else item[keys[1]]
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise ValueError(f"item {i} of dataset has {len(item)} parts: items are images, or (image, class)")
        return item[0], item[1] if len(item) == 2 else None
    return item, None


def _is_picture(image: Any) -> bool:
    return hasattr(image, "mode") and hasattr(image, "convert")


def _pixels(image: Any, i: int) -> np.ndarray:
    """Pixels as they are given."""
    if isinstance(image, Tensor):
        return (image.float() if image.is_floating_point() else image).detach().cpu().numpy()
    if isinstance(image, np.ndarray) or _is_picture(image):
        return np.asarray(image)
    if isinstance(image, Sequence) and not isinstance(image, str | bytes):
        return np.asarray(image)  # what Hugging Face makes of an array
    raise ValueError(
        f"item {i} of dataset has a {type(image).__name__} for an image: give Pillow's, a tensor or an array"
    )


def _stacked(images: Sequence[Any], size: int | None, layout: Layout | None) -> tuple[np.ndarray, Layout | None]:
    """All images as one array, and its layout where that is known."""
    if all(map(_is_picture, images)):
        one_size(lambda i: images[i].size, len(images), "item {} of dataset".format, size)
        channels = max(channels_of(image, f"item {i} of dataset") for i, image in enumerate(images))
        return np.stack([as_bytes(image, channels, size) for image in images]), "NCHW"
    if size is not None:
        raise ValueError(f"size is {size}, but dataset has arrays: size= is for Pillow's images")
    first = _pixels(images[0], 0)
    pixels = []
    for i, image in enumerate(images):
        pixels.append(_pixels(image, i))
        if (pixels[i].shape, pixels[i].dtype) != (first.shape, first.dtype):
            raise ValueError(
                f"item {i} of dataset is {pixels[i].dtype} {pixels[i].shape} and item 0 {first.dtype} {first.shape}: "
                "bring all to one size"
            )
    return np.stack(pixels), layout


def _classes(classes: Sequence[Any]) -> np.ndarray:
    for i, label in enumerate(classes):
        if np.ndim(label) != 0 or np.asarray(label).dtype.kind not in "iu":
            raise ValueError(f"item {i} of dataset has the class {label!r}: classes are integers, or give labels=False")
    return np.array([int(label) for label in classes])


def _class_names(dataset: Any, keys: Keys) -> Sequence[str]:
    """What a data set says of its classes: Hugging Face in the features, torchvision in `classes`."""
    if keys is not None and keys[1] is not None:
        feature = (getattr(dataset, "features", None) or {}).get(keys[1])
        return tuple(getattr(feature, "names", None) or ())
    names = getattr(dataset, "classes", ())
    return tuple(names) if isinstance(names, tuple | list) and all(isinstance(n, str) for n in names) else ()
