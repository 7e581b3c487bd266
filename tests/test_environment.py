"""environment.yml, constraints.txt and pyproject.toml say the same."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [*PROJECT["dependencies"], *EXTRAS["book"], *EXTRAS["test"]]


def name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_conda_environment_equals_pyproject():
    *by_conda, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert sorted(by_pip["pip"]) == sorted([*ASKED, "-e ."])
    assert f"python{PROJECT['requires-python']}" in by_conda


def test_constraints_pin_whatever_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {name(line) for line in lines if "==" in line}
    assert {name(line) for line in ASKED} <= pinned
