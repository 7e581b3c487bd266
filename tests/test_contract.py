"""What every denoiser promises (diffgen/denoiser.py), held against every implementation."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from adapted import ADAPTED
from torch import Tensor

import diffgen as dg
from diffgen.data import Points, Split
from diffgen.experiments import sampling, trajectories
from diffgen.experiments.measure import Measure
from diffgen.loss import edm_loss
from diffgen.metrics.copying import recalled
from diffgen.metrics.overlap import optimal_distances
from diffgen.metrics.receptive_field import effective_receptive_field, range_map
from diffgen.metrics.reconstruction import reconstruction_distance
from diffgen.metrics.toy import expected_error
from diffgen.nets import DiTConfig, MLPConfig, Network, UNetConfig

POINTS = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(12) % 3
SHAPE = POINTS.shape[1:]


def preconditioned(config: Network, classes: int = 0, std: float = 0.3) -> dg.Preconditioned:
    torch.manual_seed(2)
    network = config.build(SHAPE, classes)
    for parameter in network.parameters():  # away from the start, where the last layer is zero and hides the rest
        torch.nn.init.normal_(parameter, std=std)
    return dg.Preconditioned(network.eval(), sigma_data=0.5)


def one_network() -> dg.Guided:
    base = dg.OptimalDenoiser(POINTS, CLASSES)
    return dg.Guided(base, dg.Unconditional(base), 1.5, (0.3, 1.0))


DENOISERS: dict[str, Callable[[], dg.Denoiser]] = {
    "optimal": lambda: dg.OptimalDenoiser(POINTS),
    "optimal, classes": lambda: dg.OptimalDenoiser(POINTS, CLASSES),
    "gaussian": lambda: dg.GaussianDenoiser.fit(POINTS),
    "error-prone": lambda: dg.ErrorProne(POINTS, 0.7),
    "error-prone, classes": lambda: dg.ErrorProne(POINTS, 0.7, CLASSES),
    "mlp": lambda: preconditioned(MLPConfig(width=16, depth=2)),
    "mlp, classes": lambda: preconditioned(MLPConfig(width=16, depth=2), classes=3),
    "unet": lambda: preconditioned(UNetConfig(channels=8, multipliers=(1, 2), blocks=1, dropout=0.1)),
    "unet, classes": lambda: preconditioned(UNetConfig(channels=8, attention=(4,), embedding="fourier"), classes=3),
    "dit": lambda: preconditioned(DiTConfig(width=16, depth=2, heads=2, dropout=0.1)),
    "dit, classes": lambda: preconditioned(DiTConfig(patch=4, width=16, depth=1), classes=3),
    "unconditional": lambda: dg.Unconditional(dg.OptimalDenoiser(POINTS, CLASSES)),
    "chunked": lambda: dg.Chunked(dg.ErrorProne(POINTS, 0.7), rows=4),
    "chunked, classes": lambda: dg.Chunked(dg.OptimalDenoiser(POINTS, CLASSES), rows=2),
    "guided": lambda: dg.Guided(dg.OptimalDenoiser(POINTS), dg.ErrorProne(POINTS, 1.0), 0.8),
    "guided, classes": lambda: dg.Guided(
        dg.OptimalDenoiser(POINTS, CLASSES), dg.Unconditional(dg.OptimalDenoiser(POINTS, CLASSES)), 1.5, (0.3, 1.0)
    ),
    "guided, one network": lambda: one_network(),
    "switched": lambda: dg.Switched(dg.OptimalDenoiser(POINTS), dg.GaussianDenoiser.fit(POINTS), 0.3, 1.0),
    "switched, classes": lambda: dg.Switched(
        dg.OptimalDenoiser(POINTS, CLASSES), dg.ErrorProne(POINTS, 1.0, CLASSES), 0.3, 1.0
    ),
    "windowed": lambda: dg.Windowed(dg.OptimalDenoiser(POINTS[:, :, :5, :5]), 5),
    "windowed, classes": lambda: dg.Windowed(dg.OptimalDenoiser(POINTS[:, :, :5, :5], CLASSES), 5),
    "windowed, strides": lambda: dg.Windowed(dg.OptimalDenoiser(POINTS[:, :, :4, :4]), 4, 2),
}

DENOISERS |= ADAPTED  # other people's networks

DENOISERS |= {  # a new network is held to the contract as it is by default
    f"{config.kind}, defaults{note}": lambda config=config, classes=classes: preconditioned(config(), classes, std=0.1)
    for config in get_args(Network)
    for note, classes in (("", 0), (" and classes", 3))
}


@pytest.fixture(params=DENOISERS)
def denoiser(request: pytest.FixtureRequest) -> dg.Denoiser:
    return DENOISERS[request.param]()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(3))


SIGMA = torch.tensor([0.002, 0.2, 0.5, 0.9, 3.0, 80.0])
LABELS = torch.tensor([0, 1, 2, -1, 0, 1])


def close(a: Tensor, b: Tensor) -> None:
    # Batches of other sizes take other paths through the matrix kernels: equal up to float32 rounding.
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_every_network_is_held_to_the_contract() -> None:
    made = [make() for make in DENOISERS.values()]
    held = {type(denoiser.network).__name__ for denoiser in made if isinstance(denoiser, dg.Preconditioned)}
    assert held >= {"UNet", "DiT", "MLP"}
    assert len(held) == len(get_args(Network))


def test_that_something_is_callable_proves_nothing() -> None:
    """The protocol can't be checked by isinstance, so nobody takes print for a denoiser."""
    with pytest.raises(TypeError, match="runtime_checkable"):
        isinstance(print, dg.Denoiser)


