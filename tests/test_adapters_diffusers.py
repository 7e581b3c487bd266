"""Networks in discrete time as denoisers: against diffusers' own prediction at its levels, and exact ones at any."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapted import CLASSES, GAUSSIAN, SHAPE, Plain, close, column, ddpm, levels, randn, unet
from diffusers import EulerDiscreteScheduler

from diffgen import adapters

PREDICTIONS = ("epsilon", "v_prediction", "sample")
LABELS = torch.tensor([0, 1, 2, -1])
NULLED = torch.tensor([0, 1, 2, CLASSES])


def scheduled(scheduler, network, x, t, **labels):
    """diffusers' own prediction of the clean data behind x = y + σ_t n, row by row."""
    rows = []
    for i, (row, step) in enumerate(zip(x, t.tolist())):
        x_t = row[None] * scheduler.alphas_cumprod[step] ** 0.5
        given = {name: value[i : i + 1] for name, value in labels.items()}
        output = network(x_t, step, **given).sample
        rows.append(scheduler.step(output, step, x_t).pred_original_sample)
    return torch.cat(rows)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("kind", PREDICTIONS)
@torch.no_grad()
def test_diffusers_prediction_at_its_own_levels(kind, rescale):
    scheduler, network = ddpm(prediction_type=kind, rescale_betas_zero_snr=rescale), unet()
    t = torch.tensor([0, 1, 40, 300, 700, 998])
    sigma = levels(scheduler)[t].float()
    x = randn(6, *SHAPE) + column(sigma, randn(6, *SHAPE)) * randn(6, *SHAPE, seed=1)
    ours = adapters.from_diffusers(network, scheduler)(x, sigma)
    close(ours, scheduled(scheduler, network, x, t), sigma)


@torch.no_grad()
def test_diffusers_classes_and_the_null_label():
    scheduler, network, t = ddpm(), unet(CLASSES + 1), torch.tensor([5, 100, 500, 900])
    sigma, x = levels(scheduler)[t].float(), randn(4, *SHAPE)
    denoiser = adapters.from_diffusers(network, scheduler, null_label=CLASSES)
    close(denoiser(x, sigma, LABELS), scheduled(scheduler, network, x, t, class_labels=NULLED), sigma)
    none = torch.full((4,), CLASSES)
    close(denoiser(x, sigma), scheduled(scheduler, network, x, t, class_labels=none), sigma)


@torch.no_grad()
def test_diffusers_learned_variance_is_left_out():
    scheduler, network = ddpm(variance_type="learned_range"), unet(channels=2)
    t = torch.tensor([5, 900])
    sigma, x = levels(scheduler)[t].float(), randn(2, *SHAPE)
    close(adapters.from_diffusers(network, scheduler)(x, sigma), scheduled(scheduler, network, x, t), sigma)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_time_is_whole_at_the_levels_of_the_schedule(schedule):
    scheduler = ddpm(beta_schedule=schedule)
    time = adapters.from_diffusers(Plain(), scheduler).time(levels(scheduler).float())
    assert (time - torch.arange(1000)).abs().max() < 1e-4


@torch.no_grad()
def test_between_levels_time_is_nearly_right_and_so_is_the_prediction():
    """A schedule of every second step; the steps left out are known. Its error is four times that of the whole one."""
    scheduler, network = ddpm(), unet()
    halved = SimpleNamespace(alphas_cumprod=scheduler.alphas_cumprod[::2], config=scheduler.config)
    twice = adapters.from_diffusers(lambda x, t: network(x, 2 * t), halved, n_labels=0)
    t = torch.tensor([1, 3, 11, 101, 501, 901])
    sigma = levels(scheduler)[t].float()
    off = (2 * twice.time(sigma) - t).abs()
    assert (off < 4 * torch.tensor([0.06, 0.03, 0.01, 1.1e-3, 1.1e-3, 1.1e-3])).all()
    assert off[0] > 0.1, "that near t = 0 log σ is not straight is real"
    x = randn(6, *SHAPE) * column((1 + sigma**2).sqrt(), randn(6, *SHAPE))
    error = ((twice(x, sigma) - scheduled(scheduler, network, x, t)) / column(sigma, x)).abs().flatten(1).amax(1)
    assert (error < 4 * torch.tensor([5e-3, 5e-3, 1e-3, 2e-4, 2e-4, 2e-4])).all()


