"""The Fréchet distance in closed form, its invariances, and the gap of samples between the splits."""

import math

import pytest
import torch
from torch import Tensor

import diffgen as dg
from diffgen.features import classifier_features, principal_components
from diffgen.metrics.frechet import FrechetGap, _moments, _weighted_moments, frechet_gap
from diffgen.rng import generator


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


# The gap


def test_the_gap_is_made_of_distances_between_sets_of_equal_size() -> None:
    samples, train, val = 1.3 * randn(90, 4), randn(100, 4, seed=1), randn(30, 4, seed=2)
    gap = frechet_gap(samples, train, val, n_resamples=5)
    order = torch.randperm(100, generator=generator(0, 30))
    parts = [train[order[30 * i : 30 * (i + 1)]] for i in range(3)]
    fd = dg.frechet_distance
    to_val, to_train = fd(samples, val), sum(fd(samples, p) for p in parts) / 3
    train_val = sum(fd(p, val) for p in parts) / 3
    train_train = (fd(parts[0], parts[1]) + fd(parts[1], parts[2])) / 2
    assert list(gap[:4]) == pytest.approx([to_val, to_train, train_val, train_train], rel=1e-9)
    assert gap.raw == pytest.approx(to_val / to_train - 1)
    assert gap.corrected == pytest.approx(((to_val - train_val) - (to_train - train_train)) / to_train)
    assert all(e.n == 30 and e.stderr > 0 for e in gap)
    assert frechet_gap(samples, train[:40], val, n_resamples=5).to_val.n == 20  # two subsets of 20, and 20 of val
    assert frechet_gap(samples, train, val, subsets=2, n_resamples=5).to_val == gap.to_val
    again = frechet_gap(samples, train, val, n_resamples=5)
    assert [e.stderr for e in again] == [e.stderr for e in gap]


def test_whole_weights_are_rows_drawn_so_often() -> None:
    x, rows = randn(60, 5) * torch.arange(1, 6), torch.randint(60, (60,), generator=generator(3))
    mean, root = _weighted_moments(x, rows.bincount(minlength=60).double())
    expected_mean, expected_root = _moments(x[rows])
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(root.T @ root, expected_root.T @ expected_root)


def trials(make, count: int = 60) -> dict[str, Tensor]:
    """The gap and its standard error in repeated experiments with data from N(0, I), (count, 2) each."""
    gaps = []
    for s in range(count):
        train, val, own = randn(600, 6, seed=3 * s), randn(200, 6, seed=3 * s + 1), randn(300, 6, seed=3 * s + 2)
        gaps.append(frechet_gap(make(own, train), train, val, n_resamples=25, seed=s))
    return {
        f: torch.tensor([(getattr(g, f), getattr(g, f).stderr) for g in gaps], dtype=torch.float64)
        for f in FrechetGap._fields
    }


def test_errors_are_right_whether_samples_differ_from_the_data_or_not() -> None:
    """Where a distance is linear in chance (wider) and where it is nothing but chance squared (same)."""
    wider, same = trials(lambda own, train: 1.5 * own), trials(lambda own, train: own)
    for gaps in (wider, same):
        for name in ("raw", "corrected", "to_val"):
            value, stderr = gaps[name].T
            assert 0.75 < stderr.mean() / value.std() < 1.5
        value, stderr = gaps["corrected"].T
        assert value.mean().abs() < 4 * value.std() / math.sqrt(len(value)) + 0.02
        assert ((value.abs() < 1.96 * stderr).double().mean()) >= 0.88
    distance = (1.5 - 1) ** 2 * 6  # of the Gaussians; the bias is of order F/n
    assert wider["to_val"][:, 0].mean() == pytest.approx(distance, rel=0.2)


def test_the_baselines_are_the_bias_of_few_points_and_cancel() -> None:
    gaps = trials(lambda own, train: own)
    a, b = gaps["train_train"][:, 0], gaps["train_val"][:, 0]
    assert min(a.mean(), b.mean()) > 0.1  # of equal distributions
    assert abs(a.mean() - b.mean()) < 4 * math.hypot(a.std(), b.std()) / math.sqrt(len(a))


def test_controls_of_the_gap() -> None:
    """Training images are nearer to the training set; fresh images and noise are as far from one as from the other."""
    split = dg.load_data("fashion_mnist", size=14, n_train=2000, n_val=1000)
    held_out, noise = split.holdout.x[:2000], randn(2000, 1, 14, 14).float()
    for space in (classifier_features, principal_components(split.holdout.x[2000:], 20)):
        train, val = space(split.train.x), space(split.val.x)
        copied = frechet_gap(train, train, val, n_resamples=10)
        fresh = frechet_gap(space(held_out), train, val, n_resamples=10)
        static = frechet_gap(space(noise), train, val, n_resamples=10)
        assert copied.corrected > fresh.corrected + 0.3
        assert abs(fresh.corrected) < 2 * fresh.corrected.stderr
        assert abs(static.corrected) < 0.05
        assert static.to_val > 20 * fresh.to_val


def test_the_gap_of_one_step_predictions_along_trajectories() -> None:
    """The optimal denoiser's are the mean of the training set at first, as far from either set, and copies at last."""
    train, val, sigmas = 0.5 * randn(200, 3), 0.5 * randn(200, 3, seed=1), dg.edm_sigmas(12)
    denoiser, gaps = dg.Chunked(dg.OptimalDenoiser(train), rows=64), []
    for state in dg.trajectory(denoiser, 80 * randn(300, 3, seed=2), sigmas):
        gaps.append((float(state.sigma), frechet_gap(state.denoised, train, val, n_resamples=10).corrected))
    assert [sigma for sigma, _ in gaps] == sigmas.tolist()
    assert abs(gaps[0][1]) < 0.2
    assert gaps[-1][1] > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: frechet_gap(x, x[:3], x), "train has 3 points and val 9: give at least 4 and 2"),
        (lambda x: frechet_gap(x, x, x[:1]), "train has 9 points and val 1"),
        (lambda x: frechet_gap(x, x, x, subsets=1), "subsets is 1 and n_resamples 100: take two or more"),
        (lambda x: frechet_gap(x[:1], x, x), r"samples has shape \(1, 2\)"),
        (lambda x: frechet_gap(x, x[:, :1], x), "train has 1 features and samples 2"),
    ],
)
def test_mistakes_with_the_gap_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(randn(9, 2))


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
