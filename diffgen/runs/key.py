"""The identity of a run and of a result: a hash of what was asked for, and of version numbers that people raise.

Nothing of a run's key depends on Python, on the machine or on the text of the code. That equal keys stand for equal
numbers is held by the golden test (`tests/test_golden.py`): whoever moves numbers raises a version beside what moved.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffgen.training.config import TrainConfig


def run_name(config: TrainConfig, versions: dict[str, Any] | None = None) -> str:
    """The name of a config's run: what a person wants to read, and a hash of all that decides the result.

    That is what the config says beside defaults, so that it keeps its name when configs learn to say more, and the
    versions of training, network, data and, where labels come from them, features.

    Args:
        config: what is trained.
        versions: with which it was trained; those of now if None.
    """
    key = hashed({"config": non_defaults(config), "versions": config.versions if versions is None else versions})
    data, network = config.data, config.network
    parts = [data.name, getattr(data, "size", None), f"n{data.n_train}", network.kind, key]
    return "-".join(str(part) for part in parts if part is not None)


def result_name(measure: str, version: int, label: str, subject: dict[str, Any], settings: dict[str, Any]) -> str:
    """The name of a result: what was measured, of what, and a hash of all that decides it.

    Args:
        measure: what was measured.
        version: of the measure.
        label: of the subject, for people.
        subject: its identity.
        settings: how it was measured.
    """
    key = hashed({"measure": measure, "version": version, "subject": rounded(subject), "settings": rounded(settings)})
    return f"{measure}-{label}-{key}"


def hashed(value: Any) -> str:
    """A short hash of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def non_defaults(value: Any) -> Any:
    """A config as JSON: the names of its classes, and those of their fields that differ from their defaults.

    A field that a version stands for (`metadata={"versioned": True}`) is left out: the version is in the key.
    """
    if isinstance(value, tuple | list):
        return [non_defaults(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    told = [f for f in fields(value) if not f.metadata.get("versioned")]
    given = {f.name: getattr(value, f.name) for f in told if getattr(value, f.name) != _default(f)}
    return {type(value).__name__: {name: non_defaults(item) for name, item in given.items()}}


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def rounded(value: Any) -> Any:
    """Numbers to six digits: a logarithm's last bits differ between machines, and a result is found on all of them."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
