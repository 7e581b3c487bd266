"""Single images through Pillow: which ones can be told, one size for all, grey or colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

GREY, COLOUR = ("1", "L"), ("RGB", "P")
"""Pillow's modes of images that are read without loss."""


def pillow() -> Any:
    """The module `PIL.Image`, which few need.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("reading image files needs Pillow: pip install 'diffgen[data]'") from None
    return Image


def opened(file: BinaryIO, name: str) -> Image:
    """An image of which only the header is read as yet.

    Raises:
        OSError: it is no image.
    """
    try:
        return pillow().open(file)
    except (OSError, SyntaxError, ValueError):
        raise OSError(f"{name} is damaged: it can't be read as an image; replace it or take it away") from None


def channels_of(image: Image, name: str) -> int:
    """1 for a grey image, 3 for one in colour.

    Raises:
        ValueError: it is neither, for example transparent or in 16 bits.
    """
    if image.mode not in GREY + COLOUR or "transparency" in image.info:
        raise ValueError(
            f"{name} is of mode {image.mode}{' with transparency' if 'transparency' in image.info else ''}: "
            "save it as 8-bit grey or RGB without transparency"
        )
    return 1 if image.mode in GREY else 3


def one_size(sizes: Callable[[int], tuple[int, int]], n: int, names: Callable[[int], str], size: int | None) -> None:
    """Check that images, (width, height) each, have one size, or may be cut and averaged to `size`.

    Raises:
        ValueError: the first that has another size, or is too small.
    """
    first = sizes(0)
    for i in range(n):
        width, height = sizes(i)
        if size is None and (width, height) != first:
            raise ValueError(
                f"{names(i)} has {width} × {height} pixels and {names(0)} {first[0]} × {first[1]}: "
                "give size= to cut all to squares of one size"
            )
        if size is not None and min(width, height) < size:
            raise ValueError(f"{names(i)} has {width} × {height} pixels: too few for size={size}, take a smaller one")


def checked_size(size: int | None) -> int | None:
    """A side in pixels, or None.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise ValueError(f"size is {size!r}: give a whole number of pixels, or None to leave images as they are")
    return size


def as_bytes(image: Image, channels: int, size: int | None) -> np.ndarray:
    """The pixels, (C, H, W), uint8: of all of it, or of its middle square averaged over areas to `size`."""
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.resize((size, size), pillow().Resampling.BOX, box=(left, top, left + side, top + side))
    return np.moveaxis(np.array(image, ndmin=3), -1, 0) if channels == 3 else np.asarray(image)[None]
