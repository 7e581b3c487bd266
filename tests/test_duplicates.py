"""Duplicates: those that are planted are found, those that are there by chance are as many as is said."""

import pytest
import torch

import diffgen as dg
from diffgen.data import distinct, duplicates, find_duplicates, from_array, open_data
from diffgen.data.duplicates import exact, near
from diffgen.features import classifier_features
from diffgen.rng import generator


@pytest.fixture(scope="module")
def clothes():
    """The bundled images, 28×28."""
    return open_data("fashion_mnist")


def gaussian(n, d, seed=0, ambient=None):
    x = torch.randn(n, d, generator=generator(seed, 5))
    if ambient is None:
        return x
    return x @ torch.linalg.qr(torch.randn(ambient, d, generator=generator(9)))[0].T


def changed(x, how):
    """The same images to the eye."""
    if how == "noise":
        return x + 0.02 * torch.randn(x.shape, generator=generator(1))
    if how == "coarser":
        return ((x + 1) * 8).round() / 8 - 1
    if how == "brighter":
        return (x + 0.04).clamp(max=1)
    return ((x + 1) * 127.5 + 1).clamp(max=255) / 127.5 - 1


def test_planted_copies_are_found_within_a_set(clothes):
    x = clothes.x[:2000].clone()
    x[1500] = x[1400] = x[3]
    x[1600:1604] = torch.cat([changed(x[i : i + 1], how) for i, how in
                              zip(range(10, 14), ("noise", "coarser", "brighter", "one level"))])  # fmt: skip
    before, found = find_duplicates(clothes[:2000]), find_duplicates(x)
    assert (len(before.exact), len(before.near)) == (0, 0)
    assert sorted(found.exact.tolist()) == [[3, 1400], [3, 1500]]
    assert sorted(found.near.tolist()) == [[10, 1600], [11, 1601], [12, 1602], [13, 1603]]
    assert found.rows.tolist() == [1400, 1500, 1600, 1601, 1602, 1603]
    assert str(found).startswith("2 exact and 4 near duplicates among 2000 points (")
    assert (found.ratio.diff() >= 0).all()


@pytest.mark.parametrize("how", ["noise", "coarser", "brighter", "one level"])
def test_planted_copies_are_found_across_sets(clothes, how):
    """Each row of b is told with its own original, and every one of them is."""
    a, fresh = clothes[:3000], clothes[5000:5400].x
    rows = torch.randperm(3000, generator=generator(2))[:60]
    b = torch.cat([fresh[:200], changed(a.x[rows[:50]], how), fresh[200:], a.x[rows[50:]]])
    found = find_duplicates(a, b)
    assert found.exact.tolist() == [[int(i), 450 + j] for j, i in enumerate(rows[50:])]
    planted = {(int(i), 200 + j) for j, i in enumerate(rows[:50])}
    assert {tuple(pair) for pair in found.near.tolist()} == planted
    assert torch.equal(near(a, b), found.near)
    assert found.n == 460


def test_what_is_really_there_in_the_bundled_images(clothes):
    """Three pairs, seen to be the same photograph; chance would give none. None is equal to the bit."""
    found = find_duplicates(clothes)
    assert len(found.exact) == 0
    assert found.near.tolist() == [[2115, 4926], [802, 9921], [5886, 8859]]
    assert found.expected < 0.1
    assert (clothes.labels[found.near].diff(dim=1) == 0).all()
    by_features = find_duplicates(clothes, features=classifier_features)
    assert {(2115, 4926), (802, 9921)} <= {tuple(pair) for pair in by_features.near.tolist()}


@pytest.mark.parametrize(("d", "ratio"), [(2, 1 / 3), (5, 1 / 3), (10, 0.6), (14, 0.7)])
def test_chance_gives_as_many_as_is_expected(d, ratio):
    """On smooth data of known dimension, in more dimensions than it has. Mutual pairs count once, so up to half."""
    found = find_duplicates(gaussian(6000, d, ambient=40), ratio=ratio)
    assert found.dimension == pytest.approx(d, rel=0.15)
    assert 0.35 * found.expected < len(found.near) < 1.25 * found.expected
    assert len(found.near) > 50
    across = find_duplicates(gaussian(6000, d, ambient=40), gaussian(4000, d, seed=1, ambient=40), ratio=ratio)
    assert across.expected == pytest.approx(found.expected * 4000 / 6000, rel=0.4)
    assert 0.7 * across.expected < len(across.near) < 1.4 * across.expected


