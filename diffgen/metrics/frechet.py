"""The Fréchet distance between two samples, each taken as a Gaussian, and the gap of generated ones between splits."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor

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
    FD(train subset, another); raw: to_val / to_train − 1, the paper's gap; corrected: raw less what the splits do by
    themselves, [(to_val − train_val) − (to_train − train_train)] / to_train. All have standard errors; n is the size of
    the sets, which is half as large for the baselines train_val and train_train where training images are few.

    luck: the raw gap of the same samples between sets that nothing was trained on: its mean, as .stderr its standard
    deviation from one such draw to the next, and as .n the number of draws; nan where no fresh images were given.
    """

    to_val: Estimate
    to_train: Estimate
    train_val: Estimate
    train_train: Estimate
    raw: Estimate
    corrected: Estimate
    luck: Estimate


def frechet_gap(
    samples: Tensor,
    train: Tensor,
    val: Tensor,
    *,
    fresh: Tensor | None = None,
    splits: int = 10,
    subsets: int = 5,
    n_resamples: int = 100,
    seed: int = 0,
) -> FrechetGap:
    """The sample gap of the paper: are samples nearer to the training set than to the validation set, as distributions?

    raw = FD_gv / FD_gt − 1,  corrected = [(FD_gv − FD_tv) − (FD_gt − FD_tt)] / FD_gt

    g are the samples, v the validation set, t disjoint subsets of the training set, drawn at random, of the validation
    set's size. FD_gv and FD_gt are of sets of n points, the whole validation set or, if that is smaller, the whole
    training set (and of the samples, of any number). A Fréchet distance of few points is biased upwards, by tr(C)/n for
    the mean of each set and more for its covariance, and FD_tt is nothing but bias; between equal sizes it cancels.

    The baselines FD_tt and FD_tv need two disjoint training subsets. Where there are fewer than 2n training points,
    both are of halves instead: the n points of t and of v are halved at random, FD_tt is between the halves of t, FD_tv
    between each of them and the other half of v. Both have the bias of n/2 points, which is larger than that of n; in
    the correction it cancels, for only FD_tv − FD_tt counts. Do not hold such a baseline against FD_gv or FD_gt. Chance
    in the halves does not cancel: there the correction adds more of it than it takes out, and raw says more, beside its
    luck.

    What does not cancel is chance. By chance the validation set may lie nearer to the samples, and FD_tv
    says how far it is from the training set, not in which direction. On a few thousand images that is as large as the
    gaps in question (Marion and Wu 2026, arXiv 2605.06077): rest no verdict on this figure alone, and see that fresh
    points in place of the samples give 0 within its error, and training points a gap well above it.

    Standard errors come from counting points more and less often, as a bootstrap would draw them, w = 1 ± s (count − 1)
    with s small: half the difference of the two is a draw's linear effect ℓ on a distance, half their sum, less the
    distance, its quadratic effect q. Where a distance is nothing but bias, as FD_tt is, and with it the gap of samples
    as good as data, q is all there is. A bootstrap, which meets the sample's own chance deviation as well, counts it
    three times, and ℓ twice of these: so Var FD = Var ℓ − Var q, at both ends.

    Fresh points show the luck of the split without such theory: disjoint sets of n of them take the places of v and t,
    `splits` times, and the raw gap of the same samples between these sets varies by σ₀². With s_g² of counting samples
    alone, raw has then stderr² = max(s², s_g² + σ₀²), and what that adds to s² adds to the error of corrected as well.

    Cost: 6 · subsets · n_resamples traces of roots of F×F matrices, twice that with fresh points; the moments of each
    set are computed once a draw.

    Args:
        samples: features of generated data, (S, *), flattened to (S, F). Take S and n well above F.
        train: features of training data, (N, *), N ≥ 4.
        val: features of validation data, (M, *), M ≥ 4.
        fresh: features of data of the same distribution that are in neither set, 2n or more, such as `Split.holdout`;
            None leaves `.luck` nan.
        splits: how often sets are drawn from the fresh points.
        subsets: how many training subsets at most.
        n_resamples: draws for the standard errors.
        seed: of the subsets and of the draws.

    Returns:
        `FrechetGap`: .to_val .to_train .train_val .train_train .raw .corrected .luck, each with .stderr and .n.

    Raises:
        ValueError: too few points, subsets, splits or n_resamples below two, different F, or values that are not
            finite.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (the gap and both baselines); Efron 1979 (the bootstrap, by
        whose counts points are weighted).
    """
    if subsets < 2 or n_resamples < 2 or splits < 2:
        raise ValueError(f"subsets is {subsets}, n_resamples {n_resamples}, splits {splits}: take two or more of each")
    n = min(len(val), len(train))
    if n < 4:
        raise ValueError(f"train has {len(train)} points and val {len(val)}: give at least 4 of each")
    if fresh is not None and len(fresh) < 2 * n:
        raise ValueError(f"fresh has {len(fresh)} points: two sets of {n} need {2 * n}; give more, or None")
    random = generator(seed, n)
    order = torch.randperm(len(train), generator=random)
    parts = order[: n * min(subsets, len(train) // n)].split(n)
    samples, train, val = _checked("samples", samples), _checked("train", train), _checked("val", val[:n])
    fresh = None if fresh is None else _checked("fresh", fresh)
    for name, other in (("train", train), ("val", val), ("fresh", samples if fresh is None else fresh)):
        if other.shape[1] != samples.shape[1]:
            raise ValueError(
                f"{name} has {other.shape[1]} features and samples {samples.shape[1]}: take one feature map for both"
            )
    training = [train[part.to(train.device)] for part in parts]
    if len(training) > 1:
        comparison = _Comparison([samples, val, *training], _whole(len(training)))
    else:
        shuffled = val[torch.randperm(n, generator=random).to(val.device)]
        comparison = _Comparison([samples, *_halves(shuffled), *_halves(training[0])], HALVED)
    exact = comparison.distances()
    every = comparison.effects(n_resamples, random)
    if exact[1] <= 0:
        raise ValueError(
            "samples are as good as the training set itself: their distance is 0, and no gap is relative to 0"
        )
    raw, corrected = exact.new_tensor([[1.0, -1, 0, 0], [1, -1, -1, 1]])
    baselines = n if len(training) > 1 else n // 2
    distances = (
        Estimate(value, _variance(every, one) ** 0.5, size)
        for value, one, size in zip(exact, torch.eye(4).to(exact), (n, n, baselines, baselines))
    )

    def variance(of: Tensor, effects: tuple[Tensor, Tensor]) -> float:
        """Of the ratio of (exact @ of) to FD_gt, by the delta method."""
        along = of - exact @ of / exact[1] * exact.new_tensor([0.0, 1, 0, 0])
        return _variance(effects, along) / float(exact[1]) ** 2

    luck, missed = Estimate(torch.nan, torch.nan, 0), 0.0
    if fresh is not None:
        luck = _luck(samples, fresh, n, len(training), splits, seed)
        of_samples = comparison.effects(n_resamples, random, samples_alone=True)
        missed = max(0.0, variance(raw, of_samples) + luck.stderr**2 - variance(raw, every))
    gaps = (Estimate(exact @ of / exact[1], (variance(of, every) + missed) ** 0.5, n) for of in (raw, corrected))
    return FrechetGap._make((*distances, *gaps, luck))


Pairs = list[tuple[tuple[int, ...], tuple[int, ...]]]
HALVED: list[Pairs] = [[((0,), (1, 2))], [((0,), (3, 4))], [((3,), (2,)), ((4,), (1,))], [((3,), (4,))]]
"""FD_gv, FD_gt, FD_tv, FD_tt as pairs of sets made of pieces: samples, two halves of v, two halves of t.

Where n is odd each baseline is between a smaller half and a larger one, so that the sizes are equal.
"""


def _whole(count: int) -> list[Pairs]:
    """The same of pieces that are samples, v, and `count` training subsets, two or more."""
    subsets = [(2 + i,) for i in range(count)]
    return [[((0,), (1,))], [((0,), t) for t in subsets], [(t, (1,)) for t in subsets], list(pairwise(subsets))]


def _halves(points: Tensor) -> tuple[Tensor, Tensor]:
    return points[: len(points) // 2], points[len(points) // 2 :]


class _Comparison:
    """Four mean Fréchet distances between sets that are made of disjoint pieces, the first of which are the samples."""

    def __init__(self, pieces: list[Tensor], terms: list[Pairs]):
        self.pieces, self.terms = [piece - pieces[0].mean(0) for piece in pieces], terms
        self.sets = sorted({one for pairs in terms for pair in pairs for one in pair})

    def distances(self) -> Tensor:
        """FD_gv, FD_gt, FD_tv, FD_tt, (4,)."""
        return self._between({one: _moments(torch.cat([self.pieces[i] for i in one])) for one in self.sets})

    def effects(self, draws: int, random: Generator, samples_alone: bool = False) -> tuple[Tensor, Tensor]:
        """Linear and quadratic effects on the distances of counting points as a bootstrap would, (draws, 4) each."""
        once = [_sums(piece, torch.ones_like(piece[:, 0])) for piece in self.pieces]
        middle, ends = self._weighted(once), []
        for _ in range(draws):
            count = self.pieces[: 1 if samples_alone else None]
            counted = [*(_sums(piece, _counts(piece, random)) for piece in count), *once[len(count) :]]
            steps = [[a.lerp(b, step) for a, b in zip(once, counted)] for step in (STEP, -STEP)]
            ends.append(torch.stack([self._weighted(sums) for sums in steps]) - middle)
        above, below = torch.stack(ends, 1)
        return (above - below) / (2 * STEP), (above + below) / (2 * STEP**2)

    def _weighted(self, sums: list[Tensor]) -> Tensor:
        """The distances where points count as often as in these sums over each piece."""
        sizes = [len(piece) for piece in self.pieces]
        moments = {
            one: _moments_of_sums(sum(sizes[i] for i in one), torch.stack([sums[i] for i in one]).sum(0))
            for one in self.sets
        }
        return self._between(moments)

    def _between(self, moments: dict[tuple[int, ...], tuple[Tensor, Tensor]]) -> Tensor:
        means = [torch.stack([_distance(moments[a], moments[b]) for a, b in pairs]).mean() for pairs in self.terms]
        return torch.stack(means).cpu()


def _counts(points: Tensor, random: Generator) -> Tensor:
    """How often a bootstrap draws each point, (N,)."""
    n = len(points)
    return torch.randint(n, (n,), generator=random).bincount(minlength=n).to(points)


def _sums(points: Tensor, counts: Tensor) -> Tensor:
    """Σ c x and Σ c x xᵀ over points that count c times, as the rows of one matrix, (1 + F, F)."""
    return torch.cat([(counts @ points)[None], (points * counts[:, None]).T @ points])


def _moments_of_sums(n: int, sums: Tensor) -> tuple[Tensor, Tensor]:
    """`_moments` of n points from their `_sums`, by way of the covariance, which is faster.

    It loses half of the digits that `_moments` keeps, a part in 10⁸: nothing beside the effects that it is for.
    """
    mean = sums[0] / n
    variances, axes = torch.linalg.eigh((sums[1:] - n * mean.outer(mean)) / (n - 1))
    return mean, variances.clamp(min=0).sqrt()[:, None] * axes.T


def _variance(effects: tuple[Tensor, Tensor], of: Tensor) -> float:
    """Of the sum of the distances with these factors, (4,)."""
    once, twice = ((effect @ of).var() for effect in effects)
    return float((once - twice).clamp(min=twice))  # at least what is left where nothing is linear


def _luck(samples: Tensor, fresh: Tensor, n: int, subsets: int, splits: int, seed: int) -> Estimate:
    """The raw gap between disjoint sets of n fresh points: mean and standard deviation over draws of such sets.

    As many sets as there are training subsets take their place, or as many as there are points for.
    """
    of_samples, count = _moments(samples), min(1 + subsets, len(fresh) // n)
    gaps = []
    for k in range(splits):
        order = torch.randperm(len(fresh), generator=generator(seed, n, k))[: n * count]
        to_val, *to_train = (_distance(of_samples, _moments(fresh[part.to(fresh.device)])) for part in order.split(n))
        gaps.append(to_val / torch.stack(to_train).mean() - 1)
    values = torch.stack(gaps)
    return Estimate(values.mean(), values.std(), splits)
