"""Laws of sweeps, run as users run them: on Snakemake, in processes; what may go wrong is made to.

Jobs take their seconds to import torch, so few scenarios show many laws. What jobs did is read from a file, to which
the sweeps below have each job append a line a step.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from test_runs import small, train

import diffgen as dg
from diffgen.cli import app as cli
from diffgen.experiments import publish
from diffgen.files import read_tensors
from diffgen.runs import PublishedRun
from diffgen.runs.key import run_name
from diffgen.sweep import Sweep, progress
from diffgen.sweep import run as running
from diffgen.sweep.estimate import LIBRARIES, disk, memory, size_of
from diffgen.sweep.load import load
from diffgen.sweep.plan import plan, wall_seconds
from diffgen.sweep.state import prune

PATIENCE = 300
HEADER = ["run", "folder", "parameters", "images", "state", "images/s", "time", "memory", "disk"]
MINE = """
import resource, sys, time
from pathlib import Path

import torch

import diffgen as dg
from diffgen.sweep import Sweep
from diffgen.training import Trainer

HERE, STEP = Path(__file__).parent, Trainer.step


def note(file, *words):
    with open(HERE / file, "a") as lines:
        print(*words, file=lines)


def step(self):
    import os
    note("steps", self.config.seed, self.images_seen, os.getpid())
    if self.config.seed == 3 and not (HERE / "mended").exists():
        raise RuntimeError("no\\nluck")
    while self.images_seen == 256 and not (HERE / "go").exists():
        time.sleep(0.05)
    return STEP(self)


if Path(sys.argv[0]).name == "job.py":  # not in the tests' own process
    Trainer.step = step


def config(seed, batch=32):
    data = dg.DataConfig(size=28, n_train=32, n_val=16)
    network = dg.UNetConfig(channels=12 if batch > 32 else 4, multipliers=(1,))
    stops = {"total_images": 640, "n_snapshots": 3, "first_snapshot": 64}
    return dg.TrainConfig(data=data, network=network, batch=batch, seed=seed, **stops)


def two():
    return [config(1), config(2)]


def three():
    runs = {"good": config(1, batch=128), "twin": config(1, batch=128), "bad": config(3)}
    return Sweep(runs, measure=lambda snapshots, root, device: note(
        "measured", snapshots[0].run.config.seed, len(snapshots), torch.get_num_threads(),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    ))


def one():
    return [config(1, batch=128)]
