"""Other people's models as denoisers: each adapter against the other library's own prediction, or an exact one."""

import math
import pickle
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from adapted import (
    ADAPTED,
    CLASSES,
    EDM,
    EDM2,
    GAUSSIAN,
    NULL,
    SHAPE,
    KDiffusion,
    Plain,
    Posterior,
    Rectified,
    VariancePreserving,
    close,
    column,
    ddpm,
    randn,
    seeded,
    unet,
    velocity,
)
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn

import diffgen as dg
from diffgen import adapters
from diffgen.data import Points
from diffgen.denoiser import device_of
from diffgen.runs.subject import state_hash

LABELS = torch.tensor([0, 1, 2, -1])
NULLED = torch.tensor([0, 1, 2, CLASSES])


# flow matching

PATHS = {
    "linear": (lambda s: s, lambda s: 1 - s),
    "cosine": (lambda s: torch.sin(math.pi / 2 * s), lambda s: torch.cos(math.pi / 2 * s)),
}


def exact_velocity(path, data_at, denoiser=GAUSSIAN, scale=1.0):
    """v(x_t, t) = E[dx_t/dt | x_t] of x_t = a(t) y + b(t) n, from the posterior mean; derivatives by autograd."""
    rates = PATHS[path] if data_at else tuple(lambda t, f=f: f(1 - t) for f in PATHS[path])

    def v(x_t, t, *labels):
        t = t / scale
        (a, da), (b, db) = (torch.func.jvp(f, (t,), (torch.ones_like(t),)) for f in rates)
        y = denoiser(x_t / column(a, x_t), b / a, *labels)
        n = (x_t - column(a, x_t) * y) / column(b, x_t)
        return column(da, x_t) * y + column(db, x_t) * n

    return v


SIGMAS = torch.logspace(-2.5, 2, 40, dtype=torch.float64)


@pytest.mark.parametrize("data_at", [0, 1])
@pytest.mark.parametrize("path", PATHS)
def test_an_exact_velocity_is_an_exact_denoiser(path, data_at):
    x = GAUSSIAN.mean + randn(40, 2).double() * (1 + SIGMAS[:, None])
    denoiser = adapters.from_velocity(exact_velocity(path, data_at), path=path, data_at=data_at, n_labels=0)
    assert (denoiser(x, SIGMAS) - GAUSSIAN(x, SIGMAS)).abs().max() < 1e-5
    for other, at in ((path, 1 - data_at), ("cosine" if path == "linear" else "linear", data_at)):
        wrong = adapters.from_velocity(exact_velocity(path, data_at), path=other, data_at=at, n_labels=0)
        assert (wrong(x, SIGMAS) - GAUSSIAN(x, SIGMAS)).abs().max() > 0.1


def test_order_of_arguments_scale_of_time_and_labels_of_a_velocity():
    optimal = dg.OptimalDenoiser(randn(9, 2).double(), torch.arange(9) % 3)
    v, x, labels = exact_velocity("linear", 1, optimal, 1000.0), randn(40, 2).double(), torch.arange(40) % 3
    options = {"time_first": True, "time_scale": 1000, "n_labels": 3}
    denoiser = adapters.from_velocity(lambda t, x_t, y: v(x_t, t, y), **options)
    assert (denoiser(x, SIGMAS, labels) - optimal(x, SIGMAS, labels)).abs().max() < 1e-5
    assert (denoiser(x, SIGMAS, labels.flip(0)) - optimal(x, SIGMAS, labels)).abs().max() > 0.1


@pytest.mark.parametrize("level", [0.9, 0.3, 0.05])
def test_velocity_of_diffusers_flow_matching(level):
    """Its last step, from t to 0, ends at the clean data that the network sees."""
    scheduler, network = FlowMatchEulerDiscreteScheduler(), seeded(lambda: Plain(slow=500))
    scheduler.set_timesteps(sigmas=[level])
    (t,), x_t = scheduler.timesteps, randn(3, *SHAPE)
    theirs = scheduler.step(network(x_t, t.expand(3)), t, x_t).prev_sample
    denoiser = adapters.from_velocity(network, data_at=0, time_scale=1000, n_labels=0)
    close(denoiser(x_t / (1 - level), torch.tensor(level / (1 - level))), theirs)


# EDM, azula, k-diffusion


def one_hot(labels):
    return torch.nn.functional.one_hot(labels.clamp(min=0), CLASSES).float() * (labels >= 0)[:, None]


