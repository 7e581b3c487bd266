"""What is seen of a sweep while it runs: a line a run and one for the whole, or plain lines where no terminal is."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tqdm import tqdm

from diffgen.runs import RunFolder
from diffgen.runs.log import read_lines
from diffgen.sweep.plan import Planned, duration

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Follows the jobs of a sweep by the files that they write; `poll` is to be called every second or so.

    A run's log is written with its state, every half minute and at snapshots, so its line moves in steps.

    Args:
        jobs: the runs that have jobs.
        folder: the sweep's working directory.
        bars: bars, or plain lines; by default as stderr is a terminal or not.
    """

    def __init__(self, jobs: list[Planned], folder: Path, bars: bool | None = None):
        self.jobs, self.folder = {job.label: job for job in jobs}, folder
        self.bars = sys.stderr.isatty() if bars is None else bars
        self.seen = {job.label: job.seen for job in jobs}
        self.read: dict[str, float] = {}
        self.running: dict[str, tqdm | None] = {}
        self.over: set[str] = set()
        self.start, self.printed, self.at_start = time.monotonic(), time.monotonic(), sum(self.seen.values())
        self.total = sum(job.images for job in jobs)
        self.whole = self._bar(f"{len(jobs)} runs", self.total, self.at_start) if self.bars else None

    def poll(self) -> None:
        """Read how far the jobs are, and show it."""
        for label, job in self.jobs.items():
            if label in self.over or not (self.folder / "logs" / f"{label}.log").exists():
                continue
            if label not in self.running:
                self.running[label] = self._bar(label, job.images, job.seen) if self.bars else None
            self._update(label, job)
            if (self.folder / "done" / label).exists():
                self._end(label, "finished")
            elif (self.folder / "failed" / label).exists():
                self._end(label, f"failed: {(self.folder / 'failed' / label).read_text()}")
        if self.whole is not None:
            self.whole.n = sum(self.seen.values())
            self.whole.set_description_str(f"{len(self.over)} of {len(self.jobs)} runs", refresh=False)
            self.whole.refresh()
        elif time.monotonic() - self.printed > SECONDS_BETWEEN_LINES:
            self.printed = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bars away."""
        for bar in (*self.running.values(), self.whole):
            if bar is not None:
                bar.close()

    def _update(self, label: str, job: Planned) -> None:
        assert isinstance(job.run, RunFolder)
        path = job.run.folder / "log.jsonl"
        written = path.stat().st_mtime if path.exists() else 0.0
        if written > self.read.get(label, 0.0):
            self.read[label] = written
            lines = read_lines(job.run.folder)
            self.seen[label] = max(job.seen, lines[-1]["images_seen"] if lines else 0)
        bar = self.running[label]
        if bar is not None:
            bar.n = self.seen[label]
            bar.set_postfix_str("measuring" if bar.n >= job.images else "", refresh=False)
            bar.refresh()

    def _end(self, label: str, how: str) -> None:
        bar = self.running.pop(label)
        self.over.add(label)
        if how == "finished":
            self.seen[label] = self.jobs[label].images
        if bar is not None:
            bar.close()
        tqdm.write(f"{label}: {how}", file=sys.stderr)

    def _line(self) -> str:
        seen, seconds = sum(self.seen.values()), time.monotonic() - self.start
        speed = (seen - self.at_start) / seconds
        shares = {label: self.seen[label] / self.jobs[label].images for label in self.running}
        running = ", ".join(f"{label} {100 * share:.0f} %" for label, share in shares.items())
        left = f", {duration((self.total - seen) / speed)} left" if speed else ""
        return (
            f"{len(self.over)} of {len(self.jobs)} runs over; running: {running or 'none'}; "
            f"{seen:,} of {self.total:,} images, {speed:,.0f} images/s{left}"
        )

    @staticmethod
    def _bar(name: str, total: int, initial: int) -> tqdm:
        return tqdm(desc=name, total=total, initial=initial, unit=" images", unit_scale=True, smoothing=0, leave=False)
