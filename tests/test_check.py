"""Every mistake of `foreign.MISTAKES` is made on purpose in the glue of seven kinds of trained models, and named."""

import itertools
import math
import re
from types import SimpleNamespace

import foreign
import pytest
import torch
from torch import nn

import diffgen as dg
from diffgen.auditing import hypotheses as named
from diffgen.auditing.contract import in_training
from diffgen.auditing.diagnosis import Factor

NAMES = {
    "σ off by 1.3": named.FACTOR, "σ²": named.SQUARED, "no VP scaling": named.UNSCALED, "ε taken for v": named.KIND,
    "noise returned": named.NOISE, "time reversed": named.REVERSED, "clipped": named.CLIPPED,
    "labels dropped": named.DROPPED, "labels shifted": named.SHIFTED, "training mode": named.TRAINING,
    "bf16": named.PRECISION, "NaN": named.NOT_FINITE, "input changed": named.IN_PLACE, "rows dependent": named.ROWS,
}  # fmt: skip
REFUSED = ("noise returned", "training mode", "NaN", "input changed", "rows dependent")
EVERYWHERE = ("EDM-like", "EDM2-like", "azula-like", "our own")
"""Kinds that take σ themselves: a wrong one is handed to all of D. The others' glue maps it to the network's time."""


@pytest.fixture(scope="session")
def split():
    return dg.load_data("fashion_mnist", size=foreign.SIZE, n_train=4096, n_val=128)


@pytest.fixture(scope="session")
def networks(split):
    """A trained network of each kind: half a minute in all."""
    return {kind: foreign.trained(kind, split.train.x, split.train.labels) for kind in foreign.KINDS}


@pytest.fixture(scope="session")
def ask(split):
    """`check_denoiser` on the validation images."""

    def asked(denoiser, labelled=True):
        labels = split.val.labels if labelled else None
        return dg.check_denoiser(denoiser, split.val.x, labels, reference=split.holdout.x)

    return asked


@pytest.fixture(scope="session")
def checks(networks, ask):
    """The check of each kind without and with each mistake."""
    found = {}
    for kind, mistake in itertools.product(networks, (foreign.CORRECT, *foreign.MISTAKES)):
        if mistake == "no VP scaling" and kind not in foreign.SCALED:
            continue
        denoiser = foreign.Glue(kind, networks[kind], mistake, kind in EVERYWHERE)
        found[kind, mistake] = ask(denoiser.train(mistake == "training mode"))
        denoiser.eval()
    return found


def table(checks):
    """Kind × mistake, and what was named; `python -m pytest -s -k named` prints it."""
    return "\n".join(
        f"{kind:12} {mistake:15} {check.mistake or '–':24} {len(check.warnings)} warnings"
        f"{'' if check.ok else ', refused'}{'' if check.mistake == NAMES.get(mistake, '') else '   <<<'}"
        for (kind, mistake), check in checks.items()
    )


def test_nine_of_ten_mistakes_are_named(checks):
    print("\n" + table(checks))
    right = [check.mistake == NAMES[mistake] for (_, mistake), check in checks.items() if mistake != foreign.CORRECT]
    assert len(right) >= 90
    assert sum(right) >= 0.9 * len(right), table(checks)


@pytest.mark.parametrize("kind", foreign.KINDS)
def test_a_correct_model_is_not_refused_and_hardly_warned_of(kind, checks):
    check = checks[kind, foreign.CORRECT]
    assert check.ok, check
    assert check.mistake == ""
    assert len(check.warnings) <= 1, check


@pytest.mark.parametrize("kind", foreign.KINDS)
@pytest.mark.parametrize("mistake", REFUSED)
def test_what_no_denoiser_can_be_is_refused(kind, mistake, checks):
    assert not checks[kind, mistake].ok
    assert checks[kind, mistake].mistake == NAMES[mistake]


def test_all_else_is_a_warning(checks):
    assert all(check.ok for (_, mistake), check in checks.items() if mistake not in REFUSED)
    assert all(check.warnings for (_, mistake), check in checks.items() if mistake in ("clipped", "bf16"))


def test_the_table_says_what_is_wrong_in_words(checks):
    text = str(checks["diffusers ε", "noise returned"])
    assert "is no denoiser" in text.splitlines()[0]
    assert "it looks as if the network's noise were returned: return x − σ D instead" in text
    assert len(text.splitlines()) == 1 + len(checks["diffusers ε", "noise returned"].findings)
    assert "at σ = 6" in checks["flow", "NaN"]["levels with values not finite"].cause
    assert ".eval()" in checks["our own", "training mode"].refusals[0].cause
    with pytest.raises(KeyError):
        checks["flow", "NaN"]["no such question"]


def test_the_factor_itself_is_found(checks):
    assert checks["our own", "σ off by 1.3"]["best factor of σ"].value == pytest.approx(1 / 1.3, abs=0.1)
    assert checks["our own", foreign.CORRECT]["best factor of σ"].value == pytest.approx(1, abs=0.15)


