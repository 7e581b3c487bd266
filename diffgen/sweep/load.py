"""From the name of a sweep to the sweep: one that comes with diffgen, or a function in a file or module of your own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from diffgen import sweeps
from diffgen.runs import fingerprint
from diffgen.sweep import Sweep

YOURS = "one of your own is path/to/file.py:function or package.module:function"


def load(name: str, seed: int = 0) -> Sweep:
    """The sweep called `name`; a function of your own is given the seed if it has a parameter of that name.

    Raises:
        ValueError: there is none, or it takes no seed.
        FileNotFoundError: there is no such file.
    """
    if ":" not in name:
        try:
            return sweeps.named(name, seed)
        except ValueError as error:
            raise ValueError(f"{error}; {YOURS}") from None
    function = _function(name)
    if "seed" in inspect.signature(function).parameters:
        return Sweep.of(function(seed=seed))
    if seed:
        raise ValueError(f"seed is {seed}: {name} takes none; give the function a parameter seed, or leave it out")
    return Sweep.of(function())


def code(name: str) -> str:
    """A hash of all code that may decide what is measured: the package's, and that of the file of a sweep function."""
    own = b"" if ":" not in name else Path(inspect.getfile(_function(name))).read_bytes()
    return hashlib.sha256(fingerprint((".",)).encode() + own).hexdigest()[:16]


def _function(name: str) -> Callable:
    place, _, function = name.rpartition(":")
    module = _from_file(name, Path(place)) if place.endswith(".py") else _from_module(name, place)
    found = getattr(module, function, None)
    if not callable(found):
        raise ValueError(f"sweep is {name!r}: {place} has no function {function!r}")
    return found


def _from_file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"sweep is {name!r}: there is no file {path}; {YOURS}")
    alias = f"diffgen_sweep_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(alias, path)
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
