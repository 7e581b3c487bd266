"""Points from whatever a path or a name stands for: what the command line takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from diffgen.data.arrays import Layout, ValueRange, from_array
from diffgen.data.cifar import cifar10, cifar100
from diffgen.data.image_files import from_folder, from_zip
from diffgen.data.pool import Pool
from diffgen.data.sources import SOURCES, source

NAMED: dict[str, Callable[[], Pool]] = {"cifar10": cifar10, "cifar100": cifar100}
KINDS = "a folder of images, a .zip of images, .npy, .npz"


def open_data(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    size: int | None = None,
    layout: Layout | None = None,
    value_range: ValueRange | None = None,
) -> Pool:
    """Points by a path or a name.

    A folder is read by `from_folder`, a .zip by `from_zip`, .npy and .npz by `from_array`. "cifar10", "cifar100",
    "fashion_mnist" and "fashion_mnist_70k" are data sets; a folder of such a name is "./cifar10".

    Args:
        path: a path, or the name of a data set.
        labels: of arrays: a .npy file with their classes.
        size: of image files: cut to squares of so many pixels a side, see `from_folder`.
        layout, value_range: of arrays, see `from_array`.

    Raises:
        ValueError: a file of another kind, an argument that has no meaning for this kind, and what the readers raise.
        FileNotFoundError, OSError: nothing is there, or it is damaged.
    """
    given = {"labels": labels, "size": size, "layout": layout, "value_range": value_range}
    named, place = str(path), Path(path)
    if named in NAMED or named in SOURCES:
        _meaningless(named, given, ())
        return NAMED[named]() if named in NAMED else of_source(named)
    if place.is_dir() or place.suffix.lower() == ".zip":
        _meaningless(named, given, ("size",))
        return (from_folder if place.is_dir() else from_zip)(place, size=size)
    if place.suffix in (".npy", ".npz"):
        _meaningless(named, given, ("labels", "layout", "value_range"))
        return from_array(place, labels, layout=layout, value_range=value_range)
    names = ", ".join([*NAMED, *SOURCES])
    if not place.exists():
        raise FileNotFoundError(f"{path} does not exist: give {KINDS}, or one of {names}")
    raise ValueError(f"{path} is of no known kind: give {KINDS}, or one of {names}")


def of_source(name: str) -> Pool:
    """All images of a data set that a `DataConfig` can name, at their own size: its `split` is that of `load_data`.

    Raises:
        ValueError: there is none of that name.
        OSError: a file of it is missing or damaged.
    """
    images, labels = source(name).read()
    return from_array(images, labels, layout="NCHW", class_names=source(name).class_names, name=name)


def _meaningless(path: str, given: Mapping[str, object], known: tuple[str, ...]) -> None:
    for name, value in given.items():
        if value is not None and name not in known:
            raise ValueError(f"{name} is given, but has no meaning for {path}: leave it out")
