"""Can one believe a model that somebody else wrote the glue for? Nearly every mistake still gives smooth curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from diffgen.auditing.contract import contract
from diffgen.auditing.diagnosis import STEP, SURE, Bench, Factor, diagnosis
from diffgen.auditing.finding import Check, Finding
from diffgen.auditing.hypotheses import CLIPPED, DROPPED, NOISE, SHIFTED, at
from diffgen.denoiser import NO_LABEL, Denoiser, device_of
from diffgen.metrics.estimate import Estimate
from diffgen.optimal import GaussianDenoiser
from diffgen.rng import generator

LEVELS = 0.04, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 10.0
"""Noise levels, in standard deviations of the data. Far above them a good ε-network is as bad as a wrong one."""
ENDS = 0.01, 100.0
"""Noise levels at which a model has to stay finite, too, in standard deviations of the data."""
SUSPICIOUS, WRONG = 1.5, 3.0
"""How many times the error of the Wiener filter a trained denoiser has that is suspicious, and that is wrong."""
FAR = 0.5
"""How far the mean of D may be from that of the data at the largest level, in standard deviations of the data."""
CLIP = 0.3
"""Which share of what is far out of the data's range may come out at one value; clipping gives 0.9 and more."""


@torch.no_grad()
def check_denoiser(
    denoiser: Denoiser,
    x: Tensor,
    labels: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    sigmas: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = False,
) -> Check:
    """Ask a denoiser what tells a mistake in the code around a network, and name the most likely one.

    Refused is what no denoiser can be: it breaks the contract (`diffgen.auditing.contract`), or returns noise or score
    for data. All else is a warning: a network that is badly trained can be like that, and one that knows its training
    data by heart.

    For the cause, some sixty `hypotheses` are tried: each says which mistake was made and undoes it. The one that
    brings the error on the same noisy data down most, and up at no noise level, is named.

    Args:
        denoiser: D(x, σ, labels).
        x: clean data, (N, *), 128 or more, best of validation.
        labels: classes, (N,), or None if the model takes none.
        reference: other clean data, (M, *), to fit the Wiener filter that errors are compared with; by default half
            of x, and the other half is asked about. With M below the number of entries the comparison is lenient.
        sigmas: noise levels, (S,), positive; by default eight from 0.04 to 10 standard deviations of the data.
        seed: of the noise.
        batch_size: rows a call.
        progress: show a bar.

    Returns:
        A `Check`: .ok .findings .mistake, and a table as text. It takes about 50,000 rows of the network for 256
        images: a few seconds for a small one.

    Raises:
        ValueError: x is not a batch of eight or more floating-point, finite points that differ, or labels or noise
            levels don't fit.

    Source: thresholds measured on seven kinds of models with and without mistakes, see tests/test_check.py.
    """
    bench, wiener = _prepared(denoiser, x, labels, reference, sigmas, seed, batch_size)
    std = float(bench.y.double().std())
    wide = torch.cat([bench.sigmas, std * torch.tensor(ENDS).to(bench.sigmas)]).sort().values
    few = bench.some(8)
    findings = [_range(bench.y), *contract(denoiser, few.y, wide, few.labels, std)]
    if findings[-1].mistake == "" and findings[-1].verdict == "refused":
        return Check(tuple(findings))  # it can't be called in a way that the rest needs
    finite = bench.errors.isfinite().all(1).nonzero().flatten().tolist()
    if not finite:
        return Check(tuple(findings))
    bench = bench if len(finite) == len(bench.sigmas) else bench.some(levels=finite)
    findings.append(_noise(bench))
    labelled = [*_labels(bench)]
    if all(finding.verdict != "refused" for finding in findings):  # else the cause is known, or the numbers are random
        likely = diagnosis(bench, wiener, std, progress)
        shifted = [finding.value for finding in labelled if finding.mistake == SHIFTED]
        labelled = [*labelled, likely] if shifted and min(shifted) < likely.value else [likely, *labelled]
    findings += [*labelled, _clipped(bench, std), _worst(bench, wiener), _scale(bench), _slope(bench, std)]
    findings += _limits(bench, std)
    return Check(tuple(findings))


