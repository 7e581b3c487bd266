"""From what a user types to a denoiser: a run of ours, a diffusers folder, an EDM pickle, or a function in a file."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch

from diffgen import adapters
from diffgen.denoiser import Denoiser
from diffgen.runs import load_denoiser


def load_model(what: str, *, device: str = "cpu", trust_code: bool = False) -> Denoiser:
    """The denoiser that a text names, in evaluation mode and on a device.

    Args:
        what: a run folder or a snapshot of this package; a folder of a diffusers pipeline, with `unet/` and
            `scheduler/`; a `.pkl` of EDM or EDM2; or `file.py:function`, a function without arguments that returns a
            denoiser.
        device: where it computes; a function decides that for itself.
        trust_code: unpickle a `.pkl`, which runs whatever program is in it.

    Raises:
        ValueError: nothing of that kind.
        FileNotFoundError: it is not there.
    """
    if ".py:" in what:
        return _checked(function(what)(), what)
    path = Path(what)
    if not path.exists():
        raise FileNotFoundError(
            f"{what} does not exist: give a run folder, a snapshot, a diffusers folder, a .pkl, or file.py:function"
        )
    if path.suffix == ".pkl":
        return adapters.load_edm_pickle(path, trust_code=trust_code).to(device)
    if path.suffix == ".safetensors" or (path / "snapshots").is_dir():
        return load_denoiser(path, device=device)
    if path.is_dir() and ((path / "unet").is_dir() or (path / "model_index.json").exists()):
        return _diffusers(path, device)
    raise ValueError(
        f"{what} is no model: give a run folder, a snapshot, a diffusers folder with unet/ and scheduler/, a .pkl, or "
        "file.py:function"
    )


def function(what: str) -> Any:
    """The function that `file.py:name` or `module:name` names.

    Raises:
        ValueError: there is no such function.
        FileNotFoundError: no such file.
    """
    place, _, name = what.rpartition(":")
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise FileNotFoundError(f"{place} does not exist: give file.py:function")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbours
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.pop(0)
    else:
        module = importlib.import_module(place)
    named = getattr(module, name, None)
    if not callable(named):
        raise ValueError(f"{what}: {place} has no function {name!r}")
    return named


def _checked(made: Any, what: str) -> Denoiser:
    if not callable(made):
        raise ValueError(f"{what} returned {type(made).__name__}: it must return a denoiser, D(x, sigma, labels=None)")
    return made


def _diffusers(path: Path, device: str) -> Denoiser:
    try:
        import diffusers
    except ImportError:
        raise ImportError(f"{path} is a diffusers folder: pip install diffusers") from None
    parts = {}
    for part, fallback in (("unet", "UNet2DModel"), ("scheduler", "DDPMScheduler")):
        folder = path / part
        config = folder / ("config.json" if part == "unet" else "scheduler_config.json")
        if not config.is_file():
            raise FileNotFoundError(f"{config} does not exist: a diffusers folder has unet/ and scheduler/")
        kind = json.loads(config.read_text()).get("_class_name", fallback)
        if not hasattr(diffusers, kind):
            raise ValueError(f"{config} names the class {kind!r}, which diffusers {diffusers.__version__} has not")
        parts[part] = getattr(diffusers, kind).from_pretrained(folder)
    unet = parts["unet"].eval().requires_grad_(False).to(torch.device(device))
    return adapters.from_diffusers(unet, parts["scheduler"])
