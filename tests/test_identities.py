"""Identities of the wrappers, the conversions, the losses and the grids of noise levels."""

import math

import pytest
import torch
from torch import Tensor

import diffgen as dg
from diffgen.denoiser import noise, score
from diffgen.loss import edm_loss, edm_weight, row_error


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Wrappers


def test_guidance_extrapolates() -> None:
    main, guide = dg.OptimalDenoiser(randn(9, 2)), dg.ErrorProne(randn(9, 2), 0.8)
    x, sigma = randn(6, 2, seed=1), torch.linspace(0.2, 2, 6)
    a, b = main(x, sigma), guide(x, sigma)
    for w in (0.5, 2.0):
        torch.testing.assert_close(dg.Guided(main, guide, w)(x, sigma), (1 + w) * a - w * b)
    assert torch.equal(dg.Guided(main, guide, 0)(x, sigma), a)
    torch.testing.assert_close(dg.Guided(main, guide, -1)(x, sigma), b)
    torch.testing.assert_close(dg.Guided(main, main, 3.0)(x, sigma), a)


def test_guidance_is_confined_to_its_interval() -> None:
    main, guide = dg.OptimalDenoiser(randn(9, 2)), dg.ErrorProne(randn(9, 2), 0.8)
    x, sigma = randn(4, 2, seed=1), torch.tensor([0.3, 0.4, 1.0, 1.1])
    inside, outside = dg.Guided(main, guide, 2.0)(x, sigma), main(x, sigma)
    result = dg.Guided(main, guide, 2.0, (0.3, 1.0))(x, sigma)  # open below, closed above
    torch.testing.assert_close(result, torch.stack([outside[0], inside[1], inside[2], outside[3]]))
    assert torch.equal(dg.Guided(main, guide, 2.0, (5.0, 9.0))(x, sigma), outside)


def test_chunks_are_as_large_as_asked_and_change_nothing() -> None:
    sizes: list[int] = []

    def base(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        sizes.append(len(x))
        return x * sigma.reshape(-1, *[1] * (x.ndim - 1)) + labels[:, None]

    x, sigma, labels = randn(10, 2), torch.arange(1.0, 11.0), torch.arange(10)
    expected = x * sigma[:, None] + labels[:, None]
    for rows, chunks in ((4, [4, 4, 2]), (10, [10]), (1, [1] * 10)):
        assert torch.equal(dg.Chunked(base, rows)(x, sigma, labels), expected)
        assert sizes == chunks
        sizes.clear()


def test_a_switch_is_the_other_denoiser_in_its_window_ends_included() -> None:
    main, other = dg.OptimalDenoiser(randn(9, 2)), dg.ErrorProne(randn(9, 2), 0.5)
    grid = dg.edm_sigmas(12, dtype=torch.float64)
    x, sigma = randn(12, 2, seed=1), grid[:-1]
    switched = dg.Switched(main, other, low=float(grid[8]), high=float(grid[5]))  # levels that float32 rounds
    inside = (torch.arange(12) >= 5) & (torch.arange(12) <= 8)
    expected = torch.where(inside[:, None], other(x, sigma), main(x, sigma))
    assert torch.equal(switched(x, sigma), expected)
    for i in range(12):
        assert torch.equal(switched(x[i : i + 1], sigma[i]), expected[i : i + 1])
    everywhere, nowhere = dg.Switched(main, other, 0, math.inf), dg.Switched(main, other, 100, 200)
    assert torch.equal(dg.sample(everywhere, 80 * x, grid), dg.sample(other, 80 * x, grid))
    assert torch.equal(dg.sample(nowhere, 80 * x, grid), dg.sample(main, 80 * x, grid))


def test_a_switch_calls_only_the_denoiser_that_it_needs() -> None:
    def never(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        raise AssertionError

    x = randn(3, 2)
    assert dg.Switched(never, dg.ErrorProne(x, 0.5), 1, 2)(x, torch.tensor(1.5)).shape == (3, 2)
    assert dg.Switched(dg.ErrorProne(x, 0.5), never, 1, 2)(x, torch.tensor(2.5)).shape == (3, 2)


def test_a_window_of_the_size_of_the_image_changes_nothing() -> None:
    base, x, sigma = dg.OptimalDenoiser(randn(9, 2, 6, 6)), randn(4, 2, 6, 6, seed=1), torch.linspace(0.5, 3, 4)
    torch.testing.assert_close(dg.Windowed(base, 6)(x, sigma), base(x, sigma))


def test_a_window_limits_what_a_pixel_sees() -> None:
    base, x = dg.OptimalDenoiser(randn(9, 1, 3, 3)), randn(1, 1, 8, 8, seed=1).requires_grad_()
    denoised = dg.Windowed(base, 3)(x, torch.tensor(1.0))
    (gradient,) = torch.autograd.grad(denoised[0, 0, 4, 4], x)
    seen = gradient[0, 0] != 0
    assert seen[2:7, 2:7].all()
    assert seen.sum() == 25


def test_a_window_of_one_pixel_denoises_pixels() -> None:
    base, x = dg.GaussianDenoiser(torch.zeros(1, 1, 1), torch.eye(1)), randn(2, 1, 5, 5)
    torch.testing.assert_close(dg.Windowed(base, 1)(x, torch.tensor(1.0)), x / 2)


def test_preconditioning_with_a_silent_network_is_the_gaussian_denoiser() -> None:
    class Silent(torch.nn.Module):
        def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x, sigma = randn(6, 3), torch.tensor([0.002, 0.1, 0.5, 1.0, 10.0, 80.0])
    gaussian = dg.GaussianDenoiser(torch.zeros(3), 0.25 * torch.eye(3))
    torch.testing.assert_close(dg.Preconditioned(Silent(), 0.5)(x, sigma), gaussian(x, sigma))


# Conversions, losses, grids


def test_score_is_the_gradient_of_the_log_density() -> None:
    points = randn(8, 2, dtype=torch.float64)
    x, sigma = randn(5, 2, seed=1, dtype=torch.float64).requires_grad_(), 0.7
    log_density = (-torch.cdist(x, points).square() / (2 * sigma**2)).logsumexp(1)
    (gradient,) = torch.autograd.grad(log_density.sum(), x)
    denoised = dg.OptimalDenoiser(points)(x, sigma)
    torch.testing.assert_close(score(denoised, x, sigma), gradient)
    torch.testing.assert_close(noise(denoised, x, sigma), -sigma * gradient)


def test_errors_of_a_row() -> None:
    y, denoised = torch.zeros(2, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [1.0, 1.0]]], [[[4.0, 0.0], [0.0, 0.0]]]])
    assert row_error(denoised, y).tolist() == [1, 4]
    assert row_error(denoised, y, "l2").tolist() == [2, 4]
    assert row_error(denoised, y, "psnr").tolist() == pytest.approx([10 * math.log10(4), 0])
    with pytest.raises(ValueError, match="norm is 'l1': it is 'mse', 'l2' or 'psnr'"):
        row_error(denoised, y, "l1")


