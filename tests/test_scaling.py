"""What is measured of each run of chapter 4, alike, and kept as numbers."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny

import diffgen as dg
from diffgen import experiments
from diffgen.experiments import Measure, gap, scaling
from diffgen.features import classifier_features
from diffgen.metrics.gap import paired_difference_at
from diffgen.metrics.scaling_laws import crossing_time
from diffgen.presets import Levels, ScalingPlan

BASE = tiny(total_images=128, n_snapshots=2).with_(data=dg.DataConfig(size=7, n_train=24, n_val=32))
PLAN = ScalingPlan(
    base=BASE, train_sizes=(24, 40), widths=(4, 8), base_cell=(24, 4), clusters=(3,),
    transformer=dg.DiTConfig(patch=7, width=16, depth=1), reference_images=64,
    levels=Levels(n=3, sigma_min=0.05, sigma_max=10), n_eval=24, n_samples=40, n_steps=2,
)  # fmt: skip
HOW = Measure(n_images=24, progress=False)


def measured(name, root, how=HOW):
    config, reference = PLAN.runs[name], dg.trained(PLAN.reference, root=root, progress=False)
    snapshots = list(dg.train(config, root=root, progress=False))
    sizes = PLAN.levels.sigmas, PLAN.n_samples, PLAN.sigmas
    return experiments.measure_run(snapshots, config.data.load(), *sizes, reference, how)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("scaling")


@pytest.mark.parametrize("name", ["n24-width4", "n40-width8", "classes", "one-an-image", "transformer"])
def test_a_run_is_measured(root, name):
    run = measured(name, root)
    assert run.images_seen == [64, 128]
    split, last = PLAN.runs[name].data.load(), run.snapshots[-1]
    labels = split.val.labels[torch.arange(40) % 32] if PLAN.runs[name].conditional else None
    x = experiments.draw_samples(last, 40, PLAN.sigmas, HOW, labels=labels)
    assert float(run.memorized[-1]) == pytest.approx(float(dg.memorized_fraction(x, split.train.x)))
    expected = dg.frechet_distance(classifier_features(x), classifier_features(split.val.x))
    assert float(run.to_val[-1]) == pytest.approx(expected, rel=1e-3)
    data = split if labels is not None else without_labels(split)
    (expected,) = experiments.gap_curves([last], data, run.raw[-1].sigmas, HOW)
    assert torch.equal(run.raw[-1].val_errors, expected.val_errors)
    assert run.curves[-1].stderr.mean() < run.raw[-1].stderr.mean(), "adjusted"


def test_what_is_kept_is_small_and_found_again(root, monkeypatch):
    first = measured("n24-width4", root)
    monkeypatch.setattr(scaling, "draw_samples", None)  # computing again would fail
    monkeypatch.setattr(gap, "generalization_gap", None)
    again = measured("n24-width4", root)
    assert [repr(e) for e in again.memorized + again.sample_gap] == [
        repr(e) for e in first.memorized + first.sample_gap
    ]
    files = (first.snapshots[0].run.folder / "results").glob("*")
    assert sum(path.stat().st_size for path in files) < 30_000


def test_too_few_training_images_leave_the_gap_raw(root):
    run = measured("n24-width4", root, HOW.with_(n_images=32))
    assert all(curve is raw for curve, raw in zip(run.curves, run.raw, strict=True))


def test_a_difference_is_over_common_images_and_of_errors_of_one_kind(root):
    """At once adjusted or raw; of a run to itself nothing."""
    few, many = (measured(name, root, HOW.with_(n_images=32)) for name in ("n24-width4", "n40-width4"))
    sigma = float(few.raw[-1].sigmas[1])
    difference = experiments.last_gap_difference(many, few, sigma)
    a, b = many.raw[-1], few.raw[-1]
    ratio = (a.val_errors[1].double().mean() / a.train_errors[1, :24].double().mean()) - 1
    assert float(difference) == pytest.approx(float(ratio - b.gap[1]), abs=1e-6)
    nothing = experiments.last_gap_difference(few, few, sigma)
    assert float(nothing) == nothing.stderr == 0
    both = [measured(name, root) for name in ("n24-width4", "n24-width8")]
    expected = paired_difference_at(both[0].curves[-1], both[1].curves[-1], sigma)
    assert float(experiments.last_gap_difference(*both, sigma)) == pytest.approx(float(expected))


def test_times_are_those_of_the_laws(root):
    run = measured("n24-width4", root)
    assert list(run.onset_times) == ["onset", "copies", "gap", "quality"]
    level = 1.5 * min(map(float, run.to_val))
    expected = crossing_time(run.images_seen, run.to_val, level, rising=False)
    assert run.onset_times["quality"] == expected
    assert float(run.excess_memorized[-1]) == pytest.approx(float(run.memorized[-1]) - float(run.null))


def test_without_a_holdout_there_is_no_null(root):
    config = PLAN.runs["n24-width4"]
    snapshots, split = list(dg.train(config, root=root, progress=False)), replace(config.data.load(), holdout=None)
    with pytest.raises(ValueError, match="split has no holdout"):
        experiments.measure_run(snapshots, split, PLAN.levels.sigmas, 4, PLAN.sigmas, snapshots[0], HOW)


def without_labels(split):
    return type(split)(*(type(p)(p.x) for p in (split.train, split.val, split.holdout)))
