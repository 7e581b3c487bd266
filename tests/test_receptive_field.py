"""The effective receptive field of linear denoisers, whose Jacobian is known, and of networks by all of theirs."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import diffgen as dg
from diffgen.metrics.receptive_field import effective_receptive_field, range_map
from diffgen.nets import DiTConfig, UNetConfig


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Convolution:
    """D(x) = k ∗ x, the same kernel for every channel, on a torus: every pixel has the same surroundings."""

    def __init__(self, kernel: Tensor):
        self.kernel = kernel

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        pad = len(self.kernel) // 2
        kernel = self.kernel.expand(x.shape[1], 1, *self.kernel.shape)
        return F.conv2d(F.pad(x, (pad,) * 4, mode="circular"), kernel, groups=x.shape[1])


def test_of_single_pixels_is_zero_and_of_nothing_too() -> None:
    x = randn(3, 2, 5, 5)
    assert effective_receptive_field(lambda x, s, c: x / 2, x, 1.0).tolist() == [0, 0, 0]
    assert effective_receptive_field(lambda x, s, c: 0 * x, x, 1.0).tolist() == [0, 0, 0]
    assert effective_receptive_field(lambda x, s, c: x, x[:0], 1.0).shape == (0,)


@pytest.mark.parametrize("channels", [1, 3])
def test_of_a_convolution_in_closed_form(channels: int) -> None:
    """Σ_o dist(i, i + o) |k_o| / Σ_o |k_o| over the offsets o, which at the border wrap to the other side."""
    kernel = torch.tensor([[1.0, -2.0, 0.5], [0.0, 4.0, 1.0], [-1.0, 2.0, 0.0]])
    n, total = 6, 0.0
    for i in range(n):
        for j in range(n):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    apart = math.hypot((i + di) % n - i, (j + dj) % n - j)
                    total += apart * abs(kernel[di + 1, dj + 1].item()) / kernel.abs().sum().item()
    fields = effective_receptive_field(Convolution(kernel), randn(2, channels, n, n), 1.0)
    assert fields.tolist() == pytest.approx([total / n**2] * 2)


def test_of_a_blur_that_ends_at_the_border() -> None:
    """The mean of a pixel and its neighbours left and right: 2/3 inside, 1/2 at the two ends of a row."""
    kernel = torch.tensor([[1.0, 1.0, 1.0]])[None, None] / 3
    denoiser = dg.Chunked(lambda x, s, c: F.conv2d(x, kernel, padding=(0, 1)))
    assert float(effective_receptive_field(denoiser, randn(2, 1, 4, 8), 1.0).mean()) == pytest.approx(
        (6 * 2 / 3 + 2 * 1 / 2) / 8
    )


def test_of_equal_weights_is_the_mean_distance_of_two_pixels() -> None:
    everywhere = lambda x, s, c: x.mean((1, 2, 3), keepdim=True).expand_as(x)  # noqa: E731
    for size in (4, 12):
        places = torch.cartesian_prod(torch.arange(size), torch.arange(size)).double()
        expected = torch.cdist(places, places).mean().item()
        assert effective_receptive_field(everywhere, randn(1, 2, size, size), 1.0).item() == pytest.approx(expected)
    assert expected / 12 == pytest.approx(0.52, abs=0.005)


def test_of_a_gaussian_denoiser_is_that_of_its_matrix() -> None:
    points = randn(50, 2, 4, 4) + randn(50, 1, 4, 1, seed=1)
    denoiser, sigma = dg.GaussianDenoiser.fit(points), 0.7
    covariance = torch.cov(points.double().flatten(1).T)
    matrix = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(32))
    weight = matrix.abs().reshape(2, 16, 2, 16).sum((0, 2))
    places = torch.cartesian_prod(torch.arange(4), torch.arange(4)).double()
    expected = ((weight * torch.cdist(places, places)).sum(1) / weight.sum(1)).mean().item()
    assert effective_receptive_field(denoiser, randn(2, 2, 4, 4), sigma).tolist() == pytest.approx(
        [expected] * 2, rel=1e-4
    )


def test_a_window_bounds_the_field() -> None:
    """Window 1 has field 0; a larger window a larger field; and none exceeds the diagonal of its surroundings."""
    points, fields = dg.load_data("fashion_mnist", size=14, n_train=200, n_val=8), []
    for size in (1, 3, 7, 14):
        base = dg.GaussianDenoiser.fit(F.unfold(points.train.x, size).transpose(1, 2).reshape(-1, 1, size, size)[:4000])
        windowed = dg.Windowed(base, size)
        fields.append(float(effective_receptive_field(windowed, points.val.x[:2], 1.0, pixels=20).mean()))
        assert fields[-1] <= math.sqrt(2) * (size - 1)
    assert fields[0] == 0
    assert fields == sorted(fields)
    assert fields[-1] > 2


@pytest.mark.parametrize("config", [UNetConfig(channels=8, attention=(4,)), DiTConfig(width=16, depth=2, heads=2)])
def test_of_networks_is_that_of_their_whole_jacobian(config) -> None:
    torch.manual_seed(2)
    network = config.build((1, 8, 8), 3).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    denoiser, x, labels = dg.Preconditioned(network, 0.5), randn(2, 1, 8, 8), torch.tensor([0, 2])
    sigma, places = torch.tensor([0.3, 2.0]), torch.cartesian_prod(torch.arange(8), torch.arange(8)).double()
    expected = []
    for i in range(2):
        one = slice(i, i + 1)
        jacobian = torch.autograd.functional.jacobian(lambda y, at=one: denoiser(y, sigma[at], labels[at]), x[one])
        weight = jacobian.reshape(64, 64).double().abs()
        expected.append(((weight * torch.cdist(places, places)).sum(1) / weight.sum(1)).mean().item())
    assert effective_receptive_field(denoiser, x, sigma, labels).tolist() == pytest.approx(expected, rel=1e-4)
    assert all(parameter.grad is None for parameter in network.parameters())


class Colours(torch.nn.Module):
    """Two convolutions of three channels whose channels look differently far, and into each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 6, 5, padding=2), torch.nn.Conv2d(6, 3, 3, padding=1)
        for parameter, seed in zip(self.parameters(), range(4)):
            parameter.data = randn(*parameter.shape, seed=seed)
        self.first.weight.data[:3] *= torch.tensor([0.0, 0.1, 1, 0.1, 0])

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.second(self.first(x).tanh())


