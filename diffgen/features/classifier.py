"""The feature space that comes with the package: a small classifier of clothes, for small grey images."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.files import read_metadata, read_tensors, sha256_of

WEIGHTS = Path(__file__).parent / "classifier.safetensors"
VERSION = 1
"""Raised by hand when the same weights give other features; the golden test holds it."""
SIDE, CLASSES = 28, 10
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
        self.head = nn.Linear(widths[-1], CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """φ(x), (N, 96), of images (N, 1, H, W) in [−1, 1]."""
        return self.body(resized(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the ten classes, (N, 10)."""
        return self.head(self.features(x))


@cache
def classifier(device: torch.device | str = "cpu") -> Classifier:
    """The bundled classifier, frozen. `classifier_metadata()` says what it was trained on and how good it is.

    Raises:
        DamagedFile: its weights do not match their checksum.
    """
    network = Classifier()
    network.load_state_dict(read_tensors(WEIGHTS)[0])
    return network.eval().requires_grad_(False).to(device)


def classifier_metadata() -> dict[str, Any]:
    """What the bundled weights know of themselves: training images, script, accuracy by image size."""
    return read_metadata(WEIGHTS)


class ClassifierFeatures:
    """The bundled `FeatureMap`, the last layer but one of a classifier of Fashion-MNIST: `classifier_features(x)`.

    The classifier was trained on the publisher's training part alone. It never saw one of the 10,000 bundled images,
    so training, validation and holdout images of a split of those are alike to it. Of `fashion_mnist_70k` it saw six in
    seven, with their classes, whichever split they are in: that favours neither split, but they are no fresh images to
    it.
    """

    @property
    def identity(self) -> str:
        """Name, version and the checksum of the weights: results in other features are other results."""
        return f"classifier-{VERSION}-{_checksum(WEIGHTS)}"

    def __call__(self, x: Tensor) -> Tensor:
        """φ(x). Memory does not grow with N beyond the result. Gradients flow to x.

        Args:
            x: images, (N, 1, H, W) in [−1, 1]; H = W = 28, 14 or 7 as in training.

        Returns:
            (N, 96), float32, not negative, without units.

        Raises:
            ValueError: x is not a batch of grey images.
        """
        if x.ndim != 4 or x.shape[1] != 1:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: the bundled features are of grey images, (N, 1, H, W); for others take "
                "diffgen.features.pixels, dinov2 or inception"
            )
        network = classifier(x.device)
        return torch.cat([network.features(rows.float()) for rows in x.split(ROWS_AT_ONCE)])


@cache
def _checksum(weights: Path) -> str:
    return sha256_of(weights)[:12]


classifier_features = ClassifierFeatures()