def test_shape_dtype_and_device_are_kept(denoiser: dg.Denoiser, x: Tensor) -> None:
    result = denoiser(x, SIGMA, LABELS)
    assert (result.shape, result.dtype, result.device) == (x.shape, x.dtype, x.device)
    assert result.isfinite().all()


def test_the_dtype_of_sigma_does_not_matter(denoiser: dg.Denoiser, x: Tensor) -> None:
    result = denoiser(x, SIGMA.double(), LABELS)
    assert result.dtype == x.dtype
    close(result, denoiser(x, SIGMA, LABELS))


def test_float64_data_can_be_denoised_too(denoiser: dg.Denoiser, x: Tensor) -> None:
    """As a sampler in float64 needs it, whatever the dtype of the network or of the points."""
    result = denoiser(x.double(), SIGMA, LABELS)
    assert result.dtype == torch.float64
    close(result.float(), denoiser(x, SIGMA, LABELS))


def test_rows_are_independent(denoiser: dg.Denoiser, x: Tensor) -> None:
    whole = denoiser(x, SIGMA, LABELS)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    close(denoiser(x[order], SIGMA[order], LABELS[order]), whole[order])
    close(torch.cat([denoiser(x[i : i + 1], SIGMA[i : i + 1], LABELS[i : i + 1]) for i in range(len(x))]), whole)


def test_a_scalar_sigma_is_repeated(denoiser: dg.Denoiser, x: Tensor) -> None:
    for sigma in (0.05, 0.9, 20.0):
        close(denoiser(x, torch.tensor(sigma), LABELS), denoiser(x, torch.full((len(x),), sigma), LABELS))


def test_the_same_call_gives_the_same_numbers_and_changes_nothing(denoiser: dg.Denoiser, x: Tensor) -> None:
    arguments = (x.clone(), SIGMA.clone(), LABELS.clone())
    state = torch.get_rng_state()
    first = denoiser(*arguments)
    assert torch.equal(first, denoiser(*arguments))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(arguments, (x, SIGMA, LABELS)))


def test_no_label_means_no_class(denoiser: dg.Denoiser, x: Tensor) -> None:
    close(denoiser(x, SIGMA), denoiser(x, SIGMA, torch.full((len(x),), -1)))


def test_an_empty_batch(denoiser: dg.Denoiser, x: Tensor) -> None:
    assert denoiser(x[:0], torch.tensor(1.0)).shape == x[:0].shape
    assert denoiser(x[:0], SIGMA[:0], LABELS[:0]).shape == x[:0].shape


