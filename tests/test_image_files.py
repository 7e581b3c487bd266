"""Folders and zips of images: each image has its pixels and its class, in whatever order files come."""

import builtins
import io
import json
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from diffgen.data import from_array, from_folder, from_zip, open_data
from diffgen.data.image_files import _Folder


def picture(number, side=8, colour=True):
    """An image of which each pixel and channel differs, and which its number tells from others."""
    pixels = (np.arange(side * side * 3).reshape(side, side, 3) + number) % 256
    return pixels.astype(np.uint8) if colour else pixels[:, :, 0].astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def numbers(pool):
    """The numbers of the pictures in a pool: their first pixels."""
    return ((pool.x.flatten(1)[:, 0] + 1) * 127.5).round().int().tolist()


def zipped(path, pictures, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, pixels in pictures.items():
            file.writestr(name, png(pixels))
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return path


@pytest.fixture
def tree(tmp_path):
    """Three classes; written in another order than any sorted one."""
    where = {"10/a.png": 5, "2/10.png": 3, "cat/deep/er/a.png": 6, "2/9.png": 2, "10/B.PNG": 4, "2/1.png": 1}
    for name, number in where.items():
        save(tmp_path / "set" / name, picture(number))
    (tmp_path / "set" / ".hidden.png").write_bytes(b"")
    (tmp_path / "set" / "2" / "notes.txt").write_text("no image")
    return tmp_path / "set"


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_has_a_class_a_subfolder_in_natural_order(tree):
    pool = from_folder(tree)
    assert numbers(pool) == [1, 2, 3, 4, 5, 6]
    assert pool.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert (pool.class_names, pool.name, pool.shape) == (("2", "10", "cat"), "set", (3, 8, 8))
    expected = from_array(np.stack([picture(n) for n in range(1, 7)]))
    assert torch.equal(pool.x, expected.x), "red, green and blue, rows and columns are in their places"
    assert torch.equal(from_folder(tree)[torch.tensor([4, 0])].x, expected.x[[4, 0]])
    assert from_folder(tree, labels=False).labels is None
    sorted_names = from_folder(tree, class_names=["10", "2", "cat"])
    assert sorted_names.labels.tolist() == [1, 1, 1, 0, 0, 2]
    assert numbers(sorted_names) == [1, 2, 3, 4, 5, 6]
    assert numbers(open_data(tree)) == [1, 2, 3, 4, 5, 6]


def test_the_order_of_the_file_system_does_not_matter(tree, monkeypatch):
    names = _Folder(tree).names()
    results = []
    for order in (sorted(names), sorted(names, reverse=True)):
        monkeypatch.setattr(_Folder, "names", lambda self, order=order: order)
        pool = from_folder(tree)
        results.append((numbers(pool), pool.labels.tolist(), pool.class_names))
    assert results[0] == results[1]


def test_a_flat_folder_has_no_classes(tmp_path):
    for i in (0, 1, 2, 10):
        save(tmp_path / "flat" / f"{i}.png", picture(i, colour=False))
    pool = from_folder(tmp_path / "flat")
    assert (numbers(pool), pool.labels, pool.shape) == ([0, 1, 2, 10], None, (1, 8, 8))
    save(tmp_path / "flat" / "11.png", picture(11))
    assert from_folder(tmp_path / "flat").shape == (3, 8, 8), "grey ones among coloured ones are grey in colour"
    assert (from_folder(tmp_path / "flat").x[0].diff(dim=0) == 0).all()
    save(tmp_path / "flat" / "class" / "1.png", picture(1))
    with pytest.raises(ValueError, match=r"flat/0\.png lies beside folders of classes"):
        from_folder(tmp_path / "flat")


def test_a_jpeg_is_nearly_what_was_saved(tmp_path):
    smooth = np.add.outer(np.arange(16) * 8, np.arange(16) * 4).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpeg", quality=95)
    assert (from_folder(tmp_path).x[0, 0] - (torch.from_numpy(smooth) / 127.5 - 1)).abs().max() < 0.05


def test_images_are_cut_in_the_middle_and_averaged(tmp_path):
    wide = np.random.default_rng(0).integers(0, 256, (8, 14, 3), np.uint8)
    save(tmp_path / "a.png", wide)
    save(tmp_path / "b.png", np.moveaxis(wide, 0, 1))
    with pytest.raises(ValueError, match=r"b\.png has 8 × 14 pixels and .*a\.png 14 × 8: give size="):
        from_folder(tmp_path)
    pool = from_folder(tmp_path, size=4)
    middle = wide[:, 3:11].reshape(4, 2, 4, 2, 3).mean((1, 3))
    bytes_ = (pool.x[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(bytes_ - middle).max() <= 1.01, "but for Pillow's rounding, of rows and of columns"
    assert (pool.x[1] - pool.x[0].transpose(1, 2)).abs().max() < 1.01 / 127.5
    with pytest.raises(ValueError, match=r"a\.png has 14 × 8 pixels: too few for size=9"):
        from_folder(tmp_path, size=9)
    with pytest.raises(ValueError, match="size is 0: give a whole number"):
        open_data(tmp_path, size=0)


def test_folders_that_can_not_be_read_are_named(tmp_path, tree):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: give a folder"):
        from_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty has no images, nothing: images are \.png"):
        from_folder(tmp_path / "empty")
    (tmp_path / "empty" / "a.tiff").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"empty has no images, only \.tiff"):
        from_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"class_names differ from the folders of .* by cat, dog"):
        from_folder(tree, class_names=["2", "10", "dog"])
    pool = from_folder(tree)
    whole = (tree / "2" / "9.png").read_bytes()
    (tree / "2" / "9.png").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(OSError, match=r"2/9\.png is damaged: its pixels can't be read") as error:
        pool.x  # noqa: B018
    assert "\n" not in str(error.value)
    assert numbers(pool[:1]) == [1], "others are still there"
    (tree / "2" / "9.png").write_bytes(b"<html>")
    with pytest.raises(OSError, match=r"2/9\.png is damaged: it can't be read as an image"):
        from_folder(tree)
    (tree / "2" / "9.png").unlink()
    with pytest.raises(OSError, match=r"2/9\.png is damaged or gone"):
        pool[1].x  # noqa: B018


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "CMYK"])
def test_images_that_would_lose_something_are_refused(tmp_path, mode):
    Image.new(mode, (8, 8)).save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    with pytest.raises(ValueError, match=f"a.(png|jpg) is of mode {mode}: save it as 8-bit grey or RGB"):
        from_folder(tmp_path)


