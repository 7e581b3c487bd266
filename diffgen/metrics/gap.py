"""The denoising error of any denoiser per image and noise level, and the relative generalization gap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.data.split import Points
from diffgen.denoiser import Denoiser, device_of
from diffgen.features import FeatureMap
from diffgen.loss import Norm, row_error
from diffgen.metrics.estimate import Estimate
from diffgen.rng import generator

IMAGES_AT_ONCE = 64
"""Images that share one noise stream. Fixed, so that an image's noise depends on its index and the seed alone."""


def fixed_noise(x: Tensor, draws: int, seed: int, first: int) -> Tensor:
    """The noise of up to `IMAGES_AT_ONCE` images from index `first` on, (len(x), draws, *), N(0, I).

    It is the same for every σ, denoiser and split, so that differences between them are not differences in noise.
    """
    shape = (IMAGES_AT_ONCE, draws, *x.shape[1:])
    return torch.randn(shape, generator=generator(seed, first // IMAGES_AT_ONCE))[: len(x)].to(x.dtype)


def predictions(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    labels: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 512,
    progress: bool = False,
) -> Iterator[tuple[Tensor, slice, Tensor]]:
    """D(y_i + σ n_i; σ) for each noise level and each image, with one fixed noise n_i per image, part by part.

    The arguments are those of `denoising_error`. Memory does not grow with N.

    Yields:
        Which noise levels, (L,), indices; which images, a slice of n; and their denoised images, (L, n, draws, *), on
        the device of the denoiser.
    """
    sigmas = torch.as_tensor(sigmas, dtype=torch.float64).flatten()
    if not len(sigmas):
        raise ValueError("sigmas is empty: give at least one noise level, see log_sigmas(n)")
    if draws < 1:
        raise ValueError(f"draws is {draws}: take at least one noise an image")
    device = device_of(denoiser, x.device)
    starts = range(0, len(x), IMAGES_AT_ONCE)
    for first in tqdm(starts, desc="denoising error", unit_scale=IMAGES_AT_ONCE, unit="image", disable=not progress):
        part = slice(first, first + IMAGES_AT_ONCE)
        y = x[part].unsqueeze(1).to(device)
        n = fixed_noise(x[part], draws, seed, first).to(device)
        for at in torch.arange(len(sigmas)).split(max(1, batch_size // (len(y) * draws))):
            levels = sigmas[at].to(device, x.dtype)
            rows = (len(levels), len(y), draws)
            noisy = y + levels.reshape(-1, *[1] * n.ndim) * n
            level = levels.reshape(-1, 1, 1).expand(rows).flatten()
            label = None if labels is None else labels[part].to(device).reshape(1, -1, 1).expand(rows).flatten()
            flat = noisy.flatten(0, 2).split(batch_size)
            given = zip(flat, level.split(batch_size), [None] * len(flat) if label is None else label.split(batch_size))
            yield at, part, torch.cat([denoiser(*rows) for rows in given]).reshape(noisy.shape)


@torch.no_grad()
def denoising_error(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    labels: Tensor | None = None,
    draws: int = 1,
    norm: Norm = "mse",
    features: FeatureMap | None = None,
    seed: int = 0,
    batch_size: int = 512,
    progress: bool = False,
) -> Tensor:
    """E_i(σ): the error of D(y_i + σ n_i; σ) for each noise level and each image, with one fixed noise n_i per image.

    "mse" is ‖D − y‖² / d, "l2" is ‖D − y‖, "psnr" is in dB for data in [−1, 1]; averaged over the draws. In a feature
    space it is ‖φ(D) − φ(y)‖² / F, and "l2" likewise.

    Everything is computed in the dtype of x, float32 for the images of this package, whatever precision the training
    used. Evaluated in bfloat16, the gap of the standard U-Net's last snapshot differed by up to 0.06 of its standard
    error (256 images a split); but once it is adjusted by a reference, its standard error is up to ten times smaller.

    Args:
        denoiser: D. It is called on its own device and left in its own mode (`eval()` is the caller's).
        x: clean data y, (N, *).
        sigmas: noise levels, (S,), positive.
        labels: classes, (N,), or None.
        draws: noise draws an image.
        norm: "mse", "l2" or "psnr".
        features: φ, (B, *) → (B, F), in which errors are measured, for example `diffgen.features.classifier_features`;
            None measures them in the data space itself.
        seed: of the noise. Image i of any split gets the noise of index i.
        batch_size: rows a call of the denoiser at most; it changes memory and speed, not the result.
        progress: show a bar.

    Returns:
        (S, N), on the CPU. Memory beyond it does not grow with N. All but the denoiser takes 0.1 % of the time, so
        there is nothing to gain from evaluating several snapshots in one pass over the images.

    Raises:
        ValueError: no noise level, draws < 1, an unknown norm, or "psnr" with features.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, E_D(σ).
    """
    if features and norm == "psnr":
        raise ValueError("norm is 'psnr' with features: it is defined for pixels in [-1, 1], take 'mse' or 'l2'")
    errors = torch.empty(torch.as_tensor(sigmas).numel(), len(x), dtype=x.dtype)
    parts = predictions(
        denoiser, x, sigmas, labels=labels, draws=draws, seed=seed, batch_size=batch_size, progress=progress
    )
    for at, part, denoised in parts:
        rows, y = denoised.shape[:3], x[part].to(denoised.device)
        estimate, target = denoised.flatten(0, 2), y
        if features:
            estimate, target = features(estimate), features(y)
        target = target.unsqueeze(1).expand(*rows, *target.shape[1:]).flatten(0, 2)
        errors[at, part] = row_error(estimate, target, norm).reshape(rows).mean(2).to("cpu", x.dtype)
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

        To first order G − E[G] = Σ_i u_i, u_i = (v_i − V) / (T N_val) − (V/T) (t_i − T) / (T N_train). Row i holds
        the i-th image of both splits, for these share their noise and are not independent. Curves over the same images
        have their influences in the same columns, so differences and averages of G have the same sums of u.
        """
        train, val = self.train_errors.double(), self.val_errors.double()
        (t, v), ratio = (self.train[:, None], self.val[:, None]), (self.val / self.train)[:, None]
        u = torch.zeros(len(self.sigmas), max(train.shape[1], val.shape[1]), dtype=torch.float64)
        u[:, : val.shape[1]] += (val - v) / (t * val.shape[1])
        u[:, : train.shape[1]] -= ratio * (train - t) / (t * train.shape[1])
        return u

    @property
    def stderr(self) -> Tensor:
        """The standard error of G(σ), (S,): √(Σ_i u_i² n / (n − 1)), the delta method for a ratio of means.

        It takes the images of both splits as drawn from one distribution. So G ± 1.96 stderr is a 95 % interval

        - for the gap of this denoiser, however large, between the population and its own training set, if the images
          evaluated are a small part of that set. If they are all of it, only their noise is left to chance and the
          interval is wider than need be;
        - to first order, for the gap in expectation over splits, E[E_val] / E[E_train] − 1, of a denoiser fitted to
          each: it minimizes the mean error of its training images, so its dependence on any of them cancels. To
          second order the fits differ, which shows in no image's error, only in training again.

        In the Gaussian model of the tests it covers 95 % of the first and 94 % of the second; adjusted by a reference
        (`control_variate_adjusted`), whose intervals are much shorter, 95 % of the first and 91 to 94 % of the second.
        """
        if self.n < 2:
            return torch.full((len(self.sigmas),), float("nan"), dtype=torch.float64)
        return (self.influence.square().sum(1) * self.n / (self.n - 1)).sqrt()

    def at(self, sigma: float) -> Estimate:
        """G at the noise level of the grid nearest to `sigma` (in log σ)."""
        i = self.index(sigma)
        return Estimate(self.gap[i], self.stderr[i], self.n)

    def index(self, sigma: float) -> int:
        """The index on the grid of the noise level nearest to `sigma` (in log σ)."""
        return int((self.sigmas.double().log() - math.log(sigma)).abs().argmin())

    @property
    def peak(self) -> Estimate:
        """The largest G on the grid, with the standard error of G there."""
        return self.at(self.peak_sigma)

    @property
    def peak_sigma(self) -> float:
        """Where on the grid G is largest."""
        return float(self.sigmas[self.gap.argmax()])


def paired_difference(a: GapCurve, b: GapCurve) -> tuple[Tensor, Tensor]:
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


def paired_difference_at(a: GapCurve, b: GapCurve, sigma: float) -> Estimate:
    """The `paired_difference` of two gaps at the noise level of the grid nearest to `sigma` (in log σ)."""
    (gap, stderr), i = paired_difference(a, b), a.index(sigma)
    return Estimate(gap[i], stderr[i], a.n)


def relative_error_change(a: GapCurve, b: GapCurve, sigma: float) -> Estimate:
    """By what share a's validation error is larger than b's, (E_val,a − E_val,b) / E_val,b, over the same images.

    At the noise level of the grid nearest to `sigma` (in log σ). The error is that of pairs; E_val,b is taken as known.
    """
    i = a.index(sigma)
    before = b.val_errors[i].double()
    return Estimate.mean((a.val_errors[i].double() - before) / before.mean())


def generalization_gap(
    denoiser: Denoiser,
    train: Points | Tensor,
    val: Points | Tensor,
    sigmas: Tensor,
    *,
    draws: int = 1,
    norm: Norm = "mse",
    features: FeatureMap | None = None,
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
        features: φ, in which errors are measured; None is the data space itself. See `denoising_error`.
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
                denoiser, x, sigmas, labels=labels, draws=draws, norm=norm, features=features, seed=seed,
                batch_size=batch_size, progress=progress,
            )
        )  # fmt: skip
    return GapCurve(torch.as_tensor(sigmas), *errors)
