"""The Fréchet distance in closed form, its invariances, and the gap of samples between the splits."""

import math

import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

import diffgen as dg
from diffgen.features import classifier_features, principal_components
from diffgen.metrics.frechet import FrechetGap, _moments, _moments_of_sums, _sums, frechet_gap
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
    assert all(e.n == 30 and e.stderr > 0 for e in gap[:6])
    assert math.isnan(gap.luck)
    assert frechet_gap(samples, train, val, subsets=2, n_resamples=5).to_val == gap.to_val
    again = frechet_gap(samples, train, val, n_resamples=5)
    assert [e.stderr for e in again[:6]] == [e.stderr for e in gap[:6]]


def by_matrix_roots(a: Tensor, b: Tensor) -> float:
    """The same distance as it is written, with the square root of a matrix product by scipy."""
    mean_a, mean_b, c_a, c_b = a.mean(0), b.mean(0), torch.cov(a.T), torch.cov(b.T)
    root = torch.from_numpy(sqrtm((c_a @ c_b).numpy()).real)
    return float((mean_a - mean_b).square().sum() + (c_a + c_b - 2 * root).trace())


@pytest.mark.parametrize(("n_train", "n_val"), [(60, 60), (61, 90), (119, 60), (120, 60), (61, 61)])
def test_raw_is_the_papers_gap_of_whole_sets_of_equal_size(n_train: int, n_val: int) -> None:
    """All of the validation set, and training subsets as large: no set is halved to have two of them."""
    samples, train, val = 1.3 * randn(90, 4), randn(n_train, 4, seed=1), 1.1 * randn(n_val, 4, seed=2)
    n = min(n_train, n_val)
    gap = frechet_gap(samples, train, val, n_resamples=2)
    order = torch.randperm(n_train, generator=generator(0, n))
    parts = [train[part] for part in order[: n * (n_train // n)].split(n)]
    to_val, to_train = by_matrix_roots(samples, val[:n]), [by_matrix_roots(samples, part) for part in parts]
    assert gap.raw == pytest.approx(to_val / (sum(to_train) / len(to_train)) - 1, rel=1e-9)
    assert gap.to_val.n == gap.to_train.n == gap.raw.n == n
    assert gap.train_val.n == gap.train_train.n == (n if len(parts) > 1 else n // 2)


def test_baselines_of_few_training_points_are_of_halves() -> None:
    """FD between halves of one training set, and between each of them and the other half of the validation set."""
    train, val = randn(41, 3), 1.2 * randn(41, 3, seed=1)
    gap = frechet_gap(randn(90, 3, seed=2), train, val, n_resamples=2)
    random = generator(0, 41)
    t, v = train[torch.randperm(41, generator=random)], val[torch.randperm(41, generator=random)]
    fd = dg.frechet_distance
    assert gap.train_train == pytest.approx(fd(t[:20], t[20:]))
    assert gap.train_val == pytest.approx((fd(t[:20], v[20:]) + fd(t[20:], v[:20])) / 2)
    halves = float(gap.train_val) - float(gap.train_train)
    assert gap.corrected == pytest.approx(float(gap.raw) - halves / float(gap.to_train))


def test_whole_weights_are_rows_drawn_so_often() -> None:
    x, rows = randn(60, 5) * torch.arange(1, 6), torch.randint(60, (60,), generator=generator(3))
    mean, root = _moments_of_sums(60, _sums(x, rows.bincount(minlength=60).double()))
    expected_mean, expected_root = _moments(x[rows])
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(root.T @ root, expected_root.T @ expected_root)


def trials(make, count: int = 60, n_train: int = 600, n_fresh: int = 0) -> dict[str, Tensor]:
    """The gap and its standard error in repeated experiments with data from N(0, I), (count, 2) each."""
    gaps = []
    for s in range(count):
        train, val, own = randn(n_train, 6, seed=3 * s), randn(200, 6, seed=3 * s + 1), randn(300, 6, seed=3 * s + 2)
        fresh = randn(n_fresh, 6, seed=10**6 + s) if n_fresh else None
        gaps.append(frechet_gap(make(own, train), train, val, fresh=fresh, n_resamples=25, seed=s))
    return {
        f: torch.tensor([(getattr(g, f), getattr(g, f).stderr) for g in gaps], dtype=torch.float64)
        for f in FrechetGap._fields
    }


@pytest.mark.parametrize(("n_train", "n_fresh"), [(600, 0), (600, 800), (200, 400)])
def test_errors_are_right_whether_samples_differ_from_the_data_or_not(n_train: int, n_fresh: int) -> None:
    """Where a distance is linear in chance (wider) and where it is nothing but chance squared (same)."""
    wider = trials(lambda own, train: 1.5 * own, 40, n_train, n_fresh)
    same = trials(lambda own, train: own, 40, n_train, n_fresh)
    for gaps in (wider, same):
        for name in ("raw", "corrected", "to_val"):
            value, stderr = gaps[name].T
            assert 0.75 < stderr.mean() / value.std() < (1.5 if name == "to_val" or not n_fresh else 2)
        for name in ("raw", "corrected"):
            value, stderr = gaps[name].T
            chance = 4 * value.std() / math.sqrt(len(value))
            assert value.mean().abs() < chance + (0.02 if name == "corrected" else 0.1)
            assert ((value.abs() < 1.96 * stderr).double().mean()) >= (0.9 if n_fresh else 0.8)
    distance = (1.5 - 1) ** 2 * 6  # of the Gaussians; the bias is of order F/n
    assert wider["to_val"][:, 0].mean() == pytest.approx(distance, rel=0.2)


def test_luck_is_how_far_the_gap_of_fresh_samples_varies_between_splits() -> None:
    """The same samples against splits drawn anew have the spread that fresh points say, whatever their number."""
    own = 1.3 * randn(300, 6)
    raws = [
        frechet_gap(own, randn(200, 6, seed=s), randn(200, 6, seed=s + 99), n_resamples=2).raw for s in range(1, 60)
    ]
    spread = torch.tensor(raws, dtype=torch.float64).std().item()
    for n_fresh in (400, 3000):
        luck = frechet_gap(
            own, randn(200, 6, seed=1), randn(200, 6, seed=2), fresh=randn(n_fresh, 6, seed=7), splits=60, n_resamples=2
        ).luck
        assert luck.stderr == pytest.approx(spread, rel=0.35)
        assert luck.n == 60
        assert abs(luck) < 4 * luck.stderr / math.sqrt(60) + spread**2


def test_luck_that_theory_does_not_see_adds_to_the_errors_and_moves_no_gap() -> None:
    """Fresh points from elsewhere, between whose halves the gap varies more than that of the split at hand."""
    own, train, val = 3 * randn(300, 3), randn(100, 3, seed=1), randn(100, 3, seed=2)
    wild = 5 * randn(200, 3, seed=3) ** 5
    without, with_luck = frechet_gap(own, train, val), frechet_gap(own, train, val, fresh=wild)
    assert [float(e) for e in with_luck[:6]] == [float(e) for e in without[:6]]
    assert [e.stderr for e in with_luck[:4]] == [e.stderr for e in without[:4]]
    for name in ("raw", "corrected"):
        before, after = getattr(without, name).stderr, getattr(with_luck, name).stderr
        assert before < after <= math.hypot(before, with_luck.luck.stderr)
        assert after**2 > with_luck.luck.stderr**2
    assert frechet_gap(own, train, val, fresh=wild).luck.stderr == with_luck.luck.stderr


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


def test_controls_of_a_split_into_equal_halves() -> None:
    """As the paper's: sets of equal size, as many samples. Fresh images give 0 within the error.

    Samples half of which are training images give more than luck does.
    """
    split = dg.load_data("fashion_mnist", size=14, n_train=1500, n_val=1500)
    phi = {name: classifier_features(x) for name, x in zip(("train", "val", "holdout"), parts_of(split))}
    fresh = phi["holdout"][1500:]
    null = frechet_gap(phi["holdout"][:1500], phi["train"], phi["val"], fresh=fresh, n_resamples=10)
    half = torch.cat([phi["train"][:750], phi["holdout"][:750]])
    near = frechet_gap(half, phi["train"], phi["val"], fresh=fresh, n_resamples=10)
    for name in ("raw", "corrected"):
        assert abs(getattr(null, name)) < 2 * getattr(null, name).stderr
    assert near.raw > 3 * near.luck.stderr
    assert near.raw > 0.5
    assert null.luck.stderr <= null.raw.stderr


def parts_of(split: dg.Split) -> tuple[Tensor, Tensor, Tensor]:
    assert split.holdout is not None
    return split.train.x, split.val.x, split.holdout.x


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
        (lambda x: frechet_gap(x, x[:3], x), "train has 3 points and val 9: give at least 4 of each"),
        (lambda x: frechet_gap(x, x, x[:1]), "train has 9 points and val 1"),
        (lambda x: frechet_gap(x, x, x, subsets=1), "subsets is 1, n_resamples 100, splits 10: take two"),
        (lambda x: frechet_gap(x, x, x, fresh=x), "fresh has 9 points: two sets of 9 need 18; give more, or None"),
        (lambda x: frechet_gap(x, x, x, fresh=randn(18, 1)), "fresh has 1 features and samples 2"),
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