def _prepared(
    denoiser: Denoiser, x: Tensor, labels: Tensor | None, reference: Tensor | None, sigmas: Tensor | None, seed: int,
    batch_size: int,
) -> tuple[Bench, GaussianDenoiser]:  # fmt: skip
    """The bench and the Wiener filter, on the device of the denoiser."""
    if x.ndim < 2 or len(x) < 8 or not x.is_floating_point() or not bool(x.isfinite().all()):
        raise ValueError(f"x is {x.dtype} of shape {tuple(x.shape)}: give 8 or more finite points of floats, (N, *)")
    if labels is not None and labels.shape != (len(x),):
        raise ValueError(f"labels has shape {tuple(labels.shape)}: give one a point, ({len(x)},)")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: a call has at least one row")
    device = device_of(denoiser, x.device)
    half = len(x) // 2 if reference is None else 0
    fit = x[:half] if reference is None else reference
    y, classes = x[half:].to(device), None if labels is None else labels[half:].to(device)
    std = float(y.double().std())
    if not std > 0:
        raise ValueError("x holds one value only: give data that differ")
    levels = std * torch.tensor(LEVELS, dtype=torch.float64) if sigmas is None else torch.as_tensor(sigmas).flatten()
    if not len(levels) or not bool(((levels > 0) & levels.isfinite()).all()):
        raise ValueError(f"sigmas is {levels.tolist()}: give one or more positive noise levels")
    n = torch.randn(y.shape, generator=generator(seed)).to(y)
    bench = Bench(denoiser, y, n, classes, levels.sort().values.to(y), batch_size)
    return bench, GaussianDenoiser.fit(fit).to(device)


def _warned(name: str, value: float, odd: bool, cause: str, mistake: str = "") -> Finding:
    return Finding(name, value, "warning", cause, mistake) if odd else Finding(name, value)


def _range(y: Tensor) -> Finding:
    """The least and the largest value of the data."""
    low, high = float(y.min()), float(y.max())
    words = f"values from {low:.3g} to {high:.3g}: most image models are trained on [−1, 1]"
    return _warned("largest value of the data", high, low >= 0 and (high <= 1 or 2 < high <= 255), words)


def _noise(bench: Bench) -> Finding:
    """How much of the noise is in D, Σ D n / Σ n², and whether x − σ D or x + σ² D is the data instead.

    Of a denoiser that is better than none, E ≤ σ², and x − σ D has an error of about σ² (1 + ‖y‖² / d), so a larger one
    at every level; of one that returns the noise the latter is E.
    """
    sigmas, name, words = bench.sigmas, "noise in D (Σ D n / Σ n²)", ""
    value = float((bench.outputs * bench.n).mean() / bench.n.square().mean())
    for what, formula, factors in (("noise", "x − σ D", -sigmas), ("score", "x + σ² D", sigmas**2)):
        instead = zip(sigmas, factors, bench.outputs)
        errors = torch.stack([bench.error(bench.noisy(sigma) + by * d).mean() for sigma, by, d in instead])
        change = (errors / bench.errors.mean(1)).log()
        if float(change.max()) < 0 and float(change.mean()) < -1:
            words = f"it looks as if the network's {what} were returned: return {formula} instead"
    return Finding(name, value, "refused", words, NOISE) if words else Finding(name, value)


def _clipped(bench: Bench, std: float) -> Finding:
    """The share of entries far outside of the data's range that come out at exactly the largest or the least value."""
    low, high = bench.y.min(), bench.y.max()
    far = (low + high) / 2 + 3 * (bench.y - (low + high) / 2)
    d = bench.denoised(far, torch.tensor(0.1 * std).to(far))
    sides = [(d[far > high], d.max()), (d[far < low], d.min())]
    share = min(float((beyond == end).double().mean()) if len(beyond) else 0.0 for beyond, end in sides)
    words = "its values are clipped: switch off what does it (clip_sample, clamp, tanh), for it bends E at small σ"
    return _warned("clipped share of what is out of range", share, share > CLIP, words, CLIPPED)


