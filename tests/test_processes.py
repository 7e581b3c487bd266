"""Two processes that torchrun starts train what one process trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import diffgen as dg
from diffgen.files import read_tensors
from diffgen.runs import RunFolder
from diffgen.training import Trainer, accelerator_on

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ["train", "--preset", "smoke", "--size", "4", "--total-images", "768", "--conditional"]


def diffgen(folder, *options, processes=1):
    """The run that `diffgen train` makes, and what it prints."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    program = [*(launcher if processes > 1 else []), "-m", "diffgen"]
    command = [sys.executable, *program, *OPTIONS, *options, "--root", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_two_processes_give_the_loss_curve_of_one(tmp_path):
    """To rounding: each has half of every batch, and the mean of two halves' gradients is the gradient of the whole."""
    one, two = diffgen(tmp_path / "one"), diffgen(tmp_path / "two", processes=2)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    (folder_one,), (folder_two,) = ((tmp_path / name).iterdir() for name in ("one", "two"))
    assert len(two.stdout.splitlines()) == len(one.stdout.splitlines()) == 3  # paths of snapshots: one process speaks
    a, b = RunFolder(folder_one), RunFolder(folder_two)
    assert a.log.images_seen.tolist() == b.log.images_seen.tolist()
    assert a.log.loss.to_numpy() == pytest.approx(b.log.loss.to_numpy(), rel=1e-4)
    assert a.log.loss.to_numpy() != pytest.approx(a.log.loss.mean(), rel=1e-2)  # so the curve says something
    for snapshot_a, snapshot_b in zip(a.snapshots, b.snapshots, strict=True):
        for name, tensor in read_tensors(snapshot_a.path)[0].items():
            torch.testing.assert_close(read_tensors(snapshot_b.path)[0][name], tensor, rtol=1e-3, atol=1e-3)
    assert not list(folder_two.rglob("*.tmp"))


def test_processes_that_cannot_share_the_batch(tmp_path):
    done = diffgen(tmp_path, "--batch", "33", processes=2)
    assert done.returncode != 0
    assert "batch is 33: 2 processes can't share it equally" in done.stderr


def small(**changes):
    data = dg.DataConfig(name="fashion_mnist", size=4, n_train=32, n_val=16)
    return dg.TrainConfig(data=data, network=dg.UNetConfig(channels=8), total_images=640, batch=32, **changes)


def test_bf16_computes_in_bf16_and_keeps_float32(monkeypatch):
    """The losses are those of float32 to bfloat16's 8 bits, and not equal to them; weights stay float32."""
    monkeypatch.setattr(sys.modules[Trainer.__module__], "has_bf16", lambda device: True)  # emulated where it isn't
    split = small().data.load()
    losses = {}
    for precision in ("no", "bf16", "no"):  # in one process, in any order
        config = small(precision=precision)
        training = Trainer(config, split, accelerator_on("cpu", precision))
        losses[precision] = torch.stack(list(training))
        assert all(v.dtype == torch.float32 for v in training.tensors().values() if v.is_floating_point())
    assert not torch.equal(losses["no"], losses["bf16"])
    torch.testing.assert_close(losses["bf16"], losses["no"], rtol=0.05, atol=0.01)


def test_bf16_where_the_device_has_none_is_float32(monkeypatch):
    monkeypatch.setattr(sys.modules[Trainer.__module__], "has_bf16", lambda device: False)
    config, split = small(precision="bf16", seed=1), small().data.load()
    without = Trainer(config, split, accelerator_on("cpu", "bf16"))
    assert without.metadata["precision"] == "no"
    assert torch.equal(torch.stack(list(without)), torch.stack(list(Trainer(small(seed=1), split))))


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="device is 'cuda': accelerate finds 'cpu' here"):
        accelerator_on("cuda")


def test_a_precision_that_is_none():
    with pytest.raises(ValueError, match="precision is 'fp8'"):
        small(precision="fp8")
