"""Equal versions give equal numbers: what runs and results are found again by may be trusted."""

import json
import re

import golden
import pytest
import torch
from conftest import ROOT

from diffgen import loss
from diffgen.metrics import gap
from diffgen.training import randomness, trainer

REMEDY = "raise the version beside what moved (or undo the change), then run tools/golden.py"


@pytest.fixture(scope="module")
def written():
    return json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module")
def now():
    return golden.measured()


def test_versions_are_those_that_the_numbers_were_written_with(written, now):
    assert {name: entry["version"] for name, entry in now.items()} == {
        name: entry["version"] for name, entry in written.items()
    }, "versions were raised: run tools/golden.py"


def test_equal_versions_give_equal_numbers(written, now):
    assert golden.differing(written, now) == [], REMEDY


def test_every_cached_measure_has_a_number(written):
    """Whoever adds a measure adds a call of it to tools/golden.py."""
    sources = "".join(path.read_text() for path in (ROOT / "diffgen" / "experiments").glob("*.py"))
    measures = set(re.findall(r'cached\(\w+, "(\w+)"', sources))
    assert len(measures) >= 11
    assert measures <= set(written)


@pytest.mark.parametrize(
    ("module", "name", "bug", "what"),
    [
        (loss, "edm_weight", lambda f: lambda s, d: 1.01 * f(s, d), "unet on fashion_mnist"),
        (trainer, "batch_order", lambda f: lambda *key: f(*key).flip(0), "mlp on the circle"),
        (randomness, "NOISE", lambda stream: stream + 7, "dit on fashion_mnist"),
        (gap, "fixed_noise", lambda f: lambda *key: 1.001 * f(*key), "gap"),
    ],
)
def test_a_change_of_numbers_is_caught(module, name, bug, what, written, monkeypatch, tmp_path):
    monkeypatch.setattr(module, name, bug(getattr(module, name)))
    with torch.random.fork_rng():
        changed = {what: golden.of_training(golden.configs()[what])} if " " in what else golden.of_measures(tmp_path)
    assert what in golden.differing(written, changed)
