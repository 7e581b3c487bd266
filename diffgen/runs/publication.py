"""Published results: of each run one file of what was computed from it, and a manifest, in a folder or at a URL.

    manifest.json              what each run is, how it was trained, and the SHA-256 of every file
    gaps.csv                   all gap curves as one tidy table, for other programs
    NAME.safetensors           the log and all results of a run
    NAME.weights.safetensors   the weights of its last snapshot, where they are small

`diffgen.train` finds a published run like any other under the `root` it is given and yields its snapshots; whatever was
computed from them is read instead of computed. So figures can be drawn again in seconds from what took hours. That the
present code still computes the same is for a test to show, by computing a part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
import warnings
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from diffgen.files import DamagedFile, read_metadata, sha256_of, write_whole
from diffgen.runs.folder import Run, RunFolder, Snapshot, config_of
from diffgen.runs.key import run_name
from diffgen.runs.log import COLUMNS
from diffgen.training.config import TrainConfig

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Publication:
    """A folder or an address of published results.

    Args:
        source: the folder, or the address, "http…", whose files are fetched when they are needed, and checked.
        manifest: its contents.
    """

    source: str
    manifest: dict[str, Any]

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """What is said of each run, by name."""
        return self.manifest["runs"]

    def file(self, name: str) -> Path:
        """A file of it, on this machine, checked against the manifest.

        Raises:
            FileNotFoundError: it was not published.
            DamagedFile: it does not hold what was published.
        """
        if name not in self.manifest["sha256"]:
            raise FileNotFoundError(f"{name} was not published in {self.source}")
        expected = self.manifest["sha256"][name]
        if is_url(self.source):
            return _fetched(self.source, name, expected)
        path = Path(self.source) / name
        if not path.is_file():
            raise DamagedFile(f"{path} is not what was published: it is missing; restore it, or publish the run again")
        status = path.stat()
        if _checksum(path, status.st_mtime_ns, status.st_size) != expected:
            raise DamagedFile(f"{path} is not what was published: restore it, or publish the run again")
        return path

    def check(self) -> None:
        """Compare every file with its checksum.

        Raises:
            DamagedFile: one is missing or differs, or the folder holds one that is not listed.
        """
        for name in self.manifest["sha256"]:
            self.file(name)
        if not is_url(self.source):
            for path in sorted(Path(self.source).iterdir()):
                if path.name != MANIFEST and path.name not in self.manifest["sha256"]:
                    raise DamagedFile(f"{path} is not what was published: the manifest does not list it")


@dataclass(frozen=True)
class PublishedRun(Run):
    """A run of which only results are there: what was computed from its snapshots, mostly without their weights."""

    publication: Publication
    published_name: str

    @property
    def name(self) -> str:
        """From the config and the versions that it was trained with."""
        return self.published_name

    @property
    def _said(self) -> dict[str, Any]:
        return self.publication.runs[self.published_name]

    @property
    def config(self) -> TrainConfig:
        """What was trained."""
        return config_of(self._said["config"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return tuple(self._said["shape"])

    @property
    def snapshots(self) -> list[Snapshot]:
        """All of them, in the order of the images seen."""
        return [Snapshot(self, n) for n in self._said["snapshots"]]

    @property
    def metadata(self) -> dict[str, Any]:
        """How it was trained."""
        return self._said["training"]

    @property
    def log_lines(self) -> list[dict[str, float]]:
        """The lines of the log."""
        log = self.cache.read("log") or {}
        seen, *others = (log[name].tolist() for name in COLUMNS) if log else ([], [], [])
        return [dict(zip(COLUMNS, line)) for line in zip(map(int, seen), *others)]

    @property
    def cache(self) -> PublishedCache:
        """What was computed from its snapshots."""
        return PublishedCache(self.publication, f"{self.published_name}.safetensors")

    def weights(self, images_seen: int) -> Path:
        """The file of a snapshot's weights, which are published of the last snapshot alone, and only if small."""
        name = f"{self.published_name}.weights.safetensors"
        if name in self.publication.manifest["sha256"] and images_seen == self._said["snapshots"][-1]:
            return self.publication.file(name)
        raise FileNotFoundError(
            f"the weights of {self.published_name} at {images_seen:,} images were not published in "
            f"{self.publication.source}, only results were: train it in another folder, such as runs"
        )


