"""Labels of any granularity: what they are of the same images, and that a config with them is another run."""

import pytest
import torch
from conftest import tiny
from scipy.stats import chisquare
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

import diffgen as dg
from diffgen.data import DataConfig
from diffgen.data.pseudo_labels import pseudo_labelled
from diffgen.features import classifier_features
from diffgen.nets import DiTConfig, UNetConfig
from diffgen.runs.key import run_name

PLAIN = DataConfig(size=14, n_train=200, n_val=300, seed=3)
SPLIT = PLAIN.load()


def loaded(labels, k=10):
    return DataConfig(size=14, n_train=200, n_val=300, seed=3, labels=labels, n_labels=k).load()


@pytest.mark.parametrize(("labels", "k"), [("clusters", 7), ("random", 7), ("instances", 7)])
def test_images_stay_and_every_one_has_a_label(labels, k):
    split = loaded(labels, k)
    for part in ("train", "val", "holdout"):
        points, plain = getattr(split, part), getattr(SPLIT, part)
        assert torch.equal(points.x, plain.x)
        assert points.labels.dtype == torch.int64
        assert points.labels.min() >= 0
        assert points.labels.max() < (200 if labels == "instances" else k)
    assert split.train.labels.unique().numel() == (200 if labels == "instances" else k)


def test_clusters_are_cells_of_nearest_centres_in_features():
    split = loaded("clusters", 7)
    phi, labels = classifier_features(split.train.x).double(), split.train.labels
    centres = torch.stack([phi[labels == c].mean(0) for c in range(7)])
    for points in (split.train, split.val):
        assert torch.equal(torch.cdist(classifier_features(points.x).double(), centres).argmin(1), points.labels)


def test_one_label_an_image_gives_others_that_of_their_nearest_training_image():
    split = loaded("instances")
    assert torch.equal(split.train.labels, torch.arange(200))
    neighbours = NearestNeighbors(n_neighbors=1).fit(classifier_features(SPLIT.train.x).double())
    index = neighbours.kneighbors(classifier_features(SPLIT.val.x).double(), return_distance=False)[:, 0]
    assert (split.val.labels.numpy() == index).mean() > 0.99  # but for ties


def test_as_many_clusters_as_images_is_one_label_an_image():
    """The finest clusters and "instances" are the same partition, of validation images too."""
    finest, single = pseudo_labelled(SPLIT, "clusters", 200, classifier_features), loaded("instances")
    assert adjusted_rand_score(finest.val.labels, single.val.labels) == 1


def test_random_labels_are_uniform_and_know_nothing_of_the_image():
    split = loaded("random", 5)
    counts = split.val.labels.bincount(minlength=5)
    assert chisquare(counts.numpy()).pvalue > 1e-3
    assert abs(adjusted_rand_score(SPLIT.val.labels, split.val.labels)) < 0.03
    assert not torch.equal(split.val.labels[:200], split.train.labels)


def test_clusters_know_the_classes_better_than_chance():
    assert adjusted_rand_score(SPLIT.val.labels, loaded("clusters", 10).val.labels) > 0.3


def test_a_reference_has_no_labels_of_its_own():
    config = DataConfig(size=14, n_train=200, n_val=300, seed=3, labels="clusters", n_labels=7)
    assert config.reference == PLAIN.reference


@pytest.mark.parametrize(
    ("given", "says"),
    [({"labels": "colour"}, "labels is 'colour'"), ({"labels": "clusters", "n_labels": 201}, "n_labels is 201"),
     ({"labels": "random", "n_labels": 0}, "n_labels is 0")],
)  # fmt: skip
def test_errors_name_the_value(given, says):
    with pytest.raises(ValueError, match=says):
        DataConfig(size=14, n_train=200, n_val=300, **given)


def test_a_network_is_trained_on_them(tmp_path):
    """Validation labels are known to the network, also where the training set has fewer."""
    data = DataConfig(size=7, n_train=16, n_val=64, labels="random", n_labels=12)
    config = tiny(total_images=128, conditional=True).with_(data=data)
    *_, last = dg.train(config, root=tmp_path, progress=False)
    split = data.load()
    curve = dg.generalization_gap(last.denoiser(), split.train, split.val, torch.tensor([0.5]))
    assert curve.gap.isfinite().all()
    denoiser, x = last.denoiser(), split.val.x[:2]
    one, other = (denoiser(x, torch.tensor(1.0), torch.full((2,), c)) for c in (0, 11))
    assert not torch.equal(one, other)


def test_a_runs_name_is_what_its_config_says_beside_defaults():
    config = tiny(total_images=128)
    assert run_name(config) == run_name(config.with_(label_dropout=0.1, clip=1)), "defaults, said or not, int or float"
    assert run_name(config) != run_name(config.with_(clip=2.0))
    assert run_name(config.with_(network=UNetConfig()))[-10:] != run_name(config.with_(network=DiTConfig()))[-10:]
    labelled = DataConfig(**{**vars(config.data), "labels": "clusters", "n_labels": 2})
    assert run_name(config) != run_name(config.with_(data=labelled))
