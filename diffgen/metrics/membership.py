"""Can one tell a training image from an unseen one by the model's errors on it? Membership inference, with its null.

An attacker who has the denoiser and an image measures its denoising errors. If those of training images are smaller,
the model gives away what it was trained on. All here is of two sets of rows of numbers: one row an image, members and
others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffgen.metrics.copying import rank_sum
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.exchange import deals
from diffgen.rng import generator

RIDGE = 1e-3
"""Added to the eigenvalues of a covariance, in units of their mean, before it is inverted."""


def discriminant_scores(rows: Tensor, member: Tensor, *, folds: int = 5, seed: int = 0) -> Tensor:
    """A score for each row, larger for what looks like a member; no row is judged by a rule that it helped to make.

    Fisher's linear discriminant, w = S⁻¹ (m_members − m_others) with S the covariance within the two sets, is fitted to
    all folds but one and scores the rows of that one: wᵀ x less wᵀ (m_members + m_others) / 2, over √(wᵀ S w).

    Args:
        rows: numbers of each image, (N, F), float64.
        member: which are members, (K, N) boolean: K ways to say so, each of them scored.
        folds: how many.
        seed: of the folds.

    Returns:
        Scores, (K, N), float64.

    Source: Fisher 1936, *The use of multiple measurements in taxonomic problems*.
    """
    fold_of = torch.randperm(len(rows), generator=generator(seed)) % folds
    scores = torch.empty(len(member), len(rows), dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    for fold in range(folds):
        x, judged = rows[fold_of != fold], rows[fold_of == fold]
        chosen = member[:, fold_of != fold].double()
        n, total = chosen.sum(1)[:, None], x.sum(0)
        sums = chosen @ x
        m, o = sums / n, (total - sums) / (len(x) - n)  # means of members and of others, (K, F)
        within = x.T @ x - torch.einsum("kf,kg->kfg", n * m, m) - torch.einsum("kf,kg->kfg", (len(x) - n) * o, o)
        within = within / (len(x) - 2)
        ridge = RIDGE * within.diagonal(dim1=1, dim2=2).mean(1).clamp(min=tiny)
        within = within + ridge[:, None, None] * torch.eye(x.shape[1], dtype=torch.float64)
        w = torch.linalg.solve(within, m - o)
        w = w / torch.einsum("kf,kfg,kg->k", w, within, w).clamp(min=tiny).sqrt()[:, None]
        scores[:, fold_of == fold] = w @ judged.T - (w * (m + o) / 2).sum(1, keepdim=True)
    return scores


def auc(members: Tensor, others: Tensor) -> Estimate:
    """The area under the ROC curve: how often a member has the larger score of a random pair, P(a > b) + ½ P(a = b).

    ½ is chance, 1 is certainty. Its standard error is that of DeLong.

    Args:
        members: scores, (N,), N ≥ 2.
        others: (M,), M ≥ 2.
    """
    ranks = rank_sum(members, others)
    pairs = len(members) * len(others)
    value = ranks.u / pairs
    # z = (u − nm/2)/σ_u, so σ_u is known wherever z is not 0; the spread of u without ties otherwise
    spread = (ranks.u - pairs / 2) / ranks.z if ranks.z else (pairs / 12 * (len(members) + len(others) + 1)) ** 0.5
    return Estimate(value, ranks.stderr * spread / pairs, min(len(members), len(others)))


class Told(NamedTuple):
    """How well members are told from others: see `told_apart`.

    auc: area under the ROC curve, with its interval; spread: its standard deviation by chance; p: how often chance
    makes as much; members, others: the scores, (N,) and (M,).
    """

    auc: Interval
    spread: float
    p: float
    members: Tensor
    others: Tensor


def told_apart(
    members: Tensor, others: Tensor, *, confidence: float = 0.95, n_exchanges: int = 400, seed: int = 0
) -> Told:
    """Score members and others by `discriminant_scores`, and say how well that tells them apart.

    Chance is measured: the rows are dealt anew to two sets of the same sizes, and everything is done again, the fitting
    included. The formula for the error of an AUC would not do. Each fold is judged by what the others taught, and where
    two folds differ by chance in one direction, each finds it confirmed in the other.

    Args:
        members: numbers of each member, (N, F), N ≥ 8.
        others: of each other, (M, F), M ≥ 8.
        confidence: of the interval, which reaches from the value as far as chance reaches from ½.
        n_exchanges: random deals.
        seed: of folds and deals.

    Raises:
        ValueError: too few rows, rows of different length, or numbers that are not finite.
    """
    for name, rows in (("members", members), ("others", others)):
        if rows.ndim != 2 or len(rows) < 8 or rows.shape[1] != members.shape[1]:
            raise ValueError(f"{name} has shape {tuple(rows.shape)}: give 8 rows or more, as long as the others'")
        if not bool(rows.isfinite().all()):
            raise ValueError(
                f"{name} holds a number that is not finite, in row {int((~rows.isfinite()).nonzero()[0, 0])}"
            )
    n, rows = len(members), torch.cat([members, others]).double()
    rows = rows - rows.mean(0)
    real = (torch.arange(len(rows)) < n)[None]
    (scores,) = discriminant_scores(rows, real, seed=seed)
    value, chance = float(auc(scores[:n], scores[n:])), []
    for member in deals(len(rows), n, n_exchanges, seed):
        dealt = discriminant_scores(rows, member, seed=seed)
        ranks = dealt.argsort(1).argsort(1).double() + 1
        u = (ranks * member).sum(1) - n * (n + 1) / 2
        chance.append(u / (n * (len(rows) - n)))
    away = (torch.cat(chance) - 0.5).abs()
    reach = float(away.quantile(confidence))
    p = (1 + int((torch.cat(chance) >= value).sum())) / (1 + len(away))
    spread = float(away.square().mean().sqrt())
    interval = Interval(value, max(0.0, value - reach), min(1.0, value + reach))
    return Told(interval, spread, p, scores[:n], scores[n:])


class Detection(NamedTuple):
    """How many members are found at a rate of false alarms that one is willing to pay.

    rate: true positives, with a Clopper–Pearson interval at this threshold; false_rate: what was asked for; p: how
    often chance alone finds as many, exactly.
    """

    rate: Interval
    false_rate: float
    p: float


def true_positive_rate(
    members: Tensor, others: Tensor, false_rate: float, *, confidence: float = 0.95
) -> Detection | None:
    """The share of members above the threshold that a share of the others exceeds.

    The threshold is the k-th largest score of the others, k = ⌊false_rate · M⌋. If members and others are alike, the
    number of members above it has a beta-binomial distribution with parameters N, k, M − k + 1: so p is exact, with the
    luck of the threshold in it.

    Args:
        members: scores, (N,).
        others: (M,).
        false_rate: rate of false alarms, between 0 and 1.
        confidence: of the interval.

    Returns:
        None where M is too small for the rate, M · false_rate < 1.

    Source: Carlini et al. 2022, arXiv 2112.03570, for true positives at low rates of false ones; Clopper and Pearson
    1934.
    """
    from scipy.stats import betabinom  # slow to import, and few need it

    if not 0 < false_rate < 1:
        raise ValueError(f"false_rate is {false_rate:g}: it is between 0 and 1")
    n, m = len(members), len(others)
    k = math.floor(false_rate * m)
    if k < 1:
        return None
    threshold = others.sort(descending=True).values[k - 1]
    hits = int((members > threshold).sum())
    return Detection(clopper_pearson(hits, n, confidence), false_rate, float(betabinom.sf(hits - 1, n, k, m - k + 1)))


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """A share k/n with its exact interval.

    Source: Clopper and Pearson, *The use of confidence or fiducial limits illustrated in the case of the binomial*,
    Biometrika 26, 1934.
    """
    from scipy.stats import binomtest  # slow to import

    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"hits is {hits} of n = {n}: it is between 0 and n, and n is at least 1")
    low, high = binomtest(hits, n).proportion_ci(confidence, method="exact")
    return Interval(hits / n, float(low), float(high))


class AtRisk(NamedTuple):
    """The members that stand out from the others, the surest first.

    index: which; p: how often an unseen image scores as high; false_discovery_rate: of the list.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    p: Tensor
    false_discovery_rate: float


def most_at_risk(members: Tensor, others: Tensor, false_discovery_rate: float = 0.1) -> AtRisk:
    """Which members can be named, with at most this share of false ones among them on average.

    The p-value of a member is its rank among the others, (1 + #{others ≥ score}) / (M + 1); the list is that of
    Benjamini and Hochberg. With M others no p is below 1 / (M + 1), so with few of them nobody is named.

    Args:
        members: scores, (N,).
        others: (M,).
        false_discovery_rate: of the list.

    Source: Benjamini and Hochberg 1995; Bates et al. 2023, arXiv 2104.08279, for p-values by ranks.
    """
    from scipy.stats import false_discovery_control  # slow to import

    above = len(others) - torch.searchsorted(others.sort().values, members.contiguous(), right=False)
    p = (1 + above).double() / (len(others) + 1)
    ordered, index = p.sort(stable=True)
    count = int((false_discovery_control(ordered.numpy()) <= false_discovery_rate).sum())
    return AtRisk(index[:count], ordered[:count], false_discovery_rate)
