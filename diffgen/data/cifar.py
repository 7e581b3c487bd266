"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32×32 pixels each, from their published archives.

Images of the test part resemble images of the training part, in CIFAR-10 for about 3 %, in CIFAR-100 for about 10 % of
them (Barz and Denzler 2020, arXiv 1902.00423): see `diffgen.data.duplicates` before a split is trusted.

Source: Krizhevsky 2009, *Learning multiple layers of features from tiny images*. The binary version is read, which is
nothing but bytes.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from diffgen.data.arrays import from_array
from diffgen.data.fashion_mnist import FOLDER_VARIABLE
from diffgen.data.pool import Pool

PUBLISHED = "https://www.cs.toronto.edu/~kriz/"
Part = Literal["all", "train", "test"]
IMAGE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Archive:
    """file, its checksum, its folder, its parts by file and number of images, bytes of labels, the file of names."""

    file: str
    md5: str
    folder: str
    parts: dict[str, dict[str, int]]
    label_bytes: int
    names: str


CIFAR10 = _Archive(
    "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", "cifar-10-batches-bin",
    {"train": {f"data_batch_{i}.bin": 10_000 for i in range(1, 6)}, "test": {"test_batch.bin": 10_000}},
    1, "batches.meta.txt",
)  # fmt: skip
CIFAR100 = _Archive(
    "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", "cifar-100-binary",
    {"train": {"train.bin": 50_000}, "test": {"test.bin": 10_000}},
    2, "fine_label_names.txt",
)  # fmt: skip


def cifar10(path: str | Path | None = None, *, part: Part = "all") -> Pool:
    """CIFAR-10: 60,000 images (3, 32, 32) in ten classes.

    Args:
        path: the archive `cifar-10-binary.tar.gz`, its unpacked folder `cifar-10-batches-bin`, or a folder that has
            either. None looks in the folder that the environment variable DIFFGEN_DATA names and in the cache, and
            downloads the archive (170 MB) to the cache if it is in neither.
        part: "train", the first 50,000, "test", the last 10,000, or "all".

    Raises:
        ValueError: an unknown part, or what was downloaded is not the published file.
        FileNotFoundError, OSError: nothing is at the path, or it is damaged.
    """
    return _read(CIFAR10, path, part)


def cifar100(path: str | Path | None = None, *, part: Part = "all") -> Pool:
    """CIFAR-100: 60,000 images (3, 32, 32) in a hundred classes.

    The arguments and errors are those of `cifar10`; the archive is `cifar-100-binary.tar.gz` (169 MB), its folder
    `cifar-100-binary`. Labels are the hundred "fine" ones.
    """
    return _read(CIFAR100, path, part)


def _read(archive: _Archive, path: str | Path | None, part: Part) -> Pool:
    if part not in ("all", "train", "test"):
        raise ValueError(f"part is {part!r}: choose 'all', 'train' or 'test'")
    counts = {k: n for name, files in archive.parts.items() if part in ("all", name) for k, n in files.items()}
    place = _find(archive, path)
    contents = _unpacked(archive, place, [*counts, archive.names])
    row = archive.label_bytes + PIXELS
    rows = []
    for name, n in counts.items():
        if len(contents[name]) != n * row:
            raise OSError(
                f"{place} is damaged: {name} has {len(contents[name])} bytes, not {n * row}; get a fresh copy"
            )
        rows.append(np.frombuffer(contents[name], np.uint8).reshape(n, row))
    names = contents[archive.names].decode().split()
    images = np.concatenate([block[:, archive.label_bytes :] for block in rows]).reshape(-1, *IMAGE)
    labels = np.concatenate([block[:, archive.label_bytes - 1] for block in rows])
    if len(names) <= labels.max():
        raise OSError(
            f"{place} is damaged: there are {len(names)} classes and the label {labels.max()}; get a fresh copy"
        )
    what = archive.file.removesuffix("-binary.tar.gz").replace("-", "")
    return from_array(
        images, labels, layout="NCHW", class_names=names, name=what if part == "all" else f"{what}-{part}"
    )


def _find(archive: _Archive, path: str | Path | None) -> Path:
    """The archive or its unpacked folder."""
    if path is not None:
        there = _there(archive, Path(path))
        if there is None:
            raise FileNotFoundError(
                f"{path} has neither {archive.file} nor {archive.folder}: get {PUBLISHED}{archive.file}"
            )
        return there
    import pooch  # slow to import, and few need it

    cache = Path(pooch.os_cache("diffgen")) / "cifar"
    named = os.environ.get(FOLDER_VARIABLE)
    for folder in [*([Path(named)] if named else []), cache]:
        there = _there(archive, folder)
        if there is not None:
            return there
    url = PUBLISHED + archive.file
    return Path(pooch.retrieve(url, f"md5:{archive.md5}", archive.file, cache, progressbar=True))


def _there(archive: _Archive, path: Path) -> Path | None:
    if path.is_file() or (path / archive.names).is_file():
        return path
    places = (path / archive.file, path / archive.folder)
    return next((place for place in places if place.exists()), None)


def _unpacked(archive: _Archive, place: Path, names: list[str]) -> dict[str, bytes]:
    """The contents of the files, by their names."""
    if place.is_dir():
        gone = [name for name in names if not (place / name).is_file()]
        if gone:
            raise FileNotFoundError(f"{place / gone[0]} is missing: unpack {archive.file} again")
        return {name: (place / name).read_bytes() for name in names}
    with open(place, "rb") as file:
        if hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != archive.md5:
            raise OSError(
                f"{place} is damaged or not {archive.file}: its checksum is not the published one; get it again"
            )
    try:
        with tarfile.open(place) as tar:
            members = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}
            return {name: tar.extractfile(members[name]).read() for name in names}  # type: ignore[union-attr]
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error):
        raise OSError(f"{place} is damaged: it can't be unpacked; get a fresh copy") from None
