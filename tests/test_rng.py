"""Counted randomness: known answers, independence of batch and device layout, and the distribution that it claims."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import diffgen as dg
from diffgen import rng
from diffgen.training.randomness import draws

WORD = 2**32 - 1


def by_whole_numbers(counter, key):
    """Philox 4×32-10 with Python's integers, which do not overflow."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k[0], second & WORD, (first >> 32) ^ c[3] ^ k[1], first & WORD]
        k = [(k[0] + 0x9E3779B9) & WORD, (k[1] + 0xBB67AE85) & WORD]
    return c


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((WORD,) * 4, (WORD,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
         (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)  # fmt: skip
def test_the_known_answers_of_its_authors(counter, key, answer):
    words = rng.philox([torch.tensor(c) for c in counter], key)
    assert tuple(int(word) for word in words) == answer == tuple(by_whole_numbers(counter, key))


words = st.integers(0, WORD)


@given(st.tuples(words, words, words, words), st.tuples(words, words))
def test_words_of_64_bits_do_not_overflow(counter, key):
    assert [int(word) for word in rng.philox([torch.tensor(c) for c in counter], key)] == by_whole_numbers(counter, key)


def test_a_row_has_its_numbers_in_every_batch():
    rows = torch.tensor([5, 0, 2**40 + 3, 17])
    whole = rng.normal(rows, (3, 7), 1, 2)
    for i, row in enumerate(rows):
        assert torch.equal(rng.normal(row[None], (3, 7), 1, 2)[0], whole[i])
    assert torch.equal(rng.normal(rows.flip(0), (3, 7), 1, 2).flip(0), whole)
    assert torch.equal(rng.words(rows, 5, 9), rng.words(rows, 8, 9)[:, :5]), "the first stay when more are drawn"
    assert len({hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in whole}) == len(rows)


def test_bounded_memory_changes_nothing(monkeypatch):
    rows, shape = torch.arange(3), (5, 11)
    whole = rng.normal(rows, shape, 4)
    monkeypatch.setattr(rng, "WORDS_AT_ONCE", 16)
    assert torch.equal(rng.normal(rows, shape, 4), whole)


def test_normal_numbers_are_normal_and_independent():
    x = rng.normal(torch.arange(400), (500,), 0, 1).double()
    assert x.dtype == torch.float64
    assert x.isfinite().all()
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3
    tail = (x.abs() > 3).double().mean()
    assert tail == pytest.approx(2 * stats.norm.sf(3), rel=0.1), "the tails that few words would miss"
    halves = np.corrcoef(x[:, 0::2].flatten(), x[:, 1::2].flatten())[0, 1]  # a sine beside its cosine
    rows = np.corrcoef(x[:-1].flatten(), x[1:].flatten())[0, 1]
    others = np.corrcoef(x.flatten(), rng.normal(torch.arange(400), (500,), 0, 2).flatten())[0, 1]
    assert max(abs(halves), abs(rows), abs(others)) < 4 / x.numel() ** 0.5 * 2


def test_uniform_numbers_are_uniform():
    u = rng.uniform(torch.arange(50_000), 3)
    assert u.min() > 0
    assert u.max() <= 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


def test_nothing_of_no_rows():
    assert rng.normal(torch.arange(0), (2, 2), 0).shape == (0, 2, 2)
    assert rng.words(torch.arange(3), 0, 0).shape == (3, 0)


@pytest.mark.parametrize("of", [lambda k: rng.generator(k), lambda k: rng.uniform(torch.arange(2), k)])
def test_negative_keys_are_refused(of):
    with pytest.raises(ValueError, match=r"random key \(-1,\) holds a negative number: seeds are 0 or larger"):
        of(-1)


@pytest.mark.parametrize("noise", ["counted", "streamed"])
def test_processes_share_the_draws_of_a_batch(noise):
    """Rows 0, 2, … and rows 1, 3, … of two processes are those of one; but for the masks of dropout."""
    config = dg.TrainConfig(
        data=dg.DataConfig(size=14, n_train=64, n_val=64), total_images=64, batch=8, conditional=True, noise=noise
    )
    one = draws(config, 16, (1, 3, 3))
    two = [draws(config, 16, (1, 3, 3), process=k, processes=2) for k in range(2)]
    for name in ("sigma", "n", "hidden"):
        merged = torch.stack([getattr(part, name) for part in two], 1).flatten(0, 1)
        assert torch.equal(merged, getattr(one, name))
    assert two[0].dropout != two[1].dropout


def test_counted_draws_depend_on_the_image_and_not_on_the_batch():
    config = dg.TrainConfig(data=dg.DataConfig(size=14, n_train=64, n_val=64), total_images=64, batch=8)
    first, second = (draws(config, seen, (2, 2)) for seen in (0, 8))
    both = draws(config.with_(batch=16), 0, (2, 2))
    assert torch.equal(torch.cat([first.n, second.n]), both.n)
    assert torch.equal(torch.cat([first.sigma, second.sigma]), both.sigma)