@pytest.mark.parametrize("kind", [EDM, EDM2])
@torch.no_grad()
def test_edm_with_classes_and_without(kind):
    x, sigma = 5 * randn(4, *SHAPE), torch.tensor([0.002, 0.5, 3.0, 80.0])
    network = seeded(kind)
    theirs = network(x, sigma, force_fp32=True)
    close(adapters.from_edm(network)(x, sigma, LABELS), theirs)
    assert (theirs - network(x, sigma)).abs().max() > 1e-4, "precision shows"
    network = seeded(lambda: kind(CLASSES))
    denoiser = adapters.from_edm(network, CLASSES)
    close(denoiser(x, sigma, LABELS), network(x, sigma, one_hot(LABELS), force_fp32=True))
    close(denoiser(x, sigma), network(x, sigma, torch.zeros(4, CLASSES), force_fp32=True))
    assert denoiser(x.double(), sigma.double(), LABELS).dtype == torch.float64


def test_edm_is_preconditioning():
    """The formula of the papers, twice: the one here, and that of the library."""
    network, x, sigma = seeded(EDM), randn(4, *SHAPE), torch.tensor([0.01, 0.5, 3.0, 80.0])
    ours = dg.Preconditioned(lambda_module(lambda x, c, labels: network.model(x, c)), 0.5)
    close(adapters.from_edm(network)(x, sigma), ours(x, sigma))


def lambda_module(function):
    module = nn.Module()
    module.forward = function
    return module


@pytest.mark.parametrize("schedule", [VariancePreserving(), Rectified()])
@torch.no_grad()
def test_denoisers_with_a_time_and_a_schedule(schedule):
    """The mean of the posterior at the schedule's own times, with labels by keyword; then outside of them."""
    network = seeded(lambda: Posterior(schedule, CLASSES + 1))
    denoiser, t = adapters.from_azula(network, **NULL), torch.tensor([0.01, 0.2, 0.6, 0.99], dtype=torch.float64)
    (alpha, sigma), x = schedule(t), randn(4, *SHAPE)
    theirs = network(column(alpha, x) * x, t, label=NULLED).mean.float()
    close(denoiser(x, sigma / alpha, LABELS), theirs)
    assert (denoiser.time(sigma / alpha) - t).abs().max() < 1e-9
    assert (denoiser(x, torch.tensor(1e-7)) - x).abs().max() < 1e-3
    assert denoiser(1e5 * x, torch.tensor(1e5)).isfinite().all()


@pytest.mark.parametrize("schedule", ["VESchedule", "VPSchedule", "CosineSchedule", "RectifiedSchedule"])
@pytest.mark.parametrize("kind", ["KarrasDenoiser", "SimpleDenoiser"])
@torch.no_grad()
def test_azula(kind, schedule):
    """Against azula itself. It asks for torchvision, so that it is not installed with the tests: see `Posterior`."""
    azula = pytest.importorskip("azula")
    network = getattr(azula.denoise, kind)(seeded(Plain), getattr(azula.noise, schedule)())
    t, x = torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=torch.float64), randn(4, *SHAPE)
    alpha, sigma = network.schedule(t)
    theirs = network(column(alpha, x).float() * x, t).mean.float()
    close(adapters.from_azula(network, n_labels=0)(x, sigma / alpha), theirs)


@torch.no_grad()
def test_k_diffusion():
    x, sigma = randn(4, *SHAPE), torch.tensor([0.01, 0.5, 3.0, 80.0])
    network = seeded(lambda: KDiffusion(CLASSES + 1))
    denoiser = adapters.from_k_diffusion(network, **NULL)
    close(denoiser(x, sigma, LABELS), network(x, sigma, class_cond=NULLED))
    renamed = adapters.from_k_diffusion(lambda x, s, y: network(x, s, class_cond=y), label_name="y", **NULL)
    close(renamed(x, sigma, LABELS), network(x, sigma, class_cond=NULLED))
    plain = seeded(KDiffusion)
    close(adapters.from_k_diffusion(plain, n_labels=0)(x, sigma, LABELS), plain(x, sigma))


# files of EDM


