"""Laws of training: resumed equals uninterrupted, files are whole, averages follow their formula."""

import json
import multiprocessing
import random
import time

import numpy as np
import pytest
import torch

import diffgen as dg
from diffgen.files import DamagedFile, read_tensors, write_tensors
from diffgen.runs import RunFolder, find_run, loop
from diffgen.runs.folder import config_json, config_of
from diffgen.training import Trainer
from diffgen.training.ema import HalfLife, PowerFunction, averaged
from diffgen.training.randomness import batch_order


def small(**changes):
    data = dg.DataConfig(name="fashion_mnist", size=4, n_train=48, n_val=16)
    network = dg.UNetConfig(channels=4, multipliers=(1, 2), dropout=0.1)
    ema = (HalfLife(images=200), PowerFunction(std=0.1))
    defaults = {
        "total_images": 1_600,
        "batch": 16,
        "n_snapshots": 3,
        "first_snapshot": 200,
        "ema": ema,
        "conditional": True,
    }
    return dg.TrainConfig(**{"data": data, "network": network, **defaults, **changes})


def test_training_lowers_the_loss(tmp_path):
    snapshots = list(dg.train(small(total_images=3_200), root=tmp_path, progress=False))
    log = snapshots[-1].run.log
    assert log.loss.iloc[-1] < 0.8 * log.loss.iloc[0]
    assert [s.images_seen for s in snapshots] == small(total_images=3_200).snapshot_images


def test_a_finished_run_is_found_and_not_repeated(tmp_path):
    first = list(dg.train(small(), root=tmp_path, progress=False))
    times = [s.path.stat().st_mtime_ns for s in first]
    again = list(dg.train(small(), root=tmp_path, progress=False))
    assert again == first
    assert [s.path.stat().st_mtime_ns for s in again] == times
    assert len(list(tmp_path.iterdir())) == 1
    assert first[0].run.config == small()
    assert find_run(small(seed=1), tmp_path) != first[0].run


def test_configs_survive_json():
    for config in (small(), small(network=dg.MLPConfig()), dg.presets.quick().train, dg.presets.paper().train):
        assert config_of(json.loads(json.dumps(config_json(config)))) == config


def test_restored_training_goes_on_equal_to_the_bit():
    split = small().data.load()
    straight, stopped, resumed = (Trainer(small(), split) for _ in range(3))
    for _ in range(10):
        straight.step()
    for _ in range(6):
        stopped.step()
    torch.manual_seed(12345)  # the global stream must not matter
    resumed.restore({k: v.clone() for k, v in stopped.tensors().items()}, stopped.images_seen)
    for _ in range(4):
        resumed.step()
    assert resumed.images_seen == straight.images_seen
    for name, tensor in straight.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name


def train_with_frequent_states(folder):
    torch.set_num_threads(1)
    loop.SECONDS_BETWEEN_STATES, loop.STEPS_A_LOG_LINE = 0.02, 5
    for _ in dg.train(small(), root=folder, progress=False):
        pass


def test_killed_at_any_moment_and_run_again_it_ends_the_same(tmp_path):
    """SIGKILL at 20 random moments of a training, then once more to its end."""
    processes = multiprocessing.get_context("forkserver")  # torch is imported once, in the server
    processes.set_forkserver_preload(["diffgen"])

    def start(name):
        process = processes.Process(target=train_with_frequent_states, args=(tmp_path / name,))
        process.start()
        return process

    start("warm").join()
    began = time.monotonic()
    start("whole").join()
    length = time.monotonic() - began
    randomness, kills = random.Random(0), 0
    for _ in range(20):
        process = start("killed")
        process.join(timeout=randomness.uniform(0, 0.5 * length))
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills >= 10  # as long as this, many of them fell into the training
    last = start("killed")
    last.join()
    assert last.exitcode == 0
    (whole,), (killed,) = (list((tmp_path / name).iterdir()) for name in ("whole", "killed"))
    assert (whole / "log.jsonl").read_bytes() == (killed / "log.jsonl").read_bytes()
    for a, b in zip(RunFolder(whole).snapshots, RunFolder(killed).snapshots, strict=True):
        assert a.images_seen == b.images_seen
        for name, tensor in read_tensors(a.path)[0].items():
            assert torch.equal(tensor, read_tensors(b.path)[0][name]), name


