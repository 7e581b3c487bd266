"""What a preset computes: runs that differ in what their names say, and in nothing else."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch

import diffgen as dg
from diffgen.presets import Levels, ScalingPlan

PRESETS = ("smoke", "quick", "standard", "paper")


@pytest.fixture(params=PRESETS)
def preset(request):
    return dg.presets.named(request.param)


def test_a_preset_is_small_dataclasses_one_a_chapter(preset):
    plans = [getattr(preset, name) for name in ("toy", "gap", "trajectories", "scaling", "guidance", "your_model")]
    assert all(is_dataclass(plan) and len(fields(plan)) <= 14 for plan in plans)
    assert len(fields(preset)) == 3 + len(plans)


def test_the_seed_is_that_of_every_run(preset):
    other = dg.presets.named(next(name for name in PRESETS if dg.presets.named(name) == preset), seed=3)
    runs = [*other.gap.networks.values(), *other.trajectories.by_size.values(), *other.scaling.runs.values()]
    runs += [*other.trajectories.disjoint_runs.values(), *other.guidance.guides.values()]
    runs += other.gap.architectures.values()
    assert {(config.seed, config.data.seed) for config in runs} == {(3, 3)}


def test_networks_of_chapter_2_differ_in_the_network_alone(preset):
    for group in (preset.gap.networks, preset.gap.architectures):
        main, *others = group.values()
        for config in others:
            seen = main.snapshot_images
            assert config.snapshot_images == seen[: len(config.snapshot_images)], "a common beginning"
            same = {"network": main.network, "precision": main.precision}
            length = {"total_images": main.total_images, "n_snapshots": main.n_snapshots}
            assert config.with_(**same, **length) == main
    assert preset.gap.networks["U-Net"] == preset.train
    assert preset.gap.architectures["U-Net"] in (preset.train, *preset.trajectories.by_size.values())


def test_a_reference_saw_nothing_of_the_main_run(preset):
    if preset.reference is None:
        assert preset.reference_images == 0
        return
    assert preset.reference.data == preset.train.data.reference
    assert preset.reference.snapshot_images == [preset.reference_images + -preset.reference_images % preset.train.batch]


def test_sizes_have_the_snapshots_of_the_main_run_and_disjoint_runs_share_no_image(preset):
    plan, main = preset.trajectories, preset.train
    last = min(config.total_images for n, config in plan.by_size.items() if config != main)
    assert set(plan.by_size) > {main.data.n_train}
    for n, config in plan.by_size.items():
        snapshots = config.snapshot_images
        assert config.data == replace(main.data, n_train=n)
        assert all(abs(a - b) <= config.batch for a, b in zip(snapshots, main.snapshot_images))  # to a step
        assert last in snapshots
        same = {"total_images": 1, "n_snapshots": 1, "data": main.data}
        assert config.with_(**same) == main.with_(**same)
        if n in plan.disjoint_runs:
            disjoint = plan.disjoint_runs[n]
            assert disjoint.data == replace(config.data, skip=n)
            assert len(disjoint.snapshot_images) == 1
            assert disjoint.snapshot_images[0] in snapshots


def test_chapter_5_has_what_it_needs(preset):
    plan, main = preset.guidance, preset.train
    assert main.conditional
    assert main.label_dropout == 0
    seen, small = main.snapshot_images, preset.gap.networks["small U-Net"]
    for kind, guide in plan.guides.items():
        assert guide.snapshot_images == seen[: seen.index(guide.total_images) + 1], "an early stop of the small network"
        assert guide.total_images < main.total_images
        assert guide.conditional == (kind == "autoguidance")
        assert guide.with_(conditional=True, total_images=1, n_snapshots=1) == small.with_(
            total_images=1, n_snapshots=1
        )
    side = main.data.size
    assert list(plan.windows) == sorted(plan.windows)
    for window in plan.windows:
        assert side / 2 <= window < side, "four of them cover the image"
        main.network.build(torch.Size((1, window, window)))
    assert plan.weights[0] == 0
    assert 1 <= plan.field_pixels <= side**2


def test_runs_of_chapter_4_differ_in_what_their_names_say_and_in_nothing_else(preset):
    plan = preset.scaling
    plain = plan.at(*plan.base_cell)
    for (n, width), config in plan.grid.items():
        data = replace(config.data, n_train=plain.data.n_train)
        assert config.with_(data=data, network=replace(config.network, channels=plain.network.channels)) == plain
        assert (config.data.n_train, config.network.channels) == (n, width)
    for config in plan.labelled.values():
        data = replace(config.data, labels=plain.data.labels, n_labels=plain.data.n_labels)
        assert config.with_(data=data, conditional=False, label_dropout=plain.label_dropout) == plain
    for config in plan.architectures.values():
        assert config.with_(network=plain.network, precision=plain.precision) == plain


def test_every_run_of_chapter_4_is_there_once_under_a_name_that_fits_a_file(preset):
    plan = preset.scaling
    runs = plan.runs
    assert len(set(runs.values())) == len(runs)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in runs)
    for group in (plan.grid, plan.labelled, plan.architectures):
        assert set(group.values()) <= set(runs.values())


def test_standard_covers_what_the_laws_are_read_from():
    plan = dg.presets.standard().scaling
    assert min(plan.train_sizes) <= 128
    assert max(plan.train_sizes) >= 4096
    assert len(plan.widths) >= 3
    assert plan.clusters == dg.presets.paper().scaling.clusters
    assert plan.labels_n_eval == plan.base_cell[0], "all training images, where labels are compared"


def test_a_reference_saw_nothing_of_any_run_of_chapter_4():
    plan: ScalingPlan = dg.presets.standard().scaling
    reference = plan.reference.data
    assert reference.skip >= max(plan.train_sizes)
    assert reference.skip + reference.n_train + reference.n_val <= 10_000
    assert reference.n_val == plan.base.data.n_val


def test_grids_are_those_of_the_schedule(preset):
    assert torch.equal(Levels(n=5, sigma_min=0.1, sigma_max=10).sigmas, dg.log_sigmas(5, 0.1, 10))
    for plan in (preset.trajectories, preset.scaling, preset.guidance):
        assert torch.equal(plan.sigmas, dg.edm_sigmas(plan.n_steps))


def test_no_such_preset():
    with pytest.raises(ValueError, match="preset is 'huge': it is one of smoke, quick, standard, paper"):
        dg.presets.named("huge")
