"""Fréchet distance of one-step reconstructions to the images that they reconstruct."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffgen.data.split import Points
from diffgen.denoiser import Denoiser
from diffgen.features import FeatureMap, classifier_features
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import frechet_distance
from diffgen.metrics.gap import predictions
from diffgen.rng import generator


@dataclass(frozen=True, eq=False)
class ReconstructionCurve:
    """rFD(σ) of both splits, and of both with their images drawn anew (bootstrap), the same places in both.

    Attributes:
        sigmas: noise levels, (S,).
        train, val: rFD, (S,), float64, in squared units of the features.
        train_draws, val_draws: (R, S).
        n: images a split.
    """

    sigmas: Tensor
    train: Tensor
    val: Tensor
    train_draws: Tensor
    val_draws: Tensor
    n: int

    @property
    def train_stderr(self) -> Tensor:
        """The standard error of `train`, (S,)."""
        return self.train_draws.std(0)

    @property
    def val_stderr(self) -> Tensor:
        """The standard error of `val`, (S,)."""
        return self.val_draws.std(0)

    @property
    def gap(self) -> Tensor:
        """rFD_val / rFD_train − 1, (S,)."""
        return self.val / self.train - 1

    @property
    def stderr(self) -> Tensor:
        """The standard error of `gap`, (S,)."""
        return (self.val_draws / self.train_draws).std(0)

    def at(self, sigma: float) -> Estimate:
        """The gap at the noise level of the grid nearest to `sigma` (in log σ)."""
        i = int((self.sigmas.double().log() - math.log(sigma)).abs().argmin())
        return Estimate(self.gap[i], self.stderr[i], self.n)

    @property
    def peak_sigma(self) -> float:
        """Where on the grid the gap is largest."""
        return float(self.sigmas[self.gap.argmax()])

    @property
    def peak(self) -> Estimate:
        """The largest gap on the grid, with the standard error there."""
        return self.at(self.peak_sigma)

    def minus(self, other: ReconstructionCurve) -> list[Estimate]:
        """The difference of two gaps over the same images at each noise level; what the images do to both cancels."""
        apart = (self.val_draws / self.train_draws - other.val_draws / other.train_draws).std(0)
        return [Estimate(gap, stderr, self.n) for gap, stderr in zip(self.gap - other.gap, apart)]


@torch.no_grad()
def reconstruction_distance(
    denoiser: Denoiser,
    train: Points,
    val: Points,
    sigmas: Tensor,
    *,
    features: FeatureMap = classifier_features,
    n_resamples: int = 50,
    seed: int = 0,
    batch_size: int = 512,
) -> ReconstructionCurve:
    """rFD(σ): the Fréchet distance between φ(D(y + σ n; σ)) and φ(y) over the images y of a split, for both splits.

    With the features of an Inception network it is the rFID, of DINOv2 the rFDD. Unlike the mean error it forgives
    what leaves the distribution as it is; like every Fréchet distance of few images it is biased upwards, and so by
    equal numbers of images only: both splits are cut to the size of the smaller. The noise of an image is that of
    `denoising_error`, the same for all σ and in both splits.

    Standard errors come from drawing the images, with their reconstructions, anew with replacement. Drawn images occur
    several times, so drawn distances lie above the estimate: their spread is used, not their place. Cost: 2 S (1 +
    n_resamples) Fréchet distances; memory grows with N times the number of features, for one noise level at a time.

    Args:
        denoiser: D.
        train: training points.
        val: validation points.
        sigmas: noise levels, (S,).
        features: φ, (B, *) → (B, F), the bundled classifier's by default. Take N well above F.
        n_resamples: bootstrap samples.
        seed: of the noise and of the bootstrap.
        batch_size: rows a call of the denoiser.

    Returns:
        `ReconstructionCurve`: .train .val .train_stderr .val_stderr .gap .stderr .n.

    Raises:
        ValueError: fewer than two images in a split, `n_resamples` below two, and what `denoising_error` raises.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419, the rFID and rFDD of one-step reconstructions.
    """
    n = min(len(train), len(val))
    if n < 2:
        raise ValueError(f"the smaller split has {n} images: a Fréchet distance needs two or more in each")
    if n_resamples < 2:
        raise ValueError(f"n_resamples is {n_resamples}: a standard error needs two or more")
    sigmas = torch.as_tensor(sigmas)
    picks = torch.randint(n, (n_resamples, n), generator=generator(seed, n))
    distances = []
    for points in (train[:n], val[:n]):
        of_images = torch.cat([features(rows) for rows in points.x.split(batch_size)])
        for sigma in sigmas.flatten():
            parts = predictions(denoiser, points.x, sigma, labels=points.labels, seed=seed, batch_size=batch_size)
            rebuilt = torch.cat([features(denoised.flatten(0, 2)).to(of_images.device) for _, _, denoised in parts])
            draws = [frechet_distance(rebuilt[pick], of_images[pick]) for pick in picks]
            distances.append([frechet_distance(rebuilt, of_images), *draws])
    train_all, val_all = torch.tensor(distances, dtype=torch.float64).reshape(2, -1, 1 + n_resamples)
    return ReconstructionCurve(sigmas, train_all[:, 0], val_all[:, 0], train_all[:, 1:].T, val_all[:, 1:].T, n)
