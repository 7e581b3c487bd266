"""The optimal denoiser against the obvious implementation: speed and accuracy on Fashion-MNIST, 28×28.

    python benchmarks/optimal.py

Its peers, in float32 as one would write them: a broadcast over all query–point pairs, and the square expanded into
matrix products. All run in turn in this process, on the same queries and as many threads, so that whatever else the
machine does meets all. Accuracy is the largest deviation from the broadcast in float64, on noisy validation images.
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


def expanded(x: Tensor, sigma: Tensor, points: Tensor) -> Tensor:
    """y*(x, σ) from ‖x‖² − 2 x·y_i + ‖y_i‖², in the dtype of x: the fast way to be wrong."""
    x, points = x.flatten(1), points.flatten(1)
    squared = x.square().sum(1, keepdim=True) - 2 * x @ points.T + points.square().sum(1)
    return (-squared / (2 * sigma[:, None] ** 2)).softmax(1) @ points


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

    ways = {
        "OptimalDenoiser": optimal,
        "broadcast": lambda x, sigma: broadcast(x, sigma, points),
        "expanded squares": lambda x, sigma: expanded(x, sigma, points),
    }

    print(f"{args.queries} queries, {args.points} points, 784 dimensions, {torch.get_num_threads()} threads\n")
    x, sigma = y + noise, torch.ones(len(y))
    optimal(x, sigma)
    times = {way: [] for way in ways}
    for _ in range(args.rounds):  # in turn
        for way, denoise in ways.items():
            times[way].append(seconds(lambda denoise=denoise: denoise(x, sigma)))
    best = {way: min(t) for way, t in times.items()}
    print(f"{'':18}{'seconds, best of ' + str(args.rounds):>20}{'times as long':>16}")
    for way in ways:
        print(f"{way:18}{best[way]:20.3f}{best[way] / best['OptimalDenoiser']:16.1f}")

    print(f"\nLargest deviation from float64\n{'sigma':>8}" + "".join(f"{way:>18}" for way in ways))
    few = slice(0, 16)
    for level in (0.002, 0.02, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0):
        x, sigma = y[few] + level * noise[few], torch.full((16,), level)
        exact = broadcast(x.double(), sigma.double(), points.double())
        deviations = [(denoise(x, sigma).flatten(1) - exact).abs().max().item() for denoise in ways.values()]
        print(f"{level:8g}" + "".join(f"{d:18.1e}" for d in deviations))


if __name__ == "__main__":
    main()
