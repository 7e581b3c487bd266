"""Points from arrays, tensors, .npy and .npz files: which axis is which, in which units, and what is amiss."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from diffgen.data.pool import ROWS_AT_ONCE, Pool

Layout = Literal["NCHW", "NHWC", "NHW", "ND"]
ValueRange = tuple[float, float] | Literal["any"]
LABEL_KEYS = ("labels", "label", "y", "arr_1")
IMAGE_KEYS = ("x", "images", "image", "data", "samples", "arr_0")
ROUNDING = 1e-5
"""By how much a value may exceed its range."""


def from_array(
    x: np.ndarray | Tensor | str | Path,
    labels: np.ndarray | Tensor | Sequence[int] | str | Path | None = None,
    *,
    layout: Layout | None = None,
    value_range: ValueRange | None = None,
    class_names: Sequence[str] = (),
    key: str | None = None,
    labels_key: str | None = None,
    name: str | None = None,
) -> Pool:
    """Points from an array, a tensor, or a .npy or .npz file.

    Images become float32 in [−1, 1]. Bytes 0…255 are divided by 127.5, less 1; floats are in [−1, 1] already. Other
    units need a `value_range`, for nothing is guessed: images in [0, 1] that pass for images in [−1, 1] give smooth and
    wrong curves. Points (N, d) in floats are taken in their own units.

    A .npy file stays on disk: rows are read when they are asked for. Floats are read once to be checked.

    Args:
        x: images (N, C, H, W), (N, H, W, C) or (N, H, W), or points (N, d). Of a .npz file the array `key`, else the
            only one, or the one with a usual name ("x", "images", "data", "arr_0", …).
        labels: class indices, (N,) integers from 0 on, an array or a .npy file. None takes those of a .npz file under
            `labels_key` or a usual name ("labels", "y", "arr_1", …), if it has some.
        layout: which axis is which, "NCHW", "NHWC", "NHW" or "ND". None finds out where one or three channels tell.
        value_range: (low, high) is mapped to [−1, 1], such as (0, 1); "any" takes all values as they are, as for
            latents.
        class_names: what the labels mean.
        key: of the points in a .npz file.
        labels_key: of the labels in a .npz file.
        name: what the points are called.

    Raises:
        ValueError: an axis, a unit or a label that can't be told or is impossible, or a value that is not finite.
        FileNotFoundError, OSError: no such file, or it is damaged.
    """
    source = str(x) if isinstance(x, str | Path) else "x"
    if isinstance(x, str | Path):
        x, beside = _read_file(Path(x), key, labels_key)
        labels = beside if labels is None else labels
    elif key is not None or labels_key is not None:
        raise ValueError(f"key is {key or labels_key!r}, but x is no .npz file: leave it out")
    if isinstance(labels, str | Path):
        labels = _read_file(Path(labels), None, None)[0]
    array = arranged(_as_array(x, source), layout, source)
    rows = ArrayRows(array, value_range, source)
    default = Path(source).stem if source != "x" else "array"
    return Pool(rows, class_labels(labels, len(array)), class_names, name or default)


class ArrayRows:
    """`Rows` of an array in memory or on disk.

    Args:
        array: (N, *), of numbers; images as (N, C, H, W).
        value_range: see `from_array`.
        source: what it is called in errors.

    Raises:
        ValueError: values that are not finite, or not in their range.
    """

    def __init__(self, array: np.ndarray, value_range: ValueRange | None = None, source: str = "x"):
        self.array, self.shape = array, tuple(array.shape[1:])
        self.low_high = _checked_range(array, value_range, source)

    def __len__(self) -> int:
        return len(self.array)

    def read(self, index: np.ndarray) -> Tensor:
        """Rows by their numbers, float32."""
        rows = np.ascontiguousarray(self.array[index])
        if self.low_high is None:
            return torch.from_numpy(rows.astype(np.float32))
        if rows.dtype == np.uint8 and self.low_high == (0, 255):
            return from_bytes(torch.from_numpy(rows))
        low, high = self.low_high
        return torch.from_numpy(((rows.astype(np.float64) - low) * (2 / (high - low)) - 1).astype(np.float32))


def to_bytes(x: Tensor) -> Tensor:
    """Images in [−1, 1] in 256 steps, cut off at the ends: as image files hold them, and as they are kept."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte()


