"""`diffgen audit`: the command line of `diffgen.audit`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from diffgen.auditing.audit import audit as audit_denoiser
from diffgen.auditing.effort import Effort, in_seconds
from diffgen.auditing.evaluator import alone, seconds_per_row
from diffgen.auditing.models import function, load_model
from diffgen.data.opening import open_data
from diffgen.features import FeatureMap, classifier_features, pixels
from diffgen.sweep.plan import duration

Positional = Annotated[str, tyro.conf.Positional]


def audit(
    model: Positional,
    *,
    train: str,
    val: str,
    rest: str | None = None,
    samples: int = 10_000,
    samples_from: str | None = None,
    features: str | None = None,
    reference: str = "wiener",
    images: int = 4096,
    steps: int = 18,
    budget: str | None = None,
    unconditional: bool = False,
    device: str = "cpu",
    batch_size: int = 512,
    seed: int = 0,
    out: Path = Path("report"),
    trust_code: bool = False,
    dry_run: bool = False,
) -> int:
    """Does this model copy its training images? Five questions, each with an interval, a null and controls.

      diffgen audit my-pipeline/ --train data/train --val data/val          a diffusers folder, folders of images
      diffgen audit model.py:denoiser --train train.npy --val val.npy       a function that returns a denoiser
      diffgen audit network.pkl --trust-code --train a.zip --val b.zip      an EDM snapshot; unpickling runs its code
      diffgen audit runs/NAME --train a.npy --val b.npy --budget 20m        no longer than that
      torchrun --nproc_per_node 8 -m diffgen audit … --device cuda          shared by eight processes

    A report for people (OUT/report.html), one for machines (OUT/audit.json), the figures and the error of each image.
    What was computed is kept in OUT/cache: the same command goes on where it was interrupted.

    Exit code: 0 nothing found, 3 something found, 1 what the model returns is no denoiser's, 2 it could not be run.
    (torchrun has one of its own: 1 for all but 0. OUT/audit.json has the audit's.)

    Args:
        model: a run folder or snapshot, a diffusers folder, a .pkl of EDM or EDM2, or file.py:function.
        train: what the model was trained on: a folder of images, a .zip, a .npy or .npz; or the name of a data set.
        val: images of the same source and preprocessing that it never saw.
        rest: more of these, for nulls; half of the validation images if none are given.
        samples: how many samples to draw.
        samples_from: use these samples, in one of the formats of the data, and draw none.
        features: "pixels", "classifier", or file.py:function, in which Fréchet distances are measured.
        reference: "wiener", or a model that saw neither set, whose errors take out what makes an image hard.
        images: images a split whose errors are measured, at most.
        steps: of the sampler.
        budget: time for the model's calls, such as 90s, 20m or 2h; less is measured to fit.
        unconditional: tell the model no classes, whatever the data has.
        device: where to compute, "cpu" or "cuda".
        batch_size: images a call of the model.
        seed: of noise and of random choices.
        out: the folder of the report.
        trust_code: unpickle a .pkl: that runs whatever program is in it.
        dry_run: say what would be computed, and how long the model's calls would take, and stop.
    """
    rank, processes, wait = _processes(device)
    where = f"{device}:{rank}" if device == "cuda" and processes > 1 else device
    denoiser = load_model(model, device=where, trust_code=trust_code)
    sets = {name: open_data(path) for name, path in (("train", train), ("val", val), ("rest", rest)) if path}
    effort = Effort(n_images=images, n_samples=0 if samples_from else samples, n_steps=steps)
    if dry_run:
        few = sets["val"][:64]
        told = None if unconditional else few.labels
        row = seconds_per_row(denoiser, few.x, told, 0.5, batch_size)
        half = len(sets["val"]) // (1 if rest else 2)
        plan = effort.of_data(len(sets["train"]), half, len(sets["rest"]) if rest else half)
        if budget:
            plan = plan.within(in_seconds(budget), row)
        for part, rows in plan.evaluations.items():
            print(f"{part:<13} {rows:>12,} images through the model, {duration(rows * row)}")
        print(f"{'in all':<13} {sum(plan.evaluations.values()):>12,}, {duration(sum(plan.evaluations.values()) * row)}")
        return 0
    result = audit_denoiser(
        denoiser, sets["train"], sets["val"], sets.get("rest"),
        samples=open_data(samples_from).x if samples_from else None, features=_features(features),
        reference=None if reference == "wiener" else load_model(reference, device=where, trust_code=trust_code),
        out=out, effort=effort, budget=budget, conditional=False if unconditional else None,
        name=Path(model.rstrip("/")).name, seed=seed, batch_size=batch_size, share=(rank, processes), wait=wait,
    )  # fmt: skip
    if rank == 0:
        print(result, out / "report.html", sep="\n", flush=True)
    wait()  # torchrun ends all processes as soon as one has another exit code than 0
    return result.exit_code if rank == 0 else 0


def _features(name: str | None) -> FeatureMap | None:
    known: dict[str, FeatureMap] = {"pixels": pixels, "classifier": classifier_features}
    return None if name is None else known[name] if name in known else function(name)


def _processes(device: str) -> tuple[int, int, Callable[[], None]]:
    """Rank and number of the processes that `torchrun` started, and how they wait for each other."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1, alone
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    return state.process_index, state.num_processes, state.wait_for_everyone
