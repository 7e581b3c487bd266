"""Points in the plane: the circle of the toy model, and other manifolds to try its claims on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from diffgen.data.split import Points, Split
from diffgen.rng import generator

Manifold = Literal["circle", "line", "moons", "spiral", "grid"]
SplitRule = Literal["alternate", "random"]
VERSION = 1
"""Raised by hand when the same arguments give other points; the golden test holds it."""


def _circle(t: Tensor) -> Tensor:
    return torch.stack([(2 * math.pi * t).cos(), (2 * math.pi * t).sin()], 1)


def _line(t: Tensor) -> Tensor:
    return torch.stack([2 * t - 1, torch.zeros_like(t)], 1)


def _moons(t: Tensor) -> Tensor:
    side = torch.where(t < 0.5, 1.0, -1.0).to(t)  # the second moon is the first turned by half a turn
    angle = 2 * math.pi * (t % 0.5)
    return side[:, None] * torch.stack([(2 * angle.cos() - 1) / 3, (2 * angle.sin() - 0.5) / 3], 1)


def _spiral(t: Tensor) -> Tensor:
    r = (0.04 + 0.96 * t).sqrt()  # the length of Archimedes' spiral grows as r², so points keep their distance
    return r[:, None] * _circle(1.75 * r)


CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "circle": _circle, "line": _line, "moons": _moons, "spiral": _spiral,
}  # fmt: skip
"""Each manifold but the grid as a curve from t in [0, 1) to the unit disc."""


def _even(name: Manifold, n: int) -> Tensor:
    """n equidistant points in the unit disc, ordered so that neighbours have numbers of different parity."""
    k = torch.arange(n, dtype=torch.float64)
    if name == "circle":
        return _circle(k / n)
    if name != "grid":
        return CURVES[name]((k + 0.5) / n)
    side = math.ceil(math.sqrt(n))
    row, column = k // side, k % side
    column = torch.where(row % 2 == 0, column, side - 1 - column)  # as the ox ploughs: even and odd make a chessboard
    return 0.85 * (2 * (torch.stack([column, row], 1) + 0.5) / side - 1)


def manifold(
    name: Manifold = "circle",
    n: int = 20,
    *,
    radius: float = 10.0,
    offset: float = 1e-2,
    placement: Literal["even", "random"] = "even",
    split: SplitRule | None = "alternate",
    seed: int = 0,
) -> Split:
    """n points on a manifold in the plane, split into training and validation.

    Args:
        name: "circle", "line", "moons", "spiral", or "grid", which fills a square.
        n: number of points, training and validation together.
        radius: half the extent of the manifold: of the circle its radius.
        offset: rotation about the origin, as a fraction of a turn.
        placement: "even" for equidistant points, "random" for independent uniform ones.
        split: "alternate": even ones are training, odd ones validation; "random": random halves; None: all training.
        seed: of a random placement and of a random split.

    Returns:
        A `Split` with x of shape (N, 2), float32.

    Raises:
        ValueError: an unknown name, placement or split, n too small for the split, or a radius that is not positive.

    Source: the circle is Kaiser and Kollmann's toy data, 2026, arXiv 2603.13419; the others are ours.
    """
    _check(name, n, radius, placement, split)
    random = generator(seed, 0x70C1)
    if placement == "even":
        x = _even(name, n)
    elif name == "grid":
        x = 0.85 * (2 * torch.rand(n, 2, generator=random, dtype=torch.float64) - 1)
    else:
        x = CURVES[name](torch.rand(n, generator=random, dtype=torch.float64))
    c, s = math.cos(2 * math.pi * offset), math.sin(2 * math.pi * offset)
    x = (radius * x @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)).float()
    if split is None:
        return Split(Points(x), Points(x[:0]))
    order = torch.arange(n) if split == "alternate" else torch.randperm(n, generator=random)
    return Split(Points(x[order[::2]]), Points(x[order[1::2]]))


def _check(name: str, n: int, radius: float, placement: str, split: str | None) -> None:
    for parameter, value, valid in (
        ("name", name, get_args(Manifold)),
        ("placement", placement, ("even", "random")),
        ("split", split, (*get_args(SplitRule), None)),
    ):
        if value not in valid:
            raise ValueError(f"{parameter} is {value!r}: choose one of {', '.join(map(repr, valid))}")
    least = 1 if split is None else 2
    if n < least:
        raise ValueError(f"n is {n}: split {split!r} needs at least {least}")
    if not 0 < radius < math.inf:
        raise ValueError(f"radius is {radius:g}: it is positive and finite")


def circle(
    n: int = 20,
    *,
    radius: float = 10.0,
    offset: float = 1e-2,
    split: SplitRule | None = "alternate",
    seed: int = 0,
) -> Split:
    """n equidistant points on a circle, every second one for training: the toy data of the paper.

    The arguments are those of `manifold`. The paper's flow figures use `circle(10, offset=1e-3, split=None)`.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419.
    """
    return manifold("circle", n, radius=radius, offset=offset, split=split, seed=seed)


def plane(half: float = 15.0, n: int = 64) -> Tensor:
    """A square grid over [−half, half]², (n, n, 2), float64: places[i, j] is (x_j, y_i), as plots expect."""
    axis = torch.linspace(-half, half, n, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], 2)


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """Toy data as the data of a training run: the arguments of `manifold`, kept with the run.

    Raises:
        ValueError: what `manifold` raises.
    """

    kind: Literal["toy"] = "toy"
    name: Manifold = "circle"
    n: int = 20
    radius: float = 10.0
    offset: float = 1e-2
    placement: Literal["even", "random"] = "even"
    split: SplitRule | None = "alternate"
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.name, self.n, self.radius, self.placement, self.split)

    @property
    def versions(self) -> dict[str, Any]:
        """The versions of all that decides what is loaded: a part of a run's key."""
        return {"data": VERSION}

    @property
    def n_train(self) -> int:
        """Number of training points."""
        return self.n if self.split is None else (self.n + 1) // 2

    def load(self) -> Split:
        """The points; see `manifold`."""
        arguments = asdict(self)
        del arguments["kind"]
        return manifold(**arguments)