def test_without_pillow_the_remedy_is_told(tree, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=re.escape("reading image files needs Pillow: pip install 'diffgen[data]'")):
        from_folder(tree)


# --- zips -------------------------------------------------------------------------------------------------------------


def test_a_zip_as_edm_writes_it(tmp_path):
    """Labels belong to names: neither the order in the zip nor that in dataset.json is that of the images."""
    names = {f"0000{i % 2}/img0000000{i}.png": picture(i) for i in (3, 0, 2, 1)}
    labels = [[name, 10 + int(name[-5])] for name in sorted(names, reverse=True)]
    path = zipped(tmp_path / "edm.zip", names, dataset_json=json.dumps({"labels": labels}))
    pool = open_data(path)
    assert numbers(pool) == [0, 2, 1, 3]
    assert pool.labels.tolist() == [10, 12, 11, 13]
    assert torch.equal(pool.x, from_array(np.stack([picture(i) for i in (0, 2, 1, 3)])).x)
    assert from_zip(path, labels=False).labels is None
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "unpacked")
    assert from_folder(tmp_path / "unpacked").labels.tolist() == [10, 12, 11, 13]
    zipped(path, names, dataset_json='{"labels": null}')
    assert from_zip(path).labels is None


def test_a_zipped_folder_is_a_folder(tmp_path, tree):
    pictures = {f"set/{p.relative_to(tree)}": np.asarray(Image.open(p)) for p in tree.glob("*/**/*.[pP]*")}
    path = zipped(tmp_path / "set.zip", pictures)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/set/._a.png", b"")
    pool, folder = from_zip(path), from_folder(tree)
    assert torch.equal(pool.x, folder.x)
    assert (pool.labels.tolist(), pool.class_names) == (folder.labels.tolist(), folder.class_names)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"labels": [["0.png", 1]]}, r"dataset\.json has no label of 1\.png"),
        ({"labels": [["0.png", 1], ["1.png", 0.5]]}, r"dataset\.json has the label 0\.5 of 1\.png: .*integers"),
        ({"labels": [["0.png", 1], ["1.png", [0, 1]]]}, r"dataset\.json has the label \[0, 1\] of 1\.png"),
        ({"labels": [["0.png", 1], ["1.png", 0], ["2.png", 0]]}, r"a label of 2\.png, which is not there"),
        ({"labels": [["0.png", 1], ["1.png", -1]]}, "labels holds -1 in row 1"),
        ({"labels": 3}, r"dataset\.json is damaged: it holds"),
        ([], r"dataset\.json is damaged: it holds"),
    ],
)
def test_labels_that_do_not_fit_are_named(tmp_path, stated, message):
    path = zipped(tmp_path / "a.zip", {f"{i}.png": picture(i) for i in range(2)}, dataset_json=json.dumps(stated))
    with pytest.raises(ValueError, match=message) as error:
        from_zip(path)
    assert "\n" not in str(error.value)


def test_damaged_zips_are_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {f"{i}.png": picture(i, 32) for i in range(2)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"a\.zip is damaged: it can't be read as a zip"):
        from_zip(path)
    path.write_bytes(whole[:100] + bytes(20) + whole[120:])
    with pytest.raises(OSError, match=r"a\.zip/0\.png is damaged"):
        from_zip(path)
