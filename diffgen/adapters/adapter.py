"""What all adapters share: σ and labels as the contract has them, the dtype of the network, noise levels it lacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffgen.denoiser import NO_LABEL, expand, expand_labels

Network = Callable[..., Any]
"""Somebody else's network: a module, or any callable."""


class Adapter(nn.Module, ABC):
    """Somebody else's network as a `Denoiser`.

    Args:
        network: theirs. A module is a part of the adapter, so that its weights move and count with it.
        n_labels: how many classes the network has; 0 is none, and labels are ignored; None is that it is not known, and
            labels are refused.
        null_label: the class index by which the network means "no class"; None if it has no such index.

    Raises:
        ValueError: n_labels or null_label is negative, or there is a null_label without classes. On a call: labels that
            the network can't take, and what `expand` raises.
    """

    def __init__(self, network: Network, n_labels: int | None, null_label: int | None = None):
        super().__init__()
        if n_labels is not None and n_labels < 0:
            raise ValueError(f"n_labels is {n_labels}: give the number of classes, 0 for a network without")
        if null_label is not None and null_label < 0:
            raise ValueError(f"null_label is {null_label}: give the index that the network itself has for no class")
        if null_label is not None and not n_labels:
            raise ValueError(f"null_label is {null_label} with n_labels {n_labels}: give the number of classes, too")
        self.network, self.n_labels, self.null_label = network, n_labels, null_label

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return D(x; σ, labels), (B, *)."""
        level, classes = expand(sigma, x), self._classes(labels, x)
        return self.denoised(x, level, classes) if len(x) else x.clone()

    @abstractmethod
    def denoised(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        """D(x; σ) of one row or more: σ is (B, 1, …, 1) in the dtype of x, the classes are the network's own, (B,)."""

    def nothing(self, classes: Tensor) -> Tensor:
        """Classes with what stands for none in the network in the place of −1."""
        if self.null_label is None:
            if bool((classes == NO_LABEL).any()):
                raise ValueError(
                    "labels is None or holds −1, no class: give the adapter null_label, the network's index for that"
                )
            return classes
        return torch.where(classes == NO_LABEL, self.null_label, classes)

    def _classes(self, labels: Tensor | None, x: Tensor) -> Tensor | None:
        if self.n_labels == 0:
            return None
        classes = expand_labels(labels, x)
        given = classes[classes != NO_LABEL]
        if self.n_labels is None:
            if len(given):
                raise ValueError(
                    f"labels holds class {given[0].item()}, and nothing says whether the network has classes: "
                    "give the adapter n_labels, their number, or 0 if labels are to be ignored"
                )
            return None
        bad = given[(given < 0) | (given >= self.n_labels) | (given == self.null_label)]
        if len(bad):
            raise ValueError(
                f"labels holds class {bad[0].item()}: the network has {self.n_labels}, from 0 on"
                + ("" if self.null_label is None else f", and {self.null_label} is its null_label")
            )
        return self.nothing(classes)


def network_dtype(network: Network, x: Tensor) -> torch.dtype:
    """The dtype in which a network computes: that of its first floating parameter or buffer, or of x."""
    if isinstance(network, nn.Module):
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype
    return x.dtype


def time_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a time: the network's, but float32 at least, since 999 and 999.4 are one number in bfloat16."""
    return torch.promote_types(dtype, torch.float32)


def output_of(output: Any, x: Tensor, *, variance: bool = False) -> Tensor:
    """What a network returned, in the shape and dtype of x: a tensor, the `.sample` of an object, or the first of many.

    Args:
        output: as it came.
        x: (B, C, *).
        variance: the network may return 2 C channels, where the last C are a learned variance, which is left out.

    Raises:
        ValueError: there is no tensor of the shape of x in it.
    """
    tensor = output if isinstance(output, Tensor) else getattr(output, "sample", None)
    if isinstance(output, tuple | list) and not isinstance(tensor, Tensor):
        tensor = output[0]
    if not isinstance(tensor, Tensor):
        raise ValueError(f"the network returned {type(output).__name__}: a tensor, .sample or a tuple is understood")
    if variance and x.ndim > 1 and tensor.shape == (len(x), 2 * x.shape[1], *x.shape[2:]):
        tensor = tensor[:, : x.shape[1]]
    if tensor.shape != x.shape:
        raise ValueError(f"the network returned shape {tuple(tensor.shape)} for x of shape {tuple(x.shape)}")
    return tensor.to(x.dtype)


def within(denoised: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor, low: float, high: float) -> Tensor:
    """A denoiser that knows σ from `low` to `high` only, at any σ.

    Below: D(x; σ) = x + (σ / low) (D(x; low) − x), the noise that it sees at its lowest level, made smaller. D → x as
    σ → 0, and no entry moves by more than at the lowest level, which is what the error is bounded by.

    Above: D(x; σ) = D(x √((1 + high²) / (1 + σ²)); high), x brought to the size of what the network knows, for data of
    unit variance. Far up the posterior mean is nearly the mean of the data, at both levels: the error is at most about
    the spread of D at the highest level, some σ_d² / high.

    Args:
        denoised: D(x, σ), σ as (B, 1, …, 1).
        x: (B, *).
        sigma: (B, 1, …, 1).
        low: the smallest level that it knows.
        high: the largest; it may be infinite.
    """
    level = sigma.clamp(low, high)
    shrunk = torch.where(sigma > level, ((1 + level.square()) / (1 + sigma.square())).sqrt(), 1.0)
    return torch.lerp(x, denoised(shrunk * x, level), (sigma / level).clamp(max=1).expand_as(x))