def test_the_edm_weight_gives_every_noise_level_an_equal_loss() -> None:
    """For y ~ N(0, σ_d²) and the best denoiser the error is σ² σ_d² / (σ² + σ_d²), and the weighted one 1."""
    sigma_data, n = 0.5, 100_000
    y, z = sigma_data * randn(n, 1), randn(n, 1, seed=1)
    gaussian = dg.GaussianDenoiser(torch.zeros(1), sigma_data**2 * torch.eye(1))
    for level in (0.01, 0.3, 5.0):
        loss = edm_loss(gaussian, y, torch.full((n,), level), z, sigma_data)
        assert loss.mean().item() == pytest.approx(1, abs=0.02)
    assert edm_weight(torch.tensor(0.5), 0.5).item() == pytest.approx(8)


def test_grids() -> None:
    grid = dg.edm_sigmas(32)
    assert len(grid) == 33
    assert (grid[:-1] > grid[1:]).all()
    # σ at steps 16 … 20 of the paper's early-stop figures
    assert grid[16:21].tolist() == pytest.approx([2.17, 1.61, 1.17, 0.845, 0.598], rel=5e-3)
    assert [grid[0], grid[31], grid[32]] == pytest.approx([80, 0.002, 0], rel=1e-5)
    logs = dg.log_sigmas(64)
    assert [len(logs), logs[0], logs[-1]] == pytest.approx([64, 0.002, 80], rel=1e-5)
    torch.testing.assert_close(logs[1:] / logs[:-1], (logs[1] / logs[0]).expand(63), rtol=1e-4, atol=0)
    assert dg.edm_sigmas(1).tolist() == pytest.approx([80, 0])
    for make in (dg.edm_sigmas, dg.log_sigmas):
        for bad in ((0,), (8, 0.0), (8, 2.0, 1.0)):
            with pytest.raises(ValueError, match=r"^(n is 0|sigma_min is)"):
                make(*bad)


def test_training_noise_levels_are_log_normal() -> None:
    levels = dg.LogNormal(mean=-1.2, std=1.2)(randn(100_000)).log()
    assert [levels.mean().item(), levels.std().item()] == pytest.approx([-1.2, 1.2], abs=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dg.OptimalDenoiser(torch.zeros(0, 2)), r"points has shape \(0, 2\)"),
        (lambda: dg.OptimalDenoiser(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long)), r"labels are .* give \(3,\)"),
        (lambda: dg.OptimalDenoiser(torch.zeros(3, 2))(torch.zeros(4, 3), 1.0), r"x has shape \(4, 3\)"),
        (lambda: dg.GaussianDenoiser.fit(torch.zeros(1, 2)), "a covariance needs"),
        (lambda: dg.ErrorProne(torch.zeros(3, 2), -1.0), "delta is -1"),
        (lambda: dg.Chunked(None, 0), "rows is 0: a batch has at least one"),
        (lambda: dg.Switched(None, None, 2.0, 1.0), "the window is 2 to 1: give low and high with"),
        (lambda: dg.Guided(None, None, 1.0, (2.0, 1.0)), r"interval is \(2.0, 1.0\)"),
        (lambda: dg.Windowed(None, 0), "size is 0"),
        (lambda: dg.Windowed(None, 4)(torch.zeros(1, 1, 3, 9), 1.0), "a window of 4 needs"),
        (lambda: dg.Preconditioned(torch.nn.Identity(), 0.0), "sigma_data is 0"),
        (lambda: dg.LogNormal(std=0.0), "std is 0"),
    ],
)
def test_mistakes_are_named_in_one_line(make, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