def from_bytes(x: Tensor) -> Tensor:
    """The images back from `to_bytes`: 0…255 as float32 in [−1, 1]."""
    return x.float() / 127.5 - 1


def arranged(array: np.ndarray, layout: Layout | None, source: str = "x") -> np.ndarray:
    """A view of an array with its axes as (N, C, H, W), or (N, d) as it is; see `from_array`.

    Raises:
        ValueError: axes that can't be told, or do not fit the layout.
    """
    shape = tuple(array.shape)
    if 0 in shape or not shape:
        raise ValueError(f"{source} has shape {shape}: give one point or more")
    if layout is None:
        layout = _layout(shape, source)
    if layout not in get_args(Layout):
        raise ValueError(f"layout is {layout!r}: choose one of {', '.join(map(repr, get_args(Layout)))}")
    if len(shape) != (2 if layout == "ND" else len(layout)):
        raise ValueError(f"layout is {layout!r}, but {source} has shape {shape}: give an array with these axes")
    if layout == "NHW":
        return array[:, None]
    return np.moveaxis(array, 3, 1) if layout == "NHWC" else array


def _layout(shape: tuple[int, ...], source: str) -> Layout:
    if len(shape) == 2:
        return "ND"
    if len(shape) == 3 and shape[0] != 3 and (shape[2] not in (1, 3) or shape[1] <= 3):
        return "NHW"
    if len(shape) == 4:
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if first != last:
            return "NCHW" if first else "NHWC"
    what = {3: "it may be one image in colour, or many grey ones", 4: "no axis, or more than one, is 1 or 3 channels"}
    raise ValueError(
        f"{source} has shape {shape}: {what.get(len(shape), 'points are (N, d), images (N, C, H, W)')}; "
        "say which axis is which, such as layout='NCHW', 'NHWC', 'NHW' or 'ND'"
    )


def _checked_range(array: np.ndarray, given: ValueRange | None, source: str) -> tuple[float, float] | None:
    """The range that is mapped to [−1, 1]; None leaves values as they are."""
    kind, images = array.dtype.kind, array.ndim > 2
    if kind not in "fiu" or (given is None and kind != "f" and array.dtype != np.uint8):
        raise ValueError(
            f"{source} has dtype {array.dtype}: give bytes (uint8), floats in [-1, 1], or say what its numbers mean, "
            "such as value_range=(0, 255)"
        )
    if given not in (None, "any") and not (isinstance(given, tuple | list) and len(given) == 2 and given[0] < given[1]):
        raise ValueError(f"value_range is {given!r}: give (low, high), or 'any' to take values as they are")
    if given is None and array.dtype == np.uint8:
        if array[:ROWS_AT_ONCE].max(initial=0) <= 1 and array.max(initial=0) <= 1:
            raise ValueError(
                f"{source} holds bytes of 0 and 1 alone: say what they mean, value_range=(0, 1) or (0, 255)"
            )
        return 0, 255
    low, high = _extremes(array, source)
    if given == "any" or (given is None and not images):
        return None
    if given is not None:
        slack = ROUNDING * (given[1] - given[0])
        if low < given[0] - slack or high > given[1] + slack:
            raise ValueError(
                f"{source} has values from {low:g} to {high:g}, outside of value_range={given}: mend either"
            )
        return float(given[0]), float(given[1])
    if low >= 0 and high <= 1 + ROUNDING:
        raise ValueError(
            f"{source} has values from {low:g} to {high:g}: if they are in [0, 1] give value_range=(0, 1), "
            "if they are in [-1, 1] value_range=(-1, 1)"
        )
    if low < -1 - ROUNDING or high > 1 + ROUNDING:
        likely = "(0, 255)" if low >= 0 and 1 < high <= 255 else f"({low:g}, {high:g})"
        raise ValueError(
            f"{source} has values from {low:g} to {high:g}, and images are in [-1, 1]: give their range, such as "
            f"value_range={likely}, or value_range='any' to take them as they are"
        )
    return None


