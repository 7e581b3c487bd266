"""What a `Scrubber` is made of: sliders, rows of images and curves.

Tensors hold a value for every place of every slider: their first dimensions are the sliders', in order, and those that
are missing or 1 are shared by all places, as torch broadcasts. Each part turns itself into what the browser needs.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

DIGITS = 5
"""Significant digits of curves: more than a screen shows."""
LONGEST = 16_384
"""Pixels a side of a picture: browsers draw no larger ones."""


@dataclass(frozen=True, eq=False)
class Slider:
    """What a reader chooses: a place among values. Numbers become a slider, text a menu; one value alone is just shown.

    Args:
        name: written beside it; markers and curves behind refer to it.
        values: of the places, numbers or text; a tensor (n,) is fine.
        start: index of the place shown first; −1 is the last.
        format: how numbers are written, as in `format(value, …)`; by default 3 digits, whole numbers in full.
    """

    name: str
    values: Sequence[float] | Sequence[str] | Tensor
    start: int = 0
    format: str = ""

    def __post_init__(self) -> None:
        given: Any = self.values
        values = given.tolist() if isinstance(given, Tensor) else list(given)
        object.__setattr__(self, "values", values)
        if not values:
            raise ValueError(f"values of slider {self.name!r} is empty: give at least one")
        text = [isinstance(value, str) for value in values]
        if any(text) and not all(text):
            raise ValueError(f"values of slider {self.name!r} is {values}: give numbers or text, not both")
        if not any(text) and not all(map(math.isfinite, values)):
            raise ValueError(f"values of slider {self.name!r} is {values}: give finite numbers")
        if not -len(values) <= self.start < len(values):
            raise ValueError(f"start of slider {self.name!r} is {self.start}: it has {len(values)} places, from 0")
        try:
            _ = self.labels
        except ValueError as error:
            raise ValueError(f"format of slider {self.name!r} is {self.format!r}: {error}") from None

    @property
    def numbers(self) -> list[float] | None:
        """The values, or None where they are text."""
        return None if isinstance(self.values[0], str) else [v for v in self.values if not isinstance(v, str)]

    @property
    def labels(self) -> list[str]:
        """The values as a reader sees them."""
        if self.numbers is None:
            return [str(value) for value in self.values]
        whole = all(float(value).is_integer() for value in self.values)
        return [format(int(v) if whole and not self.format else v, self.format or (",d" if whole else ".3g"))
                for v in self.values]  # fmt: skip

    def state(self) -> dict[str, Any]:
        """What the browser needs."""
        return {"name": self.name, "labels": self.labels, "values": self.numbers}


@dataclass(frozen=True, eq=False)
class Images:
    """A row of images.

    The page carries them in fewer bytes if the first slider is the one along which they change least.

    Args:
        label: what they are, written at their left.
        x: (*sliders, columns, C, H, W) with C of 1 or 3; floats in [−1, 1], shown clipped, or uint8.
        colour: of a bar at the left of the row, such as `plots.TRAIN`; None leaves it out.
    """

    label: str
    x: Tensor
    colour: str | None = None

    def __post_init__(self) -> None:
        shape, dtype = tuple(self.x.shape), self.x.dtype
        if len(shape) < 4 or shape[-3] not in (1, 3) or 0 in shape:
            raise ValueError(f"x of images {self.label!r} has shape {shape}: give (*sliders, columns, 1 or 3, H, W)")
        if not (dtype == torch.uint8 or dtype.is_floating_point):
            raise ValueError(f"x of images {self.label!r} is {dtype}: give floats in [-1, 1] or uint8")
        if not self.x.isfinite().all():
            raise ValueError(f"x of images {self.label!r} holds values that are not finite: check what computed it")

    @property
    def pixels(self) -> Tensor:
        """What is shown, as `x` but uint8."""
        x = self.x.detach().cpu()
        return x if x.dtype == torch.uint8 else ((x.double().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    def state(self, sliders: Sequence[Slider]) -> dict[str, Any]:
        """What the browser needs: all places in one PNG.

        Its rows alternate between the places of the first slider. PNG stores how a row differs from the one above it,
        so this stores how the places differ: half the bytes where the first slider is the training of a network.
        """
        *_, columns, _, height, width = self.x.shape
        dims = _dims(f"x of images {self.label!r}", self.x.shape[:-4], sliders)
        pixels = self.pixels.reshape(dims[0], math.prod(dims[1:]), *self.x.shape[-4:])
        sheet = rearrange(pixels, "d a k c h w -> (h d) (a k w) c").numpy()
        if max(sheet.shape) > LONGEST:
            raise ValueError(f"x of images {self.label!r} fills {sheet.shape[:2]} pixels: a side may take {LONGEST}")
        file = io.BytesIO()
        Image.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet).save(file, "PNG", optimize=True)
        png = base64.b64encode(file.getvalue()).decode()
        shape = {"columns": columns, "height": height, "width": width}
        return {"label": self.label, "colour": self.colour, "dims": dims, "png": png, **shape}


@dataclass(frozen=True, eq=False, kw_only=True)
class Curves:
    """Lines over an axis, those of the chosen places in full.

    The axes don't move with the sliders: they hold the lines of all places.

    Args:
        x: (n,), increasing.
        y: (*sliders, lines, n), or (n,) for one line; what is not finite is a hole in the line.
        labels: of the lines; their values at the marker are written behind. A single line needs none.
        x_label: of the axis.
        y_label: written above the axis.
        low: lower ends of a band, as y. high: its upper ends.
        colours: of the lines; by default those of training, validation and generated data, in this order, then grey.
        log_x: whether the axis is logarithmic. log_y: likewise.
        marker: name of the slider whose values are places on the x axis: a line marks the chosen one, and a pointer on
            the axis moves the slider.
        behind: names of the sliders at whose other places the lines are drawn as well, faintly.
        limits: of the y axis; by default all there is. Lines leave the axis where they are outside.
    """

    x: Tensor
    y: Tensor
    labels: Sequence[str] = ("",)
    x_label: str = ""
    y_label: str = ""
    low: Tensor | None = None
    high: Tensor | None = None
    colours: Sequence[str] = ()
    log_x: bool = False
    log_y: bool = False
    marker: str | None = None
    behind: Sequence[str] = ()
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "behind", (self.behind,) if isinstance(self.behind, str) else tuple(self.behind))
        object.__setattr__(self, "labels", (self.labels,) if isinstance(self.labels, str) else tuple(self.labels))
        for name in ("x", "y", "low", "high"):
            given = getattr(self, name)
            tensor = None if given is None else torch.as_tensor(given).detach().cpu().double()
            object.__setattr__(
                self, name, tensor[None] if name != "x" and tensor is not None and tensor.ndim == 1 else tensor
            )
        x, y = self.x, self.y
        if x.ndim != 1 or len(x) < 2 or not x.isfinite().all() or not (x[1:] > x[:-1]).all():
            raise ValueError(
                f"x of curves {self.y_label!r} has shape {tuple(x.shape)}: give (n,) increasing numbers, n >= 2"
            )
        if self.log_x and x[0] <= 0:
            raise ValueError(f"x of curves {self.y_label!r} starts at {x[0]:g}: a logarithmic axis is positive")
        if y.shape[-2:] != (len(self.labels), len(x)):
            raise ValueError(
                f"y of curves {self.y_label!r} has shape {tuple(y.shape)}: with {len(self.labels)} labels and {len(x)} "
                f"places in x give (*sliders, {len(self.labels)}, {len(x)})"
            )
        if (self.low is None) != (self.high is None):
            raise ValueError(f"curves {self.y_label!r} have one end of a band: give both low and high, or neither")
        for name in ("low", "high"):
            if getattr(self, name) is not None and getattr(self, name).shape != y.shape:
                shape = tuple(getattr(self, name).shape)
                raise ValueError(
                    f"{name} of curves {self.y_label!r} has shape {shape}: give that of y, {tuple(y.shape)}"
                )
        if self.colours and len(self.colours) != len(self.labels):
            raise ValueError(
                f"colours of curves {self.y_label!r} is {self.colours}: give one a line, {len(self.labels)}"
            )
        if self.limits is not None and not (self.limits[0] < self.limits[1] and (self.limits[0] > 0 or not self.log_y)):
            raise ValueError(f"limits of curves {self.y_label!r} is {self.limits}: give (low, high), low < high")

    def state(self, sliders: Sequence[Slider]) -> dict[str, Any]:
        """What the browser needs."""
        names = [slider.name for slider in sliders]
        for option, chosen in (("marker", [self.marker] if self.marker else []), ("behind", self.behind)):
            for name in set(chosen) - set(names):
                raise ValueError(f"{option} of curves {self.y_label!r} is {name!r}: the sliders are {names}")
        places = sliders[names.index(self.marker)].numbers if self.marker else [1.0]
        if places is None or (self.log_x and min(places) <= 0):
            why = "text" if places is None else f"{min(places):g} on a logarithmic axis"
            raise ValueError(
                f"marker of curves {self.y_label!r} is {self.marker!r}, which has {why}: it has no place on x"
            )
        return {
            "dims": _dims(f"y of curves {self.y_label!r}", self.y.shape[:-2], sliders),
            "x": _numbers(self.x), "y": _numbers(self.y), "low": _numbers(self.low), "high": _numbers(self.high),
            "labels": self.labels, "colours": list(self.colours), "xLabel": self.x_label, "yLabel": self.y_label,
            "logX": self.log_x, "logY": self.log_y, "marker": names.index(self.marker) if self.marker else None,
            "behind": [names.index(name) for name in self.behind], "limits": self.limits,
        }  # fmt: skip


def _dims(what: str, leading: Sequence[int], sliders: Sequence[Slider]) -> list[int]:
    """A dimension a slider: its number of places, or 1."""
    lengths = [len(slider.values) for slider in sliders]
    dims = [1] * (len(lengths) - len(leading)) + list(leading)
    if len(dims) > len(lengths) or any(dim not in (1, length) for dim, length in zip(dims, lengths)):
        wanted = ", ".join(f"{n} or 1" for n in lengths)
        raise ValueError(f"{what} has {tuple(leading)} before its own dimensions: give one a slider, ({wanted})")
    return dims


def _numbers(x: Tensor | None) -> list[float | None] | None:
    """Flat, rounded, and None for what is not finite, which JSON can't say."""
    if x is None:
        return None
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in x.flatten().tolist()]
