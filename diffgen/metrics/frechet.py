"""The Fréchet distance between two samples, each taken as a Gaussian, and the gap of generated ones between splits."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.metrics.estimate import Estimate
from diffgen.rng import generator

STEP = 0.25
"""How far weights go from 1 towards a bootstrap's counts: far enough to be told from rounding, none below 0."""


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The squared 2-Wasserstein distance between the Gaussians with the means and covariances of two samples.

    FD = ‖m_a − m_b‖² + tr(C_a + C_b − 2 (C_a C_b)^{1/2})

    With features of an Inception network it is the FID, of DINOv2 the FDD. Covariances are the unbiased ones. It is
    computed in float64 without forming a covariance: with C = RᵀR, R the triangular factor of the centred sample over
    √(n − 1), the last trace is the sum of the singular values of R_a R_bᵀ. A matrix square root of C_a C_b would lose
    half of the digits where C is near singular, as it is for n < D. Cost: O((N + M) D²).

    A sample of finite size is biased upwards, the more the smaller it is: compare distances at equal N and M only, and
    beside that of two samples of the same distribution.

    Args:
        a: features, (N, *), flattened to (N, D); N ≥ 2.
        b: features, (M, *); M ≥ 2.

    Returns:
        FD, in squared units of the features; 0 for equal samples.

    Raises:
        ValueError: fewer than two rows, different D, or a value that is not finite.

    Source: Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500, eq. 6; Stein et al. 2023, arXiv 2306.04675.
    """
    a, b = (_checked(name, features) for name, features in (("a", a), ("b", b)))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a has {a.shape[1]} features and b has {b.shape[1]}: they must come from the same feature map"
        )
    return _distance(_moments(a), _moments(b)).item()


def _distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """FD, (), of two means and factors of covariances."""
    (mean_a, r_a), (mean_b, r_b) = a, b
    cross = torch.linalg.svdvals(r_a @ r_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + r_a.square().sum() + r_b.square().sum() - 2 * cross
    return distance.clamp(min=0)


def _checked(name: str, features: Tensor) -> Tensor:
    if features.ndim < 2 or len(features) < 2:
        raise ValueError(f"{name} has shape {tuple(features.shape)}: give (N, D) features with N >= 2")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name} holds a value that is not finite: check the samples or the feature map")
    return features.flatten(1).double()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, (D,), and a factor R of the covariance, RᵀR = C, (min(N, D), D)."""
    mean = features.mean(0)
    return mean, torch.linalg.qr(features - mean, mode="r").R / (len(features) - 1) ** 0.5


class FrechetGap(NamedTuple):
    """Fréchet distances of samples to both splits and of the splits to each other, in squared units of the features.

    to_val: FD(gen, val); to_train: mean FD(gen, train subset); train_val: mean FD(train subset, val); train_train: mean
    FD(train subset, another); raw: to_val / to_train − 1; corrected: raw less what the splits do by themselves,
    [(to_val − train_val) − (to_train − train_train)] / to_train. All have standard errors; n is the size of a subset.
    """

    to_val: Estimate
    to_train: Estimate
    train_val: Estimate
    train_train: Estimate
    raw: Estimate
    corrected: Estimate


