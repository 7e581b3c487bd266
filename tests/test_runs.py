"""Laws of run folders: what is written is whole, what is damaged says so, and one at a time trains."""

import contextlib
import errno
import json
import os
import tempfile
import threading
from pathlib import Path

import pytest
import torch

import diffgen as dg
from diffgen import experiments
from diffgen.experiments import gap
from diffgen.files import DamagedFile, read_tensors, write_tensors
from diffgen.runs import cache, loop
from diffgen.runs.log import provenance
from diffgen.training import Trainer
from diffgen.training.ema import HalfLife


def small(**changes):
    data, ema = dg.DataConfig(name="fashion_mnist", size=4, n_train=32, n_val=16), (HalfLife(images=200),)
    config = dg.TrainConfig(
        data=data, network=dg.MLPConfig(width=8, depth=1), total_images=640, batch=32, n_snapshots=3, first_snapshot=64,
        ema=ema,
    )  # fmt: skip
    return config.with_(**changes)


def train(root, config=None):
    return list(dg.train(config or small(), root=root, progress=False))


def equal(path, tensors):
    written = read_tensors(path)[0]
    return written.keys() == tensors.keys() and all(torch.equal(written[name], tensors[name]) for name in tensors)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_snapshot_is_named_and_made_anew_when_it_is_deleted(tmp_path):
    first, *_ = train(tmp_path)
    whole, tensors = first.path.read_bytes(), read_tensors(first.path)[0]
    for bad in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        first.path.write_bytes(bad)
        assert train(tmp_path)[0] == first  # finding a finished run reads none of it
        with pytest.raises(DamagedFile, match=rf"{first.path.name} is damaged .*: delete it and run what made it"):
            first.denoiser()
    with pytest.raises(DamagedFile, match="is damaged"):
        _ = first.shape
    first.path.unlink()
    train(tmp_path)
    assert equal(first.path, tensors)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.arange(3.0)}, {})

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"x.safetensors can't be written \(No space left on device\): make room"):
            write_tensors(path, {"a": torch.zeros(3)}, {})
    assert torch.equal(read_tensors(path)[0]["a"], torch.arange(3.0))
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_run_stopped_by_a_full_disk_goes_on_to_the_same_end(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole")
    fsync, calls = os.fsync, iter(range(1000))

    def full_later(file):
        if next(calls) >= 6:
            raise OSError(28, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_later)
        with pytest.raises(OSError, match="make room and run the same again"):
            train(tmp_path / "stopped")
    for a, b in zip(whole, train(tmp_path / "stopped"), strict=True):
        assert equal(a.path, read_tensors(b.path)[0])


def test_who_waits_says_so_and_then_finds_it_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "SECONDS_OF_SILENCE", 0.05)
    first = dg.train(small(), root=tmp_path, progress=False)
    next(first)  # holds the lock
    by_other = []
    other = threading.Thread(target=lambda: by_other.extend(train(tmp_path)))
    other.start()
    other.join(1.0)
    assert other.is_alive()
    rest = list(first)
    other.join(60)
    assert by_other[1:] == rest
    assert capsys.readouterr().err.strip().endswith("is being trained by another process: waiting for it")


def test_half_written_files_of_a_killed_process_go(tmp_path):
    training = dg.train(small(), root=tmp_path, progress=False)
    first = next(training)
    training.close()  # as a kill does
    left = first.run.folder / "snapshots" / ".000000000064.safetensors.1.tmp"
    left.write_bytes(b"half")
    train(tmp_path)
    assert not left.exists()


def test_a_run_says_how_it_came_about(tmp_path):
    (*_, last) = train(tmp_path)
    metadata = json.loads((last.run.folder / "run.json").read_text())
    assert metadata["parameters"] == sum(p.numel() for p in last.denoiser().parameters())
    assert metadata["versions"]["torch"] == torch.__version__
    assert metadata["seconds"] >= 0
    assert (metadata["device"], metadata["precision"], metadata["processes"]) == ("cpu", "no", 1)


def test_seconds_add_up_over_interruptions(tmp_path):
    iterator = dg.train(small(), root=tmp_path, progress=False)
    snapshot = next(iterator)
    iterator.close()
    path = snapshot.run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 1000.0}))
    train(tmp_path)
    assert json.loads(path.read_text())["seconds"] >= 1000


def test_tensorboard_shows_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    iterator = dg.train(small(), root=tmp_path, progress=False)
    next(iterator)
    iterator.close()  # and resume: every image count once
    (*_, last) = train(tmp_path)
    events = EventAccumulator(str(last.run.folder / "tensorboard")).Reload()
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == last.run.log.images_seen.tolist()
    assert [event.value for event in losses] == pytest.approx(last.run.log.loss.tolist())
    assert all(event.value > 0 for event in events.Scalars("images_per_second"))


# --- points in the plane, and what can't be trained ------------------------------------------------------------------