def test_gradients_reach_x_and_are_right(denoiser: dg.Denoiser, x: Tensor) -> None:
    x, sigma, labels = x[:3].requires_grad_(), SIGMA[2:5], LABELS[2:5]
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    (gradient,) = torch.autograd.grad((denoiser(x, sigma, labels) * direction).sum(), x)
    with torch.no_grad():
        step = 1e-2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
        change = (denoiser(x + step, sigma, labels) - denoiser(x - step, sigma, labels)) * direction
    assert (gradient * step).sum().item() * 2 == pytest.approx(change.sum().item(), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_a_noise_level_that_is_none(denoiser: dg.Denoiser, x: Tensor, sigma: float) -> None:
    with pytest.raises(ValueError, match=r"sigma holds .*: a noise level is positive and finite"):
        denoiser(x, torch.tensor(sigma))


def test_noise_levels_of_the_wrong_shape(denoiser: dg.Denoiser, x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"sigma has shape \(2,\): give a scalar or one value a row, \(6,\)"):
        denoiser(x, SIGMA[:2])
    with pytest.raises(ValueError, match=r"sigma has shape \(6, 1\)"):
        denoiser(x, SIGMA[:, None])


CONDITIONAL = [name for name in DENOISERS if "classes" in name]


@pytest.mark.parametrize("name", CONDITIONAL)
def test_labels_matter_where_there_are_classes(name: str, x: Tensor) -> None:
    denoiser = DENOISERS[name]()
    a, b = (denoiser(x, torch.tensor(1.0), torch.full((6,), c)) for c in (0, 1))
    assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("labels", [torch.tensor([0, 1]), torch.rand(6), torch.tensor([0, 1, 2, 0, 1, 7])])
def test_labels_that_are_none(name: str, labels: Tensor, x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"^labels "):
        DENOISERS[name]()(x, SIGMA, labels)


# What callers promise


class Strict(torch.nn.Module):
    """A denoiser of two lines that computes with σ as it comes, as other people's do; of data N(0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        assert (sigma.dtype, sigma.device) == (x.dtype, x.device)
        assert sigma.shape in ((), (len(x),))
        self.seen.add(x.dtype)
        return x / (1 + sigma.reshape(-1, *[1] * (x.ndim - 1)) ** 2)


GRID = torch.tensor([2.0, 0.7, 0.1])
SPLIT = Split(Points(POINTS[:6], CLASSES[:6]), Points(POINTS[6:], CLASSES[6:]))
CALLERS: dict[str, Callable[[dg.Denoiser, Tensor, Tensor], object]] = {
    "denoising_error": lambda d, x, grid: dg.denoising_error(d, x, grid, labels=CLASSES),
    "generalization_gap": lambda d, x, grid: dg.generalization_gap(d, x[:6], x[6:], grid, draws=2),
    "reconstruction_distance": lambda d, x, grid: reconstruction_distance(
        d, Points(x[:6]), Points(x[6:]), grid, features=lambda rows: rows.flatten(1)[:, :2], n_resamples=2
    ),
    "sample": lambda d, x, grid: dg.sample(d, x, torch.cat([grid, grid.new_zeros(1)])),
    "sample, chunked": lambda d, x, grid: dg.sample(dg.Chunked(d, 5), x, grid),
    "sample, stochastic": lambda d, x, grid: dg.sample(d, x, grid, step=dg.stochastic(s_churn=1, n_steps=2)),
    "trajectory": lambda d, x, grid: [*dg.trajectory(d, x, grid, CLASSES)],
    "guided": lambda d, x, grid: dg.sample(dg.Guided(d, Strict(), 0.5, (0.2, 1)), x, grid),
    "guided, one": lambda d, x, grid: dg.denoising_error(dg.Guided(d, dg.Unconditional(d), 1), x, grid, labels=CLASSES),
    "switched": lambda d, x, grid: dg.denoising_error(dg.Switched(d, Strict(), 0.2, 1), x, grid),
    "windowed": lambda d, x, grid: dg.denoising_error(dg.Windowed(d, 4, 4), x, grid),
    "receptive field": lambda d, x, grid: effective_receptive_field(d, x[:2], grid[0], pixels=2),
    "range map": lambda d, x, grid: range_map(d, x[:1], grid[0]),
    "recalled": lambda d, x, grid: recalled(d, x, grid),
    "optimal_distances": lambda d, x, grid: optimal_distances(d, x, float(grid[0]), x),
    "loss": lambda d, x, grid: edm_loss(d, x, grid[:1].expand(len(x)), torch.ones_like(x), 0.5),
    "toy": lambda d, x, grid: expected_error(d, x[:, 0, 0, :2], grid, spacing=1.0),
    "trajectory_stats": lambda d, x, grid: trajectories.trajectory_stats(subject(d), SPLIT, 3, grid, Measure()),
    "denoised_images": lambda d, x, grid: sampling.denoised_images(subject(d), SPLIT.train, grid),
}


def subject(denoiser: dg.Denoiser) -> dg.Subject:
    return dg.Subject("strict", denoiser, SHAPE)


@pytest.mark.parametrize("grid", [torch.float32, torch.float64])
@pytest.mark.parametrize("data", [torch.float32, torch.float64])
@pytest.mark.parametrize("caller", CALLERS)
def test_sigma_reaches_a_denoiser_in_the_dtype_of_x(caller: str, data: torch.dtype, grid: torch.dtype) -> None:
    denoiser = Strict()
    CALLERS[caller](denoiser, POINTS.to(data), GRID.to(grid))
    own = {"toy": torch.float64, "trajectory_stats": SPLIT.train.x.dtype, "denoised_images": SPLIT.train.x.dtype}
    assert denoiser.seen == {own.get(caller, data)}
