"""The bundled feature space is as good as it says, and errors and distances in any feature space have closed forms."""

import math

import pytest
import torch
from sklearn.decomposition import PCA

import diffgen as dg
from diffgen.features import classifier_features, principal_components
from diffgen.features.classifier import WEIGHTS, classifier, classifier_metadata, resized
from diffgen.metrics.reconstruction import reconstruction_distance
from diffgen.rng import generator

SIGMAS = torch.tensor([0.3, 1.0, 3.0], dtype=torch.float64)
WIENER = dg.GaussianDenoiser(torch.zeros(4), torch.eye(4))


def gaussian(n, seed=0):
    return torch.randn(n, 4, generator=generator(seed, 11), dtype=torch.float64)


@pytest.mark.parametrize("size", [28, 14, 7])
def test_accuracy_on_held_out_images_is_as_stated(size):
    """On a fifth of the bundled images, none of which it was trained on: within 4 standard errors."""
    images = dg.load_data("fashion_mnist", size=size, n_train=2_000, n_val=1).train
    share = (classifier()(images.x).argmax(1) == images.labels).double().mean()
    stated = classifier_metadata()["accuracy"][str(size)]
    assert stated > 0.85
    assert abs(share - stated) < 4 * math.sqrt(stated * (1 - stated) / 2_000)


def test_weights_are_small_and_their_making_is_told():
    assert WEIGHTS.stat().st_size < 2_000_000
    assert "60,000" in classifier_metadata()["trained_on"]
    assert classifier_metadata()["script"].startswith("tools/train_features.py")


def test_rows_are_independent_and_sizes_agree():
    x = dg.load_data("fashion_mnist", size=14, n_train=1_100, n_val=1).train.x
    features = classifier_features(x)
    assert features.shape == (1_100, 96)
    assert torch.allclose(features[1_090:], classifier_features(x[1_090:]), atol=1e-5)
    assert torch.allclose(classifier_features(resized(x[:5])), features[:5])
    with pytest.raises(ValueError, match=r"x has shape \(3, 3, 8, 8\): the bundled features are of grey images"):
        classifier_features(torch.zeros(3, 3, 8, 8))


def test_features_tell_clothes_apart_better_than_pixels():
    """The nearest other image is of the same class more often in feature space."""
    images = dg.load_data("fashion_mnist", size=14, n_train=1_000, n_val=1).train
    shares = []
    for space in (images.x, classifier_features(images.x)):
        distance = torch.cdist(space.flatten(1), space.flatten(1)).fill_diagonal_(math.inf)
        shares.append((images.labels[distance.argmin(1)] == images.labels).double().mean())
    assert shares[1] > shares[0] + 0.03


@pytest.mark.parametrize("k", [1, 10, 196])
def test_principal_components_are_those_of_scikit_learn(k):
    images = dg.load_data("fashion_mnist", size=14, n_train=500, n_val=100)
    ours, theirs = principal_components(images.train.x, k), PCA(k, svd_solver="full")
    theirs.fit(images.train.x.flatten(1).double())
    expected = torch.from_numpy(theirs.transform(images.val.x.flatten(1).double()))
    signs = (ours(images.val.x) * expected).sum(0).sign()
    assert torch.allclose(ours(images.val.x) * signs, expected, atol=1e-5)
    assert ours.explained == pytest.approx(theirs.explained_variance_ratio_.sum())
    assert torch.allclose(ours.axes @ ours.axes.T, torch.eye(k).double())
    assert ours.name == f"{k} principal components"


def test_principal_components_keep_distances_when_there_are_all_of_them():
    x = gaussian(20)
    assert torch.allclose(torch.pdist(principal_components(gaussian(50, seed=1), 4)(x)), torch.pdist(x))
    flipped = principal_components(gaussian(50, seed=1).flip(0), 2)
    assert torch.allclose(flipped(x), principal_components(gaussian(50, seed=1), 2)(x))
    with pytest.raises(ValueError, match="k is 5: 50 points of 4 entries have 1 to 4 components"):
        principal_components(gaussian(50), 5)
    with pytest.raises(ValueError, match="k is 3: 3 points of 4 entries have 1 to 2 components"):
        principal_components(gaussian(3), 3)