"""


@pytest.fixture
def mine(tmp_path, tmp_path_factory, monkeypatch):
    """The file of the sweeps above. Their jobs share compiled modules, also where Python is told to write none."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "pycache"))
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def noted(path):
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(what):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def kept(run):
    return [run.weights_path(snapshot.images_seen).exists() for snapshot in run.snapshots]


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_sweep_of_two_workers_goes_on_to_equal_weights(mine, tmp_path):
    root, steps = tmp_path / "runs", tmp_path / "steps"
    command = ["sweep", f"{mine}:two", "--root", str(root), "--cores", "2"]
    with subprocess.Popen([sys.executable, "-m", "diffgen", *command]) as sweep:
        wait_for(lambda: {seed for seed, seen, _ in noted(steps) if seen == "256"} == {"1", "2"})  # both, at once
        os.kill(sweep.pid, signal.SIGKILL)
    before = noted(steps)
    wait_for(lambda: all(gone(int(pid)) for *_, pid in before))  # no job outlives the sweep
    assert len(list((root / ".sweeps").iterdir())) == 1
    (tmp_path / "go").touch()
    assert cli.main(command) == 0
    assert not (root / ".sweeps").exists()
    after = noted(steps)[len(before) :]
    begun_at = {seed: min(int(seen) for of, seen, _ in after if of == seed) for seed in "12"}
    assert begun_at == {"1": 192, "2": 192}  # not from 0
    torch.set_num_threads(1)  # as a job
    for config in load(f"{mine}:two").runs.values():
        snapshots = dg.find_run(config, root).snapshots
        for a, b in zip(snapshots, dg.train(config, root=tmp_path / "whole", progress=False), strict=True):
            resumed, whole = read_tensors(a.path)[0], read_tensors(b.path)[0]
            assert resumed.keys() == whole.keys()
            assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_two_sweeps_at_once_and_a_run_that_fails(mine, tmp_path, capfd):
    root, steps, codes = tmp_path / "runs", tmp_path / "steps", {}

    def sweep(name, *more):
        command = ["sweep", f"{mine}:{name}", "--root", str(root), *(more or ["--cores", "2"])]
        codes[name] = cli.main(command)
        return codes[name]

    config, bad = load(f"{mine}:three").runs["good"], load(f"{mine}:three").runs["bad"]
    (planned, _) = plan(load(f"{mine}:three"), root, key="")
    threads = [threading.Thread(target=sweep, args=[name]) for name in ("three", "one")]
    threads[0].start()
    wait_for(lambda: any(seed == "1" for seed, *_ in noted(steps)))
    threads[1].start()
    waiting = "is being trained by another process: waiting for it"
    wait_for(lambda: any(waiting in log.read_text() for log in root.glob(".sweeps/mine-py-one*/logs/*.log")))
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(PATIENCE)
    assert codes == {"three": 1, "one": 0}
    images_seen = [int(seen) for seed, seen, _ in noted(steps) if seed == "1"]
    assert images_seen == list(range(0, 640, 128))  # once, by one of the two
    assert len({pid for seed, _, pid in noted(steps) if seed == "1"}) == 1
    ((*measured, peak),) = noted(tmp_path / "measured")  # good and twin are one run
    assert measured == ["1", "3", "1"]  # seed, snapshots, threads

    told = capfd.readouterr().err
    (line,) = [line for line in told.splitlines() if "its log is" in line]
    assert line.startswith("bad failed: RuntimeError: no luck; its log is ")
    assert "Traceback" in Path(line.partition("its log is ")[2]).read_text()
    assert dg.find_run(config, root).finished
    assert not dg.find_run(bad, root).finished

    assert int(peak) * 1024 / 1.2 < planned.memory < int(peak) * 1024 * 1.2
    assert planned.memory > 1.4 * LIBRARIES  # else it would show little
    there = sum(path.stat().st_size for path in dg.find_run(config, root).folder.rglob("*.safetensors"))
    assert there / 1.1 < planned.disk < there * 1.1

    (tmp_path / "mended").touch()
    before = len(noted(steps))
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("cores: 2\nset-threads:\n  run: 2\n")
    assert sweep("three", "--keep", "last", "--profile", str(tmp_path / "profile")) == 0
    assert {seed for seed, *_ in noted(steps)[before:]} == {"3"}
    assert [line[:3] for line in noted(tmp_path / "measured")[1:]] == [["3", "3", "2"]]
    assert not (root / ".sweeps").exists()
    for run in (dg.find_run(config, root), dg.find_run(bad, root)):
        assert kept(run) == [False, False, True]
    start = time.monotonic()
    capfd.readouterr()
    assert sweep("three") == 0  # nothing is left to do, and no process is started for it
    assert time.monotonic() - start < 10
    assert "all 2 runs are finished" in capfd.readouterr().out
    assert len(noted(steps)) == before + 20


def test_dry_run_has_all_numbers_and_writes_nothing(mine, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["sweep", f"{mine}:three", "--root", str(tmp_path / "runs"), "--cores", "2", "--dry-run"]) == 0
    header, good, bad, _, totals = capsys.readouterr().out.splitlines()
    assert sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in p.parts) == before
    assert header.split() == HEADER
    config = load(f"{mine}:three").runs["good"]
    parameters = size_of(config, config.data.load()).parameters
    assert good.split()[:7] == ["good", "=", "twin", run_name(config), f"{parameters:,}", "640", "missing"]
    assert float(good.split()[7].replace(",", "")) > 0
    assert bad.split()[0] == "bad"
    assert all(line.endswith("B") for line in (good, bad))
    for part in ("2 of 2 runs to do, 2 at once", "of training", "of one core", "memory up to", "disk"):
        assert part in totals


