"""Randomness as a function: the same key gives the same numbers, whatever was drawn before and wherever.

`generator` is for what is drawn once: splits, orders, weights, resamples. `normal` and `uniform` are for what is drawn
every step: they count instead of remembering (Philox), so that each row has numbers of its own, the same on every
device and however rows are shared among processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
WORD = 0xFFFFFFFF
"""The largest word of 32 bits. torch has no unsigned integers to compute with: words are kept in int64."""
WORDS_AT_ONCE = 2**22
"""Bounds the memory for words in the making: about 200 MB."""


def generator(*key: int) -> torch.Generator:
    """A CPU generator that depends on the key alone, for example on (seed, epoch).

    Drawing on the CPU and moving the result gives every device the same numbers. Keys are hashed by NumPy's
    SeedSequence, so neighbouring keys give independent streams.

    Raises:
        ValueError: a negative number in the key.
    """
    return torch.Generator().manual_seed(_hashed(key) >> 1)


def _hashed(key: Sequence[int]) -> int:
    if any(k < 0 for k in key):
        raise ValueError(f"the random key {tuple(key)} holds a negative number: seeds are 0 or larger")
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox 4×32-10: four random words from a counter of four words, for two words of key.

    A round multiplies two of the words by constants, and mixes the high halves of the products with the other two and
    with the key, which is raised by constants from round to round.

    Args:
        counter: c₀…c₃, int64 tensors that broadcast, values in [0, 2³²).
        key: k₀, k₁, in [0, 2³²).

    Returns:
        Four tensors of words, int64, values in [0, 2³²).

    Source: Salmon, Moraes, Dror and Shaw 2011, *Parallel random numbers: as easy as 1, 2, 3*, SC '11.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c  # modulo 2⁶⁴, as unsigned numbers would be
        a, b, c, d = (second >> 32 & WORD) ^ b ^ k0, second & WORD, (first >> 32 & WORD) ^ d ^ k1, first & WORD
        k0, k1 = k0 + KEY_STEPS[0] & WORD, k1 + KEY_STEPS[1] & WORD
    return a, b, c, d


def words(rows: Tensor, n: int, *key: int) -> Tensor:
    """n random words for each row, (B, n), int64, uniform on [0, 2³²), on the device of the rows.

    Args:
        rows: the numbers of the rows, (B,), int64, 0 or larger: a row has the same words in every batch.
        n: how many; the first stay the same when it grows.
        key: whatever else the words depend on, such as (seed, purpose).

    Raises:
        ValueError: a negative number in the key.
    """
    both = _hashed(key)
    pair, low, high = (both & WORD, both >> 32), (rows & WORD)[:, None], (rows >> 32)[:, None]
    blocks, zero = torch.arange(-(-n // 4), device=rows.device), torch.zeros_like(low)
    at_once = max(1, WORDS_AT_ONCE // (4 * max(1, len(rows))))
    parts = [torch.stack(philox((part, zero, low, high), pair), -1).flatten(1) for part in blocks.split(at_once)]
    return torch.cat(parts, 1)[:, :n] if parts else torch.zeros(len(rows), 0, dtype=torch.long, device=rows.device)


def uniform(rows: Tensor, *key: int) -> Tensor:
    """A number in (0, 1] for each row, (B,), float32: see `words`."""
    return _unit(words(rows, 1, *key)[:, 0])


def normal(rows: Tensor, shape: Sequence[int], *key: int) -> Tensor:
    """N(0, 1) numbers for each row, (B, *shape), float32, on the device of the rows: see `words`.

    r = √(−2 ln u), θ = 2π v for uniform u and v; r cos θ and r sin θ are normal and independent.

    Devices round differently, so numbers are equal to about 1e-6 of themselves, and to the bit on one kind of device.

    Source: Box and Muller 1958, *A note on the generation of random normal deviates*.
    """
    n = math.prod(shape)
    u, v = words(rows, 2 * -(-n // 2), *key).unflatten(1, (-1, 2)).unbind(2)
    radius, angle = (-2 * _unit(u).log()).sqrt(), 2 * math.pi * _unit(v)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 2).flatten(1)[:, :n].reshape(len(rows), *shape)


def _unit(word: Tensor) -> Tensor:
    return (word.float() + 0.5) * 2.0**-32
