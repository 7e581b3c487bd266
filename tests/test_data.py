"""Fashion-MNIST: what is in the package, how it is split, and what is said when something is wrong."""

import gzip
import hashlib
import shutil
import time
from pathlib import Path

import pooch
import pytest
import torch

import diffgen as dg
from diffgen.data import fashion_mnist


@pytest.fixture(scope="module")
def split() -> dg.Split:
    return dg.load_data("fashion_mnist", size=14, n_train=3000, n_val=2000)


def images_of(points: dg.Points) -> set[bytes]:
    return {row.numpy().tobytes() for row in points.x}


def test_shapes_types_and_range(split: dg.Split) -> None:
    assert split.train.x.shape == (3000, 1, 14, 14)
    assert (len(split.train), len(split.val), len(split.holdout)) == (3000, 2000, 5000)
    for part in (split.train, split.val, split.holdout):
        assert part.x.dtype == torch.float32
        assert part.labels.dtype == torch.long
        assert -1 <= part.x.min() < -0.99 < 0.9 < part.x.max() <= 1
        assert sorted(part.labels.unique().tolist()) == list(range(10))


@pytest.mark.parametrize("size", fashion_mnist.SIZES)
def test_no_image_is_in_two_parts(size: int) -> None:
    """By its pixels, not its index: the pool holds no image twice, at no size."""
    split = dg.load_data("fashion_mnist", size=size, n_train=4000, n_val=3000)
    parts = [images_of(part) for part in (split.train, split.val, split.holdout)]
    assert [len(p) for p in parts] == [4000, 3000, 3000]
    assert len(set.union(*parts)) == 10_000


def test_parts_are_identically_distributed(split: dg.Split) -> None:
    """Means and class frequencies differ by what chance allows: within 4 standard errors."""
    train, val = split.train, split.val
    for a, b in ((train, val), (train, split.holdout), (val, split.holdout)):
        brightness = [part.x.mean((1, 2, 3)) for part in (a, b)]
        stderr = sum(m.var() / len(m) for m in brightness).sqrt()
        assert (brightness[0].mean() - brightness[1].mean()).abs() < 4 * stderr
        frequencies = [part.labels.bincount() / len(part) for part in (a, b)]
        stderr = (0.1 * 0.9 * (1 / len(a) + 1 / len(b))) ** 0.5
        assert (frequencies[0] - frequencies[1]).abs().max() < 4 * stderr


def test_the_seed_decides_the_split(split: dg.Split) -> None:
    again = dg.load_data("fashion_mnist", size=14, n_train=3000, n_val=2000, seed=0)
    other = dg.load_data("fashion_mnist", size=14, n_train=3000, n_val=2000, seed=1)
    assert torch.equal(split.train.x, again.train.x)
    assert torch.equal(split.val.labels, again.val.labels)
    assert len(images_of(split.train) & images_of(other.train)) < 1100  # 900 are expected by chance


def test_smaller_sets_are_beginnings_of_larger_ones(split: dg.Split) -> None:
    fewer = dg.load_data("fashion_mnist", size=14, n_train=100, n_val=50)
    assert torch.equal(fewer.train.x, split.train.x[:100])
    assert torch.equal(fewer.val.x, split.val.x[:50])
    assert torch.equal(fewer.val.labels, split.val.labels[:50])


def test_a_reference_is_trained_on_the_rest() -> None:
    config = dg.DataConfig(size=14, n_train=3000, n_val=2000)
    split, reference = config.load(), config.reference.load()
    assert torch.equal(reference.train.x, split.holdout.x)
    assert torch.equal(reference.val.x, split.val.x)
    assert reference.holdout is None
    with pytest.raises(ValueError, match="leaves nothing of fashion_mnist for a reference"):
        config.reference.reference  # noqa: B018
    with pytest.raises(ValueError, match=r"skip \+ n_train \+ n_val is 6000 \+ 3000 \+ 2000 = 11000"):
        dg.DataConfig(size=14, n_train=3000, n_val=2000, skip=6000)


def test_labels_belong_to_their_images(split: dg.Split) -> None:
    """Trousers differ from ankle boots: classifying by the nearest class mean of other images is far above chance."""
    means = torch.stack([split.train.x[split.train.labels == c].mean(0) for c in range(10)])
    guess = torch.cdist(split.val.x.flatten(1), means.flatten(1)).argmin(1)
    assert (guess == split.val.labels).float().mean() > 0.6


def test_the_whole_pool_can_be_used() -> None:
    split = dg.load_data("fashion_mnist", size=4, n_train=9000, n_val=1000)
    assert split.holdout is None


def test_sizes_are_area_averages() -> None:
    whole = dg.load_data("fashion_mnist", size=28, n_train=20, n_val=1).train.x
    bytes_ = (whole + 1) * 127.5
    torch.testing.assert_close(bytes_, bytes_.round(), rtol=0, atol=1e-4)
    for size in (14, 7, 4):
        b = 28 // size
        averaged = dg.load_data("fashion_mnist", size=size, n_train=20, n_val=1).train.x
        by_hand = torch.stack([whole[..., i::b, j::b] for i in range(b) for j in range(b)]).mean(0)
        torch.testing.assert_close(averaged, by_hand, rtol=0, atol=1e-6)


def test_sigma_data_is_measured_on_the_training_part(split: dg.Split) -> None:
    assert split.sigma_data == pytest.approx(split.train.x.double().numpy().std(), rel=1e-9)
    assert split.sigma_data != pytest.approx(split.val.x.double().numpy().std(), rel=1e-6)


