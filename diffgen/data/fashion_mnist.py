"""Fashion-MNIST: 10,000 images that come with the package, or all 70,000 where they are installed.

70,000 grey images of clothes, 28×28, in ten balanced classes. No two of them are equal pixel by pixel, neither at 28×28
nor averaged to any size in `SIZES`, so a split of the pool never puts the same image on both sides.

Source: Xiao, Rasul and Vollgraf, *Fashion-MNIST*, 2017, arXiv 1708.07747. MIT licence, beside the files.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffgen.features import FeatureMap, classifier_features

BUNDLED = Path(__file__).parent / "fashion_mnist"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PUBLISHED = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FOLDER_VARIABLE = "DIFFGEN_DATA"
"""The environment variable that names a folder with the published files."""

SIDE = 28
SIZES = (28, 14, 7, 4)
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

SHA256 = {
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}
"""The files, by their contents: Debian packs the same bytes with another gzip header than the publisher.

The parts "t10k" and "train" are the publisher's; to us they are one pool.
"""

PUBLISHED_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
}
"""The checksums that the publisher states for the packed files, for the download."""


@dataclass(frozen=True)
class FashionMNIST:
    """A pool of Fashion-MNIST, a `Source`: some of the publisher's parts, one behind the other."""

    name: str
    parts: tuple[str, ...]
    pool_size: int
    version: int = 1
    channels: int = 1
    sizes: tuple[int, ...] = SIZES
    class_names: tuple[str, ...] = CLASSES

    @property
    def features(self) -> FeatureMap:
        """The bundled classifier."""
        return classifier_features

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, 1, 28, 28) and labels (N,), both uint8.

        The part "t10k" comes with the package. The part "train" is looked for in the folder that the environment
        variable DIFFGEN_DATA names, in Debian's, and in that of `download_fashion_mnist`.

        Raises:
            FileNotFoundError: a file is missing.
            OSError: a file is damaged.
        """
        images = [_read(f"{part}-images-idx3-ubyte", header=16) for part in self.parts]
        labels = [_read(f"{part}-labels-idx1-ubyte", header=8) for part in self.parts]
        return np.concatenate(images).reshape(-1, 1, SIDE, SIDE), np.concatenate(labels)


FASHION_MNIST = FashionMNIST("fashion_mnist", ("t10k",), 10_000)
FASHION_MNIST_70K = FashionMNIST("fashion_mnist_70k", ("t10k", "train"), 70_000)


def _find(file: str) -> Path:
    if file.startswith("t10k"):
        folders, remedy = [BUNDLED], "install diffgen again"
    else:
        named = os.environ.get(FOLDER_VARIABLE)
        folders = [*([Path(named)] if named else []), DEBIAN, _download_folder()]
        remedy = (
            f"install Debian's dataset-fashion-mnist, set {FOLDER_VARIABLE} to a folder that has it, "
            "or call diffgen.data.download_fashion_mnist()"
        )
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    raise FileNotFoundError(f"{file} is missing from {' and '.join(map(str, folders))}: {remedy}")


def _read(file: str, header: int) -> np.ndarray:
    path = _find(f"{file}.gz")
    try:
        data = gzip.decompress(path.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile):
        data = b""
    if hashlib.sha256(data).hexdigest() != SHA256[file]:
        raise OSError(f"{path} is damaged: its contents are not the published ones; put a fresh copy in its place")
    return np.frombuffer(data, np.uint8, offset=header)


def download_fashion_mnist(folder: str | Path | None = None) -> Path:
    """Download the 60,000 images that the package lacks (26 MB), check them, and return their folder.

    Beside this, only `diffgen.data.cifar10` and `cifar100` use the network, and features that are asked to.

    Args:
        folder: where to put them; None is a cache folder in which `load_data` finds them. Another folder is found
            through the environment variable DIFFGEN_DATA.

    Raises:
        ValueError: what arrived is not the published file.
    """
    import pooch  # slow to import, and few need it

    path = _download_folder() if folder is None else Path(folder)
    files = pooch.create(path=path, base_url=PUBLISHED, registry={k: f"md5:{v}" for k, v in PUBLISHED_MD5.items()})
    for file in PUBLISHED_MD5:
        files.fetch(file, progressbar=True)
    return path


def _download_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("diffgen")) / "fashion-mnist"
