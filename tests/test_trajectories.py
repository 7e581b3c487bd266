"""Along trajectories: each figure equals its direct computation, is kept and found again, and obeys its laws."""

import dataclasses
import math

import pytest
import torch
from scipy import stats

import diffgen as dg
from diffgen import along, evaluate
from diffgen.book.claims import verbally
from diffgen.metrics.copying import recall_rate
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.features import classifier_features
from diffgen.metrics.frechet import frechet_gap
from diffgen.metrics.neighbours import NeighbourTerms, neighbour_terms, nearest, neighbour_gap
from diffgen.metrics.overlap import noisy, overlap
from diffgen.metrics.trajectory import PARTS, TrajectoryStats, peak_window, relative_position_change
from diffgen.metrics.trajectory import place as place_of

CONFIG = dg.TrainConfig(
    data=dg.DataConfig(size=7, n_train=40, n_val=48), network=dg.UNetConfig(channels=4, multipliers=(1,)),
    total_images=256, batch=64, n_snapshots=2, first_snapshot=128, warmup=64,
)  # fmt: skip
STEPS = {"n": 12, "steps": 4}
GRID = dg.edm_sigmas(4)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    return list(dg.train(CONFIG, root=tmp_path_factory.mktemp("runs"), progress=False))


@pytest.fixture(scope="module")
def split():
    return CONFIG.data.load()


@pytest.fixture(scope="module")
def found(snapshots, split):
    return along.passages(snapshots[-1], split, **STEPS)


def test_overlap_is_that_of_the_very_states(snapshots, split, found):
    denoiser = snapshots[-1].denoiser()
    states = list(dg.trajectory(denoiser, GRID[0] * evaluate.initial_noise(12, (1, 7, 7)), GRID))
    for i, sigma in enumerate(GRID[:-1]):
        sets = {"train": noisy(split.train.x[:12], sigma), "val": noisy(split.val.x[:12], sigma)}
        for part, x in (sets | {"trajectory": states[i].x}).items():
            direct = overlap(x, sigma, split.train, denoiser=denoiser)
            names = ("shell", "inside", "concentration", "distance")
            for name, expected in zip(names, direct, strict=True):
                estimate = found[part].means(name)[i]
                torch.testing.assert_close(
                    [float(estimate), estimate.stderr], [float(expected), expected.stderr], rtol=1e-4, atol=1e-6
                )


def test_the_last_prediction_is_the_sample(snapshots, split, found):
    samples = evaluate.drawn(snapshots[-1], **STEPS)
    distance = nearest(samples, split.train.x, k=2).distance
    two = torch.stack([found["trajectory"]["first"][-1], found["trajectory"]["second"][-1]], 1)
    torch.testing.assert_close(two, distance, rtol=1e-4, atol=1e-5)
    expected = neighbour_gap(samples, split.train.x, split.val.x)
    torch.testing.assert_close(float(found["trajectory"].gap[-1].gap), float(expected), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("reference", "measure"), [("train", "similarity"), ("val", "similarity_val")])
def test_similarities_know_their_references(found, reference, measure):
    """At little noise a training image is found among training images, a validation image among those."""
    other = {"train": "val", "val": "train"}[reference]
    assert torch.equal(found[reference].sigmas, GRID[:-1])
    assert found[reference][measure][-1].min() > 0.999
    assert found[reference][measure][-1].mean() > found[other][measure][-1].mean()


def test_what_was_measured_is_read(snapshots, split, found, monkeypatch):
    monkeypatch.setattr(along, "_measured", None)  # would fail if it were called
    again = along.passages(snapshots[-1], split, **STEPS)
    assert all(torch.equal(again[part]["shell"], found[part]["shell"]) for part in PARTS)
    with pytest.raises(TypeError):
        along.passages(snapshots[-1], split, n=12, steps=4, seed=1)


def test_churn_is_another_trajectory(snapshots, split, found):
    stochastic = along.passage(snapshots[-1], split, churn=4, **STEPS)
    assert torch.equal(stochastic["shell"][0], found["trajectory"]["shell"][0])  # both start from the same noise
    assert not torch.equal(stochastic["shell"][-1], found["trajectory"]["shell"][-1])
    with pytest.raises(ValueError, match="trajectories alone churn"):
        along.passage(snapshots[-1], split, "train", churn=4, **STEPS)


