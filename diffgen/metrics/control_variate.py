"""The gap with less sampling variability: a reference denoiser that saw neither split, as a control variate."""

from __future__ import annotations

import torch

from diffgen.metrics.gap import GapCurve


def control_variate_adjusted(curve: GapCurve, *references: GapCurve) -> GapCurve:
    """The gap without what chance put into the two splits: a control variate for the per-image errors.

    e'_i = e_i − β (r_i − R̄), with r_i the error of a *reference denoiser* on the same image with the same noise, R̄ its
    mean over both splits, β(σ) the slope of e on r within them. An image that is hard for the reference is hard
    for the denoiser, so most of the spread of e, and most of what the draw of the two splits does to G, is in r.

    G of the result is [(E_val − E_train) − β (R_val − R_train)] / E'_train. The denominator, too, is adjusted: E'_train
    estimates the same mean as E_train with less noise.

    Several references count together: β r is Σ_k β_k r_k, with the slopes of the regression on all of them. So the luck
    that is left when a reference knows no labels is taken out by a second one that knows them.

    A reference must have seen neither split. One fitted to the training split has a gap of its own, which would be
    subtracted from the one that is measured. Fit it to `Split.holdout`: a Wiener filter, `GaussianDenoiser.fit`, for
    next to nothing, or a small network, see `diffgen.experiments.reference_curve`. With the last snapshot of the preset
    quick, the same standard error took 1.6 times fewer evaluations with the one and 8.8 with the other, 6 once the
    reference's own are counted (`benchmarks/gap.py`, median over σ from 0.05 to 5). A quarter of the way it was 6.3,
    and 1.4 at 2,048 images seen: what a network has not learned yet, the reference does not share.

    Args:
        curve: of the denoiser.
        references: of reference denoisers, one or more, with the same images, noise levels, draws, norm and seed.

    Returns:
        A `GapCurve` of the adjusted errors.

    Raises:
        ValueError: no reference, or curves that are not over the same images and noise levels.

    Source: Deng et al. 2013, *Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment
    Data* (CUPED).
    """
    parts = ("train_errors", "val_errors")
    if not references:
        raise ValueError("references is empty: give the curve of one reference denoiser or more")
    if any(getattr(curve, part).shape != getattr(other, part).shape for part in parts for other in references):
        raise ValueError("reference has other images or noise levels than curve: evaluate both with the same arguments")
    errors = [getattr(curve, part).double() for part in parts]
    r = [torch.stack([getattr(other, part).double() for other in references], 1) for part in parts]  # (S, K, N)
    centred = [of - of.mean(2, keepdim=True) for of in r]
    covariance = torch.stack([(of @ e[:, :, None])[:, :, 0] for e, of in zip(errors, centred)]).sum(0)
    variance = torch.stack([of @ of.mT for of in centred]).sum(0)
    slopes = torch.einsum("skl,sl->sk", torch.linalg.pinv(variance, hermitian=True), covariance)
    mean = torch.cat(r, 2).mean(2, keepdim=True)
    adjusted = (e - torch.einsum("sk,skn->sn", slopes, of - mean) for e, of in zip(errors, r))
    return GapCurve(curve.sigmas, *adjusted)