def test_the_scale_is_the_points_own():
    """Where images have little contrast distances are small, and nothing is a copy for that."""
    x = gaussian(2000, 12)
    x[1000:] = 20 + 0.001 * x[1000:]
    found = find_duplicates(x)
    assert len(found.near) == 0
    x[1999] = x[1000] + 1e-4 * gaussian(1, 12, seed=3)[0] / 12**0.5
    assert find_duplicates(x).near.tolist() == [[1000, 1999]]
    assert find_duplicates(1e4 * x).near.tolist() == [[1000, 1999]]


def test_families_are_found_with_a_scale_beyond_them():
    x = gaussian(500, 12)
    x[400:412] = x[0] + 1e-3 * gaussian(12, 12, seed=4)
    assert len(find_duplicates(x).near) < 12
    assert {0, *range(400, 412)} == set(find_duplicates(x, k=16).near.flatten().tolist())
    x[400:412] = x[0]
    assert len(find_duplicates(x).exact) == 12, "exact ones do not hide each other"


def test_the_size_of_chunks_does_not_matter(monkeypatch):
    a, b = gaussian(700, 9), gaussian(300, 9, seed=1)
    b[::7] = a[:43] + 1e-3
    whole = [find_duplicates(a, ratio=0.6), find_duplicates(a, b, ratio=0.6)]
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", 700 * 13)
    monkeypatch.setattr(duplicates, "ROWS_AT_ONCE", 64)
    for before, after in zip(whole, [find_duplicates(a, ratio=0.6), find_duplicates(a, b, ratio=0.6)]):
        assert len(after.near) > 25
        assert torch.equal(before.near, after.near)
        assert torch.allclose(before.ratio, after.ratio)


def test_points_are_left_as_they_are():
    a, b = gaussian(50, 9), gaussian(40, 9, seed=1)
    before = a.clone(), b.clone()
    find_duplicates(a, b)
    find_duplicates(a, features=lambda x: x)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_exact_copies_in_either_set_are_to_be_left_out():
    a, b = gaussian(6, 4), gaussian(5, 4, seed=1)
    a[4], b[2], b[3] = a[1], b[0], a[5]
    repeated, shared = exact(a, b)
    assert (repeated.tolist(), shared.tolist()) == ([4], [2, 3])
    repeated, shared = exact(dg.Points(a[:4]), dg.Points(b[:2]))
    assert (repeated.tolist(), shared.tolist()) == ([], [])
    zero = torch.tensor([[0.0, 1.0], [-0.0, 1.0]])
    assert find_duplicates(zero).exact.tolist() == [[0, 1]]


def test_distinct_points_keep_their_order_and_classes():
    pixels = torch.randint(0, 256, (20, 1, 6, 6), generator=generator(0)).byte()
    pixels[7] = pixels[12] = pixels[2]
    pool = distinct(from_array(pixels, torch.arange(20)))
    assert pool.labels.tolist() == [i for i in range(20) if i not in (7, 12)]
    assert len(find_duplicates(pool).exact) == 0


def test_few_points_have_no_neighbourhood():
    for n in (1, 2):
        found = find_duplicates(gaussian(n, 4))
        assert (len(found.exact), len(found.near), found.expected) == (0, 0, 0)
    assert len(find_duplicates(torch.ones(10, 4)).exact) == 9
    assert find_duplicates(gaussian(10, 4), gaussian(10, 4)).exact.tolist() == [[i, i] for i in range(10)]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="ratio is 1: the threshold"):
        find_duplicates(gaussian(10, 4), ratio=1)
    with pytest.raises(ValueError, match="k is 1: the scale is the distance to another neighbour"):
        find_duplicates(gaussian(10, 4), k=1)
    with pytest.raises(ValueError, match="a has points of 4 entries and b of 5"):
        find_duplicates(gaussian(10, 4), gaussian(10, 5))
