"""Principal components: pixels in fewer numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """A `FeatureMap`: the coordinates of x along the axes in which the data it was fitted to varies most.

    Attributes:
        mean: (*), of the shape of a point.
        axes: orthonormal, (k, d), the widest first, each with its largest entry positive; float64.
        explained: the share of the variance that the k coordinates hold.
        name: what it is, for figures and tables.
    """

    mean: Tensor
    axes: Tensor
    explained: float
    name: str

    def __call__(self, x: Tensor) -> Tensor:
        """φ(x) = A (x − m), (N, k), float64, in units of the data."""
        return (x - self.mean.to(x.device)).flatten(1).double() @ self.axes.T.to(x.device)


def principal_components(reference: Tensor, k: int) -> PrincipalComponents:
    """Fit the k principal components of points: pixels in fewer numbers, so that a Fréchet distance has fewer to fit.

    The rest of the variance is out of sight. Fit them to points that favour neither split, such as `Split.holdout`, or
    to both: the axes of the training set hold more of its own variance than of that of fresh points.

    Args:
        reference: points, (N, *), N > k.
        k: how many, at most d.

    Raises:
        ValueError: k is not between 1 and min(N − 1, d).

    Source: Pearson 1901, *On lines and planes of closest fit to systems of points in space*.
    """
    centred = reference.flatten(1).double()
    centred = centred - centred.mean(0)
    most = min(len(centred) - 1, centred.shape[1])
    if not 1 <= k <= most:
        raise ValueError(f"k is {k}: {len(centred)} points of {centred.shape[1]} entries have 1 to {most} components")
    _, widths, axes = torch.linalg.svd(centred, full_matrices=False)
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    explained = float(widths[:k].square().sum() / widths.square().sum())
    return PrincipalComponents(reference.mean(0), (axes * signs)[:k], explained, f"{k} principal components")
