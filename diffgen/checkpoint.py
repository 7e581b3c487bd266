"""Plain tensors in files that are whole or not there: safetensors with a checksum, moved into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

REMEDY = "delete it and run what made it again"


class DamagedFile(OSError):
    """A file exists but does not hold what was written."""


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old file or the new one, never a part.

    Raises:
        OSError: it can't be written, for example on a full disk. The old file, if there is one, is still there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        remedy = "make room and run the same again" if error.errno == errno.ENOSPC else "what was there is kept"
        raise OSError(f"{path} can't be written ({error.strerror}): {remedy}") from None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"sha256": _digest(tensors), "diffgen": json.dumps(metadata)}
    write_whole(path, save(tensors, header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the file is cut off, is not ours, or its tensors do not match the checksum.
    """
    with _opened(path) as (file, header):
        # copies: what safetensors returns is the mapped file, and reading it crashes once the file has shrunk
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    if header.get("sha256") != _digest(tensors):
        raise DamagedFile(f"{path} is damaged (its checksum does not match): {REMEDY}")
    return tensors, json.loads(header["diffgen"])


def read_about(path: Path) -> dict[str, Any]:
    """Read only the metadata that `write_tensors` wrote; raises as `read_tensors` does."""
    with _opened(path) as (_, header):
        return json.loads(header["diffgen"])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if "diffgen" not in header:
                raise DamagedFile(f"{path} was not written by diffgen: it has no metadata")
            yield file, header
    except (SafetensorError, ValueError) as error:
        raise DamagedFile(f"{path} is damaged ({error}): {REMEDY}") from None
