"""Denoisers made of denoisers: in chunks, guided, switched in a window of σ, with a restricted receptive field."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.denoiser import NO_LABEL, Denoiser, expand, expand_labels


class Unconditional(nn.Module):
    """A denoiser that ignores the labels: D(x; σ). As the guide of its own base it gives classifier-free guidance."""

    def __init__(self, base: Denoiser):
        super().__init__()
        self.base = base

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return base(x, σ) without labels."""
        return self.base(x, sigma)


class Chunked(nn.Module):
    """The same denoiser, called with at most `rows` rows at a time: it changes memory and speed, not the result.

    With it a whole set of samples follows its trajectories together, so that what concerns the set (a Fréchet distance
    of the one-step predictions, say) can be measured level by level: `for state in trajectory(Chunked(d), x, sigmas)`.

    Raises:
        ValueError: rows < 1.
    """

    def __init__(self, base: Denoiser, rows: int = 512):
        super().__init__()
        if rows < 1:
            raise ValueError(f"rows is {rows}: a batch has at least one")
        self.base, self.rows = base, rows

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return base(x, σ, labels), (B, *)."""
        if len(x) <= self.rows:
            return self.base(x, sigma, labels)
        parts = x.split(self.rows)
        sigmas = expand(sigma, x).flatten().split(self.rows)
        classes = [None] * len(parts) if labels is None else expand_labels(labels, x).split(self.rows)
        return torch.cat([self.base(*part) for part in zip(parts, sigmas, classes)])


class Guided(nn.Module):
    """Extrapolate from a guide to the main denoiser: D_w = D + w (D − D_guide).

    With the unconditional model as the guide this is classifier-free guidance: `Guided(d, Unconditional(d), w)` if one
    network was trained with label dropout, `Guided(d, other, w)` if another one never saw labels. With a worse model
    (an earlier snapshot, a smaller network) it is autoguidance. w = 0 is the main denoiser, and so is a guide that is
    the main denoiser, at any w.

    Cost: two evaluations a row inside the interval. Where both are one network, with and without labels, that is one
    call on main rows and guide rows together; a row outside the interval has no guide row.

    Args:
        main: D.
        guide: D_guide.
        weight: w. In the convention 1 + w of other codes, their weight is ours plus 1.
        interval: guide only at σ in (low, high]; None is everywhere, and low = high nowhere.

    Raises:
        ValueError: an interval that is not 0 ≤ low ≤ high.

    Source: Ho and Salimans 2022, arXiv 2207.12598, eq. 6; Karras et al. 2024, arXiv 2406.02507, eq. 3; the interval:
    Kynkäänniemi et al. 2024, arXiv 2404.07724.
    """

    def __init__(self, main: Denoiser, guide: Denoiser, weight: float, interval: tuple[float, float] | None = None):
        super().__init__()
        if interval is not None and not 0 <= interval[0] <= interval[1]:
            raise ValueError(f"interval is {interval}: give (low, high) with 0 <= low <= high")
        self.main, self.guide, self.weight, self.interval = main, guide, float(weight), interval

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return D_w(x; σ, labels), (B, *)."""
        (network, bare), (other, guide_bare) = _behind(self.main), _behind(self.guide)
        same = network is other
        if self.weight == 0 or (same and (labels is None or bare == guide_bare)):
            return self.main(x, sigma, labels)
        level = expand(sigma, x).flatten()
        low, high = (-1, math.inf) if self.interval is None else self.interval
        rows = ((level > low) & (level <= high)).nonzero().flatten()
        if not len(rows):
            return self.main(x, sigma, labels)
        if same:
            classes = expand_labels(labels, x)
            none = torch.full_like(classes, NO_LABEL)
            given = (none if bare else classes), (none if guide_bare else classes)[rows]
            both = network(torch.cat([x, x[rows]]), torch.cat([level, level[rows]]), torch.cat(given))
            main, guide = both[: len(x)], both[len(x) :]
        else:
            main = self.main(x, sigma, labels)
            guide = self.guide(x[rows], level[rows], None if labels is None else labels[rows])
        return main.index_add(0, rows, main[rows] - guide, alpha=self.weight)


def _behind(denoiser: Denoiser) -> tuple[Denoiser, bool]:
    """What a denoiser calls, and whether it does so without labels."""
    return (denoiser.base, True) if isinstance(denoiser, Unconditional) else (denoiser, False)


