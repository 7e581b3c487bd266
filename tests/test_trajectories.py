"""Along trajectories: each figure equals its direct computation, is kept and found again, and obeys its laws."""

import math

import pytest
import torch

import diffgen as dg
from diffgen import experiments
from diffgen.book import verbally
from diffgen.experiments import Measure, trajectories
from diffgen.metrics.copying import recall_rate
from diffgen.metrics.estimate import Estimate, Interval
from diffgen.metrics.neighbours import NeighbourTerms, nearest, neighbour_gap, neighbour_terms
from diffgen.metrics.overlap import noisy, overlap
from diffgen.metrics.trajectory import PARTS, TrajectoryStats, peak_window, relative_position, relative_position_change

CONFIG = dg.TrainConfig(
    data=dg.DataConfig(size=7, n_train=40, n_val=48), network=dg.UNetConfig(channels=4, multipliers=(1,)),
    total_images=256, batch=64, n_snapshots=2, first_snapshot=128, warmup=64,
)  # fmt: skip
GRID, HOW = dg.edm_sigmas(4), Measure(progress=False)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    return list(dg.train(CONFIG, root=tmp_path_factory.mktemp("runs"), progress=False))


@pytest.fixture(scope="module")
def split():
    return CONFIG.data.load()


@pytest.fixture(scope="module")
def stats(snapshots, split):
    return experiments.trajectory_stats(snapshots[-1], split, 12, GRID, HOW)


def test_overlap_is_that_of_the_very_states(snapshots, split, stats):
    denoiser = snapshots[-1].denoiser()
    states = list(dg.trajectory(denoiser, GRID[0] * experiments.initial_noise(12, (1, 7, 7)), GRID))
    for i, sigma in enumerate(GRID[:-1]):
        sets = {"train": noisy(split.train.x[:12], sigma), "val": noisy(split.val.x[:12], sigma)}
        for part, x in (sets | {"trajectory": states[i].x}).items():
            direct = overlap(x, sigma, split.train, denoiser=denoiser)
            names = ("shell", "inside", "concentration", "distance")
            for name, expected in zip(names, direct, strict=True):
                estimate = stats[part].means(name)[i]
                torch.testing.assert_close(
                    [float(estimate), estimate.stderr], [float(expected), expected.stderr], rtol=1e-4, atol=1e-6
                )


def test_the_last_prediction_is_the_sample(snapshots, split, stats):
    samples = experiments.draw_samples(snapshots[-1], 12, GRID, HOW)
    distance = nearest(samples, split.train.x, k=2).distance
    two = torch.stack([stats["trajectory"]["first"][-1], stats["trajectory"]["second"][-1]], 1)
    torch.testing.assert_close(two, distance, rtol=1e-4, atol=1e-5)
    expected = neighbour_gap(samples, split.train.x, split.val.x)
    torch.testing.assert_close(float(stats["trajectory"].gap[-1].gap), float(expected), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("reference", "measure"), [("train", "similarity"), ("val", "similarity_val")])
def test_similarities_know_their_references(stats, reference, measure):
    """At little noise a training image is found among training images, a validation image among those."""
    other = {"train": "val", "val": "train"}[reference]
    assert torch.equal(stats[reference].sigmas, GRID[:-1])
    assert stats[reference][measure][-1].min() > 0.999
    assert stats[reference][measure][-1].mean() > stats[other][measure][-1].mean()


def test_what_was_measured_is_read(snapshots, split, stats, monkeypatch):
    monkeypatch.setattr(trajectories, "_statistics", None)  # would fail if it were called
    again = experiments.trajectory_stats(snapshots[-1], split, 12, GRID, HOW)
    assert all(torch.equal(again[part]["shell"], stats[part]["shell"]) for part in PARTS)
    with pytest.raises(TypeError):
        experiments.trajectory_stats(snapshots[-1], split, 12, GRID, HOW.with_(seed=1))


def test_churn_is_another_trajectory(snapshots, split, stats):
    stirred = experiments.part_stats(snapshots[-1], split, "trajectory", 12, GRID, HOW, s_churn=4)
    assert torch.equal(stirred["shell"][0], stats["trajectory"]["shell"][0])  # both start from the same noise
    assert not torch.equal(stirred["shell"][-1], stats["trajectory"]["shell"][-1])
    with pytest.raises(ValueError, match="trajectories alone are stochastic"):
        experiments.part_stats(snapshots[-1], split, "train", 12, GRID, HOW, s_churn=4)