def test_loading_is_fast() -> None:
    """About 0.1 s; the limit only catches a change of method, such as decoding image by image."""
    start = time.perf_counter()
    dg.load_data("fashion_mnist", size=14, n_train=2048, n_val=2048)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "mnist"}, "name is 'mnist': the data sets are 'fashion_mnist', 'fashion_mnist_70k'"),
        ({"size": 13}, "size is 13: fashion_mnist comes in 28, 14, 7, 4 pixels"),
        ({"size": 56}, "size is 56: "),
        ({"size": 0}, "size is 0: "),
        ({"size": 14.0}, "size is 14.0: give a whole number"),
        ({"n_train": 9000, "n_val": 1001}, r"9000 \+ 1001 = 10001, but fashion_mnist has 10000 images: ask for fewer"),
        ({"n_train": 0}, "n_train is 0: give a whole number of at least 1"),
        ({"n_val": -5}, "n_val is -5: give a whole number of at least 1"),
        ({"n_val": "all"}, "n_val is 'all': give a whole number"),
        ({"seed": -1}, "seed is -1: give a whole number of at least 0"),
    ],
)
def test_mistakes_are_named_in_one_line(change: dict, message: str) -> None:
    arguments = {"name": "fashion_mnist", "size": 14, "n_train": 10, "n_val": 10, **change}
    with pytest.raises(ValueError, match=message) as caught:
        dg.load_data(arguments.pop("name"), **arguments)
    assert "\n" not in str(caught.value)


# Files


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's files that a test may damage."""
    folder = shutil.copytree(fashion_mnist.BUNDLED, tmp_path / "bundled")
    monkeypatch.setattr(fashion_mnist, "BUNDLED", folder)
    return folder


def load_a_few(name: str = "fashion_mnist") -> dg.Split:
    return dg.load_data(name, size=4, n_train=10, n_val=10)


@pytest.mark.parametrize("file", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_missing_file_is_named(bundled: Path, file: str) -> None:
    (bundled / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{file} is missing from .*bundled: install diffgen again"):
        load_a_few()


def damage(data: bytes, how: str) -> bytes:
    if how == "cut":
        return data[: len(data) // 2]
    if how == "one bit":
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    if how == "other contents":
        return gzip.compress(b"\0" * 10_008)
    return b"<html>Not found</html>" if how == "no gzip" else b""


@pytest.mark.parametrize("how", ["cut", "one bit", "other contents", "no gzip", "empty"])
@pytest.mark.parametrize("file", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_damaged_file_is_named(bundled: Path, file: str, how: str) -> None:
    (bundled / file).write_bytes(damage((bundled / file).read_bytes(), how))
    with pytest.raises(OSError, match=f"{file} is damaged") as caught:
        load_a_few()
    assert "\n" not in str(caught.value)


def test_the_same_contents_in_another_gzip_are_accepted(bundled: Path) -> None:
    """Debian's files differ from the publisher's in the gzip header alone."""
    expected = load_a_few()
    path = bundled / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=1))
    assert torch.equal(load_a_few().train.labels, expected.train.labels)


def test_the_licence_lies_beside_the_files() -> None:
    text = (fashion_mnist.BUNDLED / "LICENSE").read_text()
    assert "The MIT License" in text
    assert "Zalando" in text


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No installed files: only an empty folder, which DIFFGEN_DATA names."""
    folder = tmp_path / "published"
    folder.mkdir()
    monkeypatch.setenv(fashion_mnist.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(fashion_mnist, "_download_folder", lambda: tmp_path / "no-download")
    return folder


def test_all_70000_need_files_that_the_package_lacks(elsewhere: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.gz is missing .*download_fashion_mnist\(\)"):
        load_a_few("fashion_mnist_70k")


def test_a_damaged_file_of_the_70000_is_named(elsewhere: Path) -> None:
    (elsewhere / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        load_a_few("fashion_mnist_70k")


@pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_all_70000_with_the_debian_package() -> None:
    split = dg.load_data("fashion_mnist_70k", size=4, n_train=60_000, n_val=5_000)
    parts = [images_of(part) for part in (split.train, split.val, split.holdout)]
    assert [len(p) for p in parts] == [60_000, 5_000, 5_000]
    assert len(set.union(*parts)) == 70_000
    assert (split.train.labels.bincount() - 6000).abs().max() < 200
    with pytest.raises(ValueError, match=r"but fashion_mnist_70k has 70000 images: ask for fewer$"):
        dg.load_data("fashion_mnist_70k", size=4, n_train=70_000, n_val=1)


def test_a_download_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder in place of the publisher: good files arrive, another one is refused."""
    good = {"a.gz": b"as published"}
    monkeypatch.setattr(fashion_mnist, "PUBLISHED_MD5", {f: hashlib.md5(b).hexdigest() for f, b in good.items()})
    served = []

    def fetch(url: str, output: str, _: object, check_only: bool = False) -> None:
        served.append(url)
        Path(output).write_bytes(contents)

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: fetch)
    contents = b"something else"
    with pytest.raises(ValueError, match="does not match the known hash"):
        fashion_mnist.download_fashion_mnist(tmp_path)
    contents = good["a.gz"]
    assert fashion_mnist.download_fashion_mnist(tmp_path) == tmp_path
    assert (tmp_path / "a.gz").read_bytes() == b"as published"
    assert served == [fashion_mnist.PUBLISHED + "a.gz"] * 2


def test_points_are_checked() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        dg.Points(torch.zeros(3))
    with pytest.raises(ValueError, match=r"labels has shape \(2,\): give one a point, \(3,\)"):
        dg.Points(torch.zeros(3, 2), torch.zeros(2))
