"""Do two denoisers make the same image of the same noise?"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from diffgen.features import FeatureMap
from diffgen.metrics.estimate import Estimate


class Reproducibility(NamedTuple):
    """Mean cosine similarities: of samples from the same noise and of samples from different noise, and what follows.

    agreement: (same − different) / (1 − different), 1 where both denoisers make the same of every noise and 0 where the
    noise decides nothing that they share.
    """

    same: Estimate
    different: Estimate
    agreement: Estimate


def reproducibility(a: Tensor, b: Tensor, features: FeatureMap | None = None) -> Reproducibility:
    """How alike samples of two denoisers from the same noise are, beside the null of mismatched rows.

    same = mean_i cos(φ(a_i), φ(b_i)),  different = mean_{i≠j} cos(φ(a_i), φ(b_j))
    agreement = (same − different) / (1 − different)

    Denoisers that were trained on disjoint halves and make the same images have learned the distribution, not their
    half. Images on a common background are all alike to the cosine: that is what the null is for, the mean over all
    N (N − 1) pairs of different rows. Standard errors are those of independent rows (delta method): to first order row
    i moves the one mean by cos(a_i, b_i) / N and the other by the mean of cos(a_i, b_j) + cos(a_j, b_i) over j, / N.

    Args:
        a: samples of one denoiser, (N, *), N ≥ 2.
        b: samples of the other, (N, *): row i from the noise of row i of a, with the same grid and labels.
        features: φ, (N, *) → (N, F); None is the data itself. A zero vector has similarity 0 to everything.

    Returns:
        `Reproducibility`: .same .different .agreement, each with .stderr and .n.

    Raises:
        ValueError: samples of different shapes, or fewer than two.

    Source: Kadkhodaie et al. 2024, arXiv 2310.02557; Zhang et al. 2024, arXiv 2310.05264.
    """
    if a.shape != b.shape or a.ndim < 2 or len(a) < 2:
        raise ValueError(f"a is {tuple(a.shape)} and b {tuple(b.shape)}: give two samples (N, *) of one shape, N >= 2")
    a, b = (F.normalize((features(x) if features else x).flatten(1).double(), dim=1) for x in (a, b))
    n = len(a)
    matched = (a * b).sum(1)
    of_a, of_b = ((x @ other.sum(0) - matched) / (n - 1) for x, other in ((a, b), (b, a)))
    # a row's share in the pairs: its mean is twice theirs, for a pair is in it from both sides
    mismatched = of_a + of_b
    same, different = matched.mean(), mismatched.mean() / 2
    influence = matched / (1 - different) - mismatched * (1 - same) / (1 - different) ** 2
    return Reproducibility(
        Estimate.mean(matched),
        Estimate(different, mismatched.std() / n**0.5, n),
        Estimate((same - different) / (1 - different), influence.std() / n**0.5, n),
    )
