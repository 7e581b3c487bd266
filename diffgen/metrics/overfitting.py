"""What curves of the gap say about memory: that it grows, that it is a bump, and where overfitting starts.

Each is one number with an interval, so that it can be asked of a network, of a control and of a null alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffgen.metrics.bootstrap import bootstrap_interval
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.gap import GapCurve, paired_difference_at


def exchanged(curve: GapCurve) -> GapCurve:
    """The curve with the two splits in each other's role: what is called the training set was never trained on.

    A control for whatever is claimed of memory: it is of the other set.
    """
    return GapCurve(curve.sigmas, curve.val_errors, curve.train_errors)


def growth(curves: Sequence[GapCurve], sigma: float) -> Estimate:
    """G of the last curve less that of the first, at a noise level: over the same images, so in pairs.

    Args:
        curves: of snapshots of a run in the order of training, over the same images and noise levels.
        sigma: the noise level; that of the grid that is nearest is taken.
    """
    return paired_difference_at(curves[-1], curves[0], sigma)


def ends_over_peak(
    curve: GapCurve, ends: tuple[int, int] = (0, -1), *, n_resamples: int = 1000, seed: int = 0
) -> Interval:
    """The larger |G| of two noise levels over the largest G: below 1/2 the gap is a bump between them.

    max(|G(σ_a)|, |G(σ_b)|) / max_σ G(σ)

    Args:
        curve: of a denoiser.
        ends: indices a and b of noise levels; by default the ends of the grid.
        n_resamples, seed: of the bootstrap over images.
    """

    def ratio(train: Tensor, val: Tensor) -> Tensor:
        gap = (val / train - 1)[:, -1]
        return gap[:, list(ends)].abs().amax(1) / gap.amax(1)

    return bootstrap_interval(ratio, [curve], n_resamples=n_resamples, seed=seed)


def onset_lead(
    curves: Sequence[GapCurve],
    images_seen: Sequence[int],
    middle: int,
    ends: tuple[int, int] = (0, -1),
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """By how much earlier overfitting starts at one noise level than at two others, in ln of the images seen.

    min_e ln t(σ_e) − ln t(σ_m), with t(σ) the images seen at which E_val(σ) is smallest, its overfit onset. Where
    E_val still falls at the last snapshot, t is that snapshot: the onset has not come, and the number is a lower bound;
    where it has come at none of the levels the number is 0 and says nothing.

    Args:
        curves: of snapshots in the order of training, over the same images and noise levels.
        images_seen: by each of them.
        middle: index of the noise level m, such as that of the peak.
        ends: indices e.
        n_resamples, seed: of the bootstrap over images.
    """
    times = torch.tensor(images_seen, dtype=torch.float64).log()

    def lead(_: Tensor, val: Tensor) -> Tensor:
        onset = times[val.argmin(1)]
        return onset[:, list(ends)].amin(1) - onset[:, middle]

    return bootstrap_interval(lead, curves, n_resamples=n_resamples, seed=seed)
