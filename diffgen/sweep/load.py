"""From the name of a sweep to the sweep: one that comes with diffgen, or a function in a file or module of your own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from diffgen.sweep import Sweep, builtin

YOURS = "one of your own is path/to/file.py:function or package.module:function"


def load(name: str, seed: int = 0) -> Sweep:
    """The sweep called `name`; a function of your own is given the seed if it has a parameter of that name.

    Raises:
        ValueError: there is none, or it takes no seed.
        FileNotFoundError: there is no such file.
    """
    if ":" not in name:
        try:
            return builtin.named(name, seed)
        except ValueError as error:
            raise ValueError(f"{error}; {YOURS}") from None
    function = _function(name)
    if "seed" in inspect.signature(function).parameters:
        return Sweep.of(function(seed=seed))
    if seed:
        raise ValueError(f"seed is {seed}: {name} takes none; give the function a parameter seed, or leave it out")
    return Sweep.of(function())


def measure_key(name: str, seed: int, sweep: Sweep) -> str:
    """What stands for a sweep and how it measures: its name and version, and the file of a function of one's own."""
    own = b"" if ":" not in name else Path(inspect.getfile(_function(name))).read_bytes()
    digest = hashlib.sha256(sweep.version.encode() + own).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}-{seed}-{digest}"


def _function(name: str) -> Callable[..., Any]:
    place, _, function = name.rpartition(":")
    module = _from_file(name, Path(place)) if place.endswith(".py") else _from_module(name, place)
    attribute = getattr(module, function, None)
    if not callable(attribute):
        raise ValueError(f"sweep is {name!r}: {place} has no function {function!r}")
    return attribute


def _from_file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"sweep is {name!r}: there is no file {path}; {YOURS}")
    alias = f"diffgen_sweep_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(alias, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[alias] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[alias]
            raise
    return sys.modules[alias]


def _from_module(name: str, module: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:  # as with python -m
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"sweep is {name!r}: {error}; {YOURS}") from None
