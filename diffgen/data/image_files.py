"""Points from a folder or a zip of images: a class a subfolder, or a `dataset.json` as EDM writes it."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor

from diffgen.data.arrays import class_labels, from_bytes
from diffgen.data.pictures import as_bytes, channels_of, checked_size, one_size, opened
from diffgen.data.pool import Pool

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LABELS_FILE = "dataset.json"


def from_folder(
    path: str | Path,
    *,
    size: int | None = None,
    labels: bool = True,
    class_names: Sequence[str] | None = None,
) -> Pool:
    """Points from a folder of images: a class a subfolder, or images without classes.

    Images are in natural order by their paths, 2.png before 10.png, whatever the file system says. Names that begin
    with a dot are passed over, and so are files that are no images. The first folder below `path` that differs between
    images is the class, whatever lies deeper in it; a folder with a `dataset.json` has the classes which that states,
    see `from_zip`. Only headers are read here; an image is decoded when it is asked for. Orientation tags of cameras
    are not applied.

    Args:
        path: the folder.
        size: cut each image to its middle square and average that over areas to so many pixels a side. None leaves
            images as they are; then they have one size.
        labels: whether subfolders are classes.
        class_names: the subfolders in the order of their labels. None is natural order, in which "2" is before "10";
            torchvision's ImageFolder, and so a model that was trained with it, has "10" before "2".

    Returns:
        Images (N, C, H, W) in [−1, 1]; grey if all are, else in colour.

    Raises:
        FileNotFoundError: no such folder, or no images in it.
        ValueError: images of different sizes, images that are neither 8-bit grey nor RGB, images beside the folders of
            classes, classes that are not those named.
        OSError: a file is damaged.
        ImportError: Pillow is missing.
    """
    return _pool(_Folder(Path(path)), size, labels, class_names)


def from_zip(
    path: str | Path,
    *,
    size: int | None = None,
    labels: bool = True,
    class_names: Sequence[str] | None = None,
) -> Pool:
    """Points from a zip of images: as EDM's `dataset_tool` writes it, or a zipped folder.

    EDM's has a file `dataset.json` with `"labels": [["00000/img00000000.png", 6], …]`, or `"labels": null` for images
    without classes; its folders mean nothing. A zip without that file is read as `from_folder` reads a folder. The
    arguments and errors are those of `from_folder`.

    Raises:
        ValueError: also labels that are not integers, not one an image, or of images that are not there.

    Source of the format: Karras et al. 2022, arXiv 2206.00364.
    """
    return _pool(_Zip(Path(path)), size, labels, class_names)


class ImageFiles(Protocol):
    """Files by their names, (a/b.png), in a folder or a zip.

    path: of the folder or the zip.
    """

    path: Path

    def names(self) -> list[str]:
        """Names of all files, as paths from the top."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A file to read."""
        ...


class _Folder:
    def __init__(self, path: Path):
        if not path.is_dir():
            what = "is no folder" if path.exists() else "does not exist"
            raise FileNotFoundError(f"{path} {what}: give a folder of images")
        self.path = path

    def names(self) -> list[str]:
        return [file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()]

    def open(self, name: str) -> BinaryIO:
        return open(self.path / name, "rb")


class _Zip:
    def __init__(self, path: Path):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: give a zip of images")
        self.path = path

    @cached_property
    def file(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError):
            raise OSError(f"{self.path} is damaged: it can't be read as a zip") from None

    def names(self) -> list[str]:
        return [name for name in self.file.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.file.read(name))