def test_error_in_a_feature_space_is_the_error_of_features():
    """Of a rotation it is the error itself; of a projection on one coordinate, that coordinate's."""
    y, rotation = gaussian(150), torch.linalg.qr(gaussian(4, seed=1)).Q
    plain = dg.denoising_error(WIENER, y, SIGMAS, draws=2)
    assert torch.allclose(dg.denoising_error(WIENER, y, SIGMAS, draws=2, features=lambda x: x @ rotation), plain)
    parts = [dg.denoising_error(WIENER, y, SIGMAS, draws=2, features=lambda x, i=i: x[:, i : i + 1]) for i in range(4)]
    assert torch.allclose(torch.stack(parts).mean(0), plain)
    assert (dg.denoising_error(WIENER, y, SIGMAS, features=lambda x: torch.zeros(len(x), 7)) == 0).all()
    curve = dg.generalization_gap(WIENER, y[:80], y[80:], SIGMAS, features=lambda x: x[:, :1])
    first = dg.denoising_error(WIENER, y[80:], SIGMAS, features=lambda x: x[:, :1])
    assert torch.equal(curve.val_errors, first)
    with pytest.raises(ValueError, match="norm is 'psnr' with features"):
        dg.denoising_error(WIENER, y, SIGMAS, norm="psnr", features=lambda x: x)


def test_reconstruction_distance_of_the_wiener_filter():
    """D of N(0, 1) data has the variance 1/(1 + σ²), so rFD is d (1 − 1/√(1 + σ²))²."""
    points = dg.Points(gaussian(40_000))
    curve = reconstruction_distance(
        WIENER, points[:20_000], points[20_000:], SIGMAS, features=torch.clone, n_resamples=20
    )
    exact = 4 * (1 - (1 + SIGMAS**2).rsqrt()) ** 2
    for distance, stderr in ((curve.train, curve.train_stderr), (curve.val, curve.val_stderr)):
        assert ((distance - exact).abs() < 4 * stderr + 1e-3).all()
        assert (stderr < 0.1 * exact).all()
    assert (curve.gap.abs() < 4 * curve.stderr + 1e-3).all()


def test_reconstruction_distance_sees_what_a_denoiser_recalls():
    points = dg.Points(gaussian(600))
    train, val = points[:300], points[300:]
    curve = reconstruction_distance(
        dg.OptimalDenoiser(train.x), train, val, SIGMAS[:1], features=torch.clone, n_resamples=20
    )
    assert curve.gap > 4 * curve.stderr


def test_standard_errors_of_reconstruction_distances_are_those_of_repetition():
    values, stderrs = [], []
    for seed in range(100):
        points = dg.Points(gaussian(400, seed=seed))
        curve = reconstruction_distance(
            WIENER, points[:200], points[200:], SIGMAS[1:2], features=torch.clone, n_resamples=30, seed=seed
        )
        values.append(torch.stack([curve.train, curve.gap]))
        stderrs.append(torch.stack([curve.train_stderr, curve.stderr]))
    ratio = torch.stack(stderrs).mean(0) / torch.stack(values).std(0)
    assert ((ratio > 0.8) & (ratio < 1.25)).all(), ratio


def test_a_change_of_reconstruction_gaps_is_that_of_pairs():
    """Of a denoiser to itself nothing; of two that differ little an error far below that of either gap."""
    points = dg.Points(gaussian(600))
    options = {"sigmas": SIGMAS[1:2], "features": torch.clone, "n_resamples": 20}
    a, b = (
        reconstruction_distance(
            dg.GaussianDenoiser(torch.zeros(4), spread * torch.eye(4)), points[:300], points[300:], **options
        )
        for spread in (1.0, 1.02)
    )
    (change,), (none,) = a.minus(b), a.minus(a)
    assert float(change) == pytest.approx(float(a.gap - b.gap))
    assert change.stderr < float(a.stderr) / 3
    assert float(none) == none.stderr == 0


def test_a_reconstruction_distance_needs_images():
    points = dg.Points(gaussian(10))
    with pytest.raises(ValueError, match="the smaller split has 1 images"):
        reconstruction_distance(WIENER, points, points[:1], SIGMAS)
    with pytest.raises(ValueError, match="n_resamples is 1"):
        reconstruction_distance(WIENER, points, points, SIGMAS, n_resamples=1)
