"""Other people's data sets and the CIFAR archives: the same points, in whatever form they come."""

import hashlib
import io
import tarfile
from collections import UserList
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
import torch
from PIL import Image
from test_image_files import numbers, picture
from torch.utils.data import Subset, TensorDataset

from diffgen.data import cifar, cifar10, cifar100, from_array, from_dataset, open_data

# --- data sets --------------------------------------------------------------------------------------------------------


class Columns(UserList):
    """What a Hugging Face `Dataset` can do."""

    def __init__(self, rows, names):
        super().__init__(rows)
        self.features = {"label": SimpleNamespace(names=names), "image": SimpleNamespace()}


def test_data_sets_of_all_kinds_give_the_same_points():
    pixels, classes = np.stack([picture(i) for i in range(5)]), [0, 2, 1, 2, 0]
    expected = from_array(pixels).x
    pictures, tensors = [Image.fromarray(p) for p in pixels], torch.from_numpy(pixels).permute(0, 3, 1, 2)
    rows = [{"image": p, "label": c} for p, c in zip(pictures, classes)]
    hugging, torchvision = Columns(rows, ["a", "b", "c"]), UserList(zip(pictures, classes))
    torchvision.classes = ["a", "b", "c"]
    sets = {
        "hugging": hugging,
        "torchvision": torchvision,
        "bytes": TensorDataset(tensors, torch.tensor(classes)),
        "arrays": list(zip(pixels, np.array(classes))),
        "lists": [{"img": p.tolist(), "label": c} for p, c in zip(tensors, classes)],
        "subset": Subset(TensorDataset(tensors.flip(0), torch.tensor(classes[::-1])), range(5)[::-1]),
    }
    for name, dataset in sets.items():
        pool = from_dataset(dataset, value_range=(0, 255) if name == "lists" else None)
        assert torch.allclose(pool.x, expected, atol=1e-6), name
        assert pool.labels.tolist() == classes, name
        assert pool.class_names == (("a", "b", "c") if name in ("hugging", "torchvision") else ())
    assert from_dataset(hugging, labels=False).labels is None
    assert from_dataset(pictures).labels is None
    assert from_dataset([Image.fromarray(picture(0)).resize((12, 9))] * 2, size=8).shape == (3, 8, 8)
    floats = [(t / 255, c) for t, c in zip(tensors, classes)]  # what ToTensor makes
    with pytest.raises(ValueError, match=r"value_range=\(0, 1\)"):
        from_dataset(floats)
    assert torch.allclose(from_dataset(floats, value_range=(0, 1)).x, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (iter([1]), "dataset has no length: give a map-style one"),
        ([], "dataset is empty"),
        (
            [(np.zeros((8, 8)), 0), (np.zeros((9, 8)), 0)],
            r"item 1 of dataset is float64 \(9, 8\) and .*one size",
        ),
        ([Image.new("L", (8, 8)), Image.new("L", (9, 8))], "item 1 of dataset has 9 × 8 pixels .* give size="),
        ([(picture(0), 0.5)], r"item 0 of dataset has the class 0\.5: classes are integers"),
        ([(picture(0), 0, 1)], "item 0 of dataset has 3 parts"),
        (["a.png"], "item 0 of dataset has a str for an image"),
        ([{"photo": picture(0)}], "dataset has 'photo': say by image= which are the images"),
        ([{"image": picture(0), "label": 0, "y": 1}], "dataset has 'label' and 'y': say which you mean by label="),
    ],
)
def test_data_sets_that_can_not_be_read_are_told(dataset, message):
    with pytest.raises(ValueError, match=message) as error:
        from_dataset(dataset)
    assert "\n" not in str(error.value)


def test_random_transforms_are_refused():
    class Flipped(UserList):
        def __getitem__(self, i):
            return self.data[i] + torch.rand(1)

    with pytest.raises(ValueError, match="gives another image each time item 0 is read: turn its random"):
        from_dataset(Flipped([torch.zeros(1, 8, 8)] * 3), value_range="any")


# --- CIFAR ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path, monkeypatch, request):
    """A published archive in small: two images a file, whose pixels and labels tell which they are."""
    function, ours = request.param
    n, files, sizes = 0, {}, {}
    for part, names in ours.parts.items():
        sizes[part] = dict.fromkeys(names, 2)
        for name in names:
            rows = []
            for _ in range(2):
                pixels = np.moveaxis(picture(n, 32), 2, 0).tobytes()
                rows.append(bytes([99] * (ours.label_bytes - 1) + [n % 3]) + pixels)
                n += 1
            files[name] = b"".join(rows)
    files[ours.names] = b"plane\ncar\nbird\n\n"
    path = tmp_path / "data" / ours.file
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{ours.folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    small = replace(ours, parts=sizes, md5=hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(cifar, "CIFAR10" if ours is cifar.CIFAR10 else "CIFAR100", small)
    return function, path, n


both = pytest.mark.parametrize("archive", [(cifar10, cifar.CIFAR10), (cifar100, cifar.CIFAR100)], indirect=True)


@both
def test_the_published_archive_is_read(archive, tmp_path, monkeypatch):
    function, path, n = archive
    expected = from_array(np.stack([picture(i, 32) for i in range(n)])).x
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    monkeypatch.setenv("DIFFGEN_DATA", str(path.parent))
    for pool in (function(), function(path), function(path.parent), function(unpacked), function(unpacked.parent)):
        assert torch.equal(pool.x, expected)
        assert pool.labels.tolist() == [i % 3 for i in range(n)]
        assert pool.class_names == ("plane", "car", "bird")
    assert numbers(function(part="train")) + numbers(function(part="test")) == [*range(n)]
    assert len(function(part="test")) == 2
    assert torch.equal(open_data(function.__name__).x, expected)
    with pytest.raises(ValueError, match="part is 'val': choose 'all', 'train' or 'test'"):
        function(part="val")


@both
def test_damaged_archives_are_named(archive, tmp_path):
    function, path, _ = archive
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError, match=rf"has neither {path.name} nor"):
        function(tmp_path)
    path.write_bytes(whole[:-10])
    with pytest.raises(OSError, match=rf"{path.name} is damaged or not .*checksum"):
        function(path)


@both
def test_a_download_is_checked_and_kept(archive, tmp_path, monkeypatch):
    function, path, n = archive
    whole, served = path.read_bytes(), []
    monkeypatch.delenv("DIFFGEN_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")

    def fetch(url, output, _, check_only=False):
        served.append(url)
        with open(output, "wb") as file:
            file.write(content)

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: fetch)
    content = b"something else"
    with pytest.raises(ValueError, match="does not match the known hash"):
        function()
    content = whole
    assert len(function()) == len(function()) == n
    assert served == [f"https://www.cs.toronto.edu/~kriz/{path.name}"] * 2