def test_examples_are_the_trajectories_of_the_samples(snapshots):
    sigmas, x, denoised = experiments.example_trajectories(snapshots[-1], 3, GRID, HOW)
    assert torch.equal(sigmas, GRID[:-1])
    torch.testing.assert_close(x[0], (GRID[0] * experiments.initial_noise(3, (1, 7, 7))).to(x))
    torch.testing.assert_close(
        denoised[-1], experiments.draw_samples(snapshots[-1], 12, GRID, HOW)[:3], rtol=1e-3, atol=1e-4
    )


def stats_of(values):
    return TrajectoryStats(torch.tensor([2.0, 1.0]), {"similarity": torch.tensor(values)})


@pytest.mark.parametrize("where", [0.0, 0.25, 1.0])
def test_the_position_is_where_the_trajectory_was_put(where):
    random = torch.Generator().manual_seed(0)
    train, val = 0.9 + 0.01 * torch.randn(2, 200, generator=random), 0.4 + 0.01 * torch.randn(2, 200, generator=random)
    mixed = where * train + (1 - where) * val
    parts = dict(zip(PARTS, (stats_of(x.tolist()) for x in (train, val, mixed)), strict=True))
    position = relative_position(parts)
    torch.testing.assert_close(position.value, torch.full((2,), where).double(), rtol=0, atol=1e-6)
    assert (position.low <= position.value).all()
    assert (position.value <= position.high).all()
    assert (position.high - position.low < 0.02).all()
    whole = relative_position(parts, levels=torch.tensor([True, True]))
    torch.testing.assert_close(whole.value, torch.tensor([where]).double(), rtol=0, atol=1e-6)


def test_no_position_where_training_and_validation_are_one():
    values = torch.randn(2, 50, generator=torch.Generator().manual_seed(1)).tolist()
    assert relative_position(dict.fromkeys(PARTS, stats_of(values))).value.isnan().all()


def moved(where: float, seed: int, n: int = 150) -> dict[str, TrajectoryStats]:
    """Statistics with the trajectory at p = `where`, whose states differ much from each other, little between calls."""
    random, own = (torch.Generator().manual_seed(k) for k in (3, seed))
    train, val, mixed = (torch.randn(2, n, generator=random) + shift for shift in (1.0, 0.0, where))
    return {
        part: stats_of((x + 0.1 * torch.randn(2, n, generator=own)).tolist())
        for part, x in zip(PARTS, (train, val, mixed), strict=True)
    }


def test_a_move_is_judged_from_state_to_state():
    before, after, both = moved(0.3, 1), moved(0.45, 2), torch.tensor([True, True])
    change = relative_position_change(after, before, "similarity", levels=both)
    ends = [relative_position(stats, levels=both).interval() for stats in (after, before)]
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
    samples = {s.images_seen: experiments.samples(s, 12, GRID, HOW) for s in snapshots}

    def switched(window):
        return experiments.samples(experiments.switched(late, early, window), 12, GRID, HOW)

    torch.testing.assert_close(switched(None), samples[late.images_seen])
    full = switched((float(GRID[-2]), float(GRID[0])))
    torch.testing.assert_close(full, samples[early.images_seen], rtol=0, atol=1.01 / 127.5)  # a step of rounding
    middle = switched((float(GRID[1]), float(GRID[1])))
    direct = dg.sample(
        dg.Switched(late.denoiser(), early.denoiser(), float(GRID[1]), float(GRID[1])),
        GRID[0] * experiments.initial_noise(12, (1, 7, 7)), GRID,
    )  # fmt: skip
    torch.testing.assert_close(middle, direct.clamp(-1, 1), rtol=0, atol=1 / 255 + 1e-5)  # as images are kept


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_groups_hold_each_level_once(count):
    groups = experiments.level_groups(GRID, count)
    assert len(groups) == min(count, 4)
    inside = [[low <= float(sigma) <= high for low, high in groups] for sigma in GRID]
    assert [sum(row) for row in inside] == [1, 1, 1, 1, 0]


def test_recall_rates_are_those_of_both_splits_cut_to_equal_size(snapshots, split):
    rates = experiments.recall_rates(snapshots[-1], split, [0, 2, 3], 100, GRID, HOW)
    denoiser = snapshots[-1].denoiser()
    for part, points in (("train", split.train.x), ("val", split.val.x[:40])):
        assert [float(r) for r in rates[part]] == [float(recall_rate(denoiser, points, GRID[i:])) for i in (0, 2, 3)]
        assert rates[part][0].n == 40
    assert rates["train"][-1] == rates["val"][-1] == 1  # there is no way to get lost from σ = 0.002


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
    said = [
        verbally(Interval(0, *ends), *words) for ends in ((0.1, 1), (-1, -0.1), (-1, 1), (float("nan"), float("nan")))
    ]
    assert said == ["above", "below", "unsure", "unsure"]
    assert [verbally(Estimate(0.3, error, 9), *words, 0.2) for error in (0.05, 0.06)] == ["above", "unsure"]