def test_paths_are_the_trajectories_of_the_samples(snapshots):
    sigmas, x, denoised = along.paths(snapshots[-1], n=3, steps=4)
    assert torch.equal(sigmas, GRID[:-1])
    torch.testing.assert_close(x[0], (GRID[0] * evaluate.initial_noise(3, (1, 7, 7))).to(x))
    torch.testing.assert_close(denoised[-1], evaluate.drawn(snapshots[-1], **STEPS)[:3], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n", [1, 3, 12, 16, 17])
def test_initial_noise_stays_when_there_is_more_of_it(n):
    """Also where the numbers are no multiple of what torch draws at a time."""
    assert torch.equal(evaluate.initial_noise(n, (1, 7, 7)), evaluate.initial_noise(50, (1, 7, 7))[:n])


def passage(values):
    return TrajectoryStats(torch.tensor([2.0, 1.0]), {"similarity": torch.tensor(values)})


@pytest.mark.parametrize("where", [0.0, 0.25, 1.0])
def test_place_is_where_the_trajectory_was_put(where):
    random = torch.Generator().manual_seed(0)
    train, val = 0.9 + 0.01 * torch.randn(2, 200, generator=random), 0.4 + 0.01 * torch.randn(2, 200, generator=random)
    mixed = where * train + (1 - where) * val
    parts = dict(zip(PARTS, (passage(x.tolist()) for x in (train, val, mixed)), strict=True))
    place = place_of(parts)
    torch.testing.assert_close(place.value, torch.full((2,), where).double(), rtol=0, atol=1e-6)
    assert (place.low <= place.value).all()
    assert (place.value <= place.high).all()
    assert (place.high - place.low < 0.02).all()
    whole = place_of(parts, levels=torch.tensor([True, True]))
    torch.testing.assert_close(whole.value, torch.tensor([where]).double(), rtol=0, atol=1e-6)


def test_no_place_where_training_and_validation_are_one():
    values = torch.randn(2, 50, generator=torch.Generator().manual_seed(1)).tolist()
    assert place_of(dict.fromkeys(PARTS, passage(values))).value.isnan().all()


def moved(where: float, seed: int, n: int = 150) -> dict[str, TrajectoryStats]:
    """Passages with the trajectory at p = `where`, whose states differ much from each other, little between calls."""
    random, own = (torch.Generator().manual_seed(k) for k in (3, seed))
    train, val, mixed = (torch.randn(2, n, generator=random) + shift for shift in (1.0, 0.0, where))
    return {
        part: passage((x + 0.1 * torch.randn(2, n, generator=own)).tolist())
        for part, x in zip(PARTS, (train, val, mixed), strict=True)
    }


def test_a_move_is_judged_from_state_to_state():
    before, after, both = moved(0.3, 1), moved(0.45, 2), torch.tensor([True, True])
    change = relative_position_change(after, before, "similarity", levels=both)
    ends = [place_of(found, levels=both).interval() for found in (after, before)]
    assert change.value == pytest.approx(ends[0].value - ends[1].value)
    assert change.low > 0, "seen between pairs"
    assert ends[0].low < ends[1].high, "not seen between intervals of their own"
    assert relative_position_change(before, before, "similarity", levels=both) == Interval(0, 0, 0)
    same = {**before, "val": before["train"]}
    assert math.isnan(relative_position_change(after, same, "similarity", levels=both).value)
    with pytest.raises(ValueError, match="pairs need equally many"):
        relative_position_change(moved(0.3, 1, n=99), before, "similarity", levels=both)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ([0.0, 0.3, 0.4, 0.25, 0.1, 0.3], [0, 1, 1, 1, 0, 0]),  # a second bump is another one
        ([0.4, 0.1, 0.0, 0.0, 0.0, 0.0], [1, 0, 0, 0, 0, 0]),
        ([0.05, 0.1, 0.05, 0.05, 0.05, 0.2], [0, 0, 0, 0, 0, 1]),
    ],
)
def test_the_window_of_the_peak_is_its_half_height(gap, expected):
    sigmas, train = torch.tensor([0.1, 0.2, 0.4, 0.8, 1.6, 3.2]), torch.ones(6, 2)
    curve = dg.GapCurve(sigmas, train, train * (1 + torch.tensor(gap)[:, None]))
    assert peak_window(curve, sigmas.flip(0)).flip(0).int().tolist() == expected
    assert peak_window(curve, torch.tensor([80.0, 40.0])).any()


def test_an_empty_window_is_the_late_snapshot_and_a_full_one_the_early(snapshots):
    early, late = snapshots
    samples = {s.images_seen: evaluate.samples(s, **STEPS) for s in snapshots}
    torch.testing.assert_close(along.swapped_samples(late, early, None, **STEPS), samples[late.images_seen])
    full = (float(GRID[-2]), float(GRID[0]))
    found = along.swapped_samples(late, early, full, **STEPS)
    torch.testing.assert_close(found, samples[early.images_seen], rtol=0, atol=1.01 / 127.5)  # a step of rounding
    middle = along.swapped_samples(late, early, (float(GRID[1]), float(GRID[1])), **STEPS)
    direct = dg.sample(
        dg.Switched(late.denoiser(), early.denoiser(), float(GRID[1]), float(GRID[1])),
        GRID[0] * evaluate.initial_noise(12, (1, 7, 7)), GRID,
    )  # fmt: skip
    torch.testing.assert_close(middle, direct.clamp(-1, 1), rtol=0, atol=1 / 255 + 1e-5)  # as images are kept


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_windows_hold_each_level_once(count):
    found = along.windows(GRID, count)
    assert len(found) == min(count, 4)
    inside = [[low <= float(sigma) <= high for low, high in found] for sigma in GRID]
    assert [sum(row) for row in inside] == [1, 1, 1, 1, 0]