class Switched(nn.Module):
    """Another denoiser at some noise levels: D_other where low ≤ σ ≤ high, D_main elsewhere.

    Experts for parts of the noise are switched so. As a test it samples with the late snapshot of a run and an early
    one, which has not memorized yet, inside a window of σ. If samples do not change, what the late one has memorized
    there does not matter for them. A batch whose rows lie on both sides costs an evaluation of both.

    Args:
        main: D_main.
        other: D_other.
        low: the smallest σ at which it takes over, in units of the data.
        high: the largest. Both ends belong to the window, so `float(sigmas[i])` names a level of a grid.

    Raises:
        ValueError: not 0 ≤ low ≤ high.
    """

    def __init__(self, main: Denoiser, other: Denoiser, low: float, high: float):
        super().__init__()
        if not 0 <= low <= high:
            raise ValueError(f"the window is {low:g} to {high:g}: give low and high with 0 <= low <= high")
        self.main, self.other, self.low, self.high = main, other, float(low), float(high)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return D_other or D_main, row by row, (B, *)."""
        level = expand(sigma, x)
        low, high = level.new_tensor([self.low, self.high])  # rounded as σ is, so that a level equal to an end is in
        inside = (level >= low) & (level <= high)
        if bool(inside.all()):
            return self.other(x, sigma, labels)
        main = self.main(x, sigma, labels)
        return torch.where(inside, self.other(x, sigma, labels), main) if bool(inside.any()) else main


class Windowed(nn.Module):
    """A denoiser that sees an image through a sliding window: its receptive field is no larger than that.

    The base denoises every size × size window on its own; where windows overlap, their estimates are averaged. A pixel
    depends on others up to size − 1 away. Cost: that of size² (1 + (side − size) / stride)² pixels.

    Args:
        base: a denoiser of images (B, C, size, size).
        size: side of the window in pixels. At the side of the image, this is the base.
        stride: pixels from one window to the next. A network that halves its input k times sees groups of 2ᵏ pixels: a
            stride of 2ᵏ keeps the groups of the whole image, and costs 4ᵏ times less. More windows are more averaging:
            the paper's geometry is four, see `corners`.

    Raises:
        ValueError: size < 1, a size that the base's network refuses, or a stride that is not from 1 to size. On a call,
            x is not (B, C, H, W), is smaller than the window, the strides do not end at its border, or the base fails
            on windows.

    Source: Kaiser and Kollmann 2026, arXiv 2603.13419 (restricted receptive field).
    """

    def __init__(self, base: Denoiser, size: int, stride: int = 1):
        super().__init__()
        if size < 1:
            raise ValueError(f"size is {size}: a window has at least one pixel")
        if not 1 <= stride <= size:
            raise ValueError(f"stride is {stride}: windows of {size} pixels that leave no gap are 1 to {size} apart")
        for part in base.modules() if isinstance(base, nn.Module) else ():
            if (reason := getattr(part, "refusal", lambda side: None)(size)) is not None:
                raise ValueError(f"size is {size}: the base can't denoise windows of {size}, {reason}")
        self.base, self.size, self.stride = base, size, stride

    @classmethod
    def corners(cls, base: Denoiser, size: int, side: int) -> Windowed:
        """2 × 2 windows in the corners of an image of that side, as in the paper: side − size pixels apart.

        They overlap by 2 size − side pixels. At half the side they are four quarters, at the side they are the base.

        Args:
            base: a denoiser of images (B, C, size, size).
            size: side of a window in pixels, from half the side of the image to all of it.
            side: that of the image.

        Raises:
            ValueError: a size for which four windows do not cover the image, or that the base's network refuses.
        """
        if not side / 2 <= size <= side:
            raise ValueError(f"size is {size}: four windows of an image of {side} have from {-(-side // 2)} to {side}")
        return cls(base, size, max(1, side - size))

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the average of the base over all windows, (B, C, H, W)."""
        size, stride = self.size, self.stride
        if x.ndim != 4 or min(x.shape[2:]) < size:
            raise ValueError(f"x has shape {tuple(x.shape)}: a window of {size} needs (B, C, H, W) at least as large")
        if any((side - size) % stride for side in x.shape[2:]):
            rest = [side - size for side in x.shape[2:]]
            raise ValueError(f"stride is {stride}: it must divide {rest}, what a window of {size} leaves of the image")
        windows = F.unfold(x, size, stride=stride)  # (B, C·size², L)
        count = windows.shape[2]
        patches = rearrange(windows, "b (c h w) l -> (b l) c h w", h=size, w=size)
        level = expand(sigma, x).flatten().repeat_interleave(count)
        labels = None if labels is None else labels.repeat_interleave(count)
        denoised = rearrange(self._denoised(patches, level, labels), "(b l) c h w -> b (c h w) l", l=count)
        overlap = F.fold(torch.ones_like(windows[:1]), x.shape[2:], size, stride=stride)
        return F.fold(denoised, x.shape[2:], size, stride=stride) / overlap

    def _denoised(self, patches: Tensor, level: Tensor, labels: Tensor | None) -> Tensor:
        """The base's estimates; where it fails, an error that says of what it was asked."""
        try:
            return self.base(patches, level, labels)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            remedy = "take a size that its network can halve, or the one it was made for"
            raise ValueError(f"size is {self.size}: the base fails on such windows ({cause}); {remedy}") from None