def _extremes(array: np.ndarray, source: str) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for start in range(0, len(array), ROWS_AT_ONCE):
        rows = array[start : start + ROWS_AT_ONCE]
        finite = np.isfinite(rows).reshape(len(rows), -1).all(1)
        if not finite.all():
            row = start + int(finite.argmin())
            raise ValueError(f"{source} has a value that is not finite in row {row}: mend that row or leave it out")
        low, high = min(low, float(rows.min())), max(high, float(rows.max()))
    return low, high


def class_labels(labels: Any, n: int) -> Tensor | None:
    """Labels as (N,), int64, checked.

    Raises:
        ValueError: they are not integers from 0 on, or not one a point.
    """
    if labels is None:
        return None
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        remedy = ", such as labels.argmax(1) of one-hot ones" if array.ndim == 2 else ""
        raise ValueError(f"labels has shape {tuple(array.shape)}: give one a point, ({n},){remedy}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels has dtype {array.dtype}: give class indices as integers, 0, 1, …")
    if n and array.min() < 0:
        row = int(array.argmin())
        raise ValueError(f"labels holds {array[row]} in row {row}: classes are counted from 0, or leave labels out")
    return torch.from_numpy(array.astype(np.int64))


def _as_array(x: Any, source: str) -> np.ndarray:
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()
    if not isinstance(x, np.ndarray):
        raise ValueError(
            f"{source} is a {type(x).__name__}: give a NumPy array, a tensor, or the path of a .npy or .npz"
        )
    return x


def _read_file(path: Path, key: str | None, labels_key: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The points and the labels, if there are some, of a .npy or .npz file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the path of a .npy or .npz file")
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"{path} is neither .npy nor .npz: see diffgen.data.open_data for other kinds")
    if path.suffix == ".npy" and (key is not None or labels_key is not None):
        raise ValueError(f"key is {key or labels_key!r}, but {path} holds one array: leave it out")
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        with np.load(path, allow_pickle=False) as arrays:
            first = _choose("key", key, IMAGE_KEYS, arrays.files, path)
            others = [k for k in arrays.files if k != first]
            second = _choose("labels_key", labels_key, LABEL_KEYS, others, path)
            assert first is not None
            return arrays[first], None if second is None else arrays[second]
    except _Keys as error:
        raise ValueError(str(error)) from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error) or "Python objects" in str(error):  # NumPy's words
            raise ValueError(f"{path} holds Python objects, not numbers: save an array of uint8 or float32") from None
        raise OSError(f"{path} is damaged: it can't be read as a {path.suffix} file") from None


class _Keys(Exception):
    """Which array is meant can't be told."""


def _choose(parameter: str, given: str | None, usual: Sequence[str], there: Sequence[str], path: Path) -> str | None:
    """The name of an array in a .npz file. There need be no labels."""
    if given is not None:
        if given not in there:
            raise _Keys(f"{parameter} is {given!r}, but {path} has {', '.join(map(repr, there)) or 'nothing else'}")
        return given
    known = [key for key in there if key in usual]
    if len(known) == 1:
        return known[0]
    if parameter == "key" and not known and len(there) == 1:
        return there[0]
    if parameter == "labels_key" and not known:
        return None
    raise _Keys(f"{path} has {', '.join(map(repr, there)) or 'no arrays'}: say which you mean by {parameter}=")