def test_the_plan_knows_how_far_runs_are_and_how_fast_such_runs_were(tmp_path):
    config, longer = small(), small(total_images=6_400)
    iterator = dg.train(config, root=tmp_path, progress=False)
    next(iterator)
    iterator.close()  # as a kill does
    sweep = Sweep({"a": config, "b": longer})
    a, b = plan(sweep, tmp_path, key="")
    assert (a.state, a.seen, b.state) == ("64 of 640", 64, "missing")
    assert a.seconds == pytest.approx((640 - 64) / a.speed)
    (*_, last) = train(tmp_path, config)
    path = last.run.folder / "run.json"
    metadata = json.loads(path.read_text())
    metadata["seconds"], metadata["machine"]["threads"] = 64.0, 1
    path.write_text(json.dumps(metadata))
    a, b = plan(sweep, tmp_path, key="")
    assert (a.state, a.done, b.speed, b.seconds) == ("finished", True, 10, 640)


@pytest.mark.parametrize(
    "harm",
    [
        lambda said: said["config"],  # as before diffgen 0.2
        lambda said: said | {"config": said["config"] | {"network": {"kind": "of tomorrow"}}},
    ],
)
def test_runs_of_another_version_are_passed_over(harm, tmp_path):
    (*_, last) = train(tmp_path)
    path = last.run.folder / "config.json"
    path.write_text(json.dumps(harm(json.loads(path.read_text()))))
    with pytest.raises(ValueError):  # noqa: PT011, of either kind
        _ = last.run.config
    (other,) = plan(Sweep({"a": small(seed=1)}), tmp_path, key="")
    assert other.state == "missing"


def test_wall_time_is_that_of_a_list_schedule():
    assert wall_seconds([3, 1, 1, 1], 2) == 3
    assert wall_seconds([1, 1, 3], 2) == 4
    assert wall_seconds([1, 2, 3], 1) == 6
    assert wall_seconds([1, 2, 3], 5) == 3


@pytest.mark.parametrize("bars", [True, False])
def test_progress_has_a_line_a_run_and_one_for_the_whole(bars, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    jobs = plan(Sweep({"a": small(), "b": small(seed=1), "c": small(seed=2)}), tmp_path, key="")
    for part in ("logs", "done", "failed"):
        (tmp_path / part).mkdir()
    shown = progress.Progress(jobs, tmp_path, bars)
    for label in "ab":
        (tmp_path / "logs" / f"{label}.log").touch()
    jobs[0].run.folder.mkdir()
    (jobs[0].run.folder / "log.jsonl").write_text('{"images_seen": 320}\n')
    shown.poll()
    told = capsys.readouterr().err
    if bars:
        for line in ("0 of 3 runs:  17%", "a:  50%", "b:   0%"):
            assert line in told
        assert "c:" not in told  # it has not begun
    else:
        assert re.fullmatch(r"0 of 3 runs over; running: a 50 %, b 0 %; 320 of 1,920 images, .* left\n", told)
    (tmp_path / "done" / "a").touch()
    (tmp_path / "failed" / "b").write_text("ValueError: no")
    shown.poll()
    shown.close()
    told = capsys.readouterr().err
    assert "a: finished\n" in told
    assert "b: failed: ValueError: no\n" in told
    assert "2 of 3 runs" in told


def test_published_runs_are_finished(tmp_path, capsys, monkeypatch):
    (*_, last) = train(tmp_path / "runs")
    publish([last.run], tmp_path / "published")
    before = {path: path.read_bytes() for path in (tmp_path / "published").iterdir()}
    monkeypatch.setattr(running, "load", lambda *_: Sweep({"a": small()}, measure=lambda *_: 1 / 0))
    monkeypatch.setattr(running, "measure_key", lambda *_: "")
    assert cli.main(["sweep", "any", "--root", str(tmp_path / "published"), "--keep", "none"]) == 0
    assert "all 1 runs are finished" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (tmp_path / "published").iterdir()} == before  # nothing is pruned


