"""What a run and a result are found again by: the same everywhere, moved by what matters and by nothing else."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keys_anywhere
import pytest
from conftest import ROOT, tiny

import diffgen as dg
from diffgen.features import classifier, classifier_features, identity
from diffgen.runs.key import non_defaults, run_name
from diffgen.training import config as training_config

KEYS = {
    "plain": "fashion_mnist-14-n1024-unet-0c856afba6",
    "numbers": "fashion_mnist-14-n1024-unet-579c8fe117",
    "nested": "fashion_mnist-14-n1024-unet-e80ce43b99",
    "transformer": "fashion_mnist-14-n1024-dit-875fc12a90",
    "toy": "circle-n10-mlp-5669b3e2c4",
    "random labels": "fashion_mnist-28-n9-unet-09a110aca3",
    "result": "gap-000000000064-341f025045",
}


def pythons() -> list[str]:
    """Every Python that diffgen promises to run under and that is installed here."""
    on_path = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    others = (Path.home() / ".pyenv" / "versions").glob("3.1[1-9]*/bin/python3")
    real = {str(Path(path).resolve()) for path in (sys.executable, "/usr/bin/python3", *on_path, *others) if path}
    return sorted(path for path in real if "shims" not in path and re.search(r"python3\.1[1-9]$", path))


@pytest.mark.parametrize("python", pythons())
def test_keys_are_the_same_under_every_python(python):
    command = [python, "-B", ROOT / "tests" / "keys_anywhere.py"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == KEYS


def test_keys_with_torch_are_those_without():
    assert keys_anywhere.keys() == KEYS


def test_no_source_file_is_part_of_a_key(tmp_path):
    """An empty new module, a new line, another name of a variable: in a copy of the package keys stay."""
    shutil.copytree(ROOT / "diffgen", tmp_path / "diffgen", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("data", "nets", "training", "metrics", "features"):
        (tmp_path / "diffgen" / package / "another.py").touch()
    loop = tmp_path / "diffgen" / "training" / "trainer.py"
    loop.write_text(loop.read_text() + "\n\ndef unused():\n    return 1\n")
    command = [sys.executable, "-B", ROOT / "tests" / "keys_anywhere.py"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == KEYS


def test_other_classifier_weights_are_other_labels_and_other_features(monkeypatch, tmp_path):
    clusters = replace(tiny(total_images=64).data, labels="clusters")
    before = {
        name: run_name(tiny(total_images=64).with_(data=data))
        for name, data in {"clusters": clusters, "classes": replace(clusters, labels="classes")}.items()
    }
    own = identity(classifier_features)
    other = tmp_path / "classifier.safetensors"
    content = bytearray(classifier.WEIGHTS.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    monkeypatch.setattr(classifier, "WEIGHTS", other)
    assert identity(classifier_features) != own
    assert run_name(tiny(total_images=64).with_(data=clusters)) != before["clusters"]
    assert run_name(tiny(total_images=64).with_(data=replace(clusters, labels="classes"))) == before["classes"]


def test_a_raised_version_is_another_run(monkeypatch):
    config, before = tiny(total_images=64), run_name(tiny(total_images=64))
    streamed = config.with_(noise="streamed")
    assert run_name(streamed) != before
    monkeypatch.setitem(training_config.VERSION, "counted", 99)
    assert run_name(config) != before
    assert run_name(streamed) == run_name(tiny(total_images=64).with_(noise="streamed")), "the others keep their names"
    monkeypatch.undo()
    assert run_name(config) == before
    monkeypatch.setattr(type(config.network), "version", 99)
    assert run_name(config) != before


def test_only_what_differs_from_defaults_is_said():
    """So a config keeps its name when configs learn to say more."""
    config = dg.TrainConfig(data=dg.DataConfig(n_train=8, n_val=4), total_images=64)
    assert non_defaults(config) == {
        "TrainConfig": {"data": {"DataConfig": {"n_train": 8.0, "n_val": 4.0}}, "total_images": 64.0}
    }
