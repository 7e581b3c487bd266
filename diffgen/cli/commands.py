"""What the command line does, as functions: their arguments are its options, their docstrings its help."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from diffgen import experiments, presets, runs
from diffgen.data import DataConfig
from diffgen.experiments import Measure
from diffgen.files import write_tensors
from diffgen.nets import UNetConfig
from diffgen.runs import RunFolder, Snapshot
from diffgen.runs.key import run_name
from diffgen.schedule import edm_sigmas, log_sigmas
from diffgen.sweep.run import run_sweep
from diffgen.sweep.state import Keep
from diffgen.training import TrainConfig, untrained

Positional = Annotated[Path, tyro.conf.Positional]


def train(
    preset: presets.PresetName = "quick",
    *,
    n_train: int | None = None,
    size: int | None = None,
    total_images: int | None = None,
    network: Literal["unet", "dit"] = "unet",
    channels: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    conditional: bool = False,
    precision: Literal["no", "bf16"] | None = None,
    seed: int = 0,
    root: Path = Path("runs"),
    device: str = "cpu",
    dry_run: bool = False,
) -> None:
    """Train a denoiser, or go on with a training that was interrupted: to resume, run the same command again.

    The run lives in a folder that its settings find again, and ends equal to the bit, interrupted or not. Without
    options it is the main model of the book.

      diffgen train                                     the model of chapters 2 and 3
      diffgen train --n-train 1024 --total-images 200000   more images, longer
      diffgen train --network dit                       a transformer
      torchrun --nproc_per_node 2 -m diffgen train      the same in two processes (see below)
      diffgen train --dry-run                           what it would do

    Processes share each batch: the result is the same up to rounding. On CPUs set ACCELERATE_USE_CPU=true for torchrun.
    For all that can be chosen (layers, noise, averages), write a `diffgen.TrainConfig` and call `diffgen.train`.

    Args:
        preset: where everything that is not given comes from.
        n_train: training images.
        size: side of the images in pixels, 28, 14, 7 or 4.
        total_images: how many to see in training, with repetition.
        network: a U-Net, or a diffusion transformer.
        channels: width of the network: channels of the U-Net's finest level, or of the transformer's tokens.
        batch: images a step.
        learning_rate: of Adam.
        conditional: train with class labels.
        precision: "no" is float32; "bf16" is bfloat16 on a GPU or a CPU that has it, float32 elsewhere.
        seed: of the split, the initial weights, the order and the noise.
        root: folder of run folders.
        device: where to compute, "cpu" or "cuda".
        dry_run: print the run's folder, its size and its snapshots, and stop.
    """
    settings = presets.named(preset, seed=seed)
    config = settings.train if network == "unet" else settings.gap.networks["transformer"]
    data = config.data
    assert isinstance(data, DataConfig)
    data = replace(data, n_train=data.n_train if n_train is None else n_train, size=data.size if size is None else size)
    net = config.network
    if channels is not None:
        net = replace(net, channels=channels) if isinstance(net, UNetConfig) else replace(net, width=channels)
    options: dict[str, Any] = {
        "total_images": total_images,
        "batch": batch,
        "learning_rate": learning_rate,
        "precision": precision,
    }
    given = {name: value for name, value in options.items() if value is not None}
    config = config.with_(data=data, network=net, conditional=conditional, **given)
    if dry_run:
        print(root / run_name(config))
        print(
            f"{parameter_count(config):,} parameters; snapshots at {', '.join(map(str, config.snapshot_images))} images"
        )
        return
    from accelerate import PartialState

    for snapshot in runs.train(config, root=root, device=device):
        if PartialState().is_main_process:  # of several that torchrun started
            print(snapshot.path)


def parameter_count(config: TrainConfig) -> int:
    """How many parameters the network of a config has."""
    return sum(parameter.numel() for parameter in untrained(config, config.data.load()).parameters())


def sample(
    path: Positional,
    *,
    n: int = 64,
    steps: int = 32,
    seed: int = 0,
    output: Path = Path("samples.png"),
    device: str = "cpu",
) -> None:
    """Draw samples from a trained denoiser and write them as a picture, or as tensors.

      diffgen sample runs/NAME --output samples.png
      diffgen sample runs/NAME/snapshots/000000051200.safetensors --n 1000 --output samples.safetensors

    Args:
        path: a run folder (its last snapshot), or a snapshot file.
        n: how many.
        steps: of Heun's method on EDM's grid.
        seed: of the initial noise.
        output: .png for a picture, .safetensors for the values.
        device: where to compute.
    """
    if output.suffix not in (".png", ".safetensors"):
        raise ValueError(f"output is {output}: give a file that ends in .png or .safetensors")
    snapshot = _snapshots(path)[-1]
    x = experiments.draw_samples(snapshot, n, edm_sigmas(steps), Measure(seed=seed, device=device))
    if output.suffix == ".png":
        import matplotlib.pyplot as plt

        from diffgen.plots.images import image_rows

        columns = min(n, 16)
        x = torch.cat([x, x.new_ones(-n % columns, *x.shape[1:])])
        figure, ax = plt.subplots(figsize=(columns / 2, len(x) / columns / 2))
        image_rows(list(x.split(columns)), ax)
        figure.savefig(output)
    else:
        write_tensors(output, {"samples": x}, {"snapshot": str(snapshot.path), "steps": steps, "seed": seed})
    print(output)


def evaluate(
    path: Positional,
    *,
    sigmas: int = 16,
    sigma_min: float = 0.02,
    sigma_max: float = 40,
    n_images: int | None = None,
    seed: int = 0,
    output: Path | None = None,
    device: str = "cpu",
) -> None:
    """Measure the generalization gap of a trained denoiser: E_train, E_val, G and its standard error per σ, as CSV.

      diffgen evaluate runs/NAME
      diffgen evaluate runs/NAME --n-images 1024 --output gap.csv

    Args:
        path: a run folder (all its snapshots), or a snapshot file.
        sigmas: how many noise levels.
        sigma_min: the smallest.
        sigma_max: the largest.
        n_images: use the first so many of each split; all by default.
        seed: of the noise.
        output: the file to write; the terminal by default.
        device: where to compute.
    """
    snapshots = _snapshots(path)
    grid, split = log_sigmas(sigmas, sigma_min, sigma_max), snapshots[0].run.config.data.load()
    measure = Measure(seed=seed, device=device, n_images=n_images)
    curves = experiments.gap_curves(snapshots, split, grid, measure)
    table = experiments.gap_table([snapshot.images_seen for snapshot in snapshots], curves)
    table.to_csv(output or sys.stdout, index=False, float_format="%.6g")


def publish(paths: tyro.conf.Positional[tuple[Path, ...]], *, root: Path = Path("results/standard")) -> None:
    """Publish runs without most weights: what was computed from them, with checksums and how it came about.

    `diffgen.train(config, root=ROOT)` and the chapters' parameter `results` find them there, and figures are drawn
    from them in seconds. What is published already stays, unless it was computed anew. The folder can be served at an
    address, which then takes the place of ROOT.

      diffgen publish runs/*                              into results/standard
      diffgen publish runs/NAME --root results/mine

    Args:
        paths: run folders.
        root: folder of published results.
    """
    publication = experiments.publish([RunFolder(path) for path in paths], root)
    print(f"{root}: {len(publication.runs)} runs, {len(publication.manifest['sha256'])} files")


def sweep(
    name: tyro.conf.Positional[str],
    *,
    seed: int = 0,
    root: Path = Path("runs"),
    cores: int | None = None,
    device: str = "cpu",
    keep: Keep = "all",
    dry_run: bool = False,
    profile: str | None = None,
    snakemake: Annotated[tuple[str, ...], tyro.conf.Suppress] = (),
) -> int:
    """Train what is missing of many runs, several at once, on Snakemake: to resume, run the same command again.

    NAME is smoke, quick, standard or paper, the runs of chapter 4, or a function of your own that returns a list of
    diffgen.TrainConfig, or a dict with a label for each. Each run is a job in a process and a core of its own. Finished
    and published runs are found by their configs and not repeated, equal configs are trained once, also when two sweeps
    run at once: one waits for the other. A run that fails does not stop the others; the sweep then ends with exit code
    1 and names its log. After a kill or Ctrl-C nothing is lost.

      diffgen sweep quick --dry-run                     what it would do: time, memory and disk of each run
      diffgen sweep quick --cores 2                     do it, two at once
      diffgen sweep my_sweep.py:sizes --seed 1          runs of your own; the function is given the seed
      diffgen sweep quick --keep last                   delete snapshots once measured, but for each run's last
      diffgen sweep paper --device cuda --profile slurm   on a cluster, by a Snakemake profile
      diffgen sweep quick -- --retries 2                what follows -- goes to Snakemake

    Args:
        name: which sweep.
        seed: of the split, the initial weights, the order and the noise.
        root: folder of run folders.
        cores: jobs at once, a core each; by default as many as there are, or as the profile says.
        device: where to compute, "cpu" or "cuda".
        keep: which snapshots stay once a run is measured. A run without its snapshots stays finished, and what was
            computed from them is there; "none" needs a sweep that measures.
        dry_run: print the plan, and stop.
        profile: Snakemake's, by name or path: executor, resources, number of jobs.
        snakemake: further arguments for Snakemake.
    """
    return run_sweep(
        name, seed=seed, root=root, cores=cores, device=device, keep=keep, dry_run=dry_run, profile=profile,
        snakemake=snakemake,
    )  # fmt: skip


def _snapshots(path: Path) -> list[Snapshot]:
    """Those of a run folder, or the one of a file."""
    if path.is_dir() and (snapshots := RunFolder(path).snapshots):
        return snapshots
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no snapshot and holds none: train it first, or name a snapshot file")
    if not path.stem.isdecimal():
        raise ValueError(f"path is {path}: a snapshot of a run is called by the images seen, such as 000000051200")
    return [Snapshot(RunFolder(path.parent.parent), int(path.stem))]