def test_a_damaged_state_is_named_and_the_one_before_it_used(tmp_path):
    config = small()
    iterator = dg.train(config, root=tmp_path, progress=False)
    next(iterator), next(iterator)
    iterator.close()  # as a kill would, between the second snapshot and the third
    (folder,) = tmp_path.iterdir()
    state = folder / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[-5] ^= 1
    state.write_bytes(content)
    with pytest.warns(UserWarning, match=r"state.safetensors is damaged.*the one before"):
        snapshots = list(dg.train(config, root=tmp_path, progress=False))
    fresh = list(dg.train(config, root=tmp_path / "fresh", progress=False))
    for a, b in zip(snapshots, fresh, strict=True):
        assert all(torch.equal(v, read_tensors(b.path)[0][k]) for k, v in read_tensors(a.path)[0].items())


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.arange(10.0), "b": torch.tensor(3)}, {"n": 1})
    tensors, metadata = read_tensors(path)
    assert metadata == {"n": 1}
    assert torch.equal(tensors["a"], torch.arange(10.0))
    whole = path.read_bytes()
    for bad in (whole[:-3], whole[:5], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(bad)
        with pytest.raises(DamagedFile, match=r"x\.safetensors is damaged"):
            read_tensors(path)
    with pytest.raises(FileNotFoundError, match="holds no snapshot"):
        dg.load_denoiser(tmp_path)


def test_load_denoiser(tmp_path):
    snapshots = list(dg.train(small(), root=tmp_path, progress=False))
    x, labels = torch.randn(3, 1, 4, 4), torch.tensor([0, 1, -1])
    by_file, by_folder = dg.load_denoiser(snapshots[-1].path), dg.load_denoiser(snapshots[-1].run.folder)
    assert torch.equal(by_file(x, 0.5, labels), by_folder(x, 0.5, labels))
    other = dg.load_denoiser(snapshots[-1].path, average="power-0.1")
    assert not torch.equal(by_file(x, 0.5, labels), other(x, 0.5, labels))
    assert not by_file.training
    with pytest.raises(ValueError, match=r"average is 'mean'.*half-life-200, power-0\.1"):
        dg.load_denoiser(snapshots[-1].path, average="mean")


def test_every_epoch_is_a_permutation():
    order = torch.cat([batch_order(0, 10, seen, 4) for seen in range(0, 40, 4)])
    for epoch in order.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert order[:10].tolist() != order[10:20].tolist()
    assert torch.equal(batch_order(0, 10, 8, 4), order[8:12])


@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
def test_power_function_average_has_its_published_profile(std):
    """The response of the average to an impulse at time t is ∝ t^γ, and its relative width is σ_rel."""
    rule, steps = PowerFunction(std=std), 4000
    decays = np.array([rule.decay(t, 1) for t in range(1, steps + 1)])
    weights = (1 - decays) * np.append(np.cumprod(decays[:0:-1])[::-1], 1)
    t = np.arange(1, steps + 1) / steps
    assert weights.sum() == pytest.approx(1)
    mean = (weights * t).sum()
    assert np.sqrt((weights * (t - mean) ** 2).sum()) == pytest.approx(std, rel=0.01)
    middle = slice(steps // 2, steps)
    assert np.polyfit(np.log(t[middle]), np.log(weights[middle]), 1)[0] == pytest.approx(rule.gamma, rel=0.01)


def test_half_life_halves():
    model = torch.nn.Linear(1, 1, bias=False)
    average = averaged(model, HalfLife(images=100, ramp=1e9), batch=10)
    with torch.no_grad():
        model.weight.fill_(1.0)
        average.update_parameters(model)
        model.weight.fill_(0.0)
    for _ in range(10):
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_images": 0}, "total_images is 0"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"ema": ()}, "ema is empty"),
        ({"label_dropout": 2}, "label_dropout is 2"),
        ({"decay": 0}, "decay is 0"),
    ],
)
def test_wrong_configs_are_refused_where_they_are_made(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_log_holds_no_time(tmp_path):
    list(dg.train(small(), root=tmp_path, progress=False))
    (folder,) = tmp_path.iterdir()
    assert set(json.loads((folder / "log.jsonl").read_text().splitlines()[0])) == {
        "images_seen",
        "loss",
        "learning_rate",
    }
