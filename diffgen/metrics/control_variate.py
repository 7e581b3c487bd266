"""The gap with less sampling variability: a reference denoiser that saw neither split, as a control variate."""

from __future__ import annotations

import torch

from diffgen.metrics.gap import GapCurve


def control_variate_adjusted(curve: GapCurve, reference: GapCurve) -> GapCurve:
    """The gap without what chance put into the two splits: a control variate for the per-image errors.

    e'_i = e_i − β (r_i − R̄), with r_i the error of a *reference denoiser* on the same image with the same noise, R̄ its
    mean over both splits, β(σ) the slope of e on r within them. An image that is hard for the reference is hard
    for the denoiser, so most of the spread of e, and most of what the draw of the two splits does to G, is in r.

    G of the result is [(E_val − E_train) − β (R_val − R_train)] / E'_train. The denominator, too, is adjusted: E'_train
    estimates the same mean as E_train with less noise.

    The reference must have seen neither split. One fitted to the training split has a gap of its own, which would be
    subtracted from the one that is measured. Fit it to `Split.holdout`: a Wiener filter, `GaussianDenoiser.fit`, for
    next to nothing, or a small network, see `diffgen.experiments.reference_curve`. With the last snapshot of the preset
    quick, the same standard error took 1.6 times fewer evaluations with the one and 8.8 with the other, 6 once the
    reference's own are counted (`benchmarks/gap.py`, median over σ from 0.05 to 5). A quarter of the way it was 6.3,
    and 1.4 at 2,048 images seen: what a network has not learned yet, the reference does not share.

    Args:
        curve: of the denoiser.
        reference: of the reference denoiser, with the same images, noise levels, draws, norm and seed.

    Returns:
        A `GapCurve` of the adjusted errors.

    Raises:
        ValueError: the curves are not over the same images and noise levels.

    Source: Deng et al. 2013, *Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment
    Data* (CUPED).
    """
    parts = ("train_errors", "val_errors")
    if any(getattr(curve, part).shape != getattr(reference, part).shape for part in parts):
        raise ValueError("reference has other images or noise levels than curve: evaluate both with the same arguments")
    errors = [getattr(curve, part).double() for part in parts]
    references = [getattr(reference, part).double() for part in parts]
    centred = [r - r.mean(1, keepdim=True) for r in references]
    covariance, variance = (
        torch.stack([(x * r).sum(1) for x, r in zip(of, centred)]).sum(0) for of in (errors, centred)
    )
    slope = (covariance / variance)[:, None].nan_to_num()
    mean = torch.cat(references, 1).mean(1, keepdim=True)
    return GapCurve(curve.sigmas, *(e - slope * (r - mean) for e, r in zip(errors, references)))
