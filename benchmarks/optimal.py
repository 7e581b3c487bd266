"""The optimal denoiser against the obvious implementation: speed and accuracy on Fashion-MNIST, 28×28.

    python benchmarks/optimal.py

The peer broadcasts over all query–point pairs, in float32 as one would write it. Both run in turn in this process, on
the same queries and as many threads, so that whatever else the machine does meets both. Accuracy is the largest
deviation from the same formula in float64, for both.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from diffgen.data import load_data
from diffgen.optimal import OptimalDenoiser


def broadcast(x: Tensor, sigma: Tensor, points: Tensor, queries_at_once: int = 4) -> Tensor:
    """y*(x, σ) from all differences x − y_i in the dtype of x. More queries at once are slower, and take gigabytes."""
    x, points = x.flatten(1), points.flatten(1)
    rows = []
    for part, level in zip(x.split(queries_at_once), sigma.split(queries_at_once)):
        squared = (part[:, None, :] - points[None, :, :]).square().sum(2)
        rows.append((-squared / (2 * level[:, None] ** 2)).softmax(1) @ points)
    return torch.cat(rows)


def seconds(call) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--points", type=int, default=9_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    split = load_data("fashion_mnist", size=28, n_train=args.points, n_val=args.queries)
    points, y = split.train.x, split.val.x
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    optimal = OptimalDenoiser(points)

    print(f"{args.queries} queries, {args.points} points, 784 dimensions, {torch.get_num_threads()} threads\n")
    x, sigma = y + noise, torch.ones(len(y))
    optimal(x, sigma)
    ours, theirs = [], []
    for _ in range(args.rounds):  # in turn
        ours.append(seconds(lambda: optimal(x, sigma)))
        theirs.append(seconds(lambda: broadcast(x, sigma, points)))
    ratios = [b / a for a, b in zip(ours, theirs)]
    print(f"{'':24}{'seconds, best of ' + str(args.rounds):>20}")
    print(f"{'OptimalDenoiser':24}{min(ours):20.3f}")
    print(f"{'broadcast, float32':24}{min(theirs):20.3f}")
    print(f"{'times as fast':24}{min(theirs) / min(ours):20.1f}   (rounds: {min(ratios):.1f} to {max(ratios):.1f})\n")

    few = slice(0, 16)
    print(f"{'sigma':>8}{'OptimalDenoiser':>20}{'broadcast, float32':>20}   largest deviation from float64")
    for level in (0.002, 0.02, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0):
        x, sigma = y[few] + level * noise[few], torch.full((16,), level)
        exact = broadcast(x.double(), sigma.double(), points.double())
        deviations = [
            (d.flatten(1) - exact).abs().max().item() for d in (optimal(x, sigma), broadcast(x, sigma, points))
        ]
        print(f"{level:8g}{deviations[0]:20.1e}{deviations[1]:20.1e}")


if __name__ == "__main__":
    main()
