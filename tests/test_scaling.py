"""What is measured of each run of chapter 4, alike, and kept as numbers."""

import ast
import json
from dataclasses import replace

import pytest
import torch
from conftest import ROOT, tiny

import diffgen as dg
from diffgen import book, experiments
from diffgen.book.claims import FAILS, HOLDS, INCONCLUSIVE
from diffgen.data import Points, Split
from diffgen.experiments import Measure, gap, scaling
from diffgen.features import classifier_features
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.gap import GapCurve, paired_difference_at
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


@pytest.fixture(scope="module")
def labelled():
    """A split whose validation images happen to be the hard ones of their labels, at equal distance from the mean."""
    random = torch.Generator().manual_seed(0)

    def part(n, spread):
        labels = torch.arange(n) % 4
        corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).repeat(1, 2)
        x = corners[labels] + spread * torch.randn(n, 4, generator=random)
        return Points((x * 2 / x.norm(dim=1, keepdim=True)).reshape(n, 1, 2, 2), labels)

    return Split(part(60, 0.3), part(60, 0.5), part(400, 0.4))


def test_a_network_that_knows_labels_only_has_no_gap_beside_a_reference_that_does(labelled):
    """At σ = 50 the best guess is the mean of the label: its raw gap is luck, which unlabelled means do not see."""
    how, sigmas = Measure(n_images=60, progress=False), torch.tensor([50.0, 100.0])
    reference = experiments.label_reference(labelled, sigmas, how)
    means = torch.stack([labelled.holdout.x[labelled.holdout.labels == c].mean(0) for c in range(4)])
    errors = [(p.x - means[p.labels]).square().flatten(1).mean(1).expand(2, -1) for p in (labelled.train, labelled.val)]
    curve = GapCurve(sigmas, *errors)
    assert curve.gap.min() > 0.3
    assert reference.gap.tolist() == pytest.approx(curve.gap.tolist(), rel=0.05)
    plain, beside = (experiments.label_adjusted([curve], labelled, told, None, how)[0] for told in (False, True))
    assert plain.gap.min() > 0.3
    assert beside.gap.abs().max() < 0.02


def test_two_references_are_a_regression_on_both(labelled):
    random = torch.Generator().manual_seed(1)
    a, b, own = (torch.rand(2, 1, 80, generator=random).double() for _ in range(3))
    curve = GapCurve(torch.ones(1), *(1 + 2 * a + 3 * b))
    first, second = GapCurve(torch.ones(1), *a), GapCurve(torch.ones(1), *b)
    assert control_variate_adjusted(curve, first, second).gap.abs().max() < 1e-12
    assert control_variate_adjusted(curve, first).gap.abs().max() > 1e-4
    twice = control_variate_adjusted(curve, first, first)  # slopes that are not unique
    torch.testing.assert_close(twice.val_errors, control_variate_adjusted(curve, first).val_errors)
    with pytest.raises(ValueError, match="references is empty"):
        control_variate_adjusted(GapCurve(torch.ones(1), *own))


def test_labels_of_the_holdout_are_needed(labelled):
    bare = without_labels(labelled)
    with pytest.raises(ValueError, match="split has no holdout with labels"):
        experiments.label_reference(bare, torch.ones(1))


def test_distances_of_samples_to_both_splits_are_of_equally_many(root):
    config, (*_, last) = PLAN.runs["classes"], dg.train(PLAN.runs["classes"], root=root, progress=False)
    split = config.data.load()
    distances = experiments.sample_distances(last, split, 40, PLAN.sigmas, HOW)
    x = experiments.draw_samples(last, 40, PLAN.sigmas, HOW, labels=split.val.labels[torch.arange(40) % 32])
    for distance, part in zip(distances, (split.train, split.val), strict=True):
        of = classifier_features(part.x[:24])
        assert float(distance) == pytest.approx(dg.frechet_distance(classifier_features(x), of), rel=1e-6)
        assert distance.stderr > 0
    assert experiments.sample_distances(last, split, 40, PLAN.sigmas, HOW) == distances


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


VERDICTS = {"C4 (data)": HOLDS, "C4 (size)": HOLDS, "C9 (height)": HOLDS, "C9 (place)": INCONCLUSIVE}


@pytest.mark.chapter
def test_every_claim_of_the_chapter_can_fail_and_says_nothing_of_nothing(tmp_path):
    """From the published results: each control fails, each null stays undecided, and so the verdicts count."""
    values = {"preset": "standard", "results": str(ROOT / "results" / "standard")}
    done = book.run_chapter("04_scaling_factors", values, tmp_path / "out.ipynb", ROOT, progress=False)
    (text,) = (
        "".join(output["data"]["application/papermill.record/text/plain"])
        for cell in json.loads(done.read_text())["cells"]
        for output in cell.get("outputs", [])
        if output.get("metadata", {}).get("scrapbook", {}).get("name") == "ledger"
    )
    claims = {claim.id: claim for claim in book.Ledger.loads(ast.literal_eval(text)).claims}
    assert {name: claim.verdict for name, claim in claims.items()} == VERDICTS
    for claim in claims.values():
        assert (claim.of_control, claim.of_null) == (FAILS, INCONCLUSIVE), claim.id
        assert all((claim.origin, claim.paper, claim.why)), claim.id
        assert claim.verdict_on(claim.null.measured) != claim.verdict_on(claim.control.measured)


def without_labels(split):
    return type(split)(*(type(p)(p.x) for p in (split.train, split.val, split.holdout)))
