"""What a feature map is, and how one is told from another."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

FeatureMap = Callable[[Tensor], Tensor]
"""φ: (N, *) → (N, F), rows independent."""


def pixels(x: Tensor) -> Tensor:
    """φ(x) = x, a vector of its pixels, (N, d): the feature space that nobody trained, in units of the data."""
    return x.flatten(1)


def identity(features: FeatureMap) -> str:
    """The name under which results in a feature space are kept: what a map says of itself, else its qualified name.

    A map with weights says which they are in an attribute `identity`, a string, so that other weights are another map.

    Raises:
        ValueError: it has neither, as a lambda or an object.
    """
    own = getattr(features, "identity", None)
    if isinstance(own, str):
        return own
    name = getattr(features, "__qualname__", "<no name>")
    if "<" in name:
        raise ValueError(
            f"features is {name}: results are kept under its name, so give a function of a module, "
            "or an object with an attribute identity"
        )
    return f"{features.__module__}.{name}"
