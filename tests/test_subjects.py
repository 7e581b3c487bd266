"""What is kept of snapshots that are guided or see through a window, and that it is what was asked for."""

import pytest
import torch
from conftest import tiny

import diffgen as dg
from diffgen import along, evaluate, probes
from diffgen.guides import Guide, guided
from diffgen.features import classifier_features
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.overlap import noisy
from diffgen.metrics.trajectory import PARTS
from diffgen.metrics.receptive_field import effective_receptive_field
from diffgen.metrics.reconstruction import reconstruction_distance

SIGMAS = dg.log_sigmas(3, 0.3, 3)
STEPS = {"n": 12, "steps": 4}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """Of a run with classes, of which some rows are shown without, and of one that knows none."""
    root = tmp_path_factory.mktemp("runs")
    configs = tiny(total_images=256, conditional=True, label_dropout=0.3, n_snapshots=2), tiny(total_images=256)
    return [snapshot for config in configs for snapshot in dg.train(config, root=root, progress=False)]


@pytest.fixture(scope="module")
def split():
    return tiny(total_images=256).data.load()


def guides_of(snapshots, w=1.0, **options):
    early, last, other = snapshots
    return {
        "one network": Guide(last, w, unconditional=True, **options),
        "two networks": Guide(other, w, unconditional=True, **options),
        "early": Guide(early, w, **options),
    }


