"""Figures of a gap curve that no formula gives an error for: the images are drawn anew, many times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.metrics.gap import GapCurve
from diffgen.rng import generator


def bootstrap(curves: Sequence[GapCurve], *, draws: int = 1000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Resample the images of curves over the same images: what E_train and E_val could have been, by chance.

    Places are drawn with replacement, the same ones for every curve and noise level, so the spread of any function of
    the result (a peak's height or place, a difference between snapshots) is its own. Place i holds the i-th image of
    both splits, for these share their noise.

    Args:
        curves: C curves over the same images and noise levels.
        draws: how many times to resample.
        seed: of the resampling.

    Returns:
        E_train and E_val, each (draws, C, S). G is their ratio less 1.

    Source: Efron 1979, *Bootstrap Methods: Another Look at the Jackknife*.
    """
    errors = [torch.stack([getattr(c, part).double() for c in curves]) for part in ("train_errors", "val_errors")]
    places = max(e.shape[2] for e in errors)
    picks = torch.randint(places, (draws, places), generator=generator(seed))
    counts = torch.zeros(draws, places, dtype=torch.float64).scatter_add_(1, picks, torch.ones(draws, places).double())
    weights = [counts[:, : e.shape[2]] for e in errors]
    train, val = (torch.einsum("bn,csn->bcs", w / w.sum(1, keepdim=True), e) for w, e in zip(weights, errors))
    return train, val
