"""Which mistake explains the errors of a denoiser best: each is undone, and the errors are compared image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.auditing.finding import Finding
from diffgen.auditing.hypotheses import FACTOR, factors, hypotheses
from diffgen.denoiser import Denoiser
from diffgen.metrics.estimate import Estimate

STEP = math.log(1.25)
"""σ is multiplied by 1 / 1.25, 1 and 1.25."""
IMAGES, MANY = 64, 256
"""How many images the hypotheses are tested on, and how many those of a factor, which change E by a few percent."""
SURE = 4.0
"""Standard errors from which on a difference is not chance: some sixty hypotheses are tested."""
NOWHERE_WORSE, GAIN = 0.1, -0.07
"""A mistake is undone if ln E rises at no level by more than the first, and falls on average by the second: correct
networks that are trained badly gain at some levels what they lose at others, up to 0.05. Mistakes cost 0.07 to 7."""
RESTORED, UNMISTAKABLE = 1.1, -0.5
"""Without its mistake a model has to be about as good as the Wiener filter: E at most the first times that filter's, on
average over the levels. Else ln E has to fall by the second, for networks that are hardly trained gain by all sorts of
changes: up to 0.25."""
OFF, AGREE, WORTH = 0.15, 0.75, -0.01
"""How far ln k must be from 0, at which share of the levels, and by how much E must fall, as a share of itself, for σ
to be off by a factor. On 256 images correct networks had up to 0.1, one whose time hardly matters 0.14; with σ off by
1.3 it was 0.16 to 0.23 (the parabola's estimate of 0.26), and E fell by 0.013 to 0.05."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A denoiser, clean data with one noise for each, and noise levels: every question is about the same noisy data.

    Attributes:
        denoiser: D. y: clean data, (N, *). n: noise, (N, *). labels: (N,) or None. sigmas: (S,). batch_size: rows a
            call.
    """

    denoiser: Denoiser
    y: Tensor
    n: Tensor
    labels: Tensor | None
    sigmas: Tensor
    batch_size: int

    def noisy(self, sigma: Tensor) -> Tensor:
        """y + σ n, (N, *)."""
        return self.y + sigma * self.n

    def denoised(self, x: Tensor, sigma: Tensor, *, by: Denoiser | None = None, labels: Tensor | None = None) -> Tensor:
        """D(x, σ), (N, *), by another denoiser or with other labels if they are given."""
        by, labels = by or self.denoiser, self.labels if labels is None else labels
        level, size = sigma.expand(len(x)), self.batch_size
        cut = [slice(start, start + size) for start in range(0, len(x), size)]
        return torch.cat([by(x[i].clone(), level[i], None if labels is None else labels[i].clone()) for i in cut])

    def error(self, denoised: Tensor) -> Tensor:
        """‖D − y‖² / d, (N,), float64, on the CPU; infinite where D is not finite."""
        error = (denoised - self.y).flatten(1).double().square().mean(1)
        return error.nan_to_num(math.inf, math.inf).cpu()

    @cached_property
    def outputs(self) -> Tensor:
        """D(y + σ n, σ) at each level, (S, N, *)."""
        return torch.stack([self.denoised(self.noisy(sigma), sigma) for sigma in self.sigmas])

    @cached_property
    def errors(self) -> Tensor:
        """‖D − y‖² / d of each level and image, (S, N)."""
        return torch.stack([self.error(output) for output in self.outputs])

    def errors_of(self, denoiser: Denoiser | None = None, labels: Tensor | None = None) -> Tensor:
        """The errors of another denoiser, or with other labels, on the same noisy data, (S, N)."""
        parts = (self.denoised(self.noisy(sigma), sigma, by=denoiser, labels=labels) for sigma in self.sigmas)
        return torch.stack([self.error(part) for part in parts])

    def some(self, images: int | None = None, levels: Sequence[int] | None = None) -> Bench:
        """The first images and some levels."""
        sigmas = self.sigmas if levels is None else self.sigmas[list(levels)]
        labels = None if self.labels is None else self.labels[:images]
        return Bench(self.denoiser, self.y[:images], self.n[:images], labels, sigmas, self.batch_size)


@dataclass(frozen=True)
class Factor:
    """By which factor σ would have to be multiplied for the error to be least.

    Attributes:
        log_k: ln k of all levels together, with its error over images.
        agree: at which share of the levels it lies on that side of 0, by 0.08 or more.
        gain: how far E falls there, as a share of itself, on average over the levels; negative.
    """

    log_k: Estimate
    agree: float
    gain: float

    @property
    def off(self) -> bool:
        """Whether it differs from 1 by more than chance and bad training explain."""
        far = abs(self.log_k) > max(OFF, SURE * self.log_k.stderr)
        return far and self.agree >= AGREE and self.gain < WORTH

    @classmethod
    def of(cls, below: Tensor, here: Tensor, above: Tensor) -> Factor:
        """The minimum of a parabola in ln k through three errors of each image, each (S, N).

        Each level has a k of its own. Bad training moves them here and there, a wrong factor moves all of them alike.
        """
        weight = 1 / here.mean(1, keepdim=True)
        rise, bend = (above - below) * weight, (above - 2 * here + below) * weight
        told = (
            (bend.mean(1) > 0.01) & rise.isfinite().all(1) & bend.isfinite().all(1)
        )  # elsewhere E hardly depends on k
        if not bool(told.any()):
            return cls(Estimate(0, math.inf, here.shape[1]), 0.0, 0.0)
        rise, bend = rise[told], bend[told]
        each = -STEP * rise.mean(1) / (2 * bend.mean(1))
        r, b = rise.mean(0), bend.mean(0)
        log_k = max(-1.0, min(1.0, float(-STEP * r.mean() / (2 * b.mean()))))
        influence = (STEP * r + 2 * log_k * b) / (2 * b.mean())
        agree = ((each * log_k > 0) & (each.abs() > 0.08)).double().mean()
        gain = (r.mean() * log_k / STEP + b.mean() * (log_k / STEP) ** 2) / 2
        return cls(Estimate(log_k, influence.std() / len(r) ** 0.5, len(r)), float(agree), float(gain))


def diagnosis(bench: Bench, wiener: Denoiser, std: float, progress: bool = False) -> Finding:
    """The mistake that explains most, if one explains anything: E without it over E.

    Args:
        bench: the denoiser and the data, at levels where it is finite.
        wiener: the denoiser that a trained one is expected to equal at least.
        std: of the data.
        progress: show a bar.
    """
    few, many = bench.some(IMAGES), bench.some(MANY)
    own = bench.errors[:, :IMAGES]
    above_wiener = float((own.mean(1) / few.errors_of(wiener).mean(1)).log().mean())
    most = max(UNMISTAKABLE, math.log(RESTORED) - above_wiener)
    candidates: list[tuple[float, str, str]] = []
    for where, (below, above) in factors(bench.denoiser, std, math.exp(-STEP), math.exp(STEP)).items():
        factor = Factor.of(many.errors_of(below), bench.errors[:, :MANY], many.errors_of(above))
        if factor.off and factor.gain < most:
            words = f"σ were {math.exp(-factor.log_k):.2g} times what it should be{where}"
            words += "" if factor.log_k < 0 else "; a model that knows its training data by heart looks like that, too"
            candidates.append((factor.gain, FACTOR, words))
    for hypothesis in tqdm([*hypotheses(bench.denoiser, std)], desc="hypotheses", disable=not progress):
        gain = _gain(few, own, hypothesis.corrected)
        if gain < min(GAIN, most):
            candidates.append((gain, hypothesis.mistake, hypothesis.words))
    name = "error if the likely mistake is undone"
    if not candidates:
        return Finding(name, 1)
    gain, mistake, words = min(candidates)
    return Finding(name, math.exp(gain), "warning", f"it looks as if {words}", mistake)


def _gain(bench: Bench, own: Tensor, denoiser: Denoiser) -> float:
    """The mean change of ln E over the levels, and infinite as soon as one of them is worse: most are at once."""
    changes = []
    middle = len(bench.sigmas) // 2
    for i in sorted(range(len(bench.sigmas)), key=lambda i: abs(i - middle)):
        sigma = bench.sigmas[i]
        change = (bench.error(bench.denoised(bench.noisy(sigma), sigma, by=denoiser)).mean() / own[i].mean()).log()
        if not float(change) < NOWHERE_WORSE:
            return math.inf
        changes.append(float(change))
    return sum(changes) / len(changes)
