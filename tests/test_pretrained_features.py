"""Features of networks in files: what reaches the network is what it was trained on, and the file is the one meant."""

import hashlib
import re
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from diffgen.data import from_array
from diffgen.features import classifier_features, dinov2, identity, imagenet, inception, torchscript_features
from diffgen.features.torchscript import INCEPTION_SHA256, as_bytes
from diffgen.metrics.frechet import frechet_distance
from diffgen.rng import generator


class Means(nn.Module):
    """What it is given, in few numbers: the mean of each channel and two of its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x, return_features: bool = False):
        x = x.float()
        features = torch.cat([x.mean(dim=[2, 3]), x[:, :, 0, 0], x[:, :, 1, 2]], dim=1) * self.scale
        return features if return_features else features[:, :2]


class Maps(nn.Module):
    def forward(self, x):
        return x


def saved(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return path


@pytest.fixture
def file(tmp_path):
    return saved(Means(), tmp_path / "network.pt")


def images(n, channels, side=12, seed=0):
    pixels = torch.randint(0, 256, (n, side, side, channels), generator=generator(seed, 3)).byte().numpy()
    return pixels, from_array(pixels).x


def test_inception_gets_bytes_in_three_channels(file):
    """Its file takes 0…255, as the images' files hold them, and is asked for features, not for classes."""
    features = inception(file, sha256=None)
    pixels, x = images(70, 3)
    out, floats = features(x), pixels.astype(np.float32)
    assert out.shape == (70, 9)
    np.testing.assert_allclose(out[:, :3], floats.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(out[:, 3:6], floats[:, 0, 0])
    np.testing.assert_array_equal(out[:, 6:], floats[:, 1, 2])
    pixels, x = images(3, 1)
    assert torch.equal(features(x)[:, 3:6], torch.from_numpy(pixels[:, 0, 0].astype(np.float32)).expand(3, 3))
    assert as_bytes(torch.tensor([-1.3, -1, 1, 2]).reshape(4, 1, 1, 1)).dtype == torch.uint8
    assert as_bytes(torch.tensor([-1.3, -1, 1, 2]).reshape(4, 1, 1, 1))[:, 0, 0, 0].tolist() == [0, 0, 255, 255]


def test_imagenet_preprocessing_is_that_of_pillow_and_the_published_numbers():
    """Bicubic with antialiasing as Pillow computes it, but for rounding and cutting off; then (p/255 − m)/s."""
    for side in (40, 300):
        ramp = np.add.outer(np.linspace(30, 200, side), 20 * np.sin(np.arange(side) / side * 9))
        pixels = np.stack([ramp, ramp[::-1], ramp.T], 2).round().astype(np.uint8)
        resized = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC)) / 255
        expected = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        given = imagenet(from_array(pixels[None]).x)[0].permute(1, 2, 0).numpy()
        assert np.abs(given - expected).max() < 1.1 / 255 / 0.224
        assert np.abs(given - expected).mean() < 0.4 / 255 / 0.224
    grey = imagenet(torch.full((1, 1, 224, 224), 2 * 0.5 - 1))
    np.testing.assert_allclose(grey[0, :, 5, 5], [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225],
                               rtol=1e-4)  # fmt: skip


def test_a_checkerboard_does_not_alias():
    board = (torch.arange(448)[:, None] + torch.arange(448)) % 2 * 2.0 - 1
    given = imagenet(board[None, None].expand(1, 3, -1, -1))
    grey = imagenet(torch.zeros(1, 3, 224, 224))
    assert (given - grey).abs()[:, :, 8:-8, 8:-8].max() < 0.05


def test_rows_are_independent_and_gradients_flow(file):
    features = torchscript_features(file, name="means", arguments={"return_features": True})
    _, x = images(70, 3)
    x.requires_grad_()
    out = features(x)
    torch.testing.assert_close(out[66:], features(x[66:]), rtol=1e-5, atol=1e-6)
    out[0].sum().backward()
    assert x.grad[0].abs().sum() > 0
    assert (x.grad[1:] == 0).all()
    assert frechet_distance(out.detach()[:35], out.detach()[35:]) > 0


