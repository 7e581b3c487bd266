"""Where sampling trajectories run: measures of their states beside noisy training and validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffgen.metrics.bootstrap import percentile_interval
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.neighbours import NeighbourTerms
from diffgen.rng import generator

PARTS = ("train", "val", "trajectory")


@dataclass(frozen=True, eq=False)
class TrajectoryStats:
    """States at the noise levels of the sampler, and what the snapshot predicts there: (S, n) of each measure.

    Of the states x: `shell`, see `shell_ratios`; `inside`, 1 where `in_shells`; `concentration`, max_i w_i(x) of the
    optimal denoiser; `distance`, ‖D(x) − y*(x)‖² / d. Of the predictions D(x): `similarity` to the most similar
    training image, and `similarity_val` to the most similar of equally many validation images, cosine, the mean image
    subtracted; `similarity_gap`, the first less the second; `first` and `second`, the distances to the two nearest
    training images; `near_train` and `near_val`, the distances to the nearest of equally many training and validation
    images.

    At the last noise level of the sampler the prediction is the sample: its last step goes there.

    Attributes:
        sigmas: noise levels, (S,), descending.
        values: by measure.
    """

    sigmas: Tensor
    values: Mapping[str, Tensor]

    def __getitem__(self, measure: str) -> Tensor:
        """The numbers of a measure, (S, n), float64."""
        if measure == "similarity_gap":
            return self["similarity"] - self["similarity_val"]
        return self.values[measure].double()

    def means(self, measure: str) -> list[Estimate]:
        """The mean over states at each noise level, shares where the measure is yes or no."""
        of = Estimate.proportion if measure == "inside" else Estimate.mean
        return [of(row > 0 if measure == "inside" else row) for row in self[measure]]

    @property
    def gap(self) -> list[NeighbourTerms]:
        """The neighbour gap of the predictions at each noise level, not corrected for what the split does by chance."""
        return [NeighbourTerms(t.square(), v.square()) for t, v in zip(self["near_train"], self["near_val"])]


@dataclass(frozen=True)
class RelativePosition:
    """Where trajectories lie between noisy validation (0) and noisy training images (1); NaN where these are not apart.

    value: (S,); low, high: the 95 % interval.
    """

    value: Tensor
    low: Tensor
    high: Tensor

    def interval(self) -> Interval:
        """As plain numbers, where there is one: a window's, or a single noise level's."""
        return Interval(*(end.item() for end in (self.value, self.low, self.high)))


def relative_position(
    stats: Mapping[str, TrajectoryStats],
    measure: str = "similarity",
    *,
    levels: Tensor | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> RelativePosition:
    """p(σ) = (s_trajectory − s_val) / (s_train − s_val), s the mean of a measure over states.

    The interval is the percentile interval of a bootstrap that draws states of each part anew, the same for all σ.
    Where it leaves open whether s_train and s_val differ at all, p has no meaning and is NaN.

    Args:
        stats: by `PARTS`, see `diffgen.experiments.trajectory_stats`.
        measure: of a `TrajectoryStats`; the logarithm is taken of distances and concentrations, which span decades.
        levels: which noise levels, (S,) boolean, to sum numerator and denominator over, for one p, (1,), of a window;
            None gives each level its own.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.
    """
    return _around(*_resampled(stats, measure, levels, n_resamples, seed))


def relative_position_change(
    after: Mapping[str, TrajectoryStats],
    before: Mapping[str, TrajectoryStats],
    measure: str = "similarity_gap",
    *,
    levels: Tensor,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """How far p, see `relative_position`, moved between statistics whose states belong together row by row: of the same
    images, and from the same noise.

    The bootstrap draws the same rows of both, so what they share cancels. NaN where either p has no meaning.

    Args:
        after, before: statistics by `PARTS`.
        measure: of a `TrajectoryStats`. By default the similarity gap: a clearer prediction is more similar to any
            image, of either split, and this cancels in it.
        levels, n_resamples, seed: as of `relative_position`.

    Raises:
        ValueError: not equally many states.
    """
    for part in PARTS:
        rows = [stats[part][measure].shape[1] for stats in (after, before)]
        if rows[0] != rows[1]:
            raise ValueError(f"{part} has {rows[0]} states after and {rows[1]} before: pairs need equally many")
    (to, drawn_to, sure_to), (of, drawn_of, sure_of) = (
        _resampled(stats, measure, levels, n_resamples, seed) for stats in (after, before)
    )
    return _around(to - of, drawn_to - drawn_of, sure_to & sure_of).interval()


def _around(value: Tensor, drawn: Tensor, sure: Tensor) -> RelativePosition:
    """A value and its percentile interval, NaN where it has no meaning."""
    low, high = percentile_interval(drawn)
    return RelativePosition(
        *(torch.where(sure, x, torch.nan) for x in (value, low.minimum(value), high.maximum(value)))
    )


def _resampled(
    stats: Mapping[str, TrajectoryStats], measure: str, levels: Tensor | None, n_resamples: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """p, that of states drawn anew (n_resamples, S), and whether training and validation are told apart, (S,)."""
    means, drawn, random = {}, {}, generator(seed)
    for part in PARTS:
        values = stats[part][measure]
        values = values.clamp(min=1e-12).log() if measure in ("distance", "concentration") else values
        picks = torch.randint(values.shape[1], (n_resamples, values.shape[1]), generator=random)
        counts = torch.zeros(n_resamples, values.shape[1], dtype=torch.float64)
        counts.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.float64))
        means[part], drawn[part] = values.mean(1), counts @ values.T / values.shape[1]
        if levels is not None:
            means[part] = means[part][levels].sum(0, keepdim=True)
            drawn[part] = drawn[part][:, levels].sum(1, keepdim=True)
    apart = drawn["train"] - drawn["val"]
    sure = torch.stack(percentile_interval(apart)).sign().sum(0).abs() == 2
    value = (means["trajectory"] - means["val"]) / (means["train"] - means["val"])
    return value, ((drawn["trajectory"] - drawn["val"]) / apart).nan_to_num(), sure


def peak_window(curve: GapCurve, sigmas: Tensor) -> Tensor:
    """Which of the sampler's noise levels, (S,), lie where G is at least half its peak, around the peak.

    At least one does: the level nearest to the peak. A maximum is picked because chance made it high; what is averaged
    over a window depends less on where exactly it was.
    """
    high, top = curve.gap >= curve.gap.max() / 2, int(curve.gap.argmax())
    below, above = (~high[:top]).nonzero().flatten(), (~high[top:]).nonzero().flatten()
    first, last = (int(below[-1]) + 1 if len(below) else 0), (top + int(above[0]) - 1 if len(above) else len(high) - 1)
    levels = sigmas.double()
    inside = (levels >= float(curve.sigmas[first]) * (1 - 1e-6)) & (levels <= float(curve.sigmas[last]) * (1 + 1e-6))
    inside[(levels.log() - math.log(curve.peak_sigma)).abs().argmin()] = True
    return inside