class ImageRows:
    """`Rows` of image files, decoded when they are asked for.

    Args:
        files: a folder or a zip.
        names: of the images, in order.
        size: see `from_folder`.
    """

    def __init__(self, files: ImageFiles, names: Sequence[str], size: int | None):
        self.files, self.names, self.size = files, names, checked_size(size)
        headers = [self._header(name) for name in names]
        one_size(lambda i: headers[i][0], len(headers), lambda i: self._called(names[i]), size)
        self.channels = max(channels for _, channels in headers)
        width, height = headers[0][0] if size is None else (size, size)
        self.shape = (self.channels, height, width)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: np.ndarray) -> Tensor:
        """Images by their numbers, (n, C, H, W), float32 in [−1, 1].

        Raises:
            OSError: a file is damaged.
        """
        images = [self._decoded(self.names[i]) for i in index]
        return from_bytes(torch.from_numpy(np.stack(images))) if images else torch.empty(0, *self.shape)

    def _called(self, name: str) -> str:
        return f"{self.files.path}/{name}"

    def _open(self, name: str) -> BinaryIO:
        try:
            return self.files.open(name)
        except (OSError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
            raise OSError(f"{self._called(name)} is damaged or gone: put a fresh copy in its place") from None

    def _header(self, name: str) -> tuple[tuple[int, int], int]:
        with self._open(name) as file, opened(file, self._called(name)) as image:
            return image.size, channels_of(image, self._called(name))

    def _decoded(self, name: str) -> np.ndarray:
        with self._open(name) as file, opened(file, self._called(name)) as image:
            try:
                pixels = as_bytes(image, self.channels, self.size)
            except (OSError, SyntaxError, ValueError):
                raise OSError(f"{self._called(name)} is damaged: its pixels can't be read; replace it") from None
        if pixels.shape != self.shape:
            raise OSError(f"{self._called(name)} has changed since it was opened: open its folder again")
        return pixels


def _pool(files: ImageFiles, size: int | None, labels: bool, class_names: Sequence[str] | None) -> Pool:
    all_names = [name for name in files.names() if not any(part.startswith(".") for part in name.split("/"))]
    names = sorted((name for name in all_names if PurePosixPath(name).suffix.lower() in SUFFIXES), key=_natural)
    if not names:
        kinds = sorted({PurePosixPath(name).suffix or name for name in all_names})[:5]
        there = f"only {', '.join(kinds)}" if kinds else "nothing"
        raise FileNotFoundError(f"{files.path} has no images, {there}: images are {', '.join(SUFFIXES)}")
    rows = ImageRows(files, names, size)
    numbers: list[int] | None = None
    if not labels and class_names is not None:
        raise ValueError("class_names is given with labels=False: leave out either")
    if labels and LABELS_FILE in all_names:
        numbers = _stated_labels(files, names)
    elif labels:
        numbers, class_names = _folder_labels(files, names, class_names)
    return Pool(rows, class_labels(numbers, len(names)), class_names or (), files.path.stem)


def _natural(name: str) -> tuple[Any, ...]:
    """A key by which 2.png is before 10.png; names that differ in zeros alone have an order, too."""
    folders = [
        [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", f)] for f in name.split("/")
    ]
    return folders, name


def _folder_labels(
    files: ImageFiles, names: Sequence[str], given: Sequence[str] | None
) -> tuple[list[int] | None, Sequence[str] | None]:
    """Labels by the first folder that differs, and what the folders are called; None if there is no such folder."""
    folders = [name.split("/")[:-1] for name in names]
    while all(folder and folder[0] == folders[0][0] for folder in folders):
        if given is not None and list(given) == [folders[0][0]]:
            break
        folders = [folder[1:] for folder in folders]
    if not any(folders):
        if given is not None:
            raise ValueError(f"class_names is given, but {files.path} has no folders of classes: leave it out")
        return None, None
    beside = [name for name, folder in zip(names, folders) if not folder]
    if beside:
        raise ValueError(
            f"{files.path}/{beside[0]} lies beside folders of classes: move it into one, or give labels=False"
        )
    classes = sorted({folder[0] for folder in folders}, key=_natural)
    if given is not None and sorted(given) != sorted(classes):
        odd = sorted({*given} ^ {*classes})
        raise ValueError(f"class_names differ from the folders of {files.path} by {', '.join(odd) or 'repetitions'}")
    order = list(given or classes)
    number = {name: i for i, name in enumerate(order)}
    return [number[folder[0]] for folder in folders], order


def _stated_labels(files: ImageFiles, names: Sequence[str]) -> list[int] | None:
    """Labels by what `dataset.json` states."""
    what = f"{files.path}/{LABELS_FILE}"
    try:
        with files.open(LABELS_FILE) as file:
            stated = json.load(file)["labels"]
        pairs = None if stated is None else dict(stated)
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, zlib.error):
        raise ValueError(f'{what} is damaged: it holds {{"labels": [["a.png", 0], …]}} or {{"labels": null}}') from None
    if pairs is None:
        return None
    for name in names:
        if name not in pairs:
            raise ValueError(f"{what} has no label of {name}: add one, or give labels=False")
        if not isinstance(pairs[name], int) or isinstance(pairs[name], bool):
            raise ValueError(
                f"{what} has the label {pairs[name]!r} of {name}: labels are integers, or give labels=False"
            )
    gone = sorted(set(pairs) - set(names))
    if gone:
        raise ValueError(f"{what} has a label of {gone[0]}, which is not there: complete the images or drop the label")
    return [pairs[name] for name in names]