def test_a_pickle_of_edm_is_opened_only_with_trust(tmp_path):
    class Program:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    network, path = seeded(lambda: EDM2(CLASSES)).train(), tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps({"ema": network, "loss_fn": Program()}))
    with pytest.raises(ValueError, match=r"^trust_code is False: .*a pickle can run any program as you.*$"):
        adapters.load_edm_pickle(path)
    assert not (tmp_path / "ran").exists()
    denoiser = adapters.load_edm_pickle(path, trust_code=True)
    assert (tmp_path / "ran").exists()
    assert not denoiser.network.training
    assert {p.dtype for p in denoiser.parameters()} == {torch.float32}
    x, sigma = randn(4, *SHAPE), torch.tensor(0.7)
    torch.testing.assert_close(denoiser(x, sigma, LABELS), adapters.from_edm(network)(x, sigma, LABELS))


@pytest.mark.parametrize("held", [{"net": seeded(EDM)}, {"ema": None, "net": seeded(EDM)}, seeded(EDM)])
def test_where_the_network_is_in_a_pickle(held, tmp_path):
    (tmp_path / "network.pkl").write_bytes(pickle.dumps(held))
    assert adapters.load_edm_pickle(tmp_path / "network.pkl", trust_code=True).n_labels == 0


def test_a_pickle_without_a_network_or_its_modules(tmp_path, monkeypatch):
    path = tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps({"G": 1}))
    with pytest.raises(ValueError, match=r"holds the entries \['G'\]: a network is looked for in 'ema' and 'net'"):
        adapters.load_edm_pickle(path, trust_code=True)
    module = types.ModuleType("torch_utils")
    module.Thing = type("Thing", (), {"__module__": "torch_utils"})
    monkeypatch.setitem(sys.modules, "torch_utils", module)
    path.write_bytes(pickle.dumps({"ema": module.Thing()}))
    monkeypatch.delitem(sys.modules, "torch_utils")
    with pytest.raises(ModuleNotFoundError, match=r"needs the module 'torch_utils': put .* on PYTHONPATH"):
        adapters.load_edm_pickle(path, trust_code=True)


# all of them


@pytest.mark.parametrize("name", ADAPTED)
def test_gap_sample_and_trajectory_take_every_adapter(name):
    denoiser, x, labels = ADAPTED[name](), randn(6, *SHAPE), torch.arange(6) % CLASSES
    points = Points(x, labels)
    curve = dg.generalization_gap(denoiser, points, points, torch.tensor([0.05, 1.0]))
    assert curve.gap.abs().max() == 0
    assert curve.train.isfinite().all()
    grid, start = dg.edm_sigmas(3), 80 * randn(2, *SHAPE, seed=1)
    states = [*dg.trajectory(denoiser, start, grid, labels[:2])]
    assert torch.equal(states[-1].x, dg.sample(denoiser, start, grid, labels[:2]))
    assert states[-1].x.isfinite().all()


@pytest.mark.parametrize("name", ADAPTED)
@torch.no_grad()
def test_with_no_noise_every_adapter_returns_x(name):
    denoiser, x = ADAPTED[name](), randn(3, *SHAPE).double()
    for sigma in (1e-3, 1e-5):
        assert (denoiser(x, torch.tensor(sigma)) - x).abs().max() < 20 * sigma + 1e-6


@pytest.mark.parametrize("name", ADAPTED)
def test_an_adapter_is_a_module_with_an_identity_and_leaves_the_mode_alone(name):
    denoiser = ADAPTED[name]()
    assert device_of(denoiser, torch.device("meta")).type == "cpu"
    assert state_hash(denoiser) == state_hash(ADAPTED[name]())
    for mode in (True, False):
        denoiser.train(mode)
        denoiser(randn(1, *SHAPE), torch.tensor(1.0))
        assert {module.training for module in denoiser.modules()} == {mode}
    next(denoiser.parameters()).data += 1
    assert state_hash(denoiser) != state_hash(ADAPTED[name]())


def test_what_is_measured_counts_the_glue():
    """Equal weights under other glue are another model, and results of one must not be taken for the other's."""
    network, scheduler = velocity(), ddpm()
    made = [
        adapters.from_velocity(network, n_labels=0), adapters.from_velocity(network, data_at=0, n_labels=0),
        adapters.from_velocity(network, path="cosine", n_labels=0),
        adapters.from_velocity(network, time_scale=2, n_labels=0), adapters.from_diffusers(network, scheduler),
        adapters.from_diffusers(network, scheduler, prediction="sample"),
        adapters.from_diffusers(network, ddpm(beta_end=0.01)),
    ]  # fmt: skip
    assert len({state_hash(denoiser) for denoiser in made}) == len(made)


