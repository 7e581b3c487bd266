"""How good samples look, by the classifier that comes with the package and by their distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.features.classifier import ROWS_AT_ONCE, classifier
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import frechet_distance
from diffgen.rng import generator


@torch.no_grad()
def class_probabilities(x: Tensor) -> Tensor:
    """p(c | x) of the bundled classifier of clothes for images (N, 1, H, W) in [−1, 1]: (N, 10), float64.

    Raises:
        ValueError: x is not a batch of grey images.
    """
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"x has shape {tuple(x.shape)}: the bundled classifier knows grey images, (N, 1, H, W)")
    network = classifier(x.device)
    parts = [network(rows.float()).double().softmax(1) for rows in x.split(ROWS_AT_ONCE)]
    return torch.cat(parts) if parts else x.new_zeros(0, network.head.out_features, dtype=torch.float64)


def class_entropies(probabilities: Tensor) -> Tensor:
    """H(p_i) = −Σ_c p_ic ln p_ic, (N,), in nats: 0 where the class is beyond doubt, ln C where it is anybody's guess.

    What looks like one thing has a low entropy. That is not yet a good image: a caricature has a lower one than a
    photograph. Read it beside that of validation images.

    Args:
        probabilities: (N, C), rows that sum to 1.

    Raises:
        ValueError: not a table of probabilities.

    Source: Salimans et al. 2016, arXiv 1606.03498, whose inception score is exp(H(p̄) − mean H(p_i)).
    """
    p = probabilities.double()
    if p.ndim != 2 or not bool((p >= 0).all() & (p.sum(1) - 1).abs().lt(1e-4).all()):
        raise ValueError(
            f"probabilities has shape {tuple(p.shape)}: give (N, C) rows that are not negative and sum to 1"
        )
    return -torch.special.xlogy(p, p).sum(1)


def paired_frechet(
    sets: Sequence[Tensor], reference: Tensor, *, n_resamples: int = 50, seed: int = 0
) -> tuple[list[Estimate], list[Estimate]]:
    """Fréchet distances of several sets to one reference, and their differences from the first set's, as pairs.

    Row i of all sets belongs together, as samples from the same noise do. Standard errors come from drawing rows anew,
    the same in all sets, and the reference as well; so what rows and reference contribute to all distances cancels in
    the differences. Drawn points occur several times, which adds bias: only the spread of the draws is used.

    Args:
        sets: features, (N, F) each.
        reference: features, (M, F).
        n_resamples: bootstrap samples, 2 or more.
        seed: of the bootstrap.

    Returns:
        The distances, and distance k less distance 0, one each a set.

    Raises:
        ValueError: sets of different sizes, and what `frechet_distance` raises.

    Source: Efron 1979, *Bootstrap Methods: Another Look at the Jackknife*.
    """
    n = len(sets[0])
    if any(len(rows) != n for rows in sets):
        raise ValueError(f"sets have {[len(rows) for rows in sets]} rows: pairs need equally many")
    if n_resamples < 2:
        raise ValueError(f"n_resamples is {n_resamples}: a standard error needs two or more")
    random = generator(seed, n)
    exact, drawn = [frechet_distance(rows, reference) for rows in sets], []
    for _ in range(n_resamples):
        pick, other = (torch.randint(k, (k,), generator=random) for k in (n, len(reference)))
        drawn.append([frechet_distance(rows[pick], reference[other]) for rows in sets])
    draws = torch.tensor(drawn, dtype=torch.float64)
    spread, paired = draws.std(0), (draws - draws[:, :1]).std(0)
    distances = [Estimate(value, stderr, n) for value, stderr in zip(exact, spread)]
    return distances, [Estimate(value - exact[0], stderr, n) for value, stderr in zip(exact, paired)]