def test_the_identity_tells_weights_and_names_apart(file, tmp_path):
    other = Means()
    other.scale.data *= 2
    maps = [
        torchscript_features(file, name="a"),
        torchscript_features(file, name="b"),
        torchscript_features(saved(other, tmp_path / "other.pt"), name="a"),
        dinov2(file),
        dinov2(file, size=28),
    ]
    assert len({identity(m) for m in maps}) == len(maps)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert identity(maps[0]) == identity(torchscript_features(file, name="a")) == f"a-1-{digest[:12]}"
    assert identity(maps[3]) == f"dinov2_vitl14-1-{digest[:12]}"


def test_another_file_is_refused(file, tmp_path):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    torchscript_features(file, name="a", sha256=digest.upper())
    message = rf"network\.pt has the SHA-256 {digest}, not {INCEPTION_SHA256}: get the file again"
    with pytest.raises(ValueError, match=message):
        inception(file)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt does not exist"):
        inception(tmp_path / "nowhere.pt")
    for content in (b"", b"<html>", file.read_bytes()[:500]):
        (tmp_path / "bad.pt").write_bytes(content)
        with pytest.raises(OSError, match=r"bad\.pt is damaged or no TorchScript file") as error:
            torchscript_features(tmp_path / "bad.pt", name="a")
        assert "\n" not in str(error.value)


def test_what_is_no_image_and_what_is_no_vector_is_told(file, tmp_path):
    features = inception(file, sha256=None)
    for shape in ((5, 7), (5, 4, 8, 8)):
        with pytest.raises(ValueError, match=r"inception features are of images.*take diffgen\.features\.pixels"):
            features(torch.zeros(shape))
    maps = torchscript_features(saved(Maps(), tmp_path / "maps.pt"), name="maps", preprocess=partial(imagenet, size=14))
    with pytest.raises(ValueError, match=r"maps returns a tensor \(2, 3, 14, 14\) for 2 images: .*vectors"):
        maps(torch.zeros(2, 1, 8, 8))


def test_bundled_features_say_that_they_are_for_grey_images():
    with pytest.raises(ValueError, match=r"grey images.*for others take .*pixels, dinov2 or inception") as error:
        classifier_features(torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(error.value)


# --- DINOv2 -----------------------------------------------------------------------------------------------------------

HUBCONF = """
import torch

def dinov2_vits14(pretrained=True):
    assert not pretrained, "that would download"
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.AvgPool2d(14), torch.nn.Flatten(), torch.nn.Linear(12, 5))
"""


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "dinov2"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF)
    return folder


def test_dinov2_from_a_clone_and_a_checkpoint(clone, tmp_path):
    network = nn.Sequential(nn.AvgPool2d(14), nn.Flatten(), nn.Linear(12, 5))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    options = {"name": "dinov2_vits14", "repository": clone, "size": 28}
    features = dinov2(tmp_path / "weights.pth", **options)
    _, x = images(3, 3)
    torch.testing.assert_close(features(x), network(imagenet(x, 28)))
    assert identity(features).startswith("dinov2_vits14-28-1-")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    for bad in (tmp_path / "other.pth", clone / "hubconf.py"):
        with pytest.raises(OSError, match=rf"{bad.name} is damaged or no checkpoint of dinov2_vits14"):
            dinov2(bad, **options)
    with pytest.raises(FileNotFoundError, match=re.escape("has no hubconf.py: give a clone of github.com/facebook")):
        dinov2(tmp_path / "weights.pth", name="dinov2_vits14", repository=tmp_path)


def test_dinov2_downloads_when_asked_alone(file, monkeypatch):
    asked = []

    def load(repository, name, **options):
        asked.append((repository, name))
        return Means()

    monkeypatch.setattr(torch.hub, "load", load)
    dinov2(file)
    with pytest.raises(ValueError, match="give either path= to the weights"):
        dinov2()
    with pytest.raises(ValueError, match="give either path= to the weights"):
        dinov2(file, download=True)
    with pytest.raises(ValueError, match="size is 200: give a multiple of 14"):
        dinov2(file, size=200)
    assert asked == []
    assert identity(dinov2(download=True)) == identity(dinov2(download=True))
    assert asked == [("facebookresearch/dinov2", "dinov2_vitl14")] * 2


def test_importing_features_loads_no_library_of_networks():
    code = "import sys, diffgen.features; print([m for m in ('torchvision', 'timm', 'pooch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == "[]"
