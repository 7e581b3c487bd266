"""A sweep, run on Snakemake: what is missing, each run in a job, whatever happens to the others."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

import diffgen
from diffgen.files import write_whole
from diffgen.runs import RunFolder
from diffgen.runs.folder import config_json
from diffgen.sweep import Sweep
from diffgen.sweep.engine import SECONDS_BETWEEN_LOOKS
from diffgen.sweep.load import load, measure_key
from diffgen.sweep.plan import Planned, plan, table
from diffgen.sweep.progress import Progress
from diffgen.sweep.state import Keep, measuring, prune
from diffgen.training import TrainConfig

HERE = Path(__file__).parent
SECONDS_TO_END = 20.0
"""How long Snakemake may take to end once it is told to, for example to cancel jobs on a cluster."""
SAFETY, PATIENCE = 2, 4
"""A scheduler is asked for so many times the estimated memory and time: measuring takes some, and machines differ."""


def run_sweep(
    name: str,
    *,
    seed: int,
    root: Path,
    cores: int | None,
    device: str,
    keep: Keep,
    dry_run: bool,
    profile: str | None,
    snakemake: tuple[str, ...],
) -> int:
    """Print the plan of a sweep, and do what is missing of it; returns the exit code. See `commands.sweep`.

    What counts is the state of the runs' folders, not what Snakemake knows: each call has a working directory of its
    own under `root/.sweeps`, so two calls never meet in Snakemake's lock, and none that was killed leaves one behind
    that matters. The directory goes when all went well.

    Raises:
        ValueError: an unknown sweep, no cores, or `keep` would leave nothing of the runs.
        ModuleNotFoundError: Snakemake is not installed.
    """
    sweep = load(name, seed)
    key = measure_key(name, seed, sweep)
    if cores is not None and cores < 1:
        raise ValueError(f"cores is {cores}: give at least 1")
    if keep == "none" and not sweep.measure:
        raise ValueError(f"keep is 'none': {name} measures nothing, so nothing would be left; give 'last' or 'all'")
    if not dry_run and importlib.util.find_spec("snakemake") is None:
        raise ModuleNotFoundError("snakemake is not installed: pip install 'diffgen[sweep]'")
    root, elsewhere = root.resolve(), profile is not None or "--executor" in snakemake
    planned = plan(sweep, root, key=key, device=device, keep=keep)
    at_once = cores or (len(planned) if elsewhere else os.cpu_count() or 1)
    print(table(planned, _also(sweep), at_once), flush=True)
    if dry_run:
        return 0
    for done in (p.run for p in planned if p.done):
        if isinstance(done, RunFolder):
            with measuring(done):
                prune(done, keep)
    jobs = [p for p in planned if not p.done]
    if not jobs:
        return 0
    (root / ".sweeps").mkdir(parents=True, exist_ok=True)
    called = re.sub(r"\W+", "-", Path(name).name)
    folder = Path(tempfile.mkdtemp(prefix=f"{called}-{seed}-", dir=root / ".sweeps"))
    with FileLock(folder / "lock"):
        how = {"name": name, "seed": seed, "cwd": str(Path.cwd()), "root": str(root), "device": device, "keep": keep}
        runs = {job.label: {"config": config_json(job.config), **_resources(job)} for job in jobs}
        for part in ("done", "failed", "logs"):
            (folder / part).mkdir()
        write_whole(folder / "plan.json", json.dumps({**how, "key": key, "runs": runs}, indent=1).encode())
        where = [] if elsewhere and not cores else ["--cores", str(at_once)]
        if profile is not None:
            where += ["--profile", str(Path(profile).resolve()) if Path(profile).exists() else profile]
        _follow(jobs, folder, [*where, *snakemake])
        failures = _failures(jobs, folder)
    if failures:
        well = len(list((folder / "done").iterdir()))
        print(
            *failures, f"{well} of {len(jobs)} runs finished; the same command does the rest", sep="\n", file=sys.stderr
        )
        return 1
    _tidy(folder, f"{called}-{seed}-")
    return 0


def _also(sweep: Sweep) -> dict[str, list[str]]:
    """Further labels of each distinct run."""
    labels: dict[TrainConfig, list[str]] = {}
    for label, config in sweep.runs.items():
        labels.setdefault(config, []).append(label)
    return {first: others for first, *others in labels.values() if others}


def _resources(job: Planned) -> dict[str, int]:
    """What a scheduler is asked for; of runs that are only to be measured nothing is known, so a little."""
    return {
        "mem_mb": math.ceil(SAFETY * max(job.memory, 5e8) / 1e6),
        "disk_mb": math.ceil(max(job.disk, job.disk_on_the_way) / 1e6) + 100,
        "runtime": 30 + math.ceil(PATIENCE * job.seconds / 60),
    }


def _follow(jobs: list[Planned], folder: Path, arguments: list[str]) -> None:
    """Run Snakemake to its end, or to ours."""
    options = ["--keep-going", "--nolock", "--nocolor", "--scheduler", "greedy", *arguments]
    command = [sys.executable, "-P", str(HERE / "engine.py"), str(os.getpid()), "--snakefile", str(HERE / "Snakefile")]
    command += ["--directory", str(folder), *options]
    paths = [str(Path(diffgen.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with _stoppable(), open(folder / "snakemake.log", "wb") as log:
        engine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        progress = Progress(jobs, folder)
        try:
            while engine.poll() is None:
                progress.poll()
                with suppress(subprocess.TimeoutExpired):
                    engine.wait(SECONDS_BETWEEN_LOOKS)
            progress.poll()
        finally:
            progress.close()
            if engine.poll() is None:
                _end(engine)


def _end(engine: subprocess.Popen[bytes]) -> None:
    """End Snakemake and its jobs on this machine: politely, so that it can cancel those on a cluster, then at once."""
    with suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            engine.wait(SECONDS_TO_END)
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C is; and neither is ignored by what is started meanwhile, as in a background job."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failures(jobs: list[Planned], folder: Path) -> list[str]:
    """A line for each run that failed, and one for all that were not started."""
    failures, idle = [], []
    for job in jobs:
        log, failed = folder / "logs" / f"{job.label}.log", folder / "failed" / job.label
        if (folder / "done" / job.label).exists():
            continue
        if failed.exists():
            failures.append(f"{job.label} failed: {failed.read_text()}; its log is {log}")
        elif log.exists():
            failures.append(f"{job.label} ended without a word (killed, out of memory?); its log is {log}")
        else:
            idle.append(job.label)
    if idle:
        log = folder / "snakemake.log"
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        why = lines[-1] if lines else "killed?"
        failures.append(f"not started: {', '.join(idle)}: {why}; Snakemake's log is {log}")
    return failures


def _tidy(folder: Path, prefix: str) -> None:
    """All is done: the working directory goes, and those of earlier calls of this sweep that have ended."""
    for left in folder.parent.glob(f"{prefix}*"):
        with suppress(Timeout), FileLock(left / "lock", timeout=0):
            shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
