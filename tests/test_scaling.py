"""The plan of chapter 4: runs that differ in one thing each, measured alike and kept as numbers."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny

import diffgen as dg
from diffgen import evaluate
from diffgen.data import DataConfig
from diffgen.features import classifier_features
from diffgen.metrics.gap import paired_difference_at
from diffgen.metrics.scaling_laws import crossing_time
from diffgen.nets import DiTConfig
from diffgen.scaling import Scaling, contrast, measured

BASE = tiny(total_images=128, n_snapshots=2).with_(data=DataConfig(size=7, n_train=24, n_val=32))
PLAN = Scaling(
    base=BASE, n_train=(24, 40), channels=(4, 8), middle=(24, 4), clusters=(3,),
    transformer=DiTConfig(patch=7, width=16, depth=1), reference_images=64, sigmas=3, evaluate=24, samples=40, steps=2,
)  # fmt: skip
PRESETS = ("smoke", "quick", "standard", "paper")


@pytest.mark.parametrize("name", PRESETS)
def test_runs_differ_in_what_their_names_say_and_in_nothing_else(name):
    plan = dg.presets.named(name).scaling
    plain = plan.at(*plan.middle)
    for (n, channels), config in plan.grid.items():
        same = config.with_(
            data=replace(config.data, n_train=plain.data.n_train),
            network=replace(config.network, channels=plain.network.channels),
        )
        assert same == plain
        assert (config.data.n_train, config.network.channels) == (n, channels)
    for config in plan.labelled.values():
        data = replace(config.data, labels=plain.data.labels, n_labels=plain.data.n_labels)
        assert config.with_(data=data, conditional=False, label_dropout=plain.label_dropout) == plain
    for config in plan.architectures.values():
        assert config.with_(network=plain.network, precision=plain.precision) == plain


@pytest.mark.parametrize("name", PRESETS)
def test_every_run_is_there_once_under_a_name_that_fits_a_file(name):
    plan = dg.presets.named(name).scaling
    runs = plan.runs
    assert len(set(runs.values())) == len(runs)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in runs)
    for group in (plan.grid, plan.labelled, plan.architectures):
        assert set(group.values()) <= set(runs.values())


def test_standard_covers_what_the_laws_are_read_from():
    plan = dg.presets.standard().scaling
    assert min(plan.n_train) <= 128
    assert max(plan.n_train) >= 4096
    assert len(plan.channels) >= 3
    assert (min(plan.clusters), max(plan.clusters)) == (2, 200)


def test_a_reference_saw_nothing_of_any_run():
    plan = dg.presets.standard().scaling
    reference = plan.reference.data
    assert reference.skip >= max(plan.n_train)
    assert reference.skip + reference.n_train + reference.n_val <= 10_000
    assert reference.n_val == plan.base.data.n_val


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("scaling")


@pytest.mark.parametrize("name", ["n24-width4", "n40-width8", "classes", "one-an-image", "transformer"])
def test_a_run_is_measured(root, name):
    found = measured(PLAN.runs[name], PLAN, root=root, progress=False)
    assert found.images == [64, 128]
    split, last = PLAN.runs[name].data.load(), found.snapshots[-1]
    labels = split.val.labels[torch.arange(40) % 32] if PLAN.runs[name].conditional else None
    x = evaluate.drawn(last, 40, steps=2, labels=labels, progress=False)
    assert float(found.copied[-1]) == pytest.approx(float(dg.memorized_fraction(x, split.train.x)))
    expected = dg.frechet_distance(features(x), features(split.val.x))
    assert float(found.to_val[-1]) == pytest.approx(expected, rel=1e-3)
    expected = evaluate.gap_curves([last], split if labels is not None else without_labels(split),
                                   found.raw[-1].sigmas, images=24, progress=False)[0]  # fmt: skip
    assert torch.equal(found.raw[-1].val_errors, expected.val_errors)
    assert found.curves[-1].stderr.mean() < found.raw[-1].stderr.mean(), "adjusted"


def test_what_is_kept_is_small_and_found_again(root, monkeypatch):
    config = PLAN.runs["n24-width4"]
    first = measured(config, PLAN, root=root, progress=False)
    monkeypatch.setattr(evaluate, "drawn", None)  # computing again would fail
    monkeypatch.setattr(evaluate, "guided", None)
    again = measured(config, PLAN, root=root, progress=False)
    assert [repr(e) for e in again.copied + again.sample_gap] == [repr(e) for e in first.copied + first.sample_gap]
    files = (first.snapshots[0].run.folder / "results").glob("*")
    assert sum(path.stat().st_size for path in files) < 30_000


def test_too_few_training_images_leave_the_gap_raw(root):
    plan = replace(PLAN, evaluate=32)
    found = measured(plan.runs["n24-width4"], plan, root=root, progress=False)
    assert all(curve is raw for curve, raw in zip(found.curves, found.raw, strict=True))


def test_a_contrast_is_over_common_images_and_of_errors_of_one_kind(root):
    """At once adjusted or raw; of a run to itself nothing."""
    few, many = (measured(replace(PLAN, evaluate=32).runs[n], replace(PLAN, evaluate=32), root=root, progress=False)
                 for n in ("n24-width4", "n40-width4"))  # fmt: skip
    sigma = float(few.raw[-1].sigmas[1])
    found = contrast(many, few, sigma)
    a, b = many.raw[-1], few.raw[-1]
    ratio = (a.val_errors[1].double().mean() / a.train_errors[1, :24].double().mean()) - 1
    assert float(found) == pytest.approx(float(ratio - b.gap[1]), abs=1e-6)
    assert float(contrast(few, few, sigma)) == contrast(few, few, sigma).stderr == 0
    both = [measured(PLAN.runs[n], PLAN, root=root, progress=False) for n in ("n24-width4", "n24-width8")]
    expected = paired_difference_at(both[0].curves[-1], both[1].curves[-1], sigma)
    assert float(contrast(*both, sigma)) == pytest.approx(float(expected))


def test_times_are_those_of_the_laws(root):
    found = measured(PLAN.runs["n24-width4"], PLAN, root=root, progress=False)
    assert list(found.times) == ["onset", "copies", "gap", "quality"]
    level = 1.5 * min(map(float, found.to_val))
    expected = crossing_time(found.images, found.to_val, level, rising=False)
    assert found.times["quality"] == expected
    assert float(found.excess[-1]) == pytest.approx(float(found.copied[-1]) - float(found.null))


def without_labels(split):
    return type(split)(*(type(p)(p.x) for p in (split.train, split.val, split.holdout)))
