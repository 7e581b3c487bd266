"""Results that were computed once: kept beside what they are of, and found again by all that they depend on."""

from __future__ import annotations

import errno
import hashlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from diffgen.data import Points
from diffgen.files import DamagedFile, read_tensors, write_tensors
from diffgen.runs.key import result_name
from diffgen.runs.log import provenance

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Cache(Protocol):
    """Where results are kept, by name."""

    def read(self, name: str) -> dict[str, Tensor] | None:
        """The result of that name, or None if it was not computed yet."""
        ...

    def write(self, name: str, result: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Keep a result, where this cache keeps what is new."""
        ...


@dataclass
class MemoryCache:
    """Results are kept as long as this object lives."""

    results: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def read(self, name: str) -> dict[str, Tensor] | None:
        """The result of that name, or None."""
        return self.results.get(name)

    def write(self, name: str, result: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Keep a result."""
        self.results[name] = result


@dataclass(frozen=True)
class FolderCache:
    """A file a result, in a folder. One that is read-only serves what it holds, and keeps nothing new."""

    folder: Path

    def read(self, name: str) -> dict[str, Tensor] | None:
        """The result of that name; None if it is not there, or damaged, for it can be computed again."""
        try:
            return read_tensors(self._path(name))[0]
        except (FileNotFoundError, DamagedFile):
            return None

    def write(self, name: str, result: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Write a result; where nothing can be written, warn and go on: the result is not lost to who asked for it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(self._path(name), result, metadata)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            warnings.warn(f"{self.folder} is read-only: {name} is not kept, and computed anew next time", stacklevel=4)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


class Cached(Protocol):
    """What results can be kept of: see `diffgen.runs.subject.Subject`."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def identity(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def cache(self) -> Cache: ...  # noqa: D102


def cached(
    subject: Cached,
    measure: str,
    settings: dict[str, Any],
    compute: Callable[[], dict[str, Tensor]],
    *,
    version: int,
) -> dict[str, Tensor]:
    """What `compute` returns, from where the subject's results are kept if it was computed before.

    It is found again by the identity of the subject, the measure with its version, and the settings: by nothing that
    depends on the machine, on Python or on the text of the code.

    Args:
        subject: what is measured.
        measure: what is computed, the beginning of the result's name.
        settings: all that the result depends on beside subject and measure, as JSON.
        compute: returns the result as named tensors.
        version: of the measure, raised by hand when equal settings give other numbers.
    """
    name = result_name(measure, version, subject.label, subject.identity, settings)
    known = subject.cache.read(name)
    if known is not None:
        return known
    start = time.monotonic()
    result = compute()
    what = {"measure": measure, "version": version, "subject": subject.identity, "settings": settings}
    subject.cache.write(name, result, what | {"seconds": round(time.monotonic() - start, 1), **provenance()})
    return result


def data_hash(points: Points) -> str:
    """A hash of images and classes: results are of these, whatever split they came in."""
    digest = hashlib.sha256(points.x.contiguous().numpy().data)
    if points.labels is not None:
        digest.update(points.labels.contiguous().numpy().data)
    return digest.hexdigest()[:16]