def exact(kind, scheduler, shift=0.0):
    """A network in discrete time that knows the posterior mean of `GAUSSIAN`."""
    log = levels(scheduler).log().clamp(max=20).numpy()

    def network(x_t, t):
        sigma = torch.from_numpy(np.exp(np.interp(t.numpy() + shift, np.arange(len(log)), log))).to(x_t)[:, None]
        alpha = (1 + sigma**2) ** -0.5
        y = GAUSSIAN(x_t / alpha, sigma.flatten())
        n = (x_t / alpha - y) / sigma
        return {"epsilon": n, "v_prediction": alpha * n - alpha * sigma * y, "sample": y}[kind]

    return network


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_an_exact_network_in_discrete_time_is_an_exact_denoiser(kind):
    scheduler = ddpm()
    denoiser = adapters.from_diffusers(exact(kind, scheduler), scheduler, prediction=kind, n_labels=0)
    sigma = torch.logspace(-1.9, 2.1, 40, dtype=torch.float64)
    x = GAUSSIAN.mean + randn(40, 2).double() * (1 + sigma[:, None])
    assert (denoiser(x, sigma) - GAUSSIAN(x, sigma)).abs().max() < 1e-5
    wrong = adapters.from_diffusers(exact(kind, scheduler, shift=20), scheduler, prediction=kind, n_labels=0)
    assert (wrong(x, sigma) - GAUSSIAN(x, sigma)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_outside_of_the_levels_of_a_schedule(kind):
    """Below: closer to x than the lowest level is. Above, of a latent model's schedule: as near as D spreads there."""
    scheduler = ddpm(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    low, high = levels(scheduler)[[0, -1]].tolist()
    assert (low, high) == pytest.approx((0.029, 14.6), rel=0.01)
    denoiser = adapters.from_diffusers(exact(kind, scheduler), scheduler, prediction=kind, n_labels=0)
    y, n = GAUSSIAN.mean + 0.8 * randn(500, 2).double(), randn(500, 2, seed=1).double()
    for sigma in (0.5 * low, 0.02 * low, 1e-6):
        x = y + sigma * n
        assert (denoiser(x, torch.tensor(sigma)) - GAUSSIAN(x, torch.tensor(sigma))).abs().max() < 4 * sigma
    for sigma in (80.0, 1e5):
        x = y + sigma * n
        error = denoiser(x, torch.tensor(sigma)) - GAUSSIAN(x, torch.tensor(sigma))
        assert error.square().mean().sqrt() < 1 / high  # the spread of D at the highest level, for variance 1
    edge = torch.tensor([high * (1 - 1e-9), high * (1 + 1e-9), low * (1 - 1e-9), low * (1 + 1e-9)]).double()
    left, right, below, above = denoiser(y[:1].expand(4, 2), edge)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-6)
    torch.testing.assert_close(below, above, rtol=0, atol=1e-6)


@torch.no_grad()
def test_zero_terminal_ratio_reaches_its_last_step():
    """At σ → ∞ the network sees noise alone, at the very last t: D = −v, as diffusers has it there."""
    scheduler, network = ddpm(prediction_type="v_prediction", rescale_betas_zero_snr=True), unet()
    assert levels(scheduler)[-1].isinf()
    denoiser, n = adapters.from_diffusers(network, scheduler), randn(2, *SHAPE)
    theirs = scheduler.step(network(n, 999).sample, 999, n).pred_original_sample
    close(denoiser(1e9 * n.double(), torch.tensor(1e9)).float(), theirs)
    last = levels(scheduler)[-2]
    time = denoiser.time(torch.tensor([1.0, 1.0 + 1e-9, 2.0, 1e6]) * last)
    torch.testing.assert_close(time, torch.tensor([998, 998, 998.5, 999 - 1e-6]).double(), rtol=0, atol=1e-6)


def test_schedulers_with_betas_alone_and_those_that_end_near_zero_ratio():
    scheduler = ddpm()
    by_betas = adapters.from_diffusers(Plain(), SimpleNamespace(betas=scheduler.betas), prediction="epsilon")
    assert by_betas.log_levels == pytest.approx(adapters.from_diffusers(Plain(), scheduler).log_levels, abs=1e-3)
    euler = adapters.from_diffusers(Plain(), EulerDiscreteScheduler(rescale_betas_zero_snr=True))
    whole = adapters.from_diffusers(Plain(), ddpm(rescale_betas_zero_snr=True))
    assert euler.log_levels == pytest.approx(whole.log_levels, abs=1e-6)


def test_a_network_that_looks_its_times_up_gets_whole_ones():
    network = unet(time_embedding_type="learned", num_train_timesteps=1000)
    denoiser, x = adapters.from_diffusers(network, ddpm()), randn(2, *SHAPE)
    sigma = levels(ddpm())[[10, 500]].float()
    close(denoiser(x, sigma), scheduled(ddpm(), network, x, torch.tensor([10, 500])), sigma)
    assert denoiser(x, 1.0005 * sigma).isfinite().all()


@pytest.mark.parametrize("wrap", [lambda y: (y, None), lambda y: SimpleNamespace(sample=y), lambda y: y])
def test_what_a_network_returns_is_found(wrap):
    network, x = Plain(slow=1000), randn(2, *SHAPE)
    bare = adapters.from_diffusers(network, ddpm(), n_labels=0)(x, torch.tensor(1.0))
    wrapped = adapters.from_diffusers(lambda x, t: wrap(network(x, t)), ddpm(), n_labels=0)
    assert torch.equal(wrapped(x, torch.tensor(1.0)), bare)
