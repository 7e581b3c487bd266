"""The Fréchet distance in closed form, and its invariances."""

import pytest
import torch
from torch import Tensor

import diffgen as dg


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(n: int, d: int, seed: int = 0) -> Tensor:
    """A sample whose mean is 0 and whose covariance is I, exactly."""
    x = randn(n, d, seed=seed)
    return torch.linalg.qr(x - x.mean(0)).Q * (n - 1) ** 0.5


def test_of_a_sample_to_itself_is_zero() -> None:
    for shape in ((50, 5), (5, 50), (20, 1, 4, 4)):
        assert dg.frechet_distance(randn(*shape), randn(*shape)) == pytest.approx(0, abs=1e-12)


def test_of_diagonal_gaussians() -> None:
    """‖m_a − m_b‖² + Σ (s_a − s_b)² for covariances that commute, whatever the sizes of the samples."""
    s_a, s_b, shift = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 1.0, 0.0]), torch.tensor([1.0, -2.0, 0.5])
    a, b = whitened(40, 3) * s_a, whitened(90, 3, seed=1) * s_b + shift
    expected = shift.square().sum() + (s_a - s_b).square().sum()
    assert dg.frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-12)


def test_of_samples_on_two_lines() -> None:
    """C_a = s² u uᵀ and C_b = t² v vᵀ have tr (C_a C_b)^{1/2} = s t |u·v|: singular covariances, exactly."""
    u, v = (torch.nn.functional.normalize(randn(30, seed=s), dim=0) for s in (1, 2))
    a, b = 2.0 * whitened(10, 1) * u, 3.0 * whitened(12, 1, seed=3) * v
    expected = 4 + 9 - 12 * (u @ v).abs()
    assert dg.frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-12)


def test_is_symmetric_and_scales_with_the_square() -> None:
    a, b = randn(60, 6) * torch.arange(1, 7), randn(80, 6, seed=1)
    distance = dg.frechet_distance(a, b)
    assert dg.frechet_distance(b, a) == pytest.approx(distance, rel=1e-12)
    assert dg.frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance, rel=1e-12)
    rotation = torch.linalg.qr(randn(6, 6, seed=2)).Q
    assert dg.frechet_distance(a @ rotation + 5, b @ rotation + 5) == pytest.approx(distance, rel=1e-11)


def test_float32_features_are_measured_in_float64() -> None:
    a, b = ((1e3 + 0.1 * randn(200, 10, seed=s)).float() for s in (0, 1))
    assert dg.frechet_distance(a, b) == pytest.approx(dg.frechet_distance(a.double(), b.double()), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(5, 3), r"a has shape \(1, 3\): give \(N, D\) features with N >= 2"),
        (torch.zeros(5, 3), torch.zeros(5, 4), "a has 3 features and b has 4"),
        (torch.zeros(5, 3), torch.full((5, 3), float("nan")), "b holds a value that is not finite"),
    ],
)
def test_mistakes_are_named(a: Tensor, b: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dg.frechet_distance(a, b)
