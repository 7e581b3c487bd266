"""Plain tensors in files that are whole or not there: safetensors with a checksum over all of it, moved into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
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


def _digest(tensors: Mapping[str, Tensor], metadata: str) -> str:
    digest = hashlib.sha256(metadata.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        named = OSError(f"{path} can't be written ({error.strerror}): {remedy}")
        named.errno = error.errno
        raise named from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file. Equal contents make equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata, sort_keys=True)
    # one entry, for safetensors writes several in any order
    header = json.dumps({"sha256": _digest(tensors, text), "metadata": text})
    write_whole(path, save(tensors, {"diffgen": header}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: the tensors and the metadata.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the file is cut off, is not ours, or does not match its checksum.
    """
    with _opened(path) as (file, sha256, text):
        # copies: what safetensors returns is the mapped file, and reading it crashes once the file has shrunk
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        if sha256 != _digest(tensors, text):
            raise DamagedFile(f"{path} is damaged (its checksum does not match): {REMEDY}")
        return tensors, json.loads(text)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read only the metadata that `write_tensors` wrote, unchecked; raises as `read_tensors` does."""
    with _opened(path) as (_, _, text):
        return json.loads(text)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, str, str]]:
    """The open file, its checksum, and its metadata as text."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:
            entries = file.metadata() or {}
            if "diffgen" not in entries:
                raise DamagedFile(f"{path} was not written by diffgen: it has no metadata")
            header = json.loads(entries["diffgen"])
            yield file, header["sha256"], header["metadata"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is damaged ({error}): {REMEDY}") from None
