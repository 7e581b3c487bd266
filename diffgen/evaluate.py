"""Evaluate the snapshots of a run, and keep what was computed in the run's folder, by all that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.data import Points, Split
from diffgen.guidance import Batched
from diffgen.guides import Guide, guided, windowed
from diffgen.loop import train
from diffgen.loss import Norm
from diffgen.metrics.adjust import adjusted
from diffgen.metrics.features import FeatureMap
from diffgen.metrics.gap import GapCurve, generalization_gap
from diffgen.metrics.overlap import noisy
from diffgen.optimal import GaussianDenoiser
from diffgen.results import digest, kept
from diffgen.rng import generator
from diffgen.runs import Snapshot
from diffgen.sample import sample
from diffgen.schedule import edm_sigmas
from diffgen.train import TrainConfig

__all__ = [
    "Guide", "adjusted_curves", "denoised", "drawn", "from_bytes", "gap_curves", "gap_table", "guided", "initial_noise",
    "name_of", "reference_curve", "samples", "to_bytes", "without_luck",
]  # fmt: skip


def name_of(features: FeatureMap) -> str:
    """The name of a feature map, under which results are kept.

    Raises:
        ValueError: it has none, as a lambda or an object.
    """
    name = getattr(features, "__qualname__", "<no name>")
    if "<" in name:
        raise ValueError(f"features is {name}: results are kept under its name, so give a function of a module")
    return f"{features.__module__}.{name}"


def gap_curves(
    snapshots: Sequence[Snapshot],
    split: Split,
    sigmas: Tensor,
    *,
    guide: Guide | None = None,
    window: int | None = None,
    stride: int = 1,
    images: int | None = None,
    draws: int = 1,
    norm: Norm = "mse",
    features: FeatureMap | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> list[GapCurve]:
    """The generalization gap of each snapshot, over the same images with the same noise.

    Args:
        snapshots: as `train` yields them.
        split: the data that their run was trained on; for a reference, the data of the run that it is a reference for.
        sigmas: noise levels, (S,).
        guide: what guides each of them; `diffgen.probes.guided_curves` takes many weights at once.
        window: side of a sliding window, in pixels, through which each of them sees the images, see `Windowed`.
        stride: of the window.
        images: use the first so many of each split; None is all.
        draws: noise draws an image.
        norm: of the error, see `generalization_gap`.
        features: φ, in which errors are measured; None is pixels. Results are kept under its name, so it has one.
        seed: of the noise.
        device: where to compute.
        progress: show a bar.

    Returns:
        One `GapCurve` a snapshot.

    Raises:
        ValueError: features without a name.
    """
    known, unknown = split.train[:images], split.val[:images]
    settings = {"sigmas": sigmas.tolist(), "train": digest(known), "val": digest(unknown), "draws": draws, "norm": norm}
    settings |= {"seed": seed, "guide": guide and guide.settings, "features": features and name_of(features)}
    settings |= {} if window is None else {"window": window, "stride": stride}

    def curve(snapshot: Snapshot) -> GapCurve:
        def compute() -> dict[str, Tensor]:
            denoiser = windowed(guided(snapshot, guide, device), window, stride)
            found = generalization_gap(
                denoiser, known, unknown, sigmas, draws=draws, norm=norm, features=features, seed=seed
            )
            return {"train": found.train_errors, "val": found.val_errors}

        errors = kept(snapshot, "gap", settings, compute)
        return GapCurve(sigmas, errors["train"], errors["val"])

    return [curve(s) for s in tqdm(snapshots, desc="gap of each snapshot", unit="snapshot", disable=not progress)]


def gap_table(images: Sequence[int], curves: Sequence[GapCurve]) -> pd.DataFrame:
    """Gap curves as a tidy table: a row a snapshot, by the images that it has seen, and noise level."""
    return pd.concat(
        pd.DataFrame({"images": seen, "sigma": c.sigmas, "train": c.train, "val": c.val, "gap": c.gap,
                      "stderr": c.stderr, "n": c.n})
        for seen, c in zip(images, curves)
    )  # fmt: skip


def reference_curve(
    reference: TrainConfig | None,
    split: Split,
    sigmas: Tensor,
    *,
    images: int | None = None,
    seed: int = 0,
    root: str | Path = "runs",
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> GapCurve:
    """The gap of a reference denoiser, for `diffgen.metrics.adjust.adjusted`: it saw neither split of the data.

    The nearer its errors are to those of the evaluated network, the more of the luck of the draw it takes out. A
    network like the evaluated one, trained on the rest of the pool, takes out most; it is trained once a pool and
    serves all runs on the same images. The best linear denoiser of the rest (a Wiener filter) takes out less, and costs
    a second.

    Args:
        reference: of a network, with `config.data.reference` for its data, such as `Preset.reference`; None is the
            linear denoiser.
        split, sigmas, images, seed: as for the curves that are adjusted.
        root: folder of run folders, where a network is kept.
        device: where to compute.
        progress: show a bar.

    Raises:
        ValueError: the pool has no rest.
    """
    if reference is None:
        if split.rest is None:
            raise ValueError(
                "split has no rest: ask for fewer training or validation images, or leave gaps as they are"
            )
        wiener = GaussianDenoiser.fit(split.rest.x)
        return generalization_gap(wiener, split.train[:images], split.val[:images], sigmas, seed=seed)
    *_, snapshot = train(reference, root=root, device=device, progress=progress)
    (curve,) = gap_curves([snapshot], split, sigmas, images=images, seed=seed, device=device, progress=progress)
    return curve


def adjusted_curves(
    snapshots: Sequence[Snapshot],
    split: Split,
    sigmas: Tensor,
    reference: TrainConfig | None,
    *,
    images: int,
    seed: int = 0,
    root: str | Path = "runs",
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> list[GapCurve]:
    """The `gap_curves` of snapshots, `without_luck`.

    Args:
        snapshots, split, sigmas, images, seed, device, progress: as for `gap_curves`.
        reference, root: as for `reference_curve`.
    """
    options = {"images": images, "seed": seed, "device": device, "progress": progress}
    return without_luck(gap_curves(snapshots, split, sigmas, **options), split, reference, root=root, **options)


def without_luck(
    curves: Sequence[GapCurve], split: Split, reference: TrainConfig | None, *, images: int, **options
) -> list[GapCurve]:
    """Gap curves without the luck of the draw, see `diffgen.metrics.adjust.adjusted`.

    Where the training set has fewer images than are evaluated they are left as they are: all of the set is seen, and
    there is too little of it to tell the luck of its draw from memory.

    Args:
        curves: over the same images and noise levels.
        split: their data.
        reference, images, options: as for `reference_curve`.
    """
    if len(split.train) < images:
        return list(curves)
    beside = reference_curve(reference, split, curves[0].sigmas, images=images, **options)
    return [adjusted(curve, beside) for curve in curves]


def denoised(
    snapshot: Snapshot, points: Points, sigmas: Tensor, *, seed: int = 0, device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor]:
    """A few images to look at: noisy, and as the snapshot denoises them, at several noise levels.

    Args:
        snapshot: D.
        points: clean images, (N, C, H, W) with labels or without.
        sigmas: noise levels, (S,).
        seed: of the noise, that of `gap_curves`: one an image, the same at every level.
        device: where to compute.

    Returns:
        y + σ n and D(y + σ n; σ), (S, N, C, H, W) each, cut off at ±1 and the latter in 256 steps, as it is kept.
    """
    levels = [float(sigma) for sigma in sigmas]
    x = torch.stack([noisy(points.x, sigma, seed) for sigma in levels])

    def compute() -> dict[str, Tensor]:
        denoiser = Batched(snapshot.denoiser(device=device))
        labels = None if points.labels is None else points.labels.to(device)
        found = torch.stack([denoiser(rows.to(device), torch.tensor(s), labels).cpu() for rows, s in zip(x, levels)])
        return {"denoised": to_bytes(found)}

    settings = {"sigmas": levels, "images": digest(points), "seed": seed}
    return x.clamp(-1, 1), from_bytes(kept(snapshot, "denoised", settings, compute)["denoised"])


def samples(
    snapshot: Snapshot,
    n: int,
    *,
    guide: Guide | None = None,
    steps: int = 32,
    labels: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    batch_size: int = 256,
) -> Tensor:
    """Draw n samples of a snapshot by Heun's method; the i-th starts from the same noise in every snapshot.

    They are kept as images of 256 steps, see `to_bytes`, as Fréchet distances of the literature are computed from.

    Args:
        snapshot: what to sample from.
        n: how many.
        guide: what guides it.
        steps: of the sampler.
        labels: classes, (n,), or None.
        seed: of the initial noise.
        device: where to compute.
        batch_size: samples at a time: it changes memory and speed, not the result.

    Returns:
        (n, *), on the CPU, cut off at ±1.
    """

    def compute() -> dict[str, Tensor]:
        options = {"steps": steps, "labels": labels, "seed": seed, "device": device, "batch_size": batch_size}
        return {"samples": to_bytes(drawn(snapshot, n, guide=guide, **options))}

    classes = None if labels is None else labels.tolist()
    settings = {"n": n, "steps": steps, "labels": classes, "seed": seed, "guide": guide and guide.settings}
    return from_bytes(kept(snapshot, "samples", settings, compute)["samples"])


def drawn(
    snapshot: Snapshot,
    n: int,
    *,
    guide: Guide | None = None,
    steps: int = 32,
    labels: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    batch_size: int = 256,
    progress: bool = True,
) -> Tensor:
    """The `samples`, neither kept nor rounded."""
    denoiser, sigmas = guided(snapshot, guide, device), edm_sigmas(steps)
    noise = sigmas[0] * initial_noise(n, snapshot.shape, seed)
    parts = zip(noise.split(batch_size), [None] * n if labels is None else labels.split(batch_size))
    done = [
        sample(denoiser, x.to(device), sigmas, None if c is None else c.to(device)).cpu()
        for x, c in tqdm(list(parts), desc="sampling", unit="batch", leave=False, disable=not progress)
    ]
    return torch.cat(done)


def to_bytes(x: Tensor) -> Tensor:
    """Images in [−1, 1] in 256 steps, cut off at the ends: as image files hold them, and as they are kept."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte()


def from_bytes(x: Tensor) -> Tensor:
    """The images back from `to_bytes`, float32."""
    return x.float() / 127.5 - 1


def initial_noise(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """N(0, I), (n, *shape); the first rows stay the same when n grows."""
    whole = -(-n // 16) * 16  # torch draws normal numbers in blocks of 16, and a rest that fills none anew
    return torch.randn((whole, *shape), generator=generator(seed))[:n]
