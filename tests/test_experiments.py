"""Measures of subjects: what is kept, under which circumstances it is found again, and that any denoiser will do."""

import dataclasses
import math

import pytest
import torch
from conftest import tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import diffgen as dg
from diffgen import experiments
from diffgen.data.arrays import from_bytes, to_bytes
from diffgen.denoiser import expand
from diffgen.experiments import Measure, gap, guidance, receptive_field, sampling, trajectories
from diffgen.features import classifier_features
from diffgen.metrics.copying import recall_rate
from diffgen.metrics.frechet import frechet_gap
from diffgen.metrics.gap import fixed_noise
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.overlap import noisy
from diffgen.metrics.receptive_field import effective_receptive_field, range_map
from diffgen.metrics.reconstruction import reconstruction_distance
from diffgen.metrics.trajectory import PARTS
from diffgen.runs.cache import data_hash
from diffgen.runs.key import result_name

CONFIG = tiny(total_images=128)
SIGMAS, GRID = dg.log_sigmas(2, 0.5, 2), dg.edm_sigmas(4)
HOW = Measure(n_images=16, progress=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def snapshot(root):
    return dg.trained(CONFIG, root=root, progress=False)


@pytest.fixture(scope="module")
def split():
    return CONFIG.data.load()


def gap_of(subject, split, how=HOW, **options):
    (curve,) = experiments.gap_curves([subject], split, SIGMAS, how, **options)
    return curve


# --- what is found again, and what is not ----------------------------------------------------------------------------


def test_a_gap_is_computed_once(snapshot, split, monkeypatch):
    before = gap_of(snapshot, split)
    exact = dg.generalization_gap(snapshot.denoiser(), split.train[:16], split.val[:16], SIGMAS)
    assert torch.equal(before.train_errors, exact.train_errors)
    monkeypatch.setattr(gap, "generalization_gap", None)  # would fail if it were called
    assert torch.equal(gap_of(snapshot, split).val_errors, before.val_errors)


@pytest.mark.parametrize(
    ("how", "options"),
    [
        ({"seed": 1}, {}),
        ({"n_images": 20}, {}),
        ({}, {"draws": 2}),
        ({}, {"norm": "l2"}),
        ({}, {"features": classifier_features}),
    ],
)
def test_another_question_is_computed_anew(snapshot, split, how, options):
    assert not torch.equal(
        gap_of(snapshot, split).train[:1], gap_of(snapshot, split, HOW.with_(**how), **options).train[:1]
    )


@pytest.mark.parametrize("how", [{"batch_size": 3}, {"progress": True}])
def test_what_changes_no_number_is_found_again(snapshot, split, how, monkeypatch):
    before = gap_of(snapshot, split)
    monkeypatch.setattr(gap, "generalization_gap", None)
    assert torch.equal(gap_of(snapshot, split, HOW.with_(**how)).val_errors, before.val_errors)


def test_other_images_and_other_labels_are_computed_anew(snapshot, split):
    """As many of them, of the same pool, for the same snapshot; and the same images under other labels."""
    other = dataclasses.replace(CONFIG.data, seed=1).load()
    assert not torch.equal(gap_of(snapshot, split).val_errors, gap_of(snapshot, other).val_errors)
    labelled = dg.trained(CONFIG.with_(conditional=True), root=snapshot.run.folder.parent, progress=False)
    shifted = dg.Split(*(dg.Points(p.x, (p.labels + 1) % 10) for p in (split.train, split.val)))
    assert not torch.equal(gap_of(labelled, split).val_errors, gap_of(labelled, shifted).val_errors)


def test_features_without_a_name_are_refused(snapshot, split):
    with pytest.raises(ValueError, match=r"features is .*<lambda>: results are kept under its name"):
        gap_of(snapshot, split, features=lambda x: x)


@pytest.mark.parametrize(("field", "value"), [("n_images", 0), ("n_images", -1), ("batch_size", 0), ("seed", -1)])
def test_a_wrong_measure_is_refused_where_it_is_made(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}: give"):
        Measure(**{field: value})


# --- the reference ---------------------------------------------------------------------------------------------------


def test_a_reference_is_trained_on_neither_split(split):
    reference = CONFIG.data.reference.load()
    seen = {row.numpy().tobytes() for row in reference.train.x}
    assert len(seen) == 10_000 - 128
    assert not seen & {row.numpy().tobytes() for row in torch.cat([split.train.x, split.val.x])}


def test_a_reference_is_a_network_or_the_linear_denoiser(root, split):
    network = dg.trained(CONFIG.with_(data=CONFIG.data.reference), root=root, progress=False)
    curve = experiments.reference_curve(network, split, SIGMAS, HOW)
    assert torch.equal(curve.val_errors, gap_of(network, split).val_errors)
    wiener = experiments.reference_curve(None, split, SIGMAS, HOW)
    expected = dg.denoising_error(dg.GaussianDenoiser.fit(split.holdout.x), split.val.x[:16], SIGMAS)
    torch.testing.assert_close(wiener.val_errors, expected)
    with pytest.raises(ValueError, match="split has no holdout"):
        experiments.reference_curve(None, dataclasses.replace(split, holdout=None), SIGMAS)


def test_few_training_images_leave_the_gap_as_it_is(snapshot, split):
    curves = experiments.gap_curves([snapshot], split, SIGMAS, HOW.with_(n_images=65))
    assert experiments.adjusted_curves(curves, split, None, HOW.with_(n_images=65)) == curves
    (adjusted,) = experiments.adjusted_curves([gap_of(snapshot, split)], split, None, HOW)
    assert adjusted.stderr.mean() < gap_of(snapshot, split).stderr.mean()


# --- images ----------------------------------------------------------------------------------------------------------


def test_denoised_images_are_those_whose_error_is_measured(snapshot, split):
    """In 256 steps, with the noise of `gap_curves`."""
    points = split.val[:70] if len(split.val) >= 70 else dg.Points(split.holdout.x[:70])
    sigmas = dg.log_sigmas(3, 0.1, 4)
    shown, denoised = experiments.denoised_images(snapshot, points, sigmas, HOW)
    noise = torch.cat([fixed_noise(points.x[:64], 1, 0, 0), fixed_noise(points.x[64:], 1, 0, 64)])[:, 0]
    for sigma, noisy_image, estimate in zip(sigmas.float(), shown, denoised, strict=True):
        x = points.x + sigma * noise
        torch.testing.assert_close(noisy_image, x.clamp(-1, 1))
        exact = snapshot.denoiser()(x, sigma).clamp(-1, 1)
        torch.testing.assert_close(estimate, exact, rtol=0, atol=1 / 255 + 1e-5)
    assert torch.equal(experiments.denoised_images(snapshot, points, sigmas, HOW)[1], denoised)


@given(st.integers(0, 255))
def test_images_of_256_steps_are_kept_without_loss(step):
    image = torch.full((2, 1, 4, 4), step, dtype=torch.uint8)
    assert torch.equal(to_bytes(from_bytes(image)), image)


def test_samples_are_kept_as_images_of_256_steps(tmp_path):
    last, grid = dg.trained(CONFIG, root=tmp_path, progress=False), dg.edm_sigmas(3)
    samples, exact = experiments.samples(last, 5, grid, HOW), experiments.draw_samples(last, 5, grid, HOW)
    assert samples.abs().max() <= 1
    torch.testing.assert_close(samples, exact.clamp(-1, 1), rtol=0, atol=0.5 / 127.5 + 1e-6)
    (file,) = (last.run.folder / "results").glob("samples-*")
    assert file.stat().st_size < 5 * 14 * 14 + 2000, "a byte a pixel"


def test_samples_know_their_seed_and_grid(snapshot):
    plain = experiments.draw_samples(snapshot, 4, GRID, HOW)
    assert not torch.equal(plain, experiments.draw_samples(snapshot, 4, GRID, HOW.with_(seed=1)))
    assert not torch.equal(plain, experiments.draw_samples(snapshot, 4, dg.edm_sigmas(5), HOW))
    assert not torch.equal(
        experiments.samples(snapshot, 4, GRID, HOW), experiments.samples(snapshot, 4, GRID, HOW.with_(seed=1))
    )


@pytest.mark.parametrize("n", [1, 3, 12, 16, 17])
def test_initial_noise_stays_when_there_is_more_of_it(n):
    assert torch.equal(experiments.initial_noise(n, (1, 7, 7)), experiments.initial_noise(50, (1, 7, 7))[:n])


# --- any denoiser is a subject ---------------------------------------------------------------------------------------


class Foreign(nn.Module):
    """Somebody's network: another module, another way to know σ, no labels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.inner = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))

    def forward(self, x, sigma, labels=None):
        level = expand(sigma, x)
        return (x + 0.1 * self.inner(x)) / (1 + level.square())


class Blur:
    """A denoiser that is no module, and sees beyond the border of a window."""

    def __call__(self, x, sigma, labels=None):
        return nn.functional.avg_pool2d(x, 5, stride=1, padding=2) / (1 + expand(sigma, x))


def subjects(split, results=None):
    foreign, optimal = Foreign().eval(), dg.OptimalDenoiser(split.train.x)
    pair = [dg.Subject(name, d, (1, 14, 14), results=results) for name, d in (("a", optimal), ("b", foreign))]
    return {
        "foreign": dg.Subject("foreign network", foreign, (1, 14, 14), results=results),
        "optimal": dg.Subject("optimal", optimal, (1, 14, 14), results=results),
        "guided": experiments.guided(*pair, 0.7),
        "guided pair": dg.Subject("a pair", dg.Guided(optimal, foreign, 0.7), (1, 14, 14), results=results),
    }


KINDS = ["foreign", "optimal", "guided", "guided pair"]
PURE = {
    gap: ["generalization_gap"],
    guidance: ["predictions", "reconstruction_distance"],
    receptive_field: ["effective_receptive_field", "range_map"],
    sampling: ["sample", "Chunked", "frechet_gap"],
    trajectories: ["trajectory", "recalled", "_statistics"],
}
"""What computes, by the module that calls it."""


def forbid_computing(monkeypatch):
    for module, names in PURE.items():
        for name in names:
            monkeypatch.setattr(module, name, None)  # would fail if it were called


MEASURES = {
    "gap": lambda s, split: experiments.gap_curves([s], split, SIGMAS, HOW)[0].val_errors,
    "samples": lambda s, split: experiments.samples(s, 5, GRID, HOW),
    "denoised images": lambda s, split: experiments.denoised_images(s, split.val[:3], SIGMAS, HOW)[1],
    "trajectories": lambda s, split: experiments.trajectory_stats(s, split, 5, GRID, HOW)["trajectory"]["shell"],
    "examples": lambda s, split: experiments.example_trajectories(s, 3, GRID, HOW)[2],
    "recall": lambda s, split: torch.tensor(
        [*map(float, experiments.recall_rates(s, split, [1, 3], 6, GRID, HOW)["train"])]
    ),
    "Fréchet gap": lambda s, split: torch.tensor(
        float(experiments.frechet_gap_of(s, split.holdout.x[:9], split, measure=HOW, n_resamples=2).to_val)
    ),
    "weights": lambda s, split: (
        experiments.guided_gap_curves(
            s, dg.Subject("guide", dg.ErrorProne(split.train.x, 1.0), (1, 14, 14)), [0.5], split, SIGMAS, HOW
        )[0].val_errors
    ),
    "reconstruction": lambda s, split: experiments.reconstruction_curve(s, split, SIGMAS, HOW, n_resamples=2).val,
    "receptive field": lambda s, split: experiments.receptive_fields(s, split.val[:2], SIGMAS, HOW, pixels=3),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("measure", MEASURES)
def test_every_cached_measure_takes_any_denoiser(kind, measure, split, tmp_path, monkeypatch):
    """What it says is kept in a folder, where another object finds it, and without one as long as the object lives."""
    subject, in_memory = subjects(split, tmp_path)[kind], subjects(split)[kind]
    once = MEASURES[measure](subject, split)
    assert once.isfinite().all()
    assert torch.equal(MEASURES[measure](in_memory, split), once)
    again = subjects(split, tmp_path)[kind]
    forbid_computing(monkeypatch)
    monkeypatch.setattr(type(again), "denoiser", None)
    assert torch.equal(MEASURES[measure](again, split), once)
    assert torch.equal(MEASURES[measure](in_memory, split), once)
    with pytest.raises(TypeError, match="not callable"):
        MEASURES[measure](subjects(split)[kind], split)  # a memory of its own


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_measured_of_any_denoiser_is_the_direct_computation(kind, split):
    subject = subjects(split)[kind]
    denoiser = subject.denoiser()
    direct = dg.generalization_gap(denoiser, split.train[:16], split.val[:16], SIGMAS)
    assert torch.equal(gap_of(subject, split).val_errors, direct.val_errors)
    start = GRID[0] * experiments.initial_noise(5, (1, 14, 14))
    with torch.no_grad():
        exact = dg.sample(denoiser, start, GRID)
    torch.testing.assert_close(experiments.samples(subject, 5, GRID, HOW), exact.clamp(-1, 1), rtol=0, atol=1.01 / 255)
    stats = experiments.trajectory_stats(subject, split, 5, GRID, HOW)
    expected = nearest(exact, split.train.x, k=1).distance[:, 0]
    torch.testing.assert_close(stats["trajectory"]["first"][-1], expected, rtol=1e-3, atol=1e-4)
    rates = experiments.recall_rates(subject, split, [1, 3], 6, GRID, HOW)["train"]
    assert [*map(float, rates)] == [float(recall_rate(denoiser, split.train.x, GRID[i:], n=6)) for i in (1, 3)]
    curve = experiments.reconstruction_curve(subject, split, SIGMAS, HOW, n_resamples=2)
    rebuilt = reconstruction_distance(denoiser, split.train[:16], split.val[:16], SIGMAS, n_resamples=2)
    torch.testing.assert_close(curve.val, rebuilt.val)
    torch.testing.assert_close(curve.train_draws, rebuilt.train_draws)


@pytest.mark.parametrize("kind", KINDS)
def test_images_and_fields_of_any_denoiser_are_the_direct_computation(kind, split):
    subject = subjects(split)[kind]
    denoiser = subject.denoiser()
    shown, denoised = experiments.denoised_images(subject, split.val[:3], SIGMAS, HOW)
    sigmas, states, predictions = experiments.example_trajectories(subject, 3, GRID, HOW)
    fields = experiments.receptive_fields(subject, split.val[:2], SIGMAS, HOW, pixels=3)
    maps = experiments.range_maps(subject, split.val[:1], SIGMAS[:1], HOW)
    assert torch.equal(
        maps[0], range_map(denoiser, noisy(split.val.x[:1], float(SIGMAS[0])), SIGMAS[0]).float().double()
    )
    for row, sigma in enumerate(SIGMAS.float()):
        x = noisy(split.val.x[:3], float(sigma))
        torch.testing.assert_close(shown[row], x.clamp(-1, 1))
        with torch.no_grad():
            exact = denoiser(x, sigma).clamp(-1, 1)
        torch.testing.assert_close(denoised[row], exact, rtol=0, atol=1.01 / 255)
        torch.testing.assert_close(fields[row], effective_receptive_field(denoiser, x[:2], sigma, pixels=3))
    direct = list(dg.trajectory(denoiser, GRID[0] * experiments.initial_noise(3, (1, 14, 14)), GRID))[:-1]
    assert torch.equal(sigmas, GRID[:-1])
    assert len(states) == len(direct)
    for x, prediction, state in zip(states, predictions, direct):
        torch.testing.assert_close(x, state.x)
        torch.testing.assert_close(prediction, state.denoised)


@pytest.mark.parametrize("kind", KINDS)
def test_guides_and_frechet_gaps_of_any_denoiser_are_the_direct_computation(kind, split):
    subject = subjects(split)[kind]
    guide = dg.Subject("guide", dg.ErrorProne(split.train.x, 1.0), (1, 14, 14))
    by_weight = experiments.guided_gap_curves(subject, guide, [0.0, 0.5], split, SIGMAS, HOW)
    for weight, curve in zip([0.0, 0.5], by_weight, strict=True):
        steered = dg.Guided(subject.denoiser(), guide.denoiser(), weight)
        direct = dg.generalization_gap(steered, split.train[:16], split.val[:16], SIGMAS)
        for part in ("train_errors", "val_errors"):
            torch.testing.assert_close(
                getattr(curve, part), getattr(direct, part).double(), rtol=1e-4, atol=1e-6, check_dtype=False
            )
    drawn = experiments.samples(subject, 9, GRID, HOW)
    kept = experiments.frechet_gap_of(subject, drawn, split, measure=HOW, n_resamples=2)
    sets = map(classifier_features, (drawn, split.train.x, split.val.x))
    fresh = classifier_features(split.holdout.x[: 4 * len(split.val)])
    direct = frechet_gap(*sets, fresh=fresh, n_resamples=2)
    assert [(float(v), v.stderr, v.n) for v in kept] == [(float(v), v.stderr, v.n) for v in direct]


def test_a_model_that_was_trained_further_is_another_subject(split, tmp_path, monkeypatch):
    network = Foreign().eval()
    subject = dg.Subject("mine", network, (1, 14, 14), results=tmp_path)
    first, identity = gap_of(subject, split).val, subject.identity
    with torch.no_grad():
        network.inner[0].weight.mul_(1.5)
    further = dg.Subject("mine", network, (1, 14, 14), results=tmp_path)
    assert subject.identity == further.identity != identity, "one network, with other weights"
    second = gap_of(further, split).val
    assert torch.equal(second, dg.generalization_gap(network, split.train[:16], split.val[:16], SIGMAS).val)
    assert not torch.equal(second, first)
    forbid_computing(monkeypatch)
    assert torch.equal(gap_of(dg.Subject("mine", Foreign(), (1, 14, 14), results=tmp_path), split).val, first)
    assert torch.equal(gap_of(subject, split).val, second)


def test_a_guided_window_is_not_a_window_of_what_is_guided(split, tmp_path):
    """Both in one folder, as the results of one subject are: a window around D alone, or around its guide as well."""
    base = dg.Subject("base", Foreign().eval(), (1, 14, 14), results=tmp_path)
    blur = Blur()
    guide = dg.Subject("guide", blur, (1, 14, 14))
    inner = experiments.guided(experiments.windowed(base, 7, 7), guide, 1.0)
    outer = experiments.windowed(experiments.guided(base, guide, 1.0), 7, 7)
    assert inner.identity != outer.identity
    made = {
        inner: dg.Guided(dg.Windowed(base.denoiser(), 7, 7), blur, 1.0),
        outer: dg.Windowed(dg.Guided(base.denoiser(), blur, 1.0), 7, 7),
    }
    curves = [gap_of(subject, split).val_errors for subject in made]
    for errors, denoiser in zip(curves, made.values(), strict=True):
        direct = dg.generalization_gap(denoiser, split.train[:16], split.val[:16], SIGMAS)
        torch.testing.assert_close(errors, direct.val_errors)
    assert not torch.allclose(*curves)


def test_subjects_made_of_subjects_are_told_apart(snapshot):
    base, other = (
        snapshot,
        dg.Subject("other", dg.GaussianDenoiser(torch.zeros(1, 14, 14), torch.eye(196)), (1, 14, 14)),
    )
    made = [
        base,
        experiments.guided(base, other, 0.5),
        experiments.guided(base, other, 1.0),
        experiments.guided(base, other, 1.0, unconditional=True),
        experiments.guided(base, other, 1.0, interval=(0.5, 2.0)),
        experiments.windowed(base, 7, 7),
        experiments.switched(base, other, (0.5, 2.0)),
        experiments.guided(experiments.windowed(base, 7, 7), other, 1.0),
        experiments.windowed(experiments.guided(base, other, 1.0), 7, 7),
    ]
    assert len({repr(sorted(subject.identity.items(), key=str)) for subject in made}) == len(made)
    assert experiments.guided(base, other, 0) is base
    assert experiments.switched(base, other, None) is base
    assert all(subject.cache == base.cache for subject in made)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((" ", print, (1, 2)), "name is empty"),
        (("a", print, ()), r"shape is \(\)"),
        (("a", print, (0, 2)), r"shape is \(0, 2\)"),
    ],
)
def test_a_wrong_subject_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.Subject(*arguments)


def test_receptive_fields_are_of_the_noisy_images(snapshot, split):
    scores = experiments.receptive_fields(snapshot, split.val[:2], SIGMAS, HOW, pixels=3)
    for row, sigma in zip(scores, SIGMAS, strict=True):
        x = noisy(split.val.x[:2], float(sigma))
        torch.testing.assert_close(row, effective_receptive_field(snapshot.denoiser(), x, sigma, pixels=3))


def test_receptive_fields_by_default_are_found_under_the_settings_that_they_always_had(snapshot, split):
    """The name of a result is a hash of them: what is published was measured without the choice of channels."""
    subject = dg.Subject("three channels", lambda x, s, c=None: x.roll(1, 1) + x.roll(2, 3), (3, 14, 14))
    points = dg.data.Points(split.val.x[:2].expand(-1, 3, -1, -1).contiguous())
    choices = ({}, {"channels": "own"})
    default, own = (experiments.receptive_fields(subject, points, SIGMAS, HOW, pixels=3, **c) for c in choices)
    assert not torch.equal(default, own)
    settings = {"sigmas": SIGMAS.tolist(), "points": data_hash(points), "pixels": 3, "seed": HOW.seed}
    kept = subject.cache.read(result_name("receptive_field", 1, subject.label, subject.identity, settings))
    assert torch.equal(kept["scores"], default)


def test_frechet_gaps_are_kept_in_both_spaces(snapshot, split, monkeypatch):
    samples = experiments.samples(snapshot, 12, GRID, HOW)
    kept = experiments.frechet_gap_of(snapshot, samples, split, n_resamples=3)
    fresh = classifier_features(split.holdout.x[: 4 * len(split.val)])
    sets = map(classifier_features, (samples, split.train.x, split.val.x))
    direct = frechet_gap(*sets, fresh=fresh, n_resamples=3)
    torch.testing.assert_close([float(v) for v in kept], [float(v) for v in direct])
    assert [v.stderr for v in kept] == pytest.approx([v.stderr for v in direct])
    assert experiments.frechet_gap_of(snapshot, samples, split, None, n_resamples=3).to_val != kept.to_val
    monkeypatch.setattr(sampling, "frechet_gap", None)
    assert experiments.frechet_gap_of(snapshot, samples, split, n_resamples=3) == kept


@pytest.mark.parametrize("holdout", [None, 31, 32])
def test_a_holdout_too_small_for_two_sets_shows_no_luck(snapshot, split, holdout):
    rest = None if holdout is None else split.holdout[:holdout]
    small = dg.Split(split.train[:16], split.val[:16], rest)
    gap = experiments.frechet_gap_of(snapshot, split.holdout.x[40:60], small, n_resamples=2)
    assert gap.luck.n == (10 if holdout == 32 else 0)
    assert math.isnan(gap.luck) == (holdout != 32)


def test_the_parts_of_statistics_are_those_of_the_paper():
    assert PARTS == ("train", "val", "trajectory")
    assert all(hasattr(module, "cached") for module in (gap, guidance, receptive_field, sampling, trajectories))