def test_a_map_of_a_blur_says_where_it_sees_less() -> None:
    """A pixel, its left and its right neighbour: 2/3 inside, 1/2 where a row ends; nothing of it is transposed."""
    kernel = torch.tensor([[1.0, 1.0, 1.0]])[None, None] / 3
    ranges = range_map(lambda x, s, c: F.conv2d(x, kernel, padding=(0, 1)), randn(2, 1, 3, 6), 1.0)
    row = torch.tensor([1 / 2, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 1 / 2], dtype=torch.float64)
    torch.testing.assert_close(ranges, row.expand(2, 3, 6))
    assert range_map(lambda x, s, c: x, randn(0, 1, 3, 6), 1.0).shape == (0, 3, 6)


@pytest.mark.parametrize("channels", ["all", "own"])
def test_the_mean_of_a_map_is_the_field(channels: str) -> None:
    denoiser, x = Colours(), randn(2, 3, 6, 5, seed=9)
    mean = range_map(denoiser, x, 1.0, channels=channels).mean((1, 2))
    torch.testing.assert_close(mean, effective_receptive_field(denoiser, x, 1.0, channels=channels))


@pytest.mark.parametrize("channels", ["all", "own"])
def test_of_colours_is_that_of_the_jacobian_entry_by_entry(channels: str) -> None:
    """Pixel by pixel, by a backward pass each; "own" is the mean of the ratios of each channel's own gradients."""
    denoiser, x = Colours(), randn(2, 3, 6, 5, seed=9)
    expected = []
    for image in x:
        ratios = []
        for i in range(6):
            for j in range(5):
                noisy = image[None].clone().requires_grad_()
                denoised = denoiser(noisy, torch.tensor(1.0))
                of_channel = [torch.autograd.grad(denoised[0, c, i, j], noisy, retain_graph=True)[0] for c in range(3)]
                maps = [g[0].abs().sum(0) for g in of_channel]
                weights = [sum(maps)] if channels == "all" else [g[0, c].abs() for c, g in enumerate(of_channel)]
                apart = torch.tensor([[math.hypot(i - k, j - m) for m in range(5)] for k in range(6)])
                ratios += [float((w * apart).sum() / w.sum()) for w in weights]
        expected.append(sum(ratios) / len(ratios))
    fields = effective_receptive_field(denoiser, x, 1.0, channels=channels)
    assert fields.tolist() == pytest.approx(expected, rel=1e-5)
    default = effective_receptive_field(denoiser, x, 1.0)
    assert torch.equal(fields, default) == (channels == "all")


def test_grey_images_have_one_number() -> None:
    denoiser, x = dg.OptimalDenoiser(randn(30, 1, 6, 6)), randn(2, 1, 6, 6, seed=1)
    assert torch.equal(*(effective_receptive_field(denoiser, x, 2.0, pixels=5, channels=c) for c in ("all", "own")))


def test_an_unknown_choice_of_channels_is_named() -> None:
    with pytest.raises(ValueError, match="channels is 'red': give 'all' pairs of channels, or each one's 'own'"):
        effective_receptive_field(lambda x, s, c: x, randn(1, 3, 2, 2), 1.0, channels="red")


def test_some_pixels_estimate_the_same_mean() -> None:
    denoiser, x = dg.OptimalDenoiser(randn(30, 1, 6, 6)), randn(1, 1, 6, 6, seed=1)
    whole = effective_receptive_field(denoiser, x, 2.0).item()
    parts = torch.cat([effective_receptive_field(denoiser, x, 2.0, pixels=6, seed=s) for s in range(40)])
    assert parts.mean() == pytest.approx(whole, abs=4 * parts.std().item() / math.sqrt(40))
    with torch.no_grad():
        assert effective_receptive_field(denoiser, x, 2.0, pixels=36).item() == pytest.approx(whole)


@pytest.mark.parametrize(
    ("x", "pixels", "message"),
    [
        (torch.zeros(2, 9), None, r"x has shape \(2, 9\): a range is that of images"),
        (torch.zeros(2, 1, 3, 3), 10, "pixels is 10: an image of 9 pixels has from 1 to 9"),
        (torch.zeros(2, 1, 3, 3), 0, "pixels is 0"),
    ],
)
def test_mistakes_are_named(x: Tensor, pixels: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        effective_receptive_field(lambda x, s, c: x, x, 1.0, pixels=pixels)
