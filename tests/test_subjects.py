"""Subjects made of snapshots, guided or seen through a window: what is kept of them is what was asked for."""

import pytest
import torch
from conftest import tiny

import diffgen as dg
from diffgen import experiments
from diffgen.experiments import Measure, guidance, receptive_field, sampling
from diffgen.features import classifier_features
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.overlap import noisy
from diffgen.metrics.receptive_field import effective_receptive_field
from diffgen.metrics.reconstruction import reconstruction_distance
from diffgen.metrics.trajectory import PARTS

SIGMAS = dg.log_sigmas(3, 0.3, 3)
GRID, HOW = dg.edm_sigmas(4), Measure(n_images=20, progress=False)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """Of a run with classes, of which some rows are shown without, and of one that knows none."""
    root = tmp_path_factory.mktemp("runs")
    configs = tiny(total_images=256, conditional=True, label_dropout=0.3, n_snapshots=2), tiny(total_images=256)
    return [snapshot for config in configs for snapshot in dg.train(config, root=root, progress=False)]


@pytest.fixture(scope="module")
def split():
    return tiny(total_images=256).data.load()


def guide_of(snapshots, kind):
    """The guide, and whether it is called without labels."""
    early, last, other = snapshots
    return {"one network": (last, True), "two networks": (other, True), "early": (early, False)}[kind]


def steered(snapshots, kind, w=1.0, **options):
    """The last snapshot with classes, guided."""
    guide, unconditional = guide_of(snapshots, kind)
    return experiments.guided(snapshots[1], guide, w, unconditional=unconditional, **options)


