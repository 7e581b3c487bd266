"""The denoising error of any denoiser per image and noise level, and the relative generalization gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.data.split import Points
from diffgen.denoiser import Denoiser
from diffgen.loss import Norm, row_error
from diffgen.metrics.estimate import Estimate
from diffgen.rng import generator

IMAGES_AT_ONCE = 64
"""Images that share one noise stream. Fixed, so that an image's noise depends on its place and the seed alone."""


def device_of(denoiser: Denoiser, default: torch.device) -> torch.device:
    """Where the denoiser computes: the device of its first parameter or buffer, or the default if it has none."""
    if isinstance(denoiser, torch.nn.Module):
        for tensor in (*denoiser.parameters(), *denoiser.buffers()):
            return tensor.device
    return default


def fixed_noise(x: Tensor, draws: int, seed: int, first: int) -> Tensor:
    """The noise of up to `IMAGES_AT_ONCE` images from place `first` on, (len(x), draws, *), N(0, I).

    It is the same for every σ, denoiser and split, so that differences between them are not differences in noise.
    """
    shape = (IMAGES_AT_ONCE, draws, *x.shape[1:])
    return torch.randn(shape, generator=generator(seed, first // IMAGES_AT_ONCE))[: len(x)].to(x.dtype)


@torch.no_grad()
def denoising_error(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    labels: Tensor | None = None,
    draws: int = 1,
    norm: Norm = "mse",
    seed: int = 0,
    batch_size: int = 512,
    progress: bool = False,
) -> Tensor:
    """E_i(σ): the error of D(y_i + σ n_i; σ) for each noise level and each image, with one fixed noise n_i per image.

    "mse" is ‖D − y‖² / d, "l2" is ‖D − y‖, "psnr" is in dB for data in [−1, 1]; averaged over the draws.

    Args:
        denoiser: D. It is called on its own device and left in its own mode (`eval()` is the caller's).
        x: clean data y, (N, *).
        sigmas: noise levels, (S,), positive.
        labels: classes, (N,), or None.
        draws: noise draws an image.
        norm: "mse", "l2" or "psnr".
        seed: of the noise. Image i of any split gets the noise of place i.
        batch_size: rows a call of the denoiser; it changes memory and speed, not the result.
        progress: show a bar.

    Returns:
        (S, N), on the CPU. Memory beyond it does not grow with N.

    Raises:
        ValueError: no noise level, draws < 1, or an unknown norm.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, E_D(σ).
    """
    sigmas = torch.as_tensor(sigmas, dtype=torch.float64).flatten()
    if not len(sigmas):
        raise ValueError("sigmas is empty: give at least one noise level, see log_sigmas(n)")
    if draws < 1:
        raise ValueError(f"draws is {draws}: take at least one noise an image")
    device = device_of(denoiser, x.device)
    errors = torch.empty(len(sigmas), len(x), dtype=x.dtype)
    starts = range(0, len(x), IMAGES_AT_ONCE)
    for first in tqdm(starts, desc="denoising error", unit_scale=IMAGES_AT_ONCE, unit="image", disable=not progress):
        part = slice(first, first + IMAGES_AT_ONCE)
        y = x[part].unsqueeze(1).to(device)
        n = fixed_noise(x[part], draws, seed, first).to(device)
        for at in torch.arange(len(sigmas)).split(max(1, batch_size // (len(y) * draws))):
            levels = sigmas[at]
            rows = (len(levels), len(y), draws)
            noisy = y + levels.to(device, x.dtype).reshape(-1, *[1] * n.ndim) * n
            level = levels.to(device).reshape(-1, 1, 1).expand(rows).flatten()
            label = None if labels is None else labels[part].to(device).reshape(1, -1, 1).expand(rows).flatten()
            denoised = denoiser(noisy.flatten(0, 2), level, label)
            error = row_error(denoised, y.expand(noisy.shape).flatten(0, 2), norm).reshape(rows).mean(2)
            errors[at, part] = error.cpu()
    return errors


@dataclass(frozen=True, eq=False)
class GapCurve:
    """G(σ) = (E_val(σ) − E_train(σ)) / E_train(σ), with the per-image errors that it came from.

    Attributes:
        sigmas: noise levels, (S,).
        train_errors: (S, N_train).
        val_errors: (S, N_val).
    """

    sigmas: Tensor
    train_errors: Tensor
    val_errors: Tensor

    @property
    def n(self) -> int:
        """Images in the smaller of the two splits."""
        return min(self.train_errors.shape[1], self.val_errors.shape[1])

    @property
    def train(self) -> Tensor:
        """E_train(σ), (S,), float64."""
        return self.train_errors.double().mean(1)

    @property
    def val(self) -> Tensor:
        """E_val(σ), (S,), float64."""
        return self.val_errors.double().mean(1)

    @property
    def gap(self) -> Tensor:
        """G(σ), (S,)."""
        return self.val / self.train - 1

    @property
    def influence(self) -> Tensor:
        """What each image contributes to the error of G(σ), (S, max(N_train, N_val)): independent terms of mean 0.

        To first order G − E[G] = Σ_i u_i, u_i = (v_i − V) / (T N_val) − (V/T) (t_i − T) / (T N_train). Place i holds
        the i-th image of both splits, for these share their noise and are not independent. Curves over the same images
        have their influences in the same places, so differences and averages of G have the same sums of u.
        """
        train, val = self.train_errors.double(), self.val_errors.double()
        (t, v), ratio = (self.train[:, None], self.val[:, None]), (self.val / self.train)[:, None]
        u = torch.zeros(len(self.sigmas), max(train.shape[1], val.shape[1]), dtype=torch.float64)
        u[:, : val.shape[1]] += (val - v) / (t * val.shape[1])
        u[:, : train.shape[1]] -= ratio * (train - t) / (t * train.shape[1])
        return u

    @property
    def stderr(self) -> Tensor:
        """The standard error of G(σ), (S,): √(Σ_i u_i² n / (n − 1)), the delta method for a ratio of means."""
        if self.n < 2:
            return torch.full((len(self.sigmas),), float("nan"), dtype=torch.float64)
        return (self.influence.square().sum(1) * self.n / (self.n - 1)).sqrt()

    def at(self, sigma: float) -> Estimate:
        """G at the noise level of the grid nearest to `sigma` (in log σ)."""
        i = int((self.sigmas.double().log() - math.log(sigma)).abs().argmin())
        return Estimate(self.gap[i], self.stderr[i], self.n)

    @property
    def peak(self) -> Estimate:
        """The largest G on the grid, with the standard error of G there."""
        return self.at(self.peak_sigma)

    @property
    def peak_sigma(self) -> float:
        """Where on the grid G is largest."""
        return float(self.sigmas[self.gap.argmax()])


def difference(a: GapCurve, b: GapCurve) -> tuple[Tensor, Tensor]:
    """G_a(σ) − G_b(σ) of two denoisers on the same images, and its standard error, each (S,).

    What the images contribute to both errors cancels: the standard error is that of Σ_i (u_i^a − u_i^b), see
    `GapCurve.influence`, and usually much smaller than that of either gap.

    Raises:
        ValueError: the curves are not over equally many images and noise levels.
    """
    u, w = a.influence, b.influence
    if u.shape != w.shape:
        raise ValueError("the curves have other images or noise levels: evaluate both with the same arguments")
    return a.gap - b.gap, ((u - w).square().sum(1) * a.n / (a.n - 1)).sqrt()


def bootstrap(curves: Sequence[GapCurve], *, draws: int = 1000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Resample the images of curves over the same images: what E_train and E_val could have been, by chance.

    Places are drawn with replacement, the same ones for every curve and noise level, so the spread of any function of
    the result (a peak's height or place, a difference between snapshots) is its own. Place i holds the i-th image of
    both splits, for these share their noise.

    Args:
        curves: C curves over the same images and noise levels.
        draws: how many times to resample.
        seed: of the resampling.

    Returns:
        E_train and E_val, each (draws, C, S). G is their ratio less 1.

    Source: Efron 1979, *Bootstrap Methods: Another Look at the Jackknife*.
    """
    errors = [torch.stack([getattr(c, part).double() for c in curves]) for part in ("train_errors", "val_errors")]
    places = max(e.shape[2] for e in errors)
    picks = torch.randint(places, (draws, places), generator=generator(seed))
    counts = torch.zeros(draws, places, dtype=torch.float64).scatter_add_(1, picks, torch.ones(draws, places).double())
    weights = [counts[:, : e.shape[2]] for e in errors]
    train, val = (torch.einsum("bn,csn->bcs", w / w.sum(1, keepdim=True), e) for w, e in zip(weights, errors))
    return train, val


def generalization_gap(
    denoiser: Denoiser,
    train: Points | Tensor,
    val: Points | Tensor,
    sigmas: Tensor,
    *,
    draws: int = 1,
    norm: Norm = "mse",
    seed: int = 0,
    batch_size: int = 512,
    progress: bool = False,
) -> GapCurve:
    """The relative generalization gap G(σ) = (E_val(σ) − E_train(σ)) / E_train(σ) of a denoiser, with standard errors.

    Args:
        denoiser: D.
        train: training data: points with labels, as a `Split` holds them, or a tensor (N, *).
        val: validation data, of any number.
        sigmas: noise levels, (S,).
        draws: noise draws an image.
        norm: "mse", or "l2" as in the toy model.
        seed: of the noise, which the i-th images of both splits share.
        batch_size: rows a call of the denoiser.
        progress: show a bar.

    Returns:
        A `GapCurve`: .sigmas, .train, .val, .gap, .stderr, .n, .peak.

    Raises:
        ValueError: an empty split, and what `denoising_error` raises.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419.
    """
    errors = []
    for name, split in (("train", train), ("val", val)):
        x, labels = (split, None) if isinstance(split, Tensor) else (split.x, split.labels)
        if not len(x):
            raise ValueError(f"{name} is empty: a gap compares two splits of one or more points")
        errors.append(
            denoising_error(
                denoiser, x, sigmas, labels=labels, draws=draws, norm=norm, seed=seed, batch_size=batch_size,
                progress=progress,
            )
        )  # fmt: skip
    return GapCurve(torch.as_tensor(sigmas), *errors)


def adjusted(curve: GapCurve, reference: GapCurve) -> GapCurve:
    """The gap without what chance put into the two splits: a control variate for the per-image errors.

    e'_i = e_i − β (r_i − R̄), with r_i the error of a *reference denoiser* on the same image with the same noise, R̄ its
    mean over both splits, β(σ) the slope of e on r within them. An image that is hard for the reference is hard
    for the denoiser, so most of the spread of e, and most of the luck of the draw between the splits, is in r.

    G of the result is [(E_val − E_train) − β (R_val − R_train)] / E'_train. The denominator, too, is adjusted: E'_train
    estimates the same mean as E_train with less noise.

    The reference must have seen neither split. One fitted to the training split has a gap of its own, which would be
    subtracted from the one that is measured.

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
    covariance = sum((e * r).sum(1) for e, r in zip(errors, centred))
    slope = (covariance / sum(r.square().sum(1) for r in centred))[:, None].nan_to_num()
    mean = torch.cat(references, 1).mean(1, keepdim=True)
    return GapCurve(curve.sigmas, *(e - slope * (r - mean) for e, r in zip(errors, references)))
