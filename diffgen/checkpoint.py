"""Plain tensors in files that are whole or not there: safetensors with a checksum, moved into place."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


class DamagedFile(OSError):
    """A file exists but does not hold what was written."""


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old file or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


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
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError) as error:
        raise DamagedFile(f"{path} is damaged ({error}): delete it") from None
    if "diffgen" not in header:
        raise DamagedFile(f"{path} was not written by diffgen: it has no metadata")
    if header.get("sha256") != _digest(tensors):
        raise DamagedFile(f"{path} is damaged (its checksum does not match): delete it")
    return tensors, json.loads(header["diffgen"])


def read_about(path: Path) -> dict[str, Any]:
    """Read only the metadata that `write_tensors` wrote."""
    with safe_open(path, "pt") as file:
        return json.loads((file.metadata() or {})["diffgen"])
