"""Laws of the package's structure: what imports what, what a name stands for, and what stays out until it is needed."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

import diffgen
from diffgen.cli.app import COMMANDS

STUB = ast.parse((ROOT / "diffgen" / "__init__.pyi").read_text())
OFFERED = {
    alias.asname: (f"diffgen.{node.module}" if node.module else "diffgen", alias.name)
    for node in STUB.body
    for alias in node.names
}
"""What `import diffgen` offers: by name, the module that it is from, and its name there."""
PACKAGES = ["diffgen", *(module.name for module in pkgutil.walk_packages(diffgen.__path__, "diffgen.") if module.ispkg)]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def submodules(package):
    """Names of what lies in a package."""
    path = importlib.import_module(package).__path__
    return [module.name for module in pkgutil.iter_modules(path) if module.name != "__main__"]


def loaded(*lines):
    """Modules that a fresh Python has loaded after these lines."""
    code = "\n".join([*lines, "import json, sys", "print(json.dumps([*sys.modules]))"])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_of_a_package_shadows_a_module_in_it(package):
    """Else `package.module` is one thing or another, and a reader of `from package import name` can't tell which."""
    modules = {name: importlib.import_module(f"{package}.{name}") for name in submodules(package)}
    there = importlib.import_module(package)
    shadowed = [name for name, module in modules.items() if getattr(there, name) is not module]
    assert shadowed == []


def test_no_name_that_is_imported_late_shadows_a_module():
    """Of `diffgen` itself it would depend on what was used first."""
    origins = {name: OFFERED[name] for name in submodules("diffgen") if name in OFFERED}
    assert origins == {name: ("diffgen", name) for name in origins}


def test_the_stub_lists_what_is_offered():
    names = [alias.asname for node in STUB.body for alias in node.names]
    assert all(isinstance(node, ast.ImportFrom) and node.level == 1 for node in STUB.body)
    assert sorted(names) == sorted(diffgen.__all__)
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(diffgen))


@pytest.mark.parametrize("name", diffgen.__all__)
def test_every_name_is_where_the_stub_says_and_explains_itself(name):
    thing, (module, its_name) = getattr(diffgen, name), OFFERED[name]
    origin = importlib.import_module(f"{module}.{its_name}" if module == "diffgen" else module)
    assert thing is (origin if module == "diffgen" else getattr(origin, its_name))
    assert thing.__doc__
    assert thing.__doc__.strip()
    assert not thing.__doc__.startswith(f"{name}("), "a signature is what a dataclass says that has no docstring"


# --- what is imported when --------------------------------------------------------------------------------------------


def test_importing_diffgen_loads_next_to_nothing():
    modules = loaded("import diffgen")
    assert "diffgen" in modules
    assert modules.isdisjoint({"torch", "numpy", "pandas", "scipy", "accelerate", "pydantic", "matplotlib"})


def test_using_every_name_loads_torch_and_nothing_that_is_slow_beside_it():
    modules = loaded("import diffgen", "for name in diffgen.__all__: getattr(diffgen, name)")
    assert {"torch", "diffgen.runs.loop", "diffgen.presets"} <= modules
    assert modules.isdisjoint({"pandas", "scipy.stats", "accelerate", "matplotlib", "pydantic"})


def test_metrics_and_the_core_need_torch_alone():
    core = [f"diffgen.{name}" for name in submodules("diffgen") if f"diffgen.{name}" not in PACKAGES]
    metrics = [f"diffgen.metrics.{name}" for name in submodules("diffgen.metrics")]
    assert {"diffgen.denoiser", "diffgen.files", "diffgen.sampling"} <= set(core)
    assert len(metrics) > 10
    modules = loaded(*(f"import {name}" for name in [*core, *metrics]))
    assert {"torch", *core, *metrics} <= modules
    assert modules.isdisjoint({"pandas", "scipy.stats", "accelerate"})


def test_help_comes_without_torch():
    command = [sys.executable, "-X", "importtime", "-m", "diffgen", "--help"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "diffgen.cli.app" in modules
    assert not [name for name in modules if name.split(".")[0] in ("torch", "numpy", "pandas", "scipy")]
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert COMMANDS
    assert all([name, what] in lines for name, what in COMMANDS.items())


# --- the layers -------------------------------------------------------------------------------------------------------


def test_import_contracts_hold():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert len(CONTRACTS) >= 3
    for contract in CONTRACTS:
        assert f"{contract['name']} KEPT" in done.stdout, done.stdout


def test_every_module_has_a_layer():
    """A package that no contract names would be free to import whatever it likes."""
    (contract,) = [contract for contract in CONTRACTS if contract["type"] == "layers"]
    layers = [name.strip() for layer in contract["layers"] for name in layer.split("|")]
    optional = {name.strip("()") for name in layers if name.startswith("(")}  # may be there
    modules = {f"diffgen.{name}" for name in submodules("diffgen")}
    assert len(set(layers)) == len(layers)
    assert {name for name in layers if not name.startswith("(")} == modules - optional
