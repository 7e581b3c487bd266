"""The numbers that versions stand for: `python tools/golden.py` writes tests/golden.json.

A run and a result are found again by their configs and by version numbers that people raise, not by the text of the
code. So somebody has to notice when equal versions give other numbers: a few steps of each network on each data set,
and one result of each cached measure, are compared with those written here (tests/test_golden.py). Whoever means to
change numbers raises the version that the test names, and runs this; it refuses to write over numbers that moved while
their version stayed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

import diffgen as dg
from diffgen import experiments
from diffgen.data.pseudo_labels import LabelName
from diffgen.data.sources import SOURCES
from diffgen.files import read_tensors, write_tensors
from diffgen.nets import Network
from diffgen.runs.loop import snapshot_metadata
from diffgen.training import HalfLife, Trainer

FILE = Path(__file__).resolve().parent.parent / "tests" / "golden.json"
RTOL, ATOL = 2e-4, 1e-6
"""Rounding differs between processors; a change of code that matters moves numbers by more."""
Golden = dict[str, dict[str, Any]]


def configs() -> dict[str, dg.TrainConfig]:
    """A tiny run of each network on each data set that it can learn, and of each kind of labels."""
    images = {
        name: dg.DataConfig(name=name, size=14 if 14 in source.sizes else source.sizes[0], n_train=64, n_val=64)
        for name, source in SOURCES.items()
    }
    small: dict[str, Network] = {
        "unet": dg.UNetConfig(channels=8, attention=(7,), dropout=0.1),
        "dit": dg.DiTConfig(patch=2, width=16, depth=1, dropout=0.1),
        "mlp": dg.MLPConfig(width=16, depth=1),
    }
    networks = {
        kind.kind: small.get(kind.kind) or kind() for kind in get_args(Network)
    }  # a new one as it is by default
    runs = {}
    for data, config in images.items():
        for network, net in networks.items():
            with suppress(ValueError):  # that network can't take images of that size
                net.build(torch.Size((config.source.channels, config.size, config.size)))
                runs[f"{network} on {data}"] = _tiny(config, net)
    for k, labels in enumerate(get_args(LabelName)):
        labelled = dg.DataConfig(size=14, n_train=64, n_val=64, labels=labels, n_labels=5, seed=k)
        runs[f"mlp with {labels}"] = _tiny(labelled, small["mlp"], conditional=True)
    runs["unet, streamed"] = _tiny(images["fashion_mnist"], small["unet"], noise="streamed")
    return runs | {"mlp on the circle": _tiny(dg.ToyConfig(), small["mlp"])}


def _tiny(data: dg.DataConfig | dg.ToyConfig, network: Network, **changes: Any) -> dg.TrainConfig:
    average = HalfLife(images=32)
    return dg.TrainConfig(
        data=data, network=network, total_images=64, batch=16, warmup=16, n_snapshots=1, ema=(average,), **changes
    )


def of_training(config: dg.TrainConfig) -> dict[str, Any]:
    """Four steps: their losses, and numbers of the data and of the averaged weights."""
    split = config.data.load()
    trainer = Trainer(config, split)
    losses = [float(loss) for loss in trainer]
    weights = torch.cat([value.flatten().double() for value in trainer.average_tensors().values()])
    values = [*losses, *_summary(split.train.x), *_summary(split.val.x), *_summary(weights)]
    return {"version": config.versions, "values": values}


def untrained(folder: Path) -> list[dg.Snapshot]:
    """Two snapshots of a run with classes, of weights that are written down and not trained.

    So the numbers of measures do not move with those of training.
    """
    config = _tiny(dg.DataConfig(size=14, n_train=64, n_val=64), dg.UNetConfig(channels=8), conditional=True)
    config = config.with_(n_snapshots=2, first_snapshot=32)
    run, trainer = dg.RunFolder(folder / "run"), Trainer(config, config.data.load())
    (run.folder / "snapshots").mkdir(parents=True)
    run.say(config)
    for trainer.images_seen in config.snapshot_images:
        with torch.no_grad():
            for k, value in enumerate(trainer.averages["half-life-32"].module.parameters()):
                value.copy_(0.2 * (torch.arange(value.numel()) * (k + trainer.images_seen)).sin().reshape(value.shape))
        write_tensors(run.weights_path(trainer.images_seen), trainer.average_tensors(), snapshot_metadata(trainer))
    return run.snapshots


def of_measures(folder: Path) -> Golden:
    """One result of each cached measure."""
    first, last = untrained(folder)
    config = last.run.config
    split, sigmas, grid = config.data.load(), dg.log_sigmas(3, 0.1, 5), dg.edm_sigmas(4)
    assert split.holdout is not None
    how, labels = dg.Measure(n_images=32, progress=False), split.val.labels[:12]
    experiments.samples(last, 12, grid, how, labels=labels)
    experiments.gap_curves([last], split, sigmas, how)
    experiments.denoised_images(last, split.val[:3], sigmas, how)
    experiments.frechet_gap_of(last, split.holdout.x[:12], split, measure=how, n_resamples=3)
    experiments.trajectory_stats(last, split, 12, grid, how, labels=labels)
    experiments.example_trajectories(last, 2, grid, how)
    experiments.feature_similarity(last, split, 12, grid, 2, how, labels=labels)
    experiments.sample_report(last, split, 12, grid, how, stops=(1,))
    experiments.recognition(last, split, 0.5, how, n=12)
    experiments.recall_rates(last, split, [1, 3], 12, grid, how)
    experiments.guided_gap_curves(last, first, [0.5], split, sigmas, how)
    experiments.reconstruction_curve(last, split, sigmas, how, n_resamples=3)
    experiments.receptive_fields(last, split.val[:2], sigmas, how, pixels=3)
    experiments.range_maps(last, split.val[:1], sigmas[:1], how)
    experiments.measure_run([last], split, sigmas, 12, grid, None, how)
    experiments.sample_distances(last, split, 12, grid, how)
    golden: Golden = {}
    kept = [read_tensors(path) for path in folder.glob("*/results/*.safetensors")]
    # in an order that does not depend on the name of the run
    for result, metadata in sorted(kept, key=lambda pair: json.dumps(pair[1]["settings"], sort_keys=True)):
        entry = golden.setdefault(metadata["measure"], {"version": metadata["version"], "values": []})
        entry["values"] += [number for key in sorted(result) for number in _summary(result[key])]
    return golden


def _summary(x: Tensor) -> list[float]:
    """Three numbers that no likely change leaves alone: mean, mean square, and a sum that knows the order."""
    flat = x.detach().flatten().double()
    order = torch.arange(len(flat), dtype=torch.float64).cos()
    return [float(flat.mean()), float(flat.square().mean()), float((flat * order).mean())]


def measured() -> Golden:
    """All numbers, as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: of_training(config) for name, config in configs().items()} | of_measures(Path(folder))


def differing(golden: Golden, now: Golden) -> list[str]:
    """Names of what has other numbers now than were written down."""

    def moved(name: str) -> bool:
        a, b = (torch.tensor(numbers[name]["values"], dtype=torch.float64) for numbers in (golden, now))
        return a.shape != b.shape or not torch.allclose(a, b, rtol=RTOL, atol=ATOL)

    return [name for name in now if name in golden and moved(name)]


def main() -> int:
    """Measure, and write unless numbers moved while their version stayed."""
    now, golden = measured(), json.loads(FILE.read_text()) if FILE.exists() else {}
    wrong = [name for name in differing(golden, now) if golden[name]["version"] == now[name]["version"]]
    if wrong:
        print(f"numbers moved under the same version: {', '.join(wrong)}; raise the version of each first")
        return 1
    FILE.write_text(json.dumps(now, indent=1) + "\n")
    print(f"wrote {FILE.name}: {len(now)} entries")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