# --- what is correct and looks odd ------------------------------------------------------------------------------------


def exact(split):
    points = split.train[:512]
    wiener = dg.GaussianDenoiser.fit(split.train.x)
    optimal, classes = dg.OptimalDenoiser(points.x), dg.OptimalDenoiser(points.x, points.labels)
    return {
        "Wiener": wiener,
        "optimal": optimal,
        "optimal, classes": classes,
        "error-prone": dg.ErrorProne(points.x, 0.3),
        "guided": dg.Guided(classes, dg.Unconditional(classes), 1.0),
        "windowed": dg.Windowed(dg.GaussianDenoiser.fit(split.train.x[:, :, :5, :5]), 5),
        "autoguided": dg.Guided(wiener, dg.ErrorProne(points.x, 1.0), 0.2),
    }


EXACT = ("Wiener", "optimal", "optimal, classes", "error-prone", "guided", "windowed", "autoguided")


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("own", [False, True])
def test_denoisers_in_closed_form_are_not_refused(name, own, split):
    x, labels = (split.train[:128].x, split.train[:128].labels) if own else (split.val.x, split.val.labels)
    check = dg.check_denoiser(exact(split)[name], x, labels, reference=split.holdout.x)
    assert check.ok, check


def test_on_its_own_data_the_optimal_denoiser_is_above_suspicion(split):
    check = dg.check_denoiser(exact(split)["optimal"], split.train[:128].x, reference=split.holdout.x)
    assert check.mistake == "", check
    assert not check.warnings, check


def test_an_error_prone_denoiser_is_what_a_wrong_sigma_looks_like(split):
    """It takes its data for blurred, as if σ were another: that, and nothing else, may be said of it."""
    check = dg.check_denoiser(exact(split)["error-prone"], split.train[:128].x, reference=split.holdout.x)
    assert check.ok
    assert check.mistake in ("", "σ off by a factor"), check


def test_the_wiener_filter_is_above_suspicion(split):
    check = dg.check_denoiser(dg.GaussianDenoiser.fit(split.train.x), split.val.x, reference=split.holdout.x)
    assert not check.warnings, check
    assert check["worst error / Wiener filter's"].value == pytest.approx(1, abs=0.05)
    assert check["slope of y on D furthest from 1"].value == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", ["diffusers ε", "flow", "our own"])
def test_a_correct_network_that_is_hardly_trained_is_not_refused(kind, split, ask):
    network = foreign.trained(kind, split.train.x, split.train.labels, steps=40)
    check = ask(foreign.Glue(kind, network))
    assert check.ok, check
    assert check.mistake == "", check


class Azula:
    """Called as a denoiser of azula is: with α y + σ n and the time."""

    def __init__(self, denoiser):
        self.denoiser = denoiser

    def schedule(self, t):
        sigma = foreign.Linear().sigma(t)
        return foreign.vp(sigma), sigma * foreign.vp(sigma)

    def __call__(self, x, t, label):
        alpha, sigma = (foreign.column(v, x) for v in self.schedule(t))
        return SimpleNamespace(mean=self.denoiser(x / alpha.to(x), (sigma / alpha).flatten().to(x), label % 11))


def adapted(kind, network):
    """The same networks as denoisers by `diffgen.adapters`. Class 10 stands for none where an index has to."""
    from diffusers import DDPMScheduler

    def without(labels):
        return labels.masked_fill(labels == foreign.CLASSES, -1)

    def edm(x, sigma, hot):
        return foreign.Glue(kind, network)(x, sigma, torch.where(hot.sum(1) > 0, hot.argmax(1), -1))

    classes = {"n_labels": foreign.CLASSES + 1, "null_label": foreign.CLASSES}
    match kind:
        case "diffusers ε" | "diffusers v":
            prediction = "epsilon" if kind == "diffusers ε" else "v_prediction"
            scheduler = DDPMScheduler(prediction_type=prediction)
            return dg.adapters.from_diffusers(network.unet, scheduler, null_label=foreign.CLASSES)
        case "flow":
            return dg.adapters.from_velocity(lambda x, t, labels: network(x, t, without(labels)), **classes)
        case "azula-like":
            glue = foreign.Glue(kind, network)
            return dg.adapters.from_azula(Azula(lambda x, sigma, labels: glue(x, sigma, without(labels))), **classes)
    return dg.adapters.from_edm(edm, foreign.CLASSES)


@pytest.mark.parametrize("kind", [kind for kind in foreign.KINDS if kind != "our own"])
def test_a_model_behind_an_adapter_is_believed(kind, networks, ask):
    check = ask(adapted(kind, networks[kind]))
    assert check.ok, check
    assert check.mistake == ""
    assert len(check.warnings) <= 1, check


# --- single questions -------------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """The Wiener filter with something done to its answer."""

    def __init__(self, points, change):
        super().__init__()
        self.base, self.change = dg.GaussianDenoiser.fit(points), change

    def forward(self, x, sigma, labels=None):
        return self.change(self.base(x, sigma), x, sigma)