def frechet_gap(
    samples: Tensor, train: Tensor, val: Tensor, *, subsets: int = 5, n_resamples: int = 100, seed: int = 0
) -> FrechetGap:
    """The sample gap of the paper: are samples nearer to the training set than to the validation set, as distributions?

    [(FD_gv − FD_tv) − (FD_gt − FD_tt)] / FD_gt

    g are the samples, v the validation set, t disjoint subsets of the training set, drawn at random, of the validation
    set's size. Both sets are cut so that there are two subsets at least: all of FD_gv, FD_gt, FD_tv, FD_tt are of sets
    of n points (and of the samples, of any number). A Fréchet distance of few points is biased upwards, by tr(C)/n for
    the mean of each set and more for its covariance, and FD_tt is nothing but bias; between equal sizes it cancels.

    What does not cancel is chance. By chance the validation set may lie nearer to the samples, and FD_tv
    says how far it is from the training set, not in which direction. On a few thousand images that is as large as the
    gaps in question (Marion and Wu 2026, arXiv 2605.06077): rest no verdict on this figure alone, and see that fresh
    points in place of the samples give 0 within its error, and training points a gap well above it.

    Standard errors come from counting points more and less often, as a bootstrap would draw them, w = 1 ± s (count − 1)
    with s small: half the difference of the two is a draw's linear effect ℓ on a distance, half their sum, less the
    distance, its quadratic effect q. Where a distance is nothing but bias, as FD_tt is, and with it the gap of samples
    as good as data, q is all there is. A bootstrap, which meets the sample's own chance deviation as well, counts it
    three times, and ℓ twice of these: so Var FD = Var ℓ − Var q, at both ends. Cost: 6 · subsets · n_resamples traces
    of roots of F×F matrices.

    Args:
        samples: features of generated data, (S, *), flattened to (S, F). Take S and n well above F.
        train: features of training data, (N, *), N ≥ 4.
        val: features of validation data, (M, *), M ≥ 2.
        subsets: how many training subsets at most.
        n_resamples: draws for the standard errors.
        seed: of the subsets and of the draws.

    Returns:
        `FrechetGap`: .to_val .to_train .train_val .train_train .raw .corrected, each with .stderr, .n and .interval().

    Raises:
        ValueError: too few points, subsets or n_resamples below two, different F, or values that are not finite.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (the gap and both baselines); Efron 1979 (the bootstrap, by
        whose counts points are weighted).
    """
    if subsets < 2 or n_resamples < 2:
        raise ValueError(f"subsets is {subsets} and n_resamples {n_resamples}: take two or more of each")
    n = min(len(val), len(train) // 2)
    if n < 2:
        raise ValueError(f"train has {len(train)} points and val {len(val)}: give at least 4 and 2")
    random = generator(seed, n)
    order = torch.randperm(len(train), generator=random)
    parts = order[: n * min(subsets, len(train) // n)].split(n)
    samples, train, val = _checked("samples", samples), _checked("train", train), _checked("val", val[:n])
    for name, other in (("train", train), ("val", val)):
        if other.shape[1] != samples.shape[1]:
            raise ValueError(
                f"{name} has {other.shape[1]} features and samples {samples.shape[1]}: take one feature map for both"
            )
    sets = [samples, val, *(train[part.to(train.device)] for part in parts)]
    exact = _gap_distances([_moments(x) for x in sets])
    more: list[Tensor] = []
    less: list[Tensor] = []
    for _ in range(n_resamples):
        counts = [torch.randint(len(x), (len(x),), generator=random).bincount(minlength=len(x)).to(x) for x in sets]
        for distances, step in ((more, STEP), (less, -STEP)):
            weighted = [_weighted_moments(x, 1 + step * (count - 1)) for x, count in zip(sets, counts)]
            distances.append(_gap_distances(weighted))
    above, below = torch.stack(more) - exact, torch.stack(less) - exact
    linear, quadratic = (above - below) / (2 * STEP), (above + below) / (2 * STEP**2)

    def stderr(of: Tensor) -> Tensor:
        """Of the sum of the distances with these factors, (4,)."""
        once, twice = (linear @ of).var(), (quadratic @ of).var()
        return (once - twice).clamp(min=twice).sqrt()  # at least what is left where nothing is linear

    def estimate(numerator: Tensor) -> Estimate:
        """Of the ratio of (exact @ numerator) to FD_gt, by the delta method."""
        ratio = exact @ numerator / exact[1]
        return Estimate(ratio, stderr(numerator - ratio * of_train) / exact[1], n)

    raw, corrected = exact.new_tensor([[1.0, -1, 0, 0], [1, -1, -1, 1]])
    of_train = exact.new_tensor([0.0, 1, 0, 0])
    of_distances = (Estimate(value, stderr(one), n) for value, one in zip(exact, torch.eye(4).to(exact)))
    to_val, to_train, train_val, train_train = of_distances
    return FrechetGap(to_val, to_train, train_val, train_train, estimate(raw), estimate(corrected))


def _gap_distances(moments: list[tuple[Tensor, Tensor]]) -> Tensor:
    """FD_gv, FD_gt, FD_tv, FD_tt, (4,), of samples, validation set and training subsets."""
    g, v, *t = moments
    to_train, train_val = [_distance(g, s) for s in t], [_distance(s, v) for s in t]
    kinds = [[_distance(g, v)], to_train, train_val, [_distance(a, b) for a, b in pairwise(t)]]
    return torch.stack([torch.stack(distances).mean() for distances in kinds]).cpu()


def _weighted_moments(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """`_moments` of rows that count as often as their weights say, by way of the covariance, which is faster.

    It loses half of the digits that `_moments` keeps, a part in 10⁸: nothing beside the effects that it is for.
    """
    n = len(features)
    mean = weights @ features / n
    covariance = (features * weights[:, None]).T @ features - n * mean.outer(mean)
    variances, axes = torch.linalg.eigh(covariance / (n - 1))
    return mean, variances.clamp(min=0).sqrt()[:, None] * axes.T