def _labels(bench: Bench) -> Iterator[Finding]:
    """Whether labels matter, and whether the right ones have a smaller error than their neighbours and than none."""
    labels = bench.labels
    if labels is None or int(labels.max()) < 1:
        return
    shift = partial(torch.remainder, other=int(labels.max()) + 1)
    others = {f"label {step:+d}": torch.where(labels < 0, labels, shift(labels + step)) for step in (1, -1)}
    others["no label"] = torch.full_like(labels, NO_LABEL)
    excess: dict[str, Estimate] = {}
    every, own = bench.some(levels=range(0, len(bench.sigmas), 2)), bench.errors[::2]
    for name, other in others.items():
        try:
            errors = every.errors_of(labels=other)
        except Exception:  # a model without a class for none, say: there is nothing to compare then
            continue
        excess[name] = Estimate.mean(((errors - own) / own.mean(1, keepdim=True)).mean(0))
    if excess and all(float(e) == 0 and e.stderr == 0 for e in excess.values()):
        words = "labels change nothing: the glue drops them, or the network takes none"
        yield Finding("error with other labels / with these", 1, "warning", words, DROPPED)
        return
    for name, e in excess.items():
        odd, words = float(e) < -SURE * e.stderr, f"smaller with {name} than with these"
        words += "" if name == "no label" else ": classes are counted from another number, or are in another order"
        yield _warned(
            f"error with {name} / with these", 1 + float(e), odd, words, "" if name == "no label" else SHIFTED
        )


def _worst(bench: Bench, wiener: GaussianDenoiser) -> Finding:
    """The largest ratio of the error to that of the Wiener filter."""
    ratio = bench.errors.mean(1) / bench.errors_of(wiener).mean(1)
    worst, at_most = float(ratio.max()), int(ratio.argmax())
    words = f"at σ = {float(bench.sigmas[at_most]):.3g}: {'wrong' if worst > WRONG else 'suspicious'}, unless it is "
    words += (
        "an ε-network, trained briefly" if at_most == len(ratio) - 1 else "trained badly or knows its data by heart"
    )
    return _warned("worst error / Wiener filter's", worst, worst > SUSPICIOUS, words)


def _scale(bench: Bench) -> Finding:
    """The k for which E of D(x, kσ) is least."""
    below, above = (bench.errors_of(at(bench.denoiser, partial(torch.mul, other=math.exp(s)))) for s in (-STEP, STEP))
    factor = Factor.of(below, bench.errors, above)
    k = math.exp(factor.log_k)
    words = f"D(x, {k:.2g} σ) is better than D(x, σ) at {factor.agree:.0%} of the levels"
    words += (
        "" if k < 1 else "; try training images, of which a model that knows them by heart has its least error at 1"
    )
    return _warned("best factor of σ", k, factor.off, words)


def _slope(bench: Bench, std: float) -> Finding:
    """The slope of the regression of y on D, without each image's mean: 1 for a posterior mean, which is E[y | D].

    Of all levels up to five standard deviations of the data, the one furthest from 1.
    """
    y = bench.y.flatten(1).double()
    y = y - y.mean(1, keepdim=True)
    worst, level = 1.0, 0.0
    for sigma, output in zip(bench.sigmas.tolist(), bench.outputs):
        d = output.flatten(1).double()
        d = d - d.mean(1, keepdim=True)
        slope = float((d * y).sum() / d.square().sum().clamp(min=1e-300))
        if sigma < 5 * std and abs(slope - 1) / max(slope, 1) > abs(worst - 1) / max(worst, 1):
            worst, level = slope, sigma
    words = f"at σ = {level:.3g}: D varies {'less' if worst > 1 else 'more'} than a posterior mean"
    return _warned("slope of y on D furthest from 1", worst, not 1 / SUSPICIOUS < worst < SUSPICIOUS, words)


def _limits(bench: Bench, std: float) -> Iterator[Finding]:
    """D(x, σ → 0) ≈ x, and D(x, σ → ∞) ≈ the mean of the data, on average over the images."""
    small, large = (torch.tensor(factor * std).to(bench.y) for factor in (ENDS[0], LEVELS[-1]))
    x = bench.noisy(small)
    moved = float((bench.denoised(x, small) - x).double().square().mean().sqrt() / small)
    words = f"at σ = {float(small):.2g} it moves x by more than the noise: a wrong time there, or data by heart"
    yield _warned("‖D − x‖ / ‖σ n‖ at small σ", moved, not moved < WRONG, words)
    away = (bench.denoised(bench.noisy(large), large).mean(0) - bench.y.mean(0)).double()
    far = float(away.square().mean().sqrt() / std)
    words = (
        f"at σ = {float(large):.2g} the mean of D is not that of the data: other data or another range, or a wrong time"
    )
    yield _warned("‖mean D − mean y‖ / std at large σ", far, not far < FAR, words)