def scalar_only(d, x, sigma):
    return d if sigma.ndim else d + 1


@pytest.mark.parametrize(
    ("change", "finding", "words"),
    [
        (lambda d, x, s: (d,), "shape, dtype and device kept", "a tuple; return the tensor"),
        (lambda d, x, s: d.flatten(1), "shape, dtype and device kept", r"\(8, 49\)"),
        (lambda d, x, s: d.double(), "shape, dtype and device kept", "float64"),
        (lambda d, x, s: 1 / 0, "it can be called", "ZeroDivisionError"),
        (lambda d, x, s: d + torch.randn_like(d), "equal calls differ by", "call .eval()"),
        (lambda d, x, s: d + x.mean(0), "rows depend on others by", "statistics of the batch"),
        (scalar_only, "scalar σ differs from repeated by", "expand"),
        (lambda d, x, s: x * (1 / 0 if not s.ndim else 1), "scalar σ differs from repeated by", "ZeroDivision"),
        (lambda d, x, s: d * math.nan, "levels with values not finite", "not finite at σ = 0.006"),
        (lambda d, x, s: (d - x) / dg.denoiser.expand(s, x) ** 2, "noise in D (Σ D n / Σ n²)", r"x \+ σ² D"),
    ],
)
def test_a_refusal_of_each_kind(change, finding, words, split):
    check = dg.check_denoiser(Odd(split.train.x, change), split.val.x, reference=split.holdout.x)
    assert not check.ok
    assert check[finding].verdict == "refused"
    assert re.search(words, check[finding].cause), check
    assert str(check)


def test_data_in_another_range(networks, split):
    labels, holdout = split.val.labels, split.holdout.x
    check = dg.check_denoiser(
        foreign.Glue("EDM-like", networks["EDM-like"]), (split.val.x + 1) / 2, labels, reference=(holdout + 1) / 2
    )
    assert check["largest value of the data"].verdict == "warning"
    assert check.mistake == named.RANGE, check


def test_batch_norm_and_dropout_are_seen(split):
    norm = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.0), nn.Sequential(nn.Dropout(0.2)))
    assert in_training(norm) == ["0", "2.0"]
    assert in_training(norm.eval()) == []
    assert in_training(lambda x, sigma, labels: x) == []

    class Normed(Odd):
        def __init__(self):
            super().__init__(split.train.x, lambda d, x, s: self.norm(d))
            self.norm = nn.BatchNorm2d(1)

    check = dg.check_denoiser(Normed().train(), split.val.x, reference=split.holdout.x)
    assert check.mistake == named.TRAINING
    assert check["rows depend on others by"].verdict == "refused"
    assert dg.check_denoiser(Normed().eval(), split.val.x, reference=split.holdout.x).ok


def test_half_of_the_data_is_the_reference_by_default(split):
    wiener = dg.GaussianDenoiser.fit(split.val.x[:64])
    assert dg.check_denoiser(wiener, split.val.x)["worst error / Wiener filter's"].value == pytest.approx(1)


def test_the_factor_of_a_parabola():
    """E = 1 + (ln k − m)² has its minimum at m, at every level."""
    step, image = math.log(1.25), torch.linspace(0.9, 1.1, 50).double()
    errors = [(1 + (s - 0.3) ** 2) * image.expand(4, 50) for s in (-step, 0, step)]
    factor = Factor.of(*errors)
    assert factor.log_k == pytest.approx(0.3)
    assert factor.agree == 1
    assert factor.off
    assert not Factor.of(*(torch.ones(4, 50, dtype=torch.double),) * 3).off


def test_a_rewired_denoiser_is_itself_if_nothing_was_wrong(networks, split):
    """Reading F off and putting it together again gives D."""
    denoiser, x, sigma = foreign.Glue("flow", networks["flow"]), split.val.x[:8], torch.full((8,), 0.7)
    for mix in named.mixes(0.6).values():
        torch.testing.assert_close(named.rewired(denoiser, mix, mix)(x, sigma), denoiser(x, sigma), atol=1e-5, rtol=0)
    turned = named.linear_reversed(named.linear_reversed(torch.tensor([0.05, 0.3, 2.0])))
    torch.testing.assert_close(turned, torch.tensor([0.05, 0.3, 2.0]), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": torch.zeros(4, 3)}, "give 8 or more"),
        ({"x": torch.ones(9, 3)}, "one value only"),
        ({"x": torch.ones(9, 3, dtype=torch.int64)}, "of floats"),
        ({"labels": torch.zeros(3)}, "one a point"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"sigmas": torch.tensor([0.0])}, "one or more positive"),
    ],
)
def test_what_cannot_be_asked(changes, words, split):
    given = {"x": split.val.x} | changes
    with pytest.raises(ValueError, match=words):
        dg.check_denoiser(dg.GaussianDenoiser.fit(split.train.x), **given)
