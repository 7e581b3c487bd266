"""Closed forms, limits and invariances of the three analytic denoisers, evaluated."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import diffgen as dg
from diffgen import optimal
from diffgen.loss import row_error

SIGMAS = [0.002, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0]


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def posterior_mean(x: Tensor, sigma: Tensor, points: Tensor) -> Tensor:
    """y*(x, σ) from all differences, in float64."""
    x, points = x.double().flatten(1), points.double().flatten(1)
    squared = torch.stack([(row - points).square().sum(1) for row in x])
    return (-squared / (2 * sigma.double()[:, None] ** 2)).softmax(1) @ points


# The optimal denoiser


@pytest.fixture(scope="module")
def images() -> dg.Split:
    return dg.load_data("fashion_mnist", size=28, n_train=2000, n_val=8)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("chunks", ["one", "many"])
def test_optimal_is_exact_on_images(
    images: dg.Split, sigma: float, chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chunks == "many":
        monkeypatch.setattr(optimal, "LOGITS_AT_ONCE", 8 * 300)
    # Half of the queries are noisy training images and half noisy validation images, which lie between points.
    y = torch.cat([images.train.x[:8], images.val.x])
    x = y + sigma * randn(*y.shape)
    expected = posterior_mean(x, torch.full((16,), sigma), images.train.x).reshape(x.shape)
    result = dg.OptimalDenoiser(images.train.x)(x, torch.tensor(sigma))
    assert (result - expected).abs().max() < 1e-5  # the requirement is 1e-4


def test_optimal_does_not_depend_on_the_order_of_points_or_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, x = randn(101, 3), randn(17, 3, seed=1)
    sigma = torch.linspace(0.05, 4, 17)
    whole = dg.OptimalDenoiser(points)(x, sigma)
    monkeypatch.setattr(optimal, "LOGITS_AT_ONCE", 20)
    monkeypatch.setattr(optimal, "ENTRIES_AT_ONCE", 30)
    torch.testing.assert_close(dg.OptimalDenoiser(points.flip(0))(x, sigma), whole, rtol=1e-6, atol=1e-6)


def test_optimal_returns_the_nearest_point_at_small_noise_and_the_mean_at_large() -> None:
    points, x = randn(50, 4), randn(9, 4, seed=1)
    denoiser = dg.OptimalDenoiser(points)
    nearest = points[torch.cdist(x, points).argmin(1)]
    assert torch.equal(denoiser(x, torch.tensor(1e-4)), nearest)
    torch.testing.assert_close(denoiser(x, torch.tensor(1e5)), points.mean(0).expand(9, -1), rtol=0, atol=1e-6)


def test_optimal_of_one_point_is_that_point() -> None:
    point = randn(1, 2, 3)
    assert torch.allclose(dg.OptimalDenoiser(point)(randn(5, 2, 3, seed=1), torch.rand(5) + 0.1), point.expand(5, 2, 3))


def test_optimal_of_two_points_is_a_tanh() -> None:
    # y = ±a: y*(x, σ) = a tanh(a·x / σ²)
    a, x, sigma = randn(1, 3), randn(20, 3, seed=1), torch.linspace(0.3, 5, 20)
    expected = a * torch.tanh((x * a).sum(1) / sigma**2)[:, None]
    torch.testing.assert_close(dg.OptimalDenoiser(torch.cat([a, -a]))(x, sigma), expected, rtol=1e-5, atol=1e-6)


def test_optimal_with_classes_is_that_of_each_class() -> None:
    points, classes = randn(30, 4), torch.arange(30) % 3
    denoiser, x, sigma = dg.OptimalDenoiser(points, classes), randn(7, 4, seed=1), torch.tensor(0.8)
    for c in range(3):
        expected = dg.OptimalDenoiser(points[classes == c])(x, sigma)
        torch.testing.assert_close(denoiser(x, sigma, torch.full((7,), c)), expected)
    torch.testing.assert_close(denoiser(x, sigma), dg.OptimalDenoiser(points)(x, sigma))


def test_optimal_finds_a_class_that_is_in_one_chunk_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimal, "LOGITS_AT_ONCE", 8)
    points, classes = randn(40, 2), torch.zeros(40, dtype=torch.long)
    classes[[3, 38]] = torch.tensor([1, 2])
    x = randn(2, 2, seed=1)
    result = dg.OptimalDenoiser(points, classes)(x, torch.tensor(0.5), torch.tensor([1, 2]))
    assert torch.allclose(result, points[[3, 38]])


def test_optimal_weight_is_the_largest_softmax() -> None:
    points, x, sigma = randn(30, 4), randn(7, 4, seed=1), torch.linspace(0.2, 3, 7)
    _, weight = dg.OptimalDenoiser(points).posterior(x, sigma)
    expected = (
        (-(torch.cdist(x.double(), points.double()) ** 2) / (2 * sigma.double()[:, None] ** 2)).softmax(1).amax(1)
    )
    torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=0)


def test_optimal_gradient_by_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimal, "LOGITS_AT_ONCE", 30)  # through several chunks
    x, sigma = (
        randn(3, 2, dtype=torch.float64).requires_grad_(),
        torch.tensor([0.5, 0.8, 2.0]).double().requires_grad_(),
    )
    assert torch.autograd.gradcheck(dg.OptimalDenoiser(randn(50, 2, seed=1, dtype=torch.float64)), (x, sigma))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 12),
    d=st.integers(1, 5),
    log_sigma=st.floats(-4, 4),
    log_scale=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
def test_only_ratios_to_the_data_scale_matter(n: int, d: int, log_sigma: float, log_scale: float, seed: int) -> None:
    """y*(s x, s σ; s Y) = s y*(x, σ; Y), and the estimate moves with the origin: both for the error-prone denoiser."""
    points, x = randn(n, d, seed=seed, dtype=torch.float64), randn(4, d, seed=seed + 1, dtype=torch.float64)
    sigma, scale, shift = math.exp(log_sigma), math.exp(log_scale), randn(d, seed=seed + 2, dtype=torch.float64)
    for delta in (0.0, 0.5):
        expected = scale * dg.ErrorProne(points, delta)(x, sigma) + shift
        moved = dg.ErrorProne(scale * points + shift, scale * delta)(scale * x + shift, scale * sigma)
        torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-6 * scale)


# The error-prone denoiser


def test_error_prone_is_the_posterior_mean_of_the_blurred_set() -> None:
    """For y = y_i + δ z, x = y + σ n: E[y | x, i] = y_i + δ² / (δ² + σ²) (x − y_i), weighted by N(x; y_i, δ² + σ²)."""
    points, x = randn(15, 3, dtype=torch.float64), 2 * randn(40, 3, seed=1, dtype=torch.float64)
    for delta in (0.1, 0.6, 2.0):
        for sigma in (0.05, 0.4, 3.0):
            variance = delta**2 + sigma**2
            weights = (-torch.cdist(x, points).square() / (2 * variance)).softmax(1)
            each = points + delta**2 / variance * (x[:, None] - points)
            expected = (weights[:, :, None] * each).sum(1)
            torch.testing.assert_close(dg.ErrorProne(points, delta)(x, sigma), expected, rtol=1e-9, atol=1e-9)


def test_error_prone_minimizes_the_error_on_the_blurred_set() -> None:
    """By Monte Carlo: on fresh draws of the blurred set, no other δ does better, and δ = 0 clearly worse."""
    points, delta, sigma = randn(10, 2), 0.5, 0.7
    index = torch.randint(10, (200_000,), generator=torch.Generator().manual_seed(1))
    y = points[index] + delta * randn(200_000, 2, seed=2)
    x = y + sigma * randn(200_000, 2, seed=3)
    errors = {d: row_error(dg.ErrorProne(points, d)(x, sigma), y).mean() for d in (0.0, 0.45, 0.5, 0.55)}
    assert min(errors, key=errors.__getitem__) == 0.5
    assert errors[0.0] > 1.05 * errors[0.5]


def test_error_prone_without_error_is_optimal() -> None:
    points, x, sigma = randn(20, 2), randn(5, 2, seed=1), torch.tensor([0.002, 0.1, 1.0, 10.0, 80.0])
    torch.testing.assert_close(dg.ErrorProne(points, 0.0)(x, sigma), dg.OptimalDenoiser(points)(x, sigma))


def test_error_prone_with_a_huge_error_returns_x() -> None:
    x = randn(5, 2, seed=1)
    torch.testing.assert_close(dg.ErrorProne(randn(20, 2), 1e5)(x, 1.0), x, rtol=1e-4, atol=1e-4)


# The Gaussian denoiser


@pytest.mark.parametrize("rank", [5, 2])
def test_gaussian_is_the_wiener_filter(rank: int) -> None:
    """D = m + C (C + σ² I)⁻¹ (x − m), for a covariance of full and of deficient rank."""
    mean, factor = randn(5, dtype=torch.float64), randn(5, rank, seed=1, dtype=torch.float64)
    covariance, x = factor @ factor.T, randn(9, 5, seed=2, dtype=torch.float64)
    for sigma in (0.1, 1.0, 10.0):
        inverse = torch.linalg.inv(covariance + sigma**2 * torch.eye(5, dtype=torch.float64))
        expected = mean + (x - mean) @ inverse @ covariance
        torch.testing.assert_close(dg.GaussianDenoiser(mean, covariance)(x, sigma), expected, rtol=1e-9, atol=1e-9)


def test_gaussian_limits() -> None:
    denoiser, x = dg.GaussianDenoiser(randn(4), torch.eye(4)), randn(3, 4, seed=1)
    torch.testing.assert_close(denoiser(x, 1e-4), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(denoiser(x, 1e5), randn(4).expand(3, 4), rtol=1e-5, atol=1e-5)


def test_gaussian_survives_a_cast_of_the_module() -> None:
    denoiser, x = dg.GaussianDenoiser(randn(4), torch.eye(4)), randn(3, 4, seed=1)
    expected = denoiser(x, 0.5)
    torch.testing.assert_close(denoiser.float()(x, 0.5), expected)


def test_gaussian_fits_images_of_any_shape() -> None:
    points = randn(100, 2, 3) * torch.tensor([1.0, 2.0, 3.0]) + 1
    denoiser = dg.GaussianDenoiser.fit(points)
    torch.testing.assert_close(denoiser.mean, points.mean(0))
    covariance = denoiser.axes @ denoiser.variances.diag() @ denoiser.axes.T
    torch.testing.assert_close(covariance, torch.cov(points.double().flatten(1).T))


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (torch.eye(3), r"covariance has shape \(3, 3\)"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "covariance is not symmetric"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "covariance has the eigenvalue -1"),
    ],
)
def test_gaussian_refuses_what_is_no_covariance(covariance: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dg.GaussianDenoiser(torch.zeros(2), covariance)
