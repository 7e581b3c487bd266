"""k-means: the partition of scikit-learn, and what a partition has to be."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

import diffgen as dg
from diffgen.features import classifier_features, kmeans
from diffgen.features.clusters import lloyd, spread_centres


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(k: int, n: int) -> tuple[Tensor, Tensor]:
    truth = torch.arange(k * n) % k
    return 20 * randn(k, 3, seed=1)[truth] + 0.5 * randn(k * n, 3, seed=2), truth


@pytest.mark.parametrize("k", [2, 10, 40])
def test_from_the_same_centres_it_is_that_of_scikit_learn(k: int) -> None:
    x = classifier_features(dg.load_data("fashion_mnist", size=14, n_train=1000, n_val=1).train.x)
    start = spread_centres(x, k)
    theirs = KMeans(k, init=start.numpy(), n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(x.double().numpy())
    ours = kmeans(x, k)
    assert ours.converged
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    np.testing.assert_allclose(ours.centres, theirs.cluster_centers_, rtol=1e-8, atol=1e-10)
    assert ours.inertia == pytest.approx(theirs.inertia_ / 1000, rel=1e-9)
    assert torch.equal(ours.assign(x), ours.labels)
    np.testing.assert_array_equal(ours.assign(x[:7] + 0.1), theirs.predict(x[:7].double().numpy() + 0.1))


def test_its_start_is_as_good_as_that_of_scikit_learn() -> None:
    """Over eight seeds, the mean inertia after convergence is within 2 % of theirs, one start each."""
    x = classifier_features(dg.load_data("fashion_mnist", size=14, n_train=1000, n_val=1).train.x)
    ours = [kmeans(x, 20, seed=s).inertia for s in range(8)]
    theirs = [KMeans(20, n_init=1, random_state=s).fit(x.numpy()).inertia_ / 1000 for s in range(8)]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)
    assert len(set(ours)) > 1


def test_clusters_that_are_far_apart_are_found() -> None:
    x, truth = blobs(6, 50)
    clusters = kmeans(x, 6)
    pairs = torch.stack([truth, clusters.labels]).unique(dim=1)
    assert pairs.shape[1] == 6
    for c in range(6):
        torch.testing.assert_close(clusters.centres[clusters.labels[c]], x[truth == c].double().mean(0))


def test_one_cell_is_the_mean_and_n_cells_are_the_points() -> None:
    x = randn(30, 2, 2)
    one, all_of_them = kmeans(x, 1), kmeans(x, 30)
    torch.testing.assert_close(one.centres[0], x.double().flatten(1).mean(0))
    assert one.inertia == pytest.approx(x.double().flatten(1).var(0, correction=0).sum().item())
    assert all_of_them.inertia == pytest.approx(0, abs=1e-20)
    assert sorted(all_of_them.labels.tolist()) == list(range(30))


def test_a_seed_decides_all_and_rounds_never_make_it_worse() -> None:
    x = randn(400, 5)
    assert torch.equal(kmeans(x, 12, seed=3).labels, kmeans(x, 12, seed=3).labels)
    inertias = [kmeans(x, 12, rounds=r).inertia for r in (1, 2, 4, 8, 300)]
    assert inertias == sorted(inertias, reverse=True)
    assert not kmeans(x, 12, rounds=1).converged


def test_a_centre_without_points_stays() -> None:
    x, centres = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.0], [9.0], [99.0]])
    clusters = lloyd(x, centres)
    assert clusters.centres.flatten().tolist() == [0.5, 10, 99]
    assert clusters.labels.tolist() == [0, 0, 1]


def test_the_start_is_drawn_by_squared_distance() -> None:
    """Of points 0, 1, 3: after 0 follows 1 with p = 1/10; after 1 follows 0 with 1/5; after 3 follows 0 with 9/13."""
    x = torch.tensor([[0.0], [1.0], [3.0]])
    starts = torch.stack([spread_centres(x, 2, seed=s).flatten() for s in range(3000)])
    for first, second, p in ((0, 1, 1 / 10), (1, 0, 1 / 5), (3, 0, 9 / 13)):
        hits = starts[starts[:, 0] == first][:, 1] == second
        assert len(hits) == pytest.approx(1000, abs=4 * (3000 * 2 / 9) ** 0.5)
        assert hits.double().mean() == pytest.approx(p, abs=4 * (p * (1 - p) / len(hits)) ** 0.5)


@pytest.mark.parametrize("k", [0, 6])
def test_mistakes_are_named(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}: with 5 points it is between 1 and 5"):
        kmeans(randn(5, 2), k)