def test_return_rates_are_those_of_both_splits_cut_to_equal_size(snapshots, split):
    rates = along.returned(snapshots[-1], split, [0, 2, 3], n=100, steps=4)
    denoiser = snapshots[-1].denoiser()
    for part, points in (("train", split.train.x), ("val", split.val.x[:40])):
        assert [float(r) for r in rates[part]] == [float(recall_rate(denoiser, points, GRID[i:])) for i in (0, 2, 3)]
        assert rates[part][0].n == 40
    assert rates["train"][-1] == rates["val"][-1] == 1  # there is no way to get lost from σ = 0.002


def test_frechet_gaps_are_kept_in_both_spaces(snapshots, split, monkeypatch):
    samples = evaluate.samples(snapshots[-1], **STEPS)
    gap = along.frechet(snapshots[-1], samples, split, resamples=3)
    direct = frechet_gap(*map(features, (samples, split.train.x, split.val.x)), resamples=3)
    torch.testing.assert_close([float(v) for v in gap], [float(v) for v in direct])
    assert [v.stderr for v in gap] == pytest.approx([v.stderr for v in direct])
    assert along.frechet(snapshots[-1], samples, split, "pixels", resamples=3).to_val != gap.to_val
    monkeypatch.setattr(along, "frechet_gap", None)
    assert along.frechet(snapshots[-1], samples, split, resamples=3) == gap
    with pytest.raises(ValueError, match="space is 'inception'"):
        along.frechet(snapshots[-1], samples, split, "inception")


def test_pairs_of_gaps_forget_what_they_share(split):
    a, b, queries = split.train.x[:20], split.val.x[:20], split.holdout.x[:200]
    terms = neighbour_terms(queries, a, b)
    assert float(terms.gap) == float(neighbour_gap(queries, a, b))
    assert float(terms.minus(terms)) == terms.minus(terms).stderr == 0
    near = neighbour_terms(queries + 0.01 * torch.randn_like(queries), a, b)
    assert near.minus(terms).stderr < (near.gap.stderr**2 + terms.gap.stderr**2) ** 0.5 / 3
    with pytest.raises(ValueError, match="pairs need equally many"):
        terms.minus(NeighbourTerms(terms.to_train[:5], terms.to_val[:5]))


def test_words_follow_the_interval():
    words = ("above", "below", "unsure")
    found = [
        verbally(Interval(0, *ends), *words) for ends in ((0.1, 1), (-1, -0.1), (-1, 1), (float("nan"), float("nan")))
    ]
    assert found == ["above", "below", "unsure", "unsure"]
    assert [verbally(Estimate(0.3, error, 9), *words, 0.2) for error in (0.05, 0.06)] == ["above", "unsure"]


def test_an_estimate_is_shown_with_its_error():
    found = Estimate(0.1234, 0.0456, 9)
    assert found.format() == "0.123 ± 0.046"
    assert found.format("+.1%") == "+12.3% ± 4.6%"


def test_few_values_have_student_s_interval():
    values = torch.tensor([1.0, 2.0, 4.0, 4.5, 7.0])
    found, (low, high) = Estimate.mean(values), stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    assert found.t_interval() == pytest.approx((float(values.mean()), low, high))


@pytest.mark.parametrize("name", ["smoke", "quick", "standard", "paper"])
def test_sizes_stop_where_the_main_run_stops_and_twins_share_no_image(name):
    preset = dg.presets.named(name)
    stops = preset.train.snapshot_images
    assert set(preset.by_size) == {preset.train.data.n_train, *preset.sizes}
    for n, config in preset.by_size.items():
        found = config.snapshot_images
        assert all(abs(a - b) <= config.batch for a, b in zip(found, stops))  # to a step
        assert preset.sizes_images in found
        assert config.with_(data=preset.train.data, images=1, n_snapshots=1) == preset.train.with_(total_images=1, n_snapshots=1)
        if n in preset.twins:
            twin = preset.twins[n]
            assert twin.data == dataclasses.replace(config.data, skip=n)
            assert twin.snapshot_images == [preset.sizes_images]
