"""Prints the keys of some configs as JSON, under any Python 3.11 or newer, whatever is installed there.

Packages that diffgen imports are replaced by stand-ins: keys need none of them. Run by test_keys.py.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import types
from typing import ClassVar

OTHERS = {"einops", "filelock", "lazy_loader", "numpy", "safetensors", "torch", "tqdm"}


class Anything:
    """A class, a function, a decorator, a value: whatever a module-level statement asks of torch or numpy."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, function: object = None, *_: object, **__: object) -> object:
        return function

    def __class_getitem__(cls, _: object) -> type:
        return cls


class StandIn(types.ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in OTHERS:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = StandIn(spec.name)
        if spec.name == "lazy_loader":
            module.attach_stub = lambda *_: (None, None, [])
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def keys() -> dict[str, str]:
    """Keys of runs with defaults, numbers of all kinds, nested configs and labels; and of a result."""
    from diffgen.data import DataConfig, ToyConfig
    from diffgen.nets import DiTConfig, MLPConfig, UNetConfig
    from diffgen.runs.key import result_name, run_name
    from diffgen.schedule import LogNormal
    from diffgen.training import HalfLife, PowerFunction, TrainConfig

    data = DataConfig(size=14, n_train=1024, n_val=512)
    averages = (HalfLife(images=2000), PowerFunction(std=0.05))
    runs = {
        "plain": TrainConfig(data=data, total_images=65_536),
        "numbers": TrainConfig(data=data, total_images=10, learning_rate=1e-3 / 3, sigma=LogNormal(mean=-0.4, std=1)),
        "nested": TrainConfig(data=data, total_images=10, network=UNetConfig(multipliers=(1, 2, 4)), ema=averages),
        "transformer": TrainConfig(data=data, total_images=10, network=DiTConfig(patch=7), conditional=True, seed=2),
        "toy": TrainConfig(data=ToyConfig(), total_images=10, network=MLPConfig(width=8)),
        "random labels": TrainConfig(data=DataConfig(n_train=9, n_val=9, labels="random"), total_images=10),
    }
    names = {name: run_name(config) for name, config in runs.items()}
    settings = {"sigmas": [0.1, 1 / 3, 80.0], "seed": 0, "features": None, "draws": 2}
    return names | {
        "result": result_name("gap", 1, "000000000064", {"run": names["plain"], "images_seen": 64}, settings)
    }


if __name__ == "__main__":
    sys.meta_path.insert(0, Finder())
    import torch.nn  # noqa: F401 (so that `from torch import nn` gives a module, whoever comes first)

    print(json.dumps(keys()))
