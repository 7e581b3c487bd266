"""The same numbers from independent implementations: diffusers, SciPy, POT, scikit-learn."""

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
from diffusers import EDMEulerScheduler, HeunDiscreteScheduler
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

import diffgen as dg
from diffgen.metrics import neighbours


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# diffusers


@pytest.mark.parametrize("n", [2, 18, 32])
def test_edm_sigmas_are_those_of_diffusers(n: int) -> None:
    scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(n)
    torch.testing.assert_close(dg.edm_sigmas(n), scheduler.sigmas, rtol=1e-6, atol=0)


def test_preconditioning_is_that_of_diffusers() -> None:
    class Network(torch.nn.Module):
        def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
            return torch.sin(3 * x) + c_noise[:, None]

    scheduler, x = EDMEulerScheduler(sigma_data=0.7), randn(6, 5)
    for sigma in torch.tensor([0.002, 0.3, 1.0, 80.0]):
        c_noise = scheduler.precondition_noise(sigma).expand(6)
        output = Network()(scheduler.precondition_inputs(x, sigma), c_noise, None)
        expected = scheduler.precondition_outputs(x, output, sigma)
        torch.testing.assert_close(dg.Preconditioned(Network(), 0.7)(x, sigma), expected, rtol=1e-5, atol=1e-5)


def test_euler_is_that_of_diffusers() -> None:
    denoiser, x = dg.OptimalDenoiser(randn(20, 3)), 80 * randn(6, 3, seed=1)
    scheduler = EDMEulerScheduler()
    scheduler.set_timesteps(12)
    scheduler.is_scale_input_called = True  # its preconditioning is bypassed: it is given the denoised data
    theirs = x
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1]):
        theirs = scheduler.step(x, t, theirs, pred_original_sample=denoiser(theirs, sigma)).prev_sample
    torch.testing.assert_close(dg.sample(denoiser, x, dg.edm_sigmas(12), step=dg.euler), theirs, rtol=1e-4, atol=1e-4)


def test_heun_is_that_of_diffusers() -> None:
    denoiser, x = dg.ErrorProne(randn(20, 3), 0.3), 80 * randn(6, 3, seed=1)
    grid = dg.edm_sigmas(12)
    scheduler = HeunDiscreteScheduler(prediction_type="sample")
    scheduler.set_timesteps(12)
    scheduler.sigmas = torch.cat([grid[:1], grid[1:-1].repeat_interleave(2), grid[-1:]])
    # The levels at which it wants an evaluation: both ends of every step, the start alone in the last.
    levels = torch.cat([grid[:1], grid[1:-1].repeat_interleave(2)])
    theirs = x
    for t, sigma in zip(scheduler.timesteps, levels):
        theirs = scheduler.step(denoiser(theirs, sigma), t, theirs).prev_sample
    torch.testing.assert_close(dg.sample(denoiser, x, grid), theirs, rtol=1e-4, atol=1e-4)


# scikit-learn's mixtures: an independent posterior


def test_posterior_weights_are_those_of_a_mixture() -> None:
    points, x, sigma = randn(10, 3).double().numpy(), randn(7, 3, seed=1).double().numpy(), 0.8
    mixture = GaussianMixture(10, covariance_type="spherical")
    mixture.weights_, mixture.means_ = np.full(10, 0.1), points
    mixture.covariances_ = np.full(10, sigma**2)
    mixture.precisions_cholesky_ = np.full(10, 1 / sigma)
    expected = mixture.predict_proba(x)
    mean, largest = dg.OptimalDenoiser(torch.from_numpy(points)).posterior(torch.from_numpy(x), sigma)
    np.testing.assert_allclose(mean.numpy(), expected @ points, rtol=1e-9)
    np.testing.assert_allclose(largest.numpy(), expected.max(1), rtol=1e-9)


# The Fréchet distance: SciPy and POT


def correlated(n: int, d: int, seed: int) -> Tensor:
    return randn(n, d, seed=seed) @ randn(d, d, seed=seed + 1) + randn(d, seed=seed + 2)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 8), (100, 1000, 1), (500, 500, 40)])
def test_frechet_is_that_of_scipy_and_pot(n: int, m: int, d: int) -> None:
    a, b = correlated(n, d, 0), correlated(m, d, 10)
    x, y = a.double().numpy(), b.double().numpy()
    c_x, c_y = np.cov(x, rowvar=False).reshape(d, d), np.cov(y, rowvar=False).reshape(d, d)
    root = scipy.linalg.sqrtm(c_x @ c_y).real
    scipys = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c_x + c_y - 2 * root)
    pots = ot.gaussian.bures_wasserstein_distance(x.mean(0), y.mean(0), c_x, c_y) ** 2
    assert dg.frechet_distance(a, b) == pytest.approx(scipys, rel=1e-9)
    assert dg.frechet_distance(a, b) == pytest.approx(pots, rel=1e-9)


def test_frechet_with_fewer_rows_than_features_is_that_of_scipy() -> None:
    """Here C is singular: roots of rounded zeros leave SciPy half of its digits. test_frechet.py is stricter."""
    x, y = randn(20, 50).double().numpy(), randn(30, 50, seed=1).double().numpy()
    c_x, c_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    half = scipy.linalg.sqrtm(c_x).real
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(half @ c_y @ half), 0, None)).sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c_x) + np.trace(c_y) - 2 * cross
    assert dg.frechet_distance(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, rel=1e-3)


# Neighbours: scikit-learn


@pytest.mark.parametrize("chunks", ["one", "many"])
@pytest.mark.parametrize(("q", "r", "d", "k"), [(50, 300, 7, 3), (1, 5, 2, 5), (300, 40, 100, 2)])
def test_neighbours_are_those_of_scikit_learn(
    q: int, r: int, d: int, k: int, chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chunks == "many":
        monkeypatch.setattr(neighbours, "PAIRS_AT_ONCE", q * 7)
    queries, references = randn(q, d), randn(r, d, seed=1)
    distance, index = (
        NearestNeighbors(n_neighbors=k, algorithm="brute").fit(references.double()).kneighbors(queries.double())
    )
    ours = neighbours.nearest(queries, references, k)
    np.testing.assert_array_equal(ours.index, index)
    np.testing.assert_allclose(ours.distance, distance, rtol=1e-9)


def test_similarity_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PAIRS_AT_ONCE", 20 * 9)
    queries, references = randn(20, 6), randn(70, 6, seed=1)
    expected = cosine_similarity(queries.double(), references.double()).max(1)
    np.testing.assert_allclose(neighbours.nearest_similarity(queries, references), expected, rtol=1e-9)
