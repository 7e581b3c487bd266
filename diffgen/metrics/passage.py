"""Where sampling trajectories run: measures of their states beside noisy training and validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffgen.metrics.bootstrap import tails
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve
from diffgen.metrics.neighbours import GapTerms
from diffgen.rng import generator

PARTS = ("train", "val", "trajectory")


@dataclass(frozen=True, eq=False)
class Passage:
    """States at the noise levels of the sampler, and what the snapshot predicts there: (S, n) of each measure.

    Of the states x: `shell`, see `shell_ratios`; `inside`, 1 where `in_shells`; `concentration`, max_i w_i(x) of the
    optimal denoiser; `distance`, ‖D(x) − y*(x)‖² / d. Of the predictions D(x): `similarity` to the most similar
    training image, and `similarity_val` to the most similar of equally many validation images, cosine, the mean image
    subtracted; `lean`, the first less the second;
    `first` and `second`, the distances to the two nearest training images; `near_train` and `near_val`, the distances
    to the nearest of equally many training and validation images.

    At the last noise level of the sampler the prediction is the sample: its last step goes there.

    Attributes:
        sigmas: noise levels, (S,), descending.
        values: by measure.
    """

    sigmas: Tensor
    values: Mapping[str, Tensor]

    def __getitem__(self, measure: str) -> Tensor:
        """The numbers of a measure, (S, n), float64."""
        if measure == "lean":
            return self["similarity"] - self["similarity_val"]
        return self.values[measure].double()

    def means(self, measure: str) -> list[Estimate]:
        """The mean over states at each noise level, shares where the measure is yes or no."""
        of = Estimate.share if measure == "inside" else Estimate.mean
        return [of(row > 0 if measure == "inside" else row) for row in self[measure]]

    @property
    def gap(self) -> list[GapTerms]:
        """The neighbour gap of the predictions at each noise level, not corrected for the luck of the split."""
        return [GapTerms(t.square(), v.square()) for t, v in zip(self["near_train"], self["near_val"])]


@dataclass(frozen=True)
class Place:
    """Where trajectories lie between noisy validation (0) and noisy training images (1); NaN where these are not apart.

    value: (S,); low, high: the 95 % interval.
    """

    value: Tensor
    low: Tensor
    high: Tensor

    def interval(self) -> Interval:
        """As plain numbers, where there is one: a window's, or a single noise level's."""
        return Interval(*(end.item() for end in (self.value, self.low, self.high)))


def place(
    found: Mapping[str, Passage],
    measure: str = "similarity",
    *,
    levels: Tensor | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Place:
    """p(σ) = (s_trajectory − s_val) / (s_train − s_val), s the mean of a measure over states.

    The interval is the percentile interval of a bootstrap that draws states of each part anew, the same for all σ.
    Where it leaves open whether s_train and s_val differ at all, p has no meaning and is NaN.

    Args:
        found: passages by `PARTS`, see `diffgen.along.passages`.
        measure: of a `Passage`; the logarithm is taken of distances and concentrations, which span decades.
        levels: which noise levels, (S,) boolean, to sum numerator and denominator over, for one p, (1,), of a window;
            None gives each level its own.
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    return _around(*_drawn(found, measure, levels, draws, seed))


def place_change(
    after: Mapping[str, Passage],
    before: Mapping[str, Passage],
    measure: str = "lean",
    *,
    levels: Tensor,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """How far p, see `place`, moved between passages whose states belong together row by row: of the same images, and
    from the same noise.

    The bootstrap draws the same rows of both, so what they share cancels. NaN where either p has no meaning.

    Args:
        after, before: passages by `PARTS`.
        measure: of a `Passage`. By default the lean: a clearer prediction is more similar to any image, of either
            split, and this cancels in it.
        levels, draws, seed: as of `place`.

    Raises:
        ValueError: not equally many states.
    """
    for part in PARTS:
        rows = [found[part][measure].shape[1] for found in (after, before)]
        if rows[0] != rows[1]:
            raise ValueError(f"{part} has {rows[0]} states after and {rows[1]} before: pairs need equally many")
    (to, drawn_to, sure_to), (of, drawn_of, sure_of) = (
        _drawn(found, measure, levels, draws, seed) for found in (after, before)
    )
    return _around(to - of, drawn_to - drawn_of, sure_to & sure_of).interval()


def _around(value: Tensor, drawn: Tensor, sure: Tensor) -> Place:
    """A value and its percentile interval, NaN where it has no meaning."""
    low, high = tails(drawn)
    return Place(*(torch.where(sure, x, torch.nan) for x in (value, low.minimum(value), high.maximum(value))))


def _drawn(
    found: Mapping[str, Passage], measure: str, levels: Tensor | None, draws: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """p, that of states drawn anew (draws, S), and whether training and validation are told apart, (S,)."""
    means, drawn, random = {}, {}, generator(seed)
    for part in PARTS:
        values = found[part][measure]
        values = values.clamp(min=1e-12).log() if measure in ("distance", "concentration") else values
        picks = torch.randint(values.shape[1], (draws, values.shape[1]), generator=random)
        counts = torch.zeros(draws, values.shape[1], dtype=torch.float64)
        counts.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.float64))
        means[part], drawn[part] = values.mean(1), counts @ values.T / values.shape[1]
        if levels is not None:
            means[part] = means[part][levels].sum(0, keepdim=True)
            drawn[part] = drawn[part][:, levels].sum(1, keepdim=True)
    apart = drawn["train"] - drawn["val"]
    sure = torch.stack(tails(apart)).sign().sum(0).abs() == 2
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