def test_pruned_snapshots_count_and_say_how_to_get_them_back(tmp_path):
    config = small()
    first, _, last = train(tmp_path, config)
    run, weights = last.run, read_tensors(first.path)[0]
    prune(run, "last")
    assert kept(run) == [False, False, True]
    assert train(tmp_path, config) == [first, *run.snapshots[1:]]  # without training
    assert kept(run) == [False, False, True]
    assert run.finished
    assert first.shape == (1, 4, 4)
    last.denoiser()
    with pytest.raises(FileNotFoundError, match=r"was pruned .*--keep.*: delete .*pruned.json and train the run again"):
        first.denoiser()
    publication = publish([run], tmp_path / "published")  # with the weights of the last snapshot, which are there
    assert f"{run.name}.weights.safetensors" in publication.manifest["sha256"]
    prune(run, "none")
    assert run.finished
    assert kept(run) == [False, False, False]
    with pytest.raises(FileNotFoundError, match="was pruned"):
        dg.load_denoiser(run.folder)
    publication = publish([run], tmp_path / "published without weights")
    assert PublishedRun(publication, run.name).snapshots == run.snapshots
    assert not list((tmp_path / "published without weights").glob("*.weights.safetensors"))
    (run.folder / "pruned.json").unlink()
    again = read_tensors(train(tmp_path, config)[0].path)[0]
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_disk_by_what_is_kept():
    config = small()
    size = size_of(config, config.data.load())
    assert size.weights == 4 * size.parameters
    (all_, on_the_way), (last, _), (none, _) = (disk(config, size, keep) for keep in ("all", "last", "none"))
    assert (all_, none) == (3 * last, 0)
    assert last > size.weights
    assert on_the_way >= all_ + 8 * size.weights  # two states, of weights, one average and two moments each
    assert on_the_way == disk(config, size, "last")[1]
    assert memory(config.with_(batch=64), config.data.load(), size) > memory(config, config.data.load(), size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], r"sweep is 'nope': it is one of .*; one of your own is path/to/file.py:function"),
        (["nope.py:f"], r"sweep is 'nope.py:f': there is no file nope.py; one of your own is"),
        (["nope.nope:f"], r"sweep is 'nope.nope:f': No module named 'nope'; one of your own is"),
        (["MINE:four"], r"sweep is '.*mine.py:four': .*mine.py has no function 'four'"),
        (["MINE:two", "--seed", "1"], r"seed is 1: .*:two takes none; give the function a parameter seed"),
        (["MINE:two", "--cores", "0"], r"cores is 0: give at least 1"),
        (["MINE:two", "--keep", "none"], r"keep is 'none': .*:two measures nothing, .*; give 'last' or 'all'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments, message, mine, tmp_path, capsys):
    arguments = [argument.replace("MINE", str(mine)) for argument in arguments]
    assert cli.main(["sweep", *arguments, "--root", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"diffgen sweep: {message}.*", line), line
    assert not (tmp_path / "runs").exists()


def test_without_snakemake_a_line_says_what_to_install(mine, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(running.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(running, "load", lambda *_: Sweep({"a": small()}))
    monkeypatch.setattr(running, "measure_key", lambda *_: "")
    assert cli.main(["sweep", "any", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "diffgen sweep: snakemake is not installed: pip install 'diffgen[sweep]'\n"


def test_labels_name_files_and_equal_configs_are_one():
    with pytest.raises(ValueError, match=r"label is 'a/b': it names files"):
        Sweep({"a/b": small()})
    with pytest.raises(ValueError, match="runs is empty"):
        Sweep({})
    with pytest.raises(ValueError, match=r"run '0' is a int: give a diffgen\.TrainConfig"):
        Sweep.of([1])
    assert list(Sweep({"a": small(), "b": small(seed=1), "c": small()}).distinct) == ["a", "b"]
    assert list(Sweep.of([small(), small()]).runs) == [dg.find_run(small(), "").folder.name]


ENGINE = """
import subprocess, sys, time
from pathlib import Path
stubborn = "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
Path(__file__).with_name("child").write_text(str(child.pid))
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_leaves_no_process_behind(number, tmp_path, monkeypatch):
    (tmp_path / "engine.py").write_text(ENGINE)
    monkeypatch.setattr(running, "HERE", tmp_path)
    child = tmp_path / "child"

    def stop():
        wait_for(lambda: child.exists() and child.read_text())
        os.kill(os.getpid(), number)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        running._follow([], tmp_path, [])
    wait_for(lambda: gone(int(child.read_text())))


def test_what_snakemake_refuses_is_said_in_a_line(mine, tmp_path, capfd):
    root = tmp_path / "runs"
    assert cli.main(["sweep", f"{mine}:two", "--root", str(root), "--", "--nonsense"]) == 1
    line, summary = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"not started: \S+, \S+: .*unrecognized arguments: --nonsense; Snakemake's log is (.*)", line)
    assert summary == "0 of 2 runs finished; the same command does the rest"