@pytest.mark.parametrize("kind", ["one network", "two networks", "early"])
def test_a_guide_is_what_it_says(snapshots, split, kind):
    early, last, other = (s.denoiser() for s in snapshots)
    bare = {"one network": dg.Unconditional(last), "two networks": other, "early": early}[kind]
    x, labels = split.val.x[:6], split.val.labels[:6]
    sigma = torch.tensor([0.2, 0.5, 1.0, 2.0, 4.0, 8.0])
    main, guide = last(x, sigma, labels), bare(x, sigma, labels)
    inside = ((sigma > 0.5) & (sigma <= 4)).reshape(-1, 1, 1, 1)
    expected = torch.where(inside, main + 0.7 * (main - guide), main)
    denoiser = steered(snapshots, kind, 0.7, interval=(0.5, 4.0)).denoiser()
    torch.testing.assert_close(denoiser(x, sigma, labels), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(steered(snapshots, kind, 0.0).denoiser()(x, sigma, labels), main)


@pytest.mark.parametrize("interval", [(0.5, 2.0), None])
@pytest.mark.parametrize("kind", ["one network", "two networks", "early"])
def test_gaps_of_all_weights_are_those_of_each(snapshots, split, kind, interval):
    guide, unconditional = guide_of(snapshots, kind)
    amounts, options = (-1, 0, 0.5, 2), {"unconditional": unconditional, "interval": interval}
    curves = experiments.guided_gap_curves(snapshots[1], guide, amounts, split, SIGMAS, HOW, **options)
    for w, curve in zip(amounts, curves, strict=True):
        (direct,) = experiments.gap_curves([steered(snapshots, kind, w, interval=interval)], split, SIGMAS, HOW)
        for part in ("train_errors", "val_errors"):
            torch.testing.assert_close(
                getattr(curve, part), getattr(direct, part).double(), rtol=1e-4, atol=1e-6, check_dtype=False
            )


def test_at_weight_minus_one_the_gap_is_that_of_the_guide(snapshots, split):
    early, last, _ = snapshots
    (curve,) = experiments.guided_gap_curves(last, early, [-1], split, SIGMAS, HOW)
    (direct,) = experiments.gap_curves([early], split, SIGMAS, HOW)
    torch.testing.assert_close(curve.val_errors, direct.val_errors.double(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(curve.train_errors, direct.train_errors.double(), rtol=1e-4, atol=1e-6)


def test_weight_zero_is_found_where_no_guide_was_given(snapshots, split, monkeypatch):
    labels = split.val.labels[:12]
    plain = experiments.samples(snapshots[1], 12, GRID, HOW, labels=labels)
    one = experiments.samples(steered(snapshots, "one network"), 12, GRID, HOW, labels=labels)
    assert not torch.equal(plain, one)
    monkeypatch.setattr(sampling, "sample", None)  # would fail if it were called
    again = experiments.samples(steered(snapshots, "one network", 0.0), 12, GRID, HOW, labels=labels)
    assert torch.equal(again, plain)


def test_gaps_through_a_window(snapshots, split):
    few, last = HOW.with_(n_images=8), snapshots[2]
    made = [last, experiments.windowed(last, 14, 2), experiments.windowed(last, 6, 2)]
    base, whole, small = experiments.gap_curves(made, split, SIGMAS, few)
    torch.testing.assert_close(whole.val_errors, base.val_errors, rtol=1e-4, atol=1e-5)
    direct = dg.generalization_gap(dg.Windowed(last.denoiser(), 6, 2), split.train[:8], split.val[:8], SIGMAS)
    torch.testing.assert_close(small.val_errors, direct.val_errors, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(small.val_errors, base.val_errors)


def test_reconstructions_and_receptive_fields_are_kept(snapshots, split, monkeypatch):
    subject = steered(snapshots, "one network")
    curve = experiments.reconstruction_curve(subject, split, SIGMAS, HOW, n_resamples=3)
    parts = split.train[:20], split.val[:20]
    direct = reconstruction_distance(subject.denoiser(), *parts, SIGMAS, n_resamples=3)
    torch.testing.assert_close(curve.gap, direct.gap)
    torch.testing.assert_close(curve.stderr, direct.stderr)
    alone = experiments.reconstruction_curve(subject, split, SIGMAS[:1], HOW, n_resamples=3)
    torch.testing.assert_close(alone.train, curve.train[:1])  # at one noise level, too
    window = experiments.windowed(snapshots[1], 6, 2)
    scores = experiments.receptive_fields(window, split.val[:2], SIGMAS, HOW, pixels=3)
    windowed = dg.Windowed(snapshots[1].denoiser(), 6, 2)
    for row, sigma in zip(scores, SIGMAS, strict=True):
        x = noisy(split.val.x[:2], float(sigma))
        torch.testing.assert_close(row, effective_receptive_field(windowed, x, sigma, split.val.labels[:2], pixels=3))
    monkeypatch.setattr(guidance, "reconstruction_distance", None)
    monkeypatch.setattr(receptive_field, "effective_receptive_field", None)
    again = experiments.reconstruction_curve(subject, split, SIGMAS, HOW, n_resamples=3)
    assert torch.equal(again.train, curve.train)
    assert torch.equal(experiments.receptive_fields(window, split.val[:2], SIGMAS, HOW, pixels=3), scores)


def test_statistics_along_guided_trajectories(snapshots, split):
    subject, labels = steered(snapshots, "one network"), split.val.labels[:12]
    plain = experiments.trajectory_stats(snapshots[1], split, 12, GRID, HOW, labels=labels)
    stats = experiments.trajectory_stats(subject, split, 12, GRID, HOW, labels=labels)
    for part in PARTS:
        assert torch.equal(plain[part]["shell"][0], stats[part]["shell"][0])  # all start at the same states
        assert not torch.equal(plain[part]["similarity"], stats[part]["similarity"])
    sigma = GRID[2]
    x = noisy(split.val.x[:12], float(sigma))
    denoised = subject.denoiser()(x, sigma, labels)
    distance = nearest(denoised, split.train.x, k=1).distance[:, 0]
    torch.testing.assert_close(stats["val"]["first"][2], distance, rtol=1e-4, atol=1e-5)
    ends = experiments.draw_samples(subject, 12, GRID, HOW, labels=labels)
    torch.testing.assert_close(
        stats["trajectory"]["first"][-1], nearest(ends, split.train.x, k=1).distance[:, 0], rtol=1e-3, atol=1e-4
    )
    with pytest.raises(ValueError, match="labels is given for part 'train': noisy images have classes of their own"):
        experiments.part_stats(snapshots[1], split, "train", 12, GRID, HOW, labels=labels)


def test_feature_gaps_of_guided_snapshots(snapshots, split):
    subject, few = steered(snapshots, "early"), HOW.with_(n_images=12)
    (curve,) = experiments.gap_curves([subject], split, SIGMAS, few, features=classifier_features)
    parts = split.train[:12], split.val[:12]
    direct = dg.generalization_gap(subject.denoiser(), *parts, SIGMAS, features=classifier_features)
    assert torch.equal(curve.train_errors, direct.train_errors)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: dg.ErrorProne(x, 0.5), lambda x: dg.ErrorProne(x, 2.0)),
        (
            lambda x: dg.Guided(dg.OptimalDenoiser(x), dg.OptimalDenoiser(x[:3]), 0.5),
            lambda x: dg.Guided(dg.OptimalDenoiser(x), dg.OptimalDenoiser(x[:3]), 1.0),
        ),
        (dg.OptimalDenoiser, lambda x: dg.OptimalDenoiser(x * 1.01)),
        (dg.OptimalDenoiser, dg.GaussianDenoiser.fit),
    ],
)
def test_another_setting_of_a_denoiser_is_another_subject(one, other):
    """Not its parameters alone say what it computes."""
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    identity = dg.Subject("mine", one(x), (2,)).identity
    assert identity == dg.Subject("mine", one(x), (2,)).identity
    assert identity != dg.Subject("mine", other(x), (2,)).identity


def test_the_mode_of_a_module_is_no_part_of_its_identity():
    module = dg.OptimalDenoiser(torch.zeros(3, 2))
    assert dg.Subject("m", module.train(), (2,)).identity == dg.Subject("m", module.eval(), (2,)).identity


def test_samples_of_points_are_not_cut_off_as_images_are(tmp_path):
    points = 10 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    subject = dg.Subject("points", dg.OptimalDenoiser(points), (2,), results=tmp_path)
    grid = dg.edm_sigmas(8)
    drawn = experiments.samples(subject, 20, grid, HOW)
    assert torch.equal(drawn, experiments.draw_samples(subject, 20, grid, HOW))
    assert drawn.abs().max() > 5
    assert torch.equal(experiments.samples(subject, 20, grid, HOW), drawn)
