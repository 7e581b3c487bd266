"""Anybody's points: what is read is what is in the array or file, in [−1, 1], and what can't be told is refused."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import diffgen as dg
from diffgen.data import Pool, encoded, from_array, open_data, split_points
from diffgen.runs import data_hash


def bytes_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def one_line(error, *parts):
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value), str(error.value)


# --- what is read -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(4, 6), st.integers(4, 6))))
def test_a_file_gives_the_bytes_that_were_saved(tmp_path_factory, pixels):
    pixels.flat[0] = 255
    path, packed = (tmp_path_factory.mktemp("data") / name for name in ("a.npy", "a.npz"))
    np.save(path, pixels)
    np.savez_compressed(packed, images=pixels, labels=np.arange(len(pixels)))
    expected = torch.from_numpy(pixels.astype(np.float64) / 127.5 - 1).float()
    for pool in (from_array(pixels), from_array(torch.from_numpy(pixels)), from_array(path), from_array(packed)):
        assert pool.x.dtype == torch.float32
        torch.testing.assert_close(pool.x, expected, rtol=0, atol=1e-6)
        assert torch.equal(((pool.x + 1) * 127.5).round().byte(), torch.from_numpy(pixels))
    assert from_array(packed).labels.tolist() == list(range(len(pixels)))
    swapped = from_array(np.moveaxis(pixels, 1, 3).copy())
    assert torch.equal(swapped.x, from_array(pixels).x)


def test_the_ends_of_the_scale_are_minus_one_and_one():
    pixels = np.zeros((2, 1, 4, 4), np.uint8)
    pixels[1] = 255
    assert from_array(pixels).x.flatten(1).unique(dim=1).flatten().tolist() == [-1, 1]
    for high in (1, 255):
        pool = from_array(pixels.astype(np.float32) / 255 * high, value_range=(0, high))
        assert torch.equal(pool.x, from_array(pixels).x)
    assert torch.equal(from_array(pixels // 255, value_range=(0, 1)).x, from_array(pixels).x)


def test_floats_in_units_of_the_package_stay_as_they_are():
    x = torch.rand(5, 3, 6, 6) * 2 - 1
    assert torch.equal(from_array(x).x, x)
    assert torch.equal(from_array(x.numpy().astype(np.float64)).x, x)
    assert torch.equal(from_array(x.bfloat16()).x, x.bfloat16().float())
    vectors = 10 * torch.randn(5, 7)
    assert torch.equal(from_array(vectors).x, vectors), "points (N, d) have units of their own"
    latents = 10 * torch.randn(5, 4, 6, 6)
    assert torch.equal(from_array(latents, layout="NCHW", value_range="any").x, latents)


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((5, 3, 8, 9), None, (3, 8, 9)), ((5, 8, 9, 3), None, (3, 8, 9)), ((5, 8, 9), None, (1, 8, 9)),
        ((5, 8, 9, 1), None, (1, 8, 9)), ((5, 7), None, (7,)), ((3, 8, 9), "NHW", (1, 8, 9)),
        ((5, 3, 8, 3), "NHWC", (3, 3, 8)), ((5, 4, 8, 8), "NCHW", (4, 8, 8)),
    ],
)  # fmt: skip
def test_axes_are_found(shape, layout, expected):
    pixels = bytes_of(*shape)
    pool = from_array(pixels, layout=layout)
    assert pool.shape == expected == tuple(pool.x.shape[1:])
    if expected[0] == 3 and shape[-1] == 3:  # where rows and columns stay is part of it
        torch.testing.assert_close(pool.x[1, 2, 0, 4], torch.tensor(pixels[1, 0, 4, 2] / 127.5 - 1).float())


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3), (5, 3, 8, 3), (5, 4, 8, 8), (5, 2, 3, 4, 4), (5,)])
def test_axes_that_can_not_be_told_are_asked_for(shape):
    with pytest.raises(ValueError, match="layout=") as error:
        from_array(bytes_of(*shape))
    one_line(error, f"x has shape {shape}")


def test_a_layout_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"layout is 'NHW', but x has shape \(5, 3, 8, 8\)"):
        from_array(bytes_of(5, 3, 8, 8), layout="NHW")
    with pytest.raises(ValueError, match="layout is 'CHW': choose one of 'NCHW'"):
        from_array(bytes_of(5, 3, 8, 8), layout="CHW")
    with pytest.raises(ValueError, match=r"x has shape \(0, 3, 8, 8\): give one point or more"):
        from_array(bytes_of(0, 3, 8, 8))


# --- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (np.linspace(0, 1, 50), ("from 0 to 1", "value_range=(0, 1)", "value_range=(-1, 1)")),
        (np.linspace(0, 255, 50), ("from 0 to 255", "value_range=(0, 255)", "'any'")),
        (np.linspace(-2.5, 2, 50), ("from -2.5 to 2", "value_range=(-2.5, 2)", "'any'")),
        (np.linspace(0, 255, 50).astype(np.int64), ("dtype int64", "value_range=(0, 255)")),
        (np.arange(50) % 2 == 0, ("dtype bool",)),
        ((np.arange(50) % 2).astype(np.uint8), ("0 and 1 alone", "value_range=(0, 1)")),
        (np.linspace(0, 1, 50).astype(complex), ("dtype complex128",)),
    ],
)
def test_units_are_not_guessed(values, parts):
    with pytest.raises(ValueError, match="x ") as error:
        from_array(values.reshape(2, 1, 5, 5))
    one_line(error, *parts)


def test_a_range_is_held_against_the_values():
    with pytest.raises(ValueError, match=r"x has values from 0 to 255, outside of value_range=\(0, 1\)"):
        from_array(np.linspace(0, 255, 50).reshape(2, 1, 5, 5), value_range=(0, 1))
    with pytest.raises(ValueError, match=r"value_range is \(1, 0\): give \(low, high\)"):
        from_array(bytes_of(2, 1, 5, 5), value_range=(1, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 3, 1500])
def test_the_first_row_that_is_not_finite_is_named(bad, row):
    x = np.zeros((2000, 2))
    x[row, 1] = x[-1, 0] = bad
    with pytest.raises(ValueError, match=f"not finite in row {row}:"):
        from_array(x)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"labels has shape \(2,\): give one a point, \(3,\)"),
        ([0.0, 1.0, 2.0], "labels has dtype float64: give class indices as integers"),
        ([0, -1, 1], "labels holds -1 in row 1: classes are counted from 0"),
        (np.eye(3, dtype=int), r"labels has shape \(3, 3\): .*argmax\(1\)"),
        (["a", "b", "c"], "labels has dtype"),
    ],
)
def test_labels_are_checked(labels, message):
    with pytest.raises(ValueError, match=message) as error:
        from_array(bytes_of(3, 1, 5, 5), labels)
    one_line(error)
    with pytest.raises(ValueError, match="labels go to 2, but there are 2 class names"):
        from_array(bytes_of(3, 1, 5, 5), [0, 1, 2], class_names=["a", "b"])


# --- files ------------------------------------------------------------------------------------------------------------


def test_which_array_of_a_file_is_meant(tmp_path):
    images, labels = bytes_of(4, 8, 8, 3), np.arange(4)[:, None]
    path = tmp_path / "set.npz"
    np.savez(path, train_images=images, train_labels=labels, val_images=images[:2])
    with pytest.raises(ValueError, match="'train_images', 'train_labels', 'val_images': say which you mean by key="):
        from_array(path)
    pool = from_array(path, key="train_images", labels_key="train_labels")
    assert (pool.shape, pool.labels.tolist(), pool.name) == ((3, 8, 8), [0, 1, 2, 3], "set")
    with pytest.raises(ValueError, match="key is 'test'"):
        from_array(path, key="test")
    np.savez(path, images, labels[:, 0])  # as samples are handed on: arr_0, arr_1
    assert from_array(path).labels.tolist() == [0, 1, 2, 3]
    np.savez(path, whatever=images)
    assert from_array(path).labels is None


def test_a_file_stays_on_disk_until_it_is_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", bytes_of(50, 3, 8, 8))
    pool = open_data(tmp_path / "a.npy")
    assert isinstance(pool.rows.array, np.memmap)
    split = pool.split(10, 5)
    assert len(split.holdout) == 35
    assert not any("x" in part.__dict__ for part in (pool, split.train, split.val, split.holdout))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_files_are_named(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path} does not exist")):
        from_array(path)
    (np.save if name == "a.npy" else np.savez)(path, bytes_of(20, 3, 8, 8))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>"):
        path.write_bytes(content)
        with pytest.raises(OSError, match=re.escape(f"{path} is damaged")) as error:
            from_array(path)
        one_line(error)
    (np.save if name == "a.npy" else np.savez)(path, np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects") as error:
        from_array(path)
    one_line(error, str(path))


def test_open_data_dispatches(tmp_path):
    np.save(tmp_path / "a.npy", bytes_of(4, 8, 8))
    np.save(tmp_path / "b.npy", np.arange(4))
    assert open_data(str(tmp_path / "a.npy"), labels=tmp_path / "b.npy").labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"size is given, but has no meaning for .*a\.npy"):
        open_data(tmp_path / "a.npy", size=4)
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist: give a folder .* \.npz, or one of cifar10"):
        open_data("nowhere")
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.pkl is of no known kind: give a folder"):
        open_data(tmp_path / "a.pkl")
    with pytest.raises(FileNotFoundError, match=r"a\.zip does not exist"):
        open_data(tmp_path / "a.zip")


def test_a_named_data_set_is_split_as_ever():
    """`open_data(name).split` and `load_data(name)` are one thing, to the bit."""
    pool = open_data("fashion_mnist")
    ours, ever = pool.split(300, 200, seed=3), dg.load_data("fashion_mnist", size=28, n_train=300, n_val=200, seed=3)
    for part in ("train", "val", "holdout"):
        assert torch.equal(getattr(ours, part).x, getattr(ever, part).x)
        assert torch.equal(getattr(ours, part).labels, getattr(ever, part).labels)
    assert pool.class_names[9] == "ankle boot"
    assert ours.sigma_data == ever.sigma_data


# --- pools ------------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.data(), st.integers(0, 5), st.booleans())
def test_splits_are_disjoint_cover_and_repeat(n, data, seed, as_pool):
    n_train = data.draw(st.integers(1, n - 1))
    n_val = data.draw(st.integers(1, n - n_train))
    points = dg.Points(torch.arange(n)[:, None].float(), torch.arange(n))
    points = from_array(points.x, points.labels) if as_pool else points
    split = split_points(points, n_train, n_val, seed=seed)
    rows = [[] if part is None else part.labels.tolist() for part in (split.train, split.val, split.holdout)]
    assert [len(r) for r in rows] == [n_train, n_val, n - n_train - n_val]
    assert sorted(row for part in rows for row in part) == list(range(n)), "each row in one part"
    assert all(part is None or torch.equal(part.x[:, 0].long(), part.labels) for part in vars(split).values())
    again = split_points(points, n_train, 1, seed=seed)
    assert again.train.labels.tolist() == rows[0]
    assert again.val.labels.tolist() == rows[1][:1]


def test_splits_are_checked():
    pool = from_array(bytes_of(5, 1, 5, 5))
    with pytest.raises(ValueError, match=r"n_train \+ n_val is 4 \+ 2, but there are 5 points"):
        pool.split(4, 2)
    with pytest.raises(ValueError, match=r"n_val is 0: give a whole number of at least 1"):
        pool.split(4, 0)
    with pytest.raises(ValueError, match=r"n_train is 1\.5: give a whole number"):
        pool.split(1.5, 1)


def test_a_pool_stands_for_points():
    pixels, labels = bytes_of(30, 3, 6, 6), torch.arange(30) % 4
    pool = from_array(pixels, labels)
    plain = dg.Points(pool.x, pool.labels)
    assert isinstance(pool, dg.Points)
    assert (len(pool), pool.shape) == (30, (3, 6, 6))
    for index in (slice(5, 20), slice(None, None, 3), torch.tensor([7, 2, 2]), torch.arange(30) % 2 == 0):
        fresh = from_array(pixels, labels)[index]
        for part in (pool[index], fresh):
            assert torch.equal(part.x, plain[index].x)
            assert torch.equal(part.labels, plain[index].labels)
    assert torch.equal(pool[3].x, plain.x[3:4])
    assert torch.equal(pool[4:20][torch.tensor([1, 0])].x, plain.x[[5, 4]])
    assert len([*pool]) == 30
    assert pool.hash == from_array(pixels, labels).hash == data_hash(pool) == data_hash(plain)
    assert pool.hash != from_array(pixels, labels.flip(0)).hash
    assert repr(pool) == "Pool('array': 30 points of shape (3, 6, 6), 4 classes)"
    wiener = dg.GaussianDenoiser.fit(plain.x)
    sigmas = torch.tensor([0.5, 2.0])
    theirs, ours = (dg.generalization_gap(wiener, p[:15], p[15:], sigmas).gap for p in (plain, pool))
    assert torch.equal(theirs, ours)


def test_latents_are_those_of_the_encoder():
    pool = from_array(bytes_of(10, 3, 8, 8), torch.arange(10), class_names=[*"abcdefghij"])
    sizes = []

    def encode(x):
        sizes.append(len(x))
        return 5 * x.unflatten(2, (4, 2)).mean((1, 3))

    latents = encoded(pool, encode, batch_size=4)
    assert torch.equal(latents.x, encode(pool.x))
    assert sizes == [4, 4, 2, 10]
    assert (latents.shape, latents.labels.tolist(), latents.class_names) == ((4, 8), [*range(10)], pool.class_names)
    assert isinstance(encoded(dg.Points(pool.x), encode), Pool)
    with pytest.raises(ValueError, match=r"encode returns a tensor \(5, 192\) for 10 images: .*a row an image|one row"):
        encoded(pool, lambda x: x.flatten(1)[::2])
    with pytest.raises(ValueError, match="encode returns a list for 10 images"):
        encoded(pool, lambda x: x.tolist())
    with pytest.raises(ValueError, match="not finite in row 0"):
        encoded(pool, lambda x: x / 0)


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, diffgen.data; print([m for m in ('PIL', 'pooch', 'datasets', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == "[]"
