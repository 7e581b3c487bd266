"""Averages reconstructed after training: against quadrature, the stored ones themselves, and a real trajectory."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import diffgen as dg
from diffgen import experiments
from diffgen.training import PowerFunction
from diffgen.training.ema import averaged
from diffgen.training.posthoc import Profile, misfit, overlap, posthoc_factors


def density(profile, tau):
    return (profile.gamma + 1) * tau**profile.gamma / profile.t ** (profile.gamma + 1) * (tau <= profile.t)


@pytest.mark.parametrize(("a", "b"), [(Profile(6.9, 1), Profile(16.97, 0.4)), (Profile(3, 2), Profile(3, 2))])
def test_overlaps_are_integrals(a, b):
    exact = quad(lambda tau: density(a, tau) * density(b, tau), 0, min(a.t, b.t))[0]
    assert overlap(a, b) == pytest.approx(exact, rel=1e-8)
    assert overlap(a, b) == overlap(b, a)


def profiles(times, stds=(0.05, 0.1)):
    return [Profile(PowerFunction(std=std).gamma, t) for t in times for std in stds]


TIMES = np.geomspace(0.016, 1, 10)
DENSE = np.geomspace(0.016, 1, 40)


@pytest.mark.parametrize("std", [0.05, 0.1])
def test_a_stored_average_is_found_again(std):
    stored = profiles(TIMES)
    factors = posthoc_factors(stored, std, 1.0)
    assert misfit(stored, factors, std, 1.0) < 1e-6
    assert float(factors[-2:][[0.05, 0.1].index(std)]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("times", "std", "most"), [(TIMES, 0.07, 0.05), (TIMES, 0.12, 0.06), (DENSE, 0.07, 0.01), (DENSE, 0.2, 0.04)]
)
def test_widths_between_and_beyond_are_matched(times, std, most):
    stored = profiles(times)
    factors = posthoc_factors(stored, std, 1.0)
    assert misfit(stored, factors, std, 1.0) < most
    assert float(factors.sum()) == pytest.approx(1, abs=1e-6), "an average of a constant is that constant"
    tau = np.linspace(1e-4, 1, 20_001)
    combined = sum(float(f) * density(p, tau) for f, p in zip(factors, stored))
    target = density(Profile(PowerFunction(std=std).gamma, 1.0), tau)
    by_quadrature = (np.trapezoid((combined - target) ** 2, tau) / np.trapezoid(target**2, tau)) ** 0.5
    assert misfit(stored, factors, std, 1.0) == pytest.approx(by_quadrature, abs=5e-3)


def test_weights_that_move_are_averaged_as_if_it_had_been_stored():
    """A parameter on a curved way: the reconstruction of an average beside that average, kept all along."""
    model = torch.nn.Linear(1, 1, bias=False).double()
    stds, batch, wanted = (0.05, 0.1), 1, 0.15
    averages = {std: averaged(model, PowerFunction(std=std), batch) for std in (*stds, wanted)}
    marks, stored, values = {int(2000 * t) for t in DENSE}, [], []
    for step in range(1, 2001):
        with torch.no_grad():
            model.weight.fill_(np.sin(3 * step / 2000) + step / 4000)
        for average in averages.values():
            average.update_parameters(model)
        if step in marks:
            stored += [Profile(PowerFunction(std=std).gamma, step) for std in stds]
            values += [averages[std].module.weight.item() for std in stds]
    found = float(posthoc_factors(stored, wanted, 2000) @ torch.tensor(values, dtype=torch.float64))
    kept = averages[wanted].module.weight.item()
    assert found == pytest.approx(kept, abs=0.01)
    assert abs(values[-1] - kept) > 0.03, "another length is another average"


def test_a_time_after_the_last_is_refused():
    with pytest.raises(ValueError, match="t is 2: stored averages reach to 1 images"):
        posthoc_factors(profiles([0.5, 1]), 0.1, 2.0)


def small(**changes):
    data = dg.DataConfig(name="fashion_mnist", size=4, n_train=48, n_val=16)
    ema = (PowerFunction(std=0.05), PowerFunction(std=0.1))
    return dg.TrainConfig(data=data, network=dg.UNetConfig(channels=4), total_images=640, batch=16, n_snapshots=3,
                          first_snapshot=160, **{"ema": ema, **changes})  # fmt: skip


def test_a_subject_of_a_stored_length_is_the_snapshot(tmp_path):
    snapshots = list(dg.train(small(), root=tmp_path, progress=False))
    x, sigma = torch.randn(3, 1, 4, 4), torch.tensor(0.5)
    for std in (0.05, 0.1):
        subject = experiments.averaged_over(snapshots, std)
        stored = snapshots[-1].denoiser(average=f"power-{std:g}")
        torch.testing.assert_close(subject.denoiser()(x, sigma), stored(x, sigma), rtol=1e-3, atol=1e-4)
    assert experiments.averaged_over(snapshots, 0.15).identity != experiments.averaged_over(snapshots, 0.2).identity


def test_a_run_without_such_averages_is_refused(tmp_path):
    snapshots = list(dg.train(small(ema=(dg.training.HalfLife(images=200),)), root=tmp_path, progress=False))
    with pytest.raises(ValueError, match="keeps no PowerFunction average"):
        experiments.averaged_over(snapshots, 0.1)
