"""Similarity of samples from the same noise: by hand, from all pairs, and with denoisers that do and do not agree."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

import diffgen as dg
from diffgen.features import classifier_features
from diffgen.metrics.reproducibility import reproducibility


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_by_hand() -> None:
    a, b = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    alike = reproducibility(a, b)
    assert alike.same == pytest.approx((0.6 + 1) / 2)
    assert alike.different == pytest.approx((0 + 0.8) / 2)
    assert alike.agreement == pytest.approx(0.4 / 0.6)
    assert alike.agreement.n == 2


def test_is_the_mean_of_all_pairs() -> None:
    a, b = randn(60, 2, 3) + 1, randn(60, 2, 3, seed=1) + 1
    for space in (None, lambda x: x.flatten(1)[:, :4] ** 2):
        pairs = cosine_similarity(*((space(x) if space else x.flatten(1)).double() for x in (a, b)))
        alike, off = reproducibility(a, b, space), ~np.eye(60, dtype=bool)
        assert alike.same == pytest.approx(pairs.diagonal().mean())
        assert alike.same.stderr == pytest.approx(pairs.diagonal().std(ddof=1) / math.sqrt(60))
        assert alike.different == pytest.approx(pairs[off].mean())


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_errors_are_those_of_repetition(shared: float) -> None:
    def trial(s: int):
        common, a, b = (0.5 + randn(40, 5, seed=3 * s + i) for i in range(3))
        return reproducibility(a + shared * common, b + shared * common)

    repeated = [trial(s) for s in range(400)]
    for name in ("same", "different", "agreement"):
        values = torch.tensor([[getattr(f, name), getattr(f, name).stderr] for f in repeated], dtype=torch.float64)
        assert values[:, 1].mean() == pytest.approx(values[:, 0].std().item(), rel=0.15)
    values = torch.tensor([f.agreement for f in repeated])
    assert (values.mean() > 0.2) == (shared > 0)
    assert shared or values.mean().abs() < 4 * values.std() / 20


def test_denoisers_of_two_halves() -> None:
    """Gaussian fits to halves of the data agree; optimal denoisers, which copy their half, agree far less."""
    images, grid, noise = dg.load_data("fashion_mnist", size=14, n_train=2000, n_val=2000), dg.edm_sigmas(12), 80.0
    halves, x = (images.train.x, images.val.x), noise * randn(100, 1, 14, 14)
    for space in (None, classifier_features):
        gaussian = reproducibility(*(dg.sample(dg.GaussianDenoiser.fit(y), x, grid) for y in halves), space)
        optimal = reproducibility(*(dg.sample(dg.OptimalDenoiser(y[:100]), x, grid) for y in halves), space)
        assert gaussian.agreement > 0.9
        assert optimal.agreement < 0.7
        other = dg.sample(dg.GaussianDenoiser.fit(halves[1]), noise * randn(100, 1, 14, 14, seed=1), grid)
        null = reproducibility(dg.sample(dg.GaussianDenoiser.fit(halves[0]), x, grid), other, space)
        assert abs(null.agreement) < 4 * null.agreement.stderr
        itself = reproducibility(x, x, space)
        assert (itself.same, itself.agreement) == pytest.approx((1, 1))


@pytest.mark.parametrize("b", [torch.zeros(3, 2), torch.zeros(4, 3)])
def test_mistakes_are_named(b: Tensor) -> None:
    with pytest.raises(ValueError, match=r"a is \(4, 2\) and b \(\d, \d\): give two samples"):
        reproducibility(torch.zeros(4, 2), b)
