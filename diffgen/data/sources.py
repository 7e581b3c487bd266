"""The data sets that a `DataConfig` can name. A new one is a module with a `Source`, and a line here."""

from __future__ import annotations

from diffgen.data.fashion_mnist import FASHION_MNIST, FASHION_MNIST_70K
from diffgen.data.source import Source

SOURCES: dict[str, Source] = {source.name: source for source in (FASHION_MNIST, FASHION_MNIST_70K)}


def source(name: str) -> Source:
    """The data set of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in SOURCES:
        raise ValueError(f"name is {name!r}: the data sets are {', '.join(map(repr, SOURCES))}")
    return SOURCES[name]
