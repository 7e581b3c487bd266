"""What is measured: a denoiser with a name, the shape of its data, and a place where results are kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from diffgen.denoiser import Denoiser
from diffgen.runs.cache import Cache, FolderCache, MemoryCache


class Subject:
    """A denoiser that is measured: your own network, a closed form, somebody else's model. A `Snapshot` is one.

    All measures of `diffgen.experiments` take any subject and keep what they compute, by the subject's identity and
    their settings. The identity of a torch module holds a hash of its parameters and of its plain attributes, such as a
    guidance weight, so that a model that is trained further is another subject; of any other callable it is its name
    alone: give what you change another name.

    Args:
        name: for people, and to tell results apart.
        denoiser: D. It is measured where it is, on its own device and in its own mode: call `.eval()` first.
        shape: of one data point, (*).
        results: a folder in which results are kept, in a folder of the subject's name; None keeps them in memory.

    Raises:
        ValueError: a shape that is not one of a data point, or an empty name.
    """

    def __init__(
        self, name: str, denoiser: Denoiser, shape: Sequence[int], *, results: str | Path | None = None
    ) -> None:
        if not name.strip():
            raise ValueError("name is empty: results are kept under the name of their subject")
        if not shape or min(shape) < 1:
            raise ValueError(f"shape is {tuple(shape)}: give that of one data point, such as (1, 28, 28)")
        self._name, self._denoiser, self._shape = name, denoiser, tuple(shape)
        folder = None if results is None else Path(results) / re.sub(r"[^\w.=+~-]+", "-", name)
        self._cache: Cache = MemoryCache() if folder is None else FolderCache(folder)

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return self._shape

    @property
    def cache(self) -> Cache:
        """Where its results are kept."""
        return self._cache

    @property
    def label(self) -> str:
        """What stands for it in the name of a result."""
        return "model"

    @property
    def identity(self) -> dict[str, Any]:
        """All that says which denoiser it is, as JSON."""
        own = {"name": self._name}
        if isinstance(self._denoiser, torch.nn.Module):
            own["weights"] = state_hash(self._denoiser)
        return own

    def denoiser(self, device: str | torch.device = "cpu") -> Denoiser:
        """The denoiser, ready to be evaluated; one that was given stays on its own device."""
        return self._denoiser

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def state_hash(module: torch.nn.Module) -> str:
    """A hash of all that a module computes with: parameters, buffers, and the numbers and texts among its attributes.

    Those of its parts count as well. Whether it is in training mode does not.
    """
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for name, part in module.named_modules():
        digest.update(f"{name} {type(part).__qualname__}".encode())
        for key, value in sorted(vars(part).items()):
            if key != "training" and not key.startswith("_") and _is_plain(value):
                digest.update(f"{key} {value!r}".encode())
    return digest.hexdigest()[:16]


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
