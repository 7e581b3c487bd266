"""How many network evaluations the adjusted gap saves at equal standard error, against the paper's protocol.

    python benchmarks/gap.py

The paper's protocol is the plain mean over N images a split, with one noise each, at 64 noise levels. A standard error
falls as 1/√N, so the ratio of two estimators' variances on the same images is how many times fewer evaluations the
better one takes. It is given for two references that saw neither split: a Wiener filter, and a small network trained on
the rest of the pool. What a reference costs is counted:

- its evaluations, in units of the main network's, by the time that both take in turn in this process; they serve all
  snapshots of the run, so once for one snapshot and once shared by all;
- its training, as a share of the 64 · 2 · 8192 evaluations that the paper spends on one snapshot.

Trains the preset's main model and the reference first, or finds them trained under --root.
"""

from __future__ import annotations

import argparse
import time

import torch

import diffgen as dg
from diffgen import experiments
from diffgen.metrics.control_variate import control_variate_adjusted

PAPER_EVALUATIONS = 64 * 2 * 8192
TRAINING_COST = 3
"""Evaluations that a training step takes an image: forward, and backward twice that."""


def seconds_an_evaluation(denoisers: list[dg.Denoiser], x: torch.Tensor, rounds: int = 5) -> list[float]:
    """The shortest time of each denoiser for one row, measured in turn."""
    sigma, times = torch.tensor(1.0), [[] for _ in denoisers]
    for _ in range(rounds + 1):
        for denoiser, own in zip(denoisers, times):
            start = time.perf_counter()
            with torch.no_grad():
                denoiser(x, sigma)
            own.append((time.perf_counter() - start) / len(x))
    return [min(own[1:]) for own in times]


def main() -> None:
    """Print one table a snapshot, and what the reference costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--sigmas", type=int, default=12)
    parser.add_argument("--snapshots", type=int, default=3)
    parser.add_argument("--reference-channels", type=int, default=12)
    parser.add_argument("--reference-images", type=int, default=49_152)
    parser.add_argument("--root", default="runs")
    args = parser.parse_args()
    preset = dg.presets.named(args.preset)
    config = preset.train.with_(n_snapshots=args.snapshots)
    small = config.with_(
        data=config.data.reference, network=dg.UNetConfig(channels=args.reference_channels),
        total_images=args.reference_images, n_snapshots=1,
    )  # fmt: skip
    snapshots = list(dg.train(config, root=args.root))
    trained = dg.trained(small, root=args.root)

    split, sigmas = config.data.load(), dg.log_sigmas(args.sigmas, 0.05, 5)
    n = min(preset.gap.n_eval, len(split.train), len(split.val))
    measure = dg.Measure(n_images=n)
    curves = experiments.gap_curves(snapshots, split, sigmas, measure)
    (network,) = experiments.gap_curves([trained], split, sigmas, measure)
    wiener = dg.GaussianDenoiser.fit(split.holdout.x)
    references = {"wiener": dg.generalization_gap(wiener, split.train[:n], split.val[:n], sigmas), "network": network}
    own, *others = seconds_an_evaluation([snapshots[-1].denoiser(), wiener, trained.denoiser()], split.val.x[:128])
    costs = dict(zip(references, (seconds / own for seconds in others)))

    print(f"{len(split.train)} training images of {split.train.x.shape[-1]} pixels a side, {n} evaluated a split")
    for snapshot, curve in zip(snapshots, curves):
        better = {name: control_variate_adjusted(curve, reference) for name, reference in references.items()}
        ratios = {name: (curve.stderr / other.stderr).square() for name, other in better.items()}
        print(f"\n{snapshot.images_seen:,} images seen{'gap':>12}{'stderr':>10}{'fewer evaluations with':>38}")
        print(f"{'sigma':>8}{'plain':>12}{'network':>10}{'plain':>10}{'network':>10}{'wiener':>14}{'network':>10}")
        for i, sigma in enumerate(sigmas.tolist()):
            by_network = better["network"]
            values = curve.gap[i], by_network.gap[i], curve.stderr[i], by_network.stderr[i]
            row = "".join(f"{value:10.4f}" for value in values)
            print(f"{sigma:8.3f}  {row}{ratios['wiener'][i]:14.1f}{ratios['network'][i]:10.1f}")
        for name, ratio in ratios.items():
            alone, shared = (1 / (1 + costs[name] / k) for k in (1, len(snapshots)))
            print(
                f"median, {name:8} {ratio.median():5.1f} times fewer; with the reference's evaluations "
                f"{ratio.median() * alone:.1f}, shared by {len(snapshots)} snapshots {ratio.median() * shared:.1f}"
            )
    share = TRAINING_COST * args.reference_images * costs["network"] / PAPER_EVALUATIONS
    print("\na reference's evaluation costs, in the network's: " + ", ".join(f"{k} {v:.2f}" for k, v in costs.items()))
    print(f"training the reference network: {share:.1%} of the paper's evaluations of one snapshot")


if __name__ == "__main__":
    main()
