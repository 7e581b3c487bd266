"""The sweeps that come with diffgen."""

from __future__ import annotations

from diffgen import presets
from diffgen.sweep import Sweep


def named(name: presets.PresetName, seed: int = 0) -> Sweep:
    """The sweep of that name: chapter 4 at the scale of the preset.

    Raises:
        ValueError: there is none.
    """
    found = {preset.__name__: preset for preset in (presets.smoke, presets.quick, presets.standard, presets.paper)}
    if name not in found:
        raise ValueError(f"sweep is {name!r}: it is one of {', '.join(found)}")
    return Sweep({f"n{n}-c{channels}": config for (n, channels), config in found[name](seed).scaling.items()})