def test_points_in_the_plane_train_as_images_do(tmp_path, monkeypatch):
    config = small(data=dg.ToyConfig())
    snapshots, split = train(tmp_path, config), config.data.load()
    run, last = snapshots[-1].run, snapshots[-1]
    assert [snapshot.images_seen for snapshot in snapshots] == config.snapshot_images
    assert (run.config, run.finished, last.shape) == (config, True, (2,))
    assert run.name.startswith("circle-n10-mlp-")
    assert [path.name for path in tmp_path.iterdir()] == [run.name]
    in_memory = Trainer(config, split)
    list(in_memory)
    assert equal(last.path, in_memory.average_tensors())
    denoised = last.denoiser()(split.val.x, torch.tensor(1.0))
    assert denoised.shape == split.val.x.shape
    assert denoised.isfinite().all()
    assert torch.equal(dg.load_denoiser(run.folder)(split.val.x, torch.tensor(1.0)), denoised)
    direct = dg.generalization_gap(last.denoiser(), split.train, split.val, SIGMAS)
    assert torch.equal(gap_of(last, split).val_errors, direct.val_errors)
    monkeypatch.setattr(loop, "Trainer", None)  # training again would fail
    monkeypatch.setattr(gap, "generalization_gap", None)
    again = train(tmp_path, config)
    assert again == snapshots
    assert torch.equal(gap_of(again[-1], split).val_errors, direct.val_errors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": dg.UNetConfig(channels=4, multipliers=(1, 1, 1, 1))},
            r"multipliers has 4 levels: shape \(1, 4, 4\) can't be halved 3 times",
        ),
        ({"network": dg.DiTConfig(patch=3)}, r"patch is 3: it doesn't divide the sides of shape \(1, 4, 4\)"),
        ({"data": dg.ToyConfig(), "network": dg.UNetConfig(channels=4)}, r"shape \(2,\) can't be halved"),
        ({"data": dg.ToyConfig(), "network": dg.DiTConfig()}, r"doesn't divide the sides of shape \(2,\)"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_line_and_leaves_no_folder(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message) as refusal:
        train(tmp_path / "runs", small(**changes))
    assert len(str(refusal.value).splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there_leaves_no_folder(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="device is 'cuda'"):
        list(dg.train(small(), root=tmp_path / "runs", device="cuda", progress=False))
    assert not (tmp_path / "runs").exists()


# --- read-only folders -----------------------------------------------------------------------------------------------

SIGMAS = dg.log_sigmas(3, 0.1, 5)
NOBODY = 65534


def gap_of(subject, split, **how):
    (curve,) = experiments.gap_curves([subject], split, SIGMAS, dg.Measure(progress=False, **how))
    return curve


@pytest.fixture
def reachable():
    """A folder that everybody can enter; `tmp_path` is its owner's alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def read_only(folder):
    """Nothing in the folder can be written. Permissions do not bind root, who therefore is nobody in here."""
    paths, is_root = [folder, *folder.rglob("*")], os.geteuid() == 0
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if is_root:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError):
            (folder / "new").touch()
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_read_only_folder_serves_what_it_holds(reachable, monkeypatch):
    snapshots, split = train(reachable), small().data.load()
    curve, before, lines = gap_of(snapshots[-1], split), files(reachable), snapshots[-1].run.log_lines
    denoised = snapshots[0].denoiser()(split.val.x, torch.tensor(1.0))
    monkeypatch.setattr(loop, "Trainer", None)  # training again would fail
    monkeypatch.setattr(gap, "generalization_gap", None)
    with read_only(reachable):
        again = train(reachable)
        assert again == snapshots
        assert again[-1].run.finished
        assert again[0].shape == (1, 4, 4)
        assert again[0].run.log_lines == lines
        assert torch.equal(again[0].denoiser()(split.val.x, torch.tensor(1.0)), denoised)
        assert torch.equal(gap_of(again[-1], split).val_errors, curve.val_errors)
    assert files(reachable) == before


@pytest.mark.parametrize("has_results", [True, False])
def test_what_is_new_in_a_read_only_folder_is_computed_and_not_kept(has_results, reachable, monkeypatch):
    last, split = train(reachable)[-1], small().data.load()
    if has_results:
        gap_of(last, split)
    before, how_it_came_about = files(reachable), provenance()
    direct = dg.generalization_gap(last.denoiser(), split.train, split.val, SIGMAS, seed=1)
    # the package may lie where nobody can read it
    monkeypatch.setattr(cache, "provenance", lambda: how_it_came_about)
    with read_only(reachable):
        for _ in range(2):
            with pytest.warns(UserWarning, match=r"results is read-only: gap-.* is not kept, and computed anew next"):
                curve = gap_of(train(reachable)[-1], split, seed=1)
            assert torch.equal(curve.val_errors, direct.val_errors)
    assert files(reachable) == before


def test_nothing_is_trained_in_a_read_only_folder(reachable):
    train(reachable)
    before = files(reachable)
    with read_only(reachable), pytest.raises(PermissionError):
        train(reachable, small(seed=1))
    assert files(reachable) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EIO])
def test_only_a_folder_that_is_read_only_is_no_error(code, tmp_path, monkeypatch):
    """Of a full or a broken disk one wants to know."""
    last, split = train(tmp_path)[-1], small().data.load()

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cache, "write_tensors", fail)
    if code in (errno.ENOSPC, errno.EIO):
        with pytest.raises(OSError, match=os.strerror(code)):
            gap_of(last, split)
    else:
        with pytest.warns(UserWarning, match="is read-only"):
            assert gap_of(last, split).val_errors.shape == (3, 16)


def test_a_kill_after_the_last_snapshot_does_not_cut_the_log_short(tmp_path, monkeypatch):
    def killed(path, tensors, metadata):
        write_tensors(path, tensors, metadata)
        if metadata["images_seen"] == small().total_images:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "write_tensors", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    (*_, last) = train(tmp_path)
    assert last.run.log.images_seen.tolist()[-1] == small().total_images