@pytest.mark.parametrize("kind", ["one network", "two networks", "early"])
def test_a_guide_is_what_it_says(snapshots, split, kind):
    early, last, other = (s.denoiser() for s in snapshots)
    bare = {"one network": dg.Unconditional(last), "two networks": other, "early": early}[kind]
    x, labels = split.val.x[:6], split.val.labels[:6]
    sigma = torch.tensor([0.2, 0.5, 1.0, 2.0, 4.0, 8.0])
    main, guide = last(x, sigma, labels), bare(x, sigma, labels)
    inside = ((sigma > 0.5) & (sigma <= 4)).reshape(-1, 1, 1, 1)
    expected = torch.where(inside, main + 0.7 * (main - guide), main)
    found = guided(snapshots[1], guides_of(snapshots, 0.7, interval=(0.5, 4.0))[kind])(x, sigma, labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(guided(snapshots[1], guides_of(snapshots, 0.0)[kind])(x, sigma, labels), main)


def test_results_are_named_by_all_that_a_guide_does(snapshots):
    names = [g.settings for w in (0.5, 1.0) for g in guides_of(snapshots, w).values()]
    names += [g.settings for g in guides_of(snapshots, interval=(0.0, 1.0)).values()]
    assert len({str(name) for name in names}) == 9
    plain = Guide(snapshots[0], 0.5).settings
    assert set(plain) == {"run", "images", "weight"}  # as when there were no other guides
    assert Guide(snapshots[0], 0).settings is None


@pytest.mark.parametrize("interval", [(0.5, 2.0), None])
@pytest.mark.parametrize("kind", ["one network", "two networks", "early"])
def test_gaps_of_all_weights_are_those_of_each(snapshots, split, kind, interval):
    guide = guides_of(snapshots, interval=interval)[kind]
    amounts = (-1, 0, 0.5, 2)
    curves = probes.guided_curves(snapshots[1], guide, amounts, split, SIGMAS, images=20)
    for w, curve in zip(amounts, curves, strict=True):
        one = guides_of(snapshots, w, interval=interval)[kind]
        (direct,) = evaluate.gap_curves([snapshots[1]], split, SIGMAS, guide=one, images=20, progress=False)
        for part in ("train_errors", "val_errors"):
            torch.testing.assert_close(
                getattr(curve, part), getattr(direct, part).double(), rtol=1e-4, atol=1e-6, check_dtype=False
            )


def test_at_weight_minus_one_the_gap_is_that_of_the_guide(snapshots, split):
    early, last, _ = snapshots
    (found,) = probes.guided_curves(last, Guide(early, 1), [-1], split, SIGMAS, images=20)
    (direct,) = evaluate.gap_curves([early], split, SIGMAS, images=20, progress=False)
    torch.testing.assert_close(found.val_errors, direct.val_errors.double(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.train_errors, direct.train_errors.double(), rtol=1e-4, atol=1e-6)


def test_weight_zero_is_found_where_no_guide_was_given(snapshots, split, monkeypatch):
    options = {"labels": split.val.labels[:12], **STEPS}
    plain = evaluate.samples(snapshots[1], **options)
    one = evaluate.samples(snapshots[1], guide=guides_of(snapshots)["one network"], **options)
    assert not torch.equal(plain, one)
    monkeypatch.setattr(evaluate, "sample", None)  # would fail if it were called
    assert torch.equal(evaluate.samples(snapshots[1], guide=guides_of(snapshots, 0)["one network"], **options), plain)


def test_gaps_through_a_window(snapshots, split):
    (base,) = evaluate.gap_curves(snapshots[2:], split, SIGMAS, images=8, progress=False)
    (whole,) = evaluate.gap_curves(snapshots[2:], split, SIGMAS, window=14, stride=2, images=8, progress=False)
    torch.testing.assert_close(whole.val_errors, base.val_errors, rtol=1e-4, atol=1e-5)
    (small,) = evaluate.gap_curves(snapshots[2:], split, SIGMAS, window=6, stride=2, images=8, progress=False)
    direct = dg.generalization_gap(dg.Windowed(snapshots[2].denoiser(), 6, 2), split.train[:8], split.val[:8], SIGMAS)
    torch.testing.assert_close(small.val_errors, direct.val_errors, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(small.val_errors, base.val_errors)


def test_reconstructions_and_ranges_are_kept(snapshots, split, monkeypatch):
    guide = guides_of(snapshots)["one network"]
    curve = probes.reconstructions(snapshots[1], split, SIGMAS, guide=guide, images=20, resamples=3)
    direct = reconstruction_distance(guided(snapshots[1], guide), split.train[:20], split.val[:20], SIGMAS, resamples=3)
    torch.testing.assert_close(curve.gap, direct.gap)
    torch.testing.assert_close(curve.stderr, direct.stderr)
    alone = probes.reconstructions(snapshots[1], split, SIGMAS[:1], guide=guide, images=20, resamples=3)
    torch.testing.assert_close(alone.train, curve.train[:1])  # at one noise level, too
    options = {"window": 6, "stride": 2, "pixels": 3}
    scores = probes.ranges(snapshots[1], split.val[:2], SIGMAS, **options)
    windowed = dg.Windowed(snapshots[1].denoiser(), 6, 2)
    for row, sigma in zip(scores, SIGMAS, strict=True):
        x = noisy(split.val.x[:2], float(sigma))
        torch.testing.assert_close(row, effective_receptive_field(windowed, x, sigma, split.val.labels[:2], pixels=3))
    for name in ("reconstruction_distance", "effective_receptive_field"):
        monkeypatch.setattr(probes, name, None)
    again = probes.reconstructions(snapshots[1], split, SIGMAS, guide=guide, images=20, resamples=3)
    assert torch.equal(again.train, curve.train)
    assert torch.equal(probes.ranges(snapshots[1], split.val[:2], SIGMAS, **options), scores)


def test_passages_of_guided_denoisers(snapshots, split):
    guide, labels = guides_of(snapshots)["one network"], split.val.labels[:12]
    plain = along.passages(snapshots[1], split, labels=labels, **STEPS)
    steered = along.passages(snapshots[1], split, guide=guide, labels=labels, **STEPS)
    grid = dg.edm_sigmas(4)
    for part in PARTS:
        assert torch.equal(plain[part]["shell"][0], steered[part]["shell"][0])  # all start at the same states
        assert not torch.equal(plain[part]["similarity"], steered[part]["similarity"])
    sigma = grid[2]
    x = noisy(split.val.x[:12], float(sigma))
    denoised = guided(snapshots[1], guide)(x, sigma, labels)
    distance = nearest(denoised, split.train.x, k=1).distance[:, 0]
    torch.testing.assert_close(steered["val"]["first"][2], distance, rtol=1e-4, atol=1e-5)
    ends = evaluate.drawn(snapshots[1], guide=guide, labels=labels, **STEPS)
    torch.testing.assert_close(
        steered["trajectory"]["first"][-1], nearest(ends, split.train.x, k=1).distance[:, 0], rtol=1e-3, atol=1e-4
    )
    with pytest.raises(ValueError, match="labels is given for part 'train': noisy images have classes of their own"):
        along.passage(snapshots[1], split, "train", labels=labels, **STEPS)


def test_feature_gaps_of_guided_snapshots(snapshots, split):
    guide = guides_of(snapshots)["early"]
    options = {"images": 12, "features": features}
    (curve,) = evaluate.gap_curves([snapshots[1]], split, SIGMAS, guide=guide, progress=False, **options)
    direct = dg.generalization_gap(
        guided(snapshots[1], guide), split.train[:12], split.val[:12], SIGMAS, features=features
    )
    assert torch.equal(curve.train_errors, direct.train_errors)


@pytest.mark.parametrize("name", ["smoke", "quick", "standard", "paper"])
def test_presets_know_what_chapter_5_needs(name):
    preset = dg.presets.named(name)
    config = preset.conditional
    assert config.conditional
    assert config.label_dropout > 0
    stops = preset.train.snapshot_images
    assert config.snapshot_images == stops[: stops.index(preset.guidance_images) + 1]
    assert config.data == preset.train.data
    side = preset.train.data.size
    assert list(preset.windows) == sorted(preset.windows)
    for window in preset.windows:
        assert window < side
        assert (side - window) % preset.window_stride == 0
        config.network.build(torch.Size((1, window, window)))
    assert preset.weights[0] == 0
    assert 1 <= preset.range_pixels <= side**2
