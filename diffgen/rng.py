"""Randomness as a function: the same key gives the same numbers, whatever was drawn before."""

from __future__ import annotations

import numpy as np
import torch


def generator(*key: int) -> torch.Generator:
    """A CPU generator that depends on the key alone, for example on (seed, images seen).

    Drawing on the CPU and moving the result gives every device the same numbers. Keys are hashed by NumPy's
    SeedSequence, so neighbouring keys give independent streams.

    Raises:
        ValueError: a negative number in the key.
    """
    if any(k < 0 for k in key):
        raise ValueError(f"the random key {key} holds a negative number: seeds are 0 or larger")
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))
