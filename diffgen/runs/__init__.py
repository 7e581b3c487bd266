"""What is trained and computed, on disk: runs found again by their configs, results found again by what they are of."""

from diffgen.runs.cache import cached, data_hash
from diffgen.runs.folder import Run, RunFolder, Snapshot, load_denoiser
from diffgen.runs.loop import train, trained
from diffgen.runs.publication import Publication, PublishedRun, find_run, publication_at, published_runs
from diffgen.runs.subject import Subject

__all__ = [
    "Publication", "PublishedRun", "Run", "RunFolder", "Snapshot", "Subject", "cached", "data_hash", "find_run",
    "load_denoiser", "publication_at", "published_runs", "train", "trained",
]  # fmt: skip
