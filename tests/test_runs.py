"""Laws of run folders: what is written is whole, what is damaged says so, and one at a time trains."""

import json
import os
import threading

import pytest
import torch

import diffgen as dg
from diffgen.files import DamagedFile, read_tensors, write_tensors
from diffgen.runs import loop
from diffgen.training.ema import HalfLife


def small(**changes):
    data = dg.DataConfig(name="fashion_mnist", size=4, n_train=32, n_val=16)
    defaults = {
        "total_images": 640,
        "batch": 32,
        "n_snapshots": 3,
        "first_snapshot": 64,
        "ema": (HalfLife(images=200),),
    }
    return dg.TrainConfig(data=data, network=dg.MLPConfig(width=8, depth=1), **{**defaults, **changes})


def train(root, config=None):
    return list(dg.train(config or small(), root=root, progress=False))


def equal(path, tensors):
    found = read_tensors(path)[0]
    return found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)


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
    found = []
    other = threading.Thread(target=lambda: found.extend(train(tmp_path)))
    other.start()
    other.join(1.0)
    assert other.is_alive()
    rest = list(first)
    other.join(60)
    assert found[1:] == rest
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
    about = json.loads((last.run.folder / "run.json").read_text())
    assert about["parameters"] == sum(p.numel() for p in last.denoiser().parameters())
    assert about["versions"]["torch"] == torch.__version__
    assert about["seconds"] >= 0
    assert (about["device"], about["precision"], about["processes"]) == ("cpu", "no", 1)


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
