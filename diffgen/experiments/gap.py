"""The generalization gap of subjects, kept beside them, and the reference that takes out chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from tqdm import tqdm

from diffgen.data import Split
from diffgen.experiments.measure import Measure
from diffgen.features import FeatureMap, identity
from diffgen.loss import Norm
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.gap import GapCurve, generalization_gap
from diffgen.optimal import GaussianDenoiser
from diffgen.runs import Subject, cached, data_hash

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1


def gap_curves(
    subjects: Sequence[Subject],
    split: Split,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008 (frozen)
    *,
    draws: int = 1,
    norm: Norm = "mse",
    features: FeatureMap | None = None,
) -> list[GapCurve]:
    """The generalization gap of each subject, over the same images with the same noise: see `generalization_gap`.

    Args:
        subjects: such as the snapshots that `train` yields.
        split: the data that they were trained on; for a reference, the data of what it is a reference for.
        sigmas: noise levels, (S,).
        measure: how; `n_images` of each split.
        draws: noise draws an image.
        norm: of the error.
        features: φ, in which errors are measured; None is pixels. Results are kept under its identity.

    Returns:
        One `GapCurve` a subject.

    Raises:
        ValueError: features without a name, and what `generalization_gap` raises.
    """
    train, val = measure.of(split.train), measure.of(split.val)
    settings = {
        "sigmas": sigmas.tolist(), "train": data_hash(train), "val": data_hash(val), "draws": draws, "norm": norm,
        "features": None if features is None else identity(features), "seed": measure.seed,
    }  # fmt: skip

    def curve(subject: Subject) -> GapCurve:
        def compute() -> dict[str, Tensor]:
            gap = generalization_gap(
                subject.denoiser(measure.device), train, val, sigmas, draws=draws, norm=norm, features=features,
                seed=measure.seed, batch_size=measure.batch_size,
            )  # fmt: skip
            return {"train": gap.train_errors, "val": gap.val_errors}

        errors = cached(subject, "gap", settings, compute, version=VERSION)
        return GapCurve(sigmas, errors["train"], errors["val"])

    bar = tqdm(subjects, desc="gap", unit="subject", disable=not measure.progress or len(subjects) < 2)
    return [curve(subject) for subject in bar]


def gap_table(images_seen: Sequence[int], curves: Sequence[GapCurve]) -> pd.DataFrame:
    """Gap curves as a tidy table: one row for each snapshot (by images seen) and noise level."""
    import pandas as pd  # slow to import

    return pd.concat(
        pd.DataFrame({"images_seen": seen, "sigma": c.sigmas, "train": c.train, "val": c.val, "gap": c.gap,
                      "stderr": c.stderr, "n": c.n})
        for seen, c in zip(images_seen, curves)
    )  # fmt: skip


def reference_curve(
    reference: Subject | None,
    split: Split,
    sigmas: Tensor,
    measure: Measure = Measure(),  # noqa: B008
) -> GapCurve:
    """The gap of a reference denoiser, for `control_variate_adjusted`: it saw neither split of the data.

    The nearer its errors are to those of the evaluated network, the more of what the draw of images does it takes out.
    A network like the evaluated one, trained on the holdout (`DataConfig.reference`), takes out most; it is trained
    once a pool and serves all runs on the same images. The best linear denoiser of the holdout (a Wiener filter) takes
    out less, and costs a second.

    Args:
        reference: a network that was trained on neither split; None is the linear denoiser.
        split, sigmas, measure: as for the curves that are adjusted.

    Raises:
        ValueError: the split has no holdout.
    """
    if reference is not None:
        (curve,) = gap_curves([reference], split, sigmas, measure)
        return curve
    if split.holdout is None:
        raise ValueError("split has no holdout: ask for fewer training or validation images, or leave gaps as they are")
    wiener = GaussianDenoiser.fit(split.holdout.x)
    train, val = measure.of(split.train), measure.of(split.val)
    return generalization_gap(wiener, train, val, sigmas, seed=measure.seed)


def adjusted_curves(
    curves: Sequence[GapCurve],
    split: Split,
    reference: Subject | None,
    measure: Measure = Measure(),  # noqa: B008
) -> list[GapCurve]:
    """Gap curves with a reference denoiser as control variate, see `control_variate_adjusted`.

    Where the training set has fewer images than are evaluated they are left as they are: all of the set is seen, and
    there is too little of it to tell the chance of its draw from memory.

    Args:
        curves: over the same images and noise levels.
        split, measure: as for these curves.
        reference: see `reference_curve`.
    """
    if measure.n_images is not None and len(split.train) < measure.n_images:
        return list(curves)
    beside = reference_curve(reference, split, curves[0].sigmas, measure)
    return [control_variate_adjusted(curve, beside) for curve in curves]
