"""Feature spaces of large pretrained networks, Inception and DINOv2, or any other in a TorchScript file.

Nothing comes with the package and nothing is downloaded unasked: weights are a file of the user's, checked against a
checksum. Which file it is is a part of the features' identity, so results in other weights are other results.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffgen.files import sha256_of

VERSION = 1
"""Raised by hand when the same weights give other features."""
ROWS_AT_ONCE = 64
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""Of the published `inception-2015-12-05.pt`."""
INCEPTION_ADDRESS = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
DINOV2_REPOSITORY = "facebookresearch/dinov2"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Preprocess = Callable[[Tensor], Tensor]


class NetworkFeatures:
    """A `FeatureMap` of a network: preprocess, apply, and check what comes out.

    Args:
        network: (B, 3, H, W) → (B, F).
        name: what the features are called.
        checksum: of the weights.
        preprocess: from images in [−1, 1] to what the network takes.
    """

    def __init__(self, network: nn.Module, name: str, checksum: str, preprocess: Preprocess):
        self.network, self.name, self.checksum, self.preprocess = network.eval(), name, checksum, preprocess
        self.network.requires_grad_(False)

    @property
    def identity(self) -> str:
        """Name, version, checksum of the weights."""
        return f"{self.name}-{VERSION}-{self.checksum[:12]}"

    def __call__(self, x: Tensor) -> Tensor:
        """φ(x), (N, F), float32, of images (N, C, H, W) in [−1, 1]; the network follows x to its device.

        Raises:
            ValueError: x is no batch of grey or colour images, or the network returns no vectors.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(
                f"x has shape {tuple(x.shape)}: {self.name} features are of images, (N, 1, H, W) or (N, 3, H, W); "
                "take diffgen.features.pixels for all else"
            )
        network = self.network.to(x.device)
        parts = []
        for rows in x.split(ROWS_AT_ONCE):
            given = self.preprocess(rows.float())
            out = network(given)
            if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(rows):
                what = f"a tensor {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
                raise ValueError(f"{self.name} returns {what} for {len(rows)} images: it is to return vectors, (B, F)")
            parts.append(out.float())
        return torch.cat(parts)

    def __repr__(self) -> str:
        return f"NetworkFeatures({self.identity!r})"


def colour(x: Tensor) -> Tensor:
    """Images with three channels: grey ones three times the same."""
    return x.expand(-1, 3, -1, -1)


def imagenet(x: Tensor, size: int = 224) -> Tensor:
    """What networks trained on ImageNet take: size × size pixels, standardized by ImageNet's mean and deviation.

    (resize(x)/2 + ½ − m) / s, each channel its own m and s; bicubic with antialiasing, not rounded to bytes and not
    cut off where it overshoots, as EDM2's evaluation does it (Karras et al. 2024, arXiv 2312.02696).
    """
    x = colour(x)
    if x.shape[-2:] != (size, size):
        x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    mean, std = (x.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((x + 1) / 2 - mean) / std


def as_bytes(x: Tensor) -> Tensor:
    """Bytes 0…255 in three channels, uint8, as image files hold them. No gradient passes."""
    return colour(((x + 1) * 127.5).round().clamp(0, 255).byte())


def torchscript_features(
    path: str | Path,
    *,
    name: str,
    sha256: str | None = None,
    preprocess: Preprocess = imagenet,
    arguments: dict[str, Any] | None = None,
) -> NetworkFeatures:
    """The features of a network in a TorchScript file.

    A TorchScript file is a program: load one only from where you trust it.

    Args:
        path: the file, (B, 3, H, W) → (B, F).
        name: what the features are called: part of their identity.
        sha256: its checksum, if you know it; another file is refused.
        preprocess: from images (B, C, H, W) in [−1, 1] to what the network takes, such as `imagenet`, `as_bytes` or
            `functools.partial(imagenet, size=256)`. It is no part of the identity: name the features by it.
        arguments: keywords of each call of the network.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has another checksum.
        OSError: it is no TorchScript file.
    """
    checksum = _checked(Path(path), sha256)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # these files are in the format that is published
            network = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError):
        raise OSError(f"{path} is damaged or no TorchScript file: give what torch.jit.save wrote") from None
    return NetworkFeatures(_Called(network, arguments or {}), name, checksum, preprocess)


def inception(path: str | Path, *, sha256: str | None = INCEPTION_SHA256) -> NetworkFeatures:
    """The 2,048 features of Inception-v3 in which Fréchet distances (FID) are published.

    The file is `inception-2015-12-05.pt`, a translation of the original network to TorchScript; see
    `INCEPTION_ADDRESS`. Images are rounded to bytes and grey ones become three equal channels; the file itself resizes
    to 299 × 299. Small grey images are far from what it was trained on.

    Args:
        path: the file.
        sha256: its checksum, the published one; None takes any file.

    Raises:
        FileNotFoundError, ValueError, OSError: as `torchscript_features`.

    Source: Heusel et al. 2017, arXiv 1706.08500; Szegedy et al. 2015, arXiv 1512.00567.
    """
    return torchscript_features(
        path, name="inception", sha256=sha256, preprocess=as_bytes, arguments={"return_features": True}
    )


def dinov2(
    path: str | Path | None = None,
    *,
    name: str = "dinov2_vitl14",
    repository: str | Path | None = None,
    sha256: str | None = None,
    download: bool = False,
    size: int = 224,
) -> NetworkFeatures:
    """The class token of DINOv2: 1,024 features of the large model, in which Fréchet distances follow human judgement.

    Three ways to the weights: `path` alone is a TorchScript file; `path` with `repository` is a published checkpoint
    (`dinov2_vitl14_pretrain.pth`) and a clone of github.com/facebookresearch/dinov2, whose code is run;
    `download=True` lets torch.hub fetch both. Images are resized to `size` and standardized, see `imagenet`.

    Args:
        path: the file of weights.
        name: which model: "dinov2_vits14", "dinov2_vitb14", "dinov2_vitl14" or "dinov2_vitg14".
        repository: a folder with the clone.
        sha256: the checksum of `path`, if you know it.
        download: ask torch.hub; nothing else uses the network.
        size: side in pixels, a multiple of 14.

    Raises:
        ValueError: no way to the weights or more than one, another checksum, a size that is no multiple of 14.
        FileNotFoundError, OSError: a file is missing or damaged, or is of another model.

    Source: Oquab et al. 2023, arXiv 2304.07193; Stein et al. 2023, arXiv 2306.04675 (for Fréchet distances).
    """
    if size < 14 or size % 14:
        raise ValueError(f"size is {size}: give a multiple of 14, the side of DINOv2's patches")
    preprocess = partial(imagenet, size=size)
    called = name if size == 224 else f"{name}-{size}"
    if download == (path is not None) or (download and repository is not None):
        raise ValueError(
            "give either path= to the weights, with repository= if they are a checkpoint, or download=True"
        )
    if path is not None and repository is None:
        return torchscript_features(path, name=called, sha256=sha256, preprocess=preprocess)
    if path is None:
        network = torch.hub.load(DINOV2_REPOSITORY, name, trust_repo=True)
        return NetworkFeatures(network, called, _weights_checksum(network), preprocess)
    checksum = _checked(Path(path), sha256)
    if not (Path(str(repository)) / "hubconf.py").is_file():
        raise FileNotFoundError(f"{repository} has no hubconf.py: give a clone of github.com/{DINOV2_REPOSITORY}")
    network = torch.hub.load(str(repository), name, source="local", pretrained=False)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # of many kinds
        raise OSError(
            f"{path} is damaged or no checkpoint of {name}: give the one that was published with it"
        ) from None
    return NetworkFeatures(network, called, checksum, preprocess)


class _Called(nn.Module):
    """A network with the keywords of its calls."""

    def __init__(self, network: nn.Module, arguments: dict[str, Any]):
        super().__init__()
        self.network, self.arguments = network, arguments

    def forward(self, x: Tensor) -> Any:
        return self.network(x, **self.arguments)


def _checked(path: Path, sha256: str | None) -> str:
    """The checksum of a file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the path of a file of weights")
    checksum = sha256_of(path)
    if sha256 is not None and checksum != sha256.lower():
        raise ValueError(
            f"{path} has the SHA-256 {checksum}, not {sha256}: get the file again, or give its own checksum"
        )
    return checksum


def _weights_checksum(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
