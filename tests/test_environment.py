"""environment.yml, constraints.txt and pyproject.toml say the same, and what they pin can be installed."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [*PROJECT["dependencies"], *EXTRAS["book"], *EXTRAS["test"]]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
PYTHONS = ["3.11.0", "3.11.2"]
"""The oldest that is promised, and Debian 12's."""


def name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def refuses(requires_python, python):
    """Whether a distribution with that Requires-Python can't be installed under a Python."""
    return not SpecifierSet(requires_python or "").contains(python)


def installed_as_pinned():
    """The Requires-Python of each pinned package that is installed here in the pinned version."""
    requires = {}
    for pin in PINS:
        try:
            said = metadata(pin.name)
        except PackageNotFoundError:
            continue
        if pin.specifier.contains(said["Version"], prereleases=True):
            requires[str(pin)] = said["Requires-Python"]
    return requires


def test_conda_environment_equals_pyproject():
    *by_conda, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert sorted(by_pip["pip"]) == sorted([*ASKED, "-e ."])
    assert f"python{PROJECT['requires-python']}" in by_conda


def test_constraints_pin_whatever_is_asked_for():
    pinned = {name(pin.name) for pin in PINS}
    assert {name(line) for line in ASKED} <= pinned


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_can_be_installed_under_the_oldest_python(python):
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    requires = installed_as_pinned()
    assert len(requires) > len(PINS) / 2, "most pins are checked"
    assert {pin: wanted for pin, wanted in requires.items() if refuses(wanted, python)} == {}


def test_a_pin_that_debian_12_refuses_is_caught():
    """soupsieve 4.1.2 asked for a Python that Debian 12 does not have, and `make test` failed there."""
    assert refuses(">=3.11.5", "3.11.2")
    assert not refuses(">=3.11.5", "3.11.5")
    assert not refuses(">=3.8", "3.11.2")
    assert not refuses(None, "3.11.2")  # a distribution that does not say
    assert PYTHONS[0] == min(PYTHONS, key=Version)
    assert not SpecifierSet(PROJECT["requires-python"]).contains("3.10.99"), "then an older one is promised"
