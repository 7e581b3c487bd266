"""What no denoiser can be: the questions of the contract (diffgen/denoiser.py), asked of a model from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from diffgen.auditing.finding import Finding
from diffgen.auditing.hypotheses import IN_PLACE, NOT_FINITE, PRECISION, ROWS, TRAINING
from diffgen.denoiser import Denoiser

SAME = 1e-4
"""How far equal calls may differ, in standard deviations of the data: kernels for other batch sizes round differently
(float32: 1e-6), dropout and batch norm move the result by 1e-2."""
SAME_COARSE = 0.1
"""The same for a model that computes in 16 bits."""
STEP = 1e-3
"""The length of the step of `roughness`, in standard deviations of the data."""
ROUGH = 0.3
"""Roughness above which a model computes in fewer bits than float32: float32 has 1e-3, TF32 and 16 bits about 1."""


def in_training(denoiser: Denoiser) -> list[str]:
    """Names of the dropout and batch-norm layers that are in training mode, as far as they can be seen."""
    if not isinstance(denoiser, nn.Module):
        return []
    return [
        name
        for name, module in denoiser.named_modules()
        if module.training and (isinstance(module, _BatchNorm) or (isinstance(module, _DropoutNd) and module.p > 0))
    ]


def roughness(denoiser: Denoiser, x: Tensor, sigma: Tensor, labels: Tensor | None, std: float) -> float:
    """‖D(x + 2hu) − 2 D(x + hu) + D(x)‖ / ‖D(x + hu) − D(x)‖ for a random direction u and a small step h.

    A smooth function has about h times its curvature, however large its values; rounding adds its step over h. So it
    tells in how many bits a model computes, wherever in it that is.
    """
    u = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x) * STEP * std
    here, there, beyond = (denoiser(x + k * u, sigma, labels).double() for k in (0, 1, 2))
    return float((beyond - 2 * there + here).norm() / (there - here).norm().clamp(min=1e-300))


@torch.no_grad()
def contract(denoiser: Denoiser, x: Tensor, sigmas: Tensor, labels: Tensor | None, std: float) -> Iterator[Finding]:
    """The findings of the contract. After one that forbids any further call, there are no more.

    Args:
        denoiser: D.
        x: noise-free data, (B, *), a few rows on the device of the denoiser.
        sigmas: noise levels, (S,), ascending.
        labels: (B,) or None.
        std: of the data.
    """
    n = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    levels = [float(sigma) for sigma in sigmas]
    noisy = {sigma: x + sigma * n for sigma in levels}

    def call(sigma: float) -> Tensor:
        return denoiser(noisy[sigma].clone(), x.new_full((len(x),), sigma), labels)

    try:
        outputs = {sigma: call(sigma) for sigma in levels}
        denoiser(x.clone(), torch.full((len(x),), levels[-1], dtype=torch.float64, device=x.device), labels)
    except Exception as error:  # whatever it raises is the answer
        yield Finding("it can be called", 0, "refused", f"D(x, σ (B,), labels) raises {type(error).__name__}: {error}")
        return
    yield Finding("it can be called", 1)
    wrong = [out for out in outputs.values() if not isinstance(out, Tensor)]
    if wrong:
        words = f"it returns a {type(wrong[0]).__name__}; return the tensor, such as `.sample` of it"
        yield Finding("shape, dtype and device kept", 0, "refused", words)
        return
    wrong = [o for o in outputs.values() if (o.shape, o.dtype, o.device) != (x.shape, x.dtype, x.device)]
    if wrong:
        words = f"for x of {tuple(x.shape)}, {x.dtype} on {x.device}"
        words += f", the output is of {tuple(wrong[0].shape)}, {wrong[0].dtype} on {wrong[0].device}"
        yield Finding("shape, dtype and device kept", 0, "refused", words)
        if wrong[0].shape != x.shape:
            return
    else:
        yield Finding("shape, dtype and device kept", 1)
    lost = [sigma for sigma, out in outputs.items() if not bool(out.isfinite().all())]
    words = f"values that are not finite at σ = {', '.join(f'{sigma:.3g}' for sigma in lost)}"
    words += "; too large for 16 bits, a division by 0, or σ beyond the model's range"
    yield _finding("levels with values not finite", len(lost), bool(lost), words, NOT_FINITE)
    yield _in_place(denoiser, x, levels, labels)
    finite = [sigma for sigma in levels if sigma not in lost]
    if finite:
        yield from _equalities(denoiser, call, noisy, outputs, finite, labels, std)


def _equalities(
    denoiser: Denoiser, call: Callable[[float], Tensor], noisy: dict[float, Tensor], outputs: dict[float, Tensor],
    levels: list[float], labels: Tensor | None, std: float,
) -> Iterator[Finding]:  # fmt: skip
    """Equal calls give equal results, a row alone what it gives in a batch, a scalar σ what it gives repeated."""

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a.double() - b.double()).abs().nan_to_num(torch.inf).max()) / std

    layers = in_training(denoiser)
    where = f"{len(layers)} layers such as {layers[0]} are in training mode" if layers else "dropout may be on"
    repeated = max(distance(call(sigma), outputs[sigma]) for sigma in levels)
    random = repeated > SAME
    yield _finding("equal calls differ by", repeated, random, f"the same call gives other numbers: {where}; call "
                   ".eval(), and draw no noise inside", TRAINING)  # fmt: skip

    middle = min(levels, key=lambda sigma: abs(sigma - std))
    x, sigma = noisy[middle], torch.full((len(noisy[middle]),), middle).to(noisy[middle])
    rough = 0.0 if random else roughness(denoiser, x, sigma, labels, std)
    tolerance = SAME_COARSE if random or rough > ROUGH else SAME
    grid = float((outputs[middle] == outputs[middle].bfloat16().to(x.dtype)).double().mean())
    words = "its values are bfloat16" if grid > 0.99 else "it computes in 16 bits or TF32"
    words += f" ({grid:.0%} of them on that grid): switch it off, for small gaps drown in its steps"
    yield (
        Finding("roughness (1e-3 in float32)", rough, "warning", words, PRECISION)
        if rough > ROUGH
        else Finding("roughness (1e-3 in float32)", rough)
    )
    if random:
        return  # what follows would only repeat it

    rows = range(min(4, len(x)))
    alone = torch.cat([denoiser(x[i : i + 1].clone(), sigma[i : i + 1], _row(labels, i)) for i in rows])
    apart = distance(alone, outputs[middle][: len(rows)])
    mixed = torch.tensor([levels[i % len(levels)] for i in range(len(x))]).to(x)
    given = torch.stack([noisy[levels[i % len(levels)]][i] for i in range(len(x))])
    each = torch.stack([outputs[levels[i % len(levels)]][i] for i in range(len(x))])
    levelled = distance(denoiser(given, mixed, labels), each)
    if apart > tolerance:
        words = f"a row alone is not what it is in a batch: {where if layers else 'statistics of the batch are used'}"
        words += "; call .eval()" if layers else ""
    else:
        words = "a row depends on the σ of the others: the glue uses one σ, such as the first, for all rows"
    name = TRAINING if layers and apart > tolerance else ROWS
    yield _finding("rows depend on others by", max(apart, levelled), max(apart, levelled) > tolerance, words, name)
    if layers and apart <= tolerance:
        yield Finding("layers in training mode", len(layers), "warning", f"{where}: call .eval()", TRAINING)

    try:
        scalar = distance(denoiser(x.clone(), sigma[0], labels), outputs[middle])
    except Exception as error:  # as above
        words = f"with a scalar σ it raises {type(error).__name__}: {error}; see diffgen.denoiser.expand"
        yield Finding("scalar σ differs from repeated by", torch.nan, "refused", words)
        return
    words = "a scalar σ is not what the same σ is for every row: see diffgen.denoiser.expand"
    yield _finding("scalar σ differs from repeated by", scalar, scalar > tolerance, words, ROWS)


def _in_place(denoiser: Denoiser, x: Tensor, levels: list[float], labels: Tensor | None) -> Finding:
    """Whether x, σ and the labels are after a call what they were before."""
    changed = 0
    for level in (levels[0], levels[-1]):
        given = [x.clone(), x.new_full((len(x),), level), None if labels is None else labels.clone()]
        kept = [None if tensor is None else tensor.clone() for tensor in given]
        denoiser(*given)  # type: ignore[arg-type]
        changed += sum(a is not None and b is not None and not torch.equal(a, b) for a, b in zip(given, kept))
    words = "a call changes its own input: replace what works in place (x *= …, x.mul_) by x = x * …"
    return _finding("inputs changed in place", changed, changed > 0, words, IN_PLACE)


def _row(labels: Tensor | None, i: int) -> Tensor | None:
    return None if labels is None else labels[i : i + 1]


def _finding(name: str, value: float, refused: bool, cause: str, mistake: str) -> Finding:
    return Finding(name, value, "refused", cause, mistake) if refused else Finding(name, value)
