"""Feature spaces: a classifier of clothes that comes with the package, for small grey images, and principal components.

Wherever this package takes features it takes any `FeatureMap`, a function from images to vectors. DINOv2, Inception or
one's own network come in as one; the classifier here is small enough to be bundled and fast enough for two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.checkpoint import read_about, read_tensors
from diffgen.data.fashion_mnist import CLASSES, SIDE

FeatureMap = Callable[[Tensor], Tensor]
"""φ: (N, *) → (N, F), rows independent."""

WEIGHTS = Path(__file__).parent / "features.safetensors"
ROWS_AT_ONCE = 1024


def resized(x: Tensor) -> Tensor:
    """Images (N, 1, H, W) at the classifier's 28×28, by bilinear interpolation."""
    return x if x.shape[-2:] == (SIDE, SIDE) else F.interpolate(x, size=(SIDE, SIDE), mode="bilinear")


class Classifier(nn.Module):
    """Three convolutions, a mean over places, and a linear layer: 28×28 grey images → 96 features → ten classes.

    Images of another size are interpolated to 28×28 (bilinear), so one feature space serves all sizes; it was trained
    on images of 28, 14 and 7 pixels a side.
    """

    def __init__(self, widths: tuple[int, int, int] = (24, 48, 96)):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in zip((1, *widths), widths, (5, 3, 3), (2, 2, 1)):
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], len(CLASSES))

    def features(self, x: Tensor) -> Tensor:
        """φ(x), (N, 96), of images (N, 1, H, W) in [−1, 1]."""
        return self.body(resized(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the ten classes, (N, 10)."""
        return self.head(self.features(x))


@cache
def classifier(device: torch.device | str = "cpu") -> Classifier:
    """The bundled classifier, frozen. `about()` says what it was trained on and how good it is.

    Raises:
        DamagedFile: its weights do not match their checksum.
    """
    network = Classifier()
    network.load_state_dict(read_tensors(WEIGHTS)[0])
    return network.eval().requires_grad_(False).to(device)


def about() -> dict[str, Any]:
    """What the bundled weights know of themselves: training images, script, accuracy by image size."""
    return read_about(WEIGHTS)


def features(x: Tensor) -> Tensor:
    """φ(x): the bundled feature map, the last layer but one of a classifier of Fashion-MNIST.

    The classifier was trained on the publisher's training part alone. It never saw one of the 10,000 bundled images,
    so training, validation and rest of a split of those are alike to it. Of `fashion_mnist_70k` it saw six in seven,
    with their classes, whichever split they are in: that favours neither split, but they are no fresh images to it.

    Memory does not grow with N beyond the result. Gradients flow to x.

    Args:
        x: images, (N, 1, H, W) in [−1, 1]; H = W = 28, 14 or 7 as in training.

    Returns:
        (N, 96), float32, not negative, without units.

    Raises:
        ValueError: x is not a batch of grey images.
    """
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"x has shape {tuple(x.shape)}: the bundled features are of grey images, (N, 1, H, W)")
    network = classifier(x.device)
    return torch.cat([network.features(rows.float()) for rows in x.split(ROWS_AT_ONCE)])


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

    The rest of the variance is out of sight. Fit them to points that favour neither split, such as `Split.rest`, or to
    both: the axes of the training set hold more of its own variance than of that of fresh points.

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
