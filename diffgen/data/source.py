"""What a data set is: a pool of images and what is known of it. `diffgen.data.sources` lists those that there are."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from diffgen.features import FeatureMap


class Source(Protocol):
    """A pool of labelled images, from which `DataConfig` draws disjoint splits.

    Attributes:
        name: by which a `DataConfig` asks for it.
        version: raised by hand when the same name gives other images; runs on it are then other runs.
        channels: 1 for grey images, 3 for colour.
        sizes: sides in pixels at which it is offered, its own first; the others average equal blocks of it.
        pool_size: number of images, known without reading them.
        class_names: what the labels 0, 1, … mean.
        features: a feature space that has a meaning for these images, or None.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def sizes(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def pool_size(self) -> int: ...  # noqa: D102
    @property
    def class_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def features(self) -> FeatureMap | None: ...  # noqa: D102

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the pool: images (N, channels, side, side) and labels (N,), both uint8 or labels of any integer type.

        Raises:
            OSError: a file of the data set is missing (FileNotFoundError) or damaged.
        """
        ...