@dataclass(frozen=True)
class PublishedCache:
    """The results of a published run, all in one file. Nothing is added to it."""

    publication: Publication
    file: str

    def read(self, name: str) -> dict[str, Tensor] | None:
        """The result of that name, or None; of the file only that part is read."""
        path = self.publication.file(self.file)
        with safe_open(path, "pt") as file:
            keys = [key for key in file.keys() if key.startswith(f"{name}/")]  # noqa: SIM118 (not a dict)
            return {key.removeprefix(f"{name}/"): file.get_tensor(key).clone() for key in keys} or None

    def write(self, name: str, result: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Keep nothing."""

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """What is said of each result, by name: measure, version, subject, settings, seconds, and provenance."""
        metadata = read_metadata(self.publication.file(self.file))
        return {name: said | metadata["provenance"][said["provenance"]] for name, said in metadata["results"].items()}


def is_url(root: str | Path) -> bool:
    """Whether a folder of runs is an address."""
    return str(root).startswith(("http://", "https://"))


def publication_at(root: str | Path) -> Publication | None:
    """The publication at a folder or an address, or None if that is a folder of runs.

    An address may end in #sha256=…, the checksum of its manifest, which then is checked, too.

    Raises:
        DamagedFile: the manifest can't be read, or is not the one asked for.
        OSError: the address can't be reached, and nothing was fetched from it before.
    """
    if is_url(root):
        return _publication_at_url(str(root))
    path = Path(root) / MANIFEST
    return _publication_at_folder(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache
def _publication_at_folder(path: Path, _changed: int) -> Publication:
    return Publication(str(path.parent), _parsed(path.read_bytes(), str(path)))


@lru_cache
def _publication_at_url(root: str) -> Publication:
    address, _, pinned = root.partition("#sha256=")
    address = address.rstrip("/")
    kept = _folder_of(address) / MANIFEST
    try:
        with urllib.request.urlopen(f"{address}/{MANIFEST}", timeout=30) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:  # no network, no answer, or half of one
        if not kept.is_file():
            raise OSError(f"{address}/{MANIFEST} can't be fetched ({error}): check the address of results") from None
        warnings.warn(f"{address} can't be reached ({error}): going on with what was fetched before", stacklevel=3)
        content = kept.read_bytes()
    if pinned and hashlib.sha256(content).hexdigest() != pinned.lower():
        raise DamagedFile(f"{address}/{MANIFEST} is not the manifest asked for: its SHA-256 is another")
    manifest = _parsed(content, f"{address}/{MANIFEST}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, content)
    return Publication(address, manifest)


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
        known = manifest["format"], manifest["runs"].items, manifest["sha256"].items
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        remedy = "restore it, or publish the runs again"
        raise DamagedFile(f"{name} is no manifest of results ({error!r}): {remedy}") from None
    if known[0] != FORMAT:
        raise DamagedFile(f"{name} has format {known[0]}, this diffgen reads {FORMAT}: publish the runs again")
    return manifest


@lru_cache(maxsize=4096)
def _checksum(path: Path, _changed: int, _size: int) -> str:
    """A file is read once a process, and again when it has changed."""
    return sha256_of(path)


@lru_cache(maxsize=4096)
def _fetched(address: str, name: str, sha256: str) -> Path:
    import pooch  # slow to import

    url, folder = f"{address}/{name}", _folder_of(address)
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=name, path=folder, progressbar=True))
    except ValueError as error:  # pooch's word for another checksum
        raise DamagedFile(f"{url} is not what was published: {error}") from None


def _folder_of(address: str) -> Path:
    """Where what was fetched from an address is kept."""
    import pooch

    base = os.environ.get("DIFFGEN_CACHE") or pooch.os_cache("diffgen")
    return Path(base) / "results" / hashlib.sha256(address.encode()).hexdigest()[:16]


def find_run(config: TrainConfig, root: str | Path = "runs") -> Run:
    """The run of a config under a folder of runs, trained or not, or from published results.

    Args:
        config: what is or was trained.
        root: a folder of runs, or a folder or address of published results.

    Raises:
        FileNotFoundError: published results that hold no such run.
    """
    publication, name = publication_at(root), run_name(config)
    if publication is None:
        return RunFolder(Path(root) / name)
    if name not in publication.runs:
        raise FileNotFoundError(f"{root} holds no published run {name}: train it in another folder, such as runs")
    return PublishedRun(publication, name)


def published_runs(root: str | Path) -> list[PublishedRun]:
    """All runs of published results, by name; none of a folder of runs."""
    publication = publication_at(root)
    return [] if publication is None else [PublishedRun(publication, name) for name in sorted(publication.runs)]