def test_adapters_come_without_the_libraries_that_they_adapt():
    lines = "import sys, diffgen as dg; dg.adapters.from_azula; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], check=True, capture_output=True, text=True)
    assert "diffgen.adapters.azula" in done.stdout.split()
    assert not {"diffusers", "azula", "diffgen.nets", "diffgen.data"} & {*done.stdout.split()}


# labels


def test_a_network_without_classes_ignores_labels_only_if_that_is_known():
    x, sigma = randn(4, *SHAPE), torch.tensor(1.0)
    for known in (ADAPTED["diffusers"](), ADAPTED["edm"](), ADAPTED["velocity"]()):
        assert torch.equal(known(x, sigma, LABELS), known(x, sigma))
    unknown = adapters.from_velocity(velocity())
    assert torch.equal(unknown(x, sigma, torch.full((4,), -1)), unknown(x, sigma))
    with pytest.raises(ValueError, match=r"^labels holds class 0, and nothing says .* give the adapter n_labels, .*$"):
        unknown(x, sigma, LABELS)


def test_rows_without_a_class_need_a_null_label():
    denoiser, x, sigma = adapters.from_diffusers(unet(CLASSES + 1), ddpm()), randn(4, *SHAPE), torch.tensor(1.0)
    assert denoiser.n_labels == CLASSES + 1
    assert denoiser(x, sigma, LABELS.clamp(min=0)).isfinite().all()
    for labels in (None, LABELS):
        with pytest.raises(ValueError, match=r"^labels is None or holds −1, no class: give .* null_label, .*$"):
            denoiser(x, sigma, labels)


def test_a_label_that_is_the_null_label_is_refused():
    with pytest.raises(ValueError, match=r"^labels holds class 3: the network has 4, .* 3 is its null_label$"):
        ADAPTED["diffusers, classes"]()(randn(4, *SHAPE), torch.tensor(1.0), NULLED)


# errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: adapters.from_diffusers(Plain(), FlowMatchEulerDiscreteScheduler(), prediction="epsilon"),
            r"scheduler is FlowMatchEulerDiscreteScheduler, without alphas_cumprod or betas: .*from_velocity",
        ),
        (lambda: adapters.from_diffusers(Plain(), ddpm(), prediction="eps"), r"prediction is 'eps': give one of"),
        (lambda: adapters.from_diffusers(Plain(), SimpleNamespace(betas=[0.1] * 9)), r"prediction is None"),
        (
            lambda: adapters.from_diffusers(
                Plain(), SimpleNamespace(alphas_cumprod=torch.rand(9)), prediction="sample"
            ),
            r"scheduler has 9 noise levels that do not rise",
        ),
        (lambda: adapters.from_velocity(Plain(), path="vp"), r"path is 'vp': it is one of \('linear', 'cosine'\)"),
        (lambda: adapters.from_velocity(Plain(), data_at=2), r"data_at is 2: x_t is data at t = 0 or at t = 1"),
        (lambda: adapters.from_velocity(Plain(), time_scale=0), r"time_scale is 0: give what"),
        (lambda: adapters.from_velocity(Plain(), n_labels=-1), r"n_labels is -1: give the number of classes"),
        (lambda: adapters.from_velocity(Plain(), null_label=3), r"null_label is 3 with n_labels None: give the number"),
        (lambda: adapters.from_velocity(Plain(), n_labels=3, null_label=-1), r"null_label is -1: give the index"),
        (lambda: adapters.from_edm(EDM(3), n_labels=0), r"n_labels is 0, but label_dim of the network is 3: leave"),
        (lambda: adapters.from_azula(Plain()), r"denoiser is Plain, without a schedule: give one of azula's"),
        (lambda: adapters.from_azula(Posterior(lambda t: (1 + 0 * t, 1 - t))), r"noise levels rise with t"),
    ],
)
def test_mistakes_in_the_making(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x[:, :, 1:], r"the network returned shape \(2, 1, 7, 8\) for x of shape \(2, 1, 8, 8\)"),
        (lambda x: torch.cat([x, x], 1), r"the network returned shape \(2, 2, 8, 8\)"),
        (lambda x: {"x": x}, r"the network returned dict: a tensor, .sample or a tuple is understood"),
    ],
)
def test_outputs_that_are_none(output, message):
    denoiser = adapters.from_velocity(lambda x, t: output(x), n_labels=0)
    with pytest.raises(ValueError, match=message):
        denoiser(randn(2, *SHAPE), torch.tensor(1.0))
