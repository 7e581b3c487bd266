"""What it costs to start: `python benchmarks/start.py`.

Importing diffgen, every public name of it, beside importing torch alone, in turn, as paired ratios; and the seconds of
`diffgen --help`, which needs no torch, beside those of an empty Python. Each is a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

ALL = "import diffgen; [getattr(diffgen, name) for name in diffgen.__all__]"
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import diffgen, all of it": ["-c", ALL],
    "import diffgen, lazily": ["-c", "import diffgen"],
    "an empty Python": ["-c", "pass"],
    "diffgen --help": ["-m", "diffgen", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of a Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="runs of each, in turn; one more warms up")
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.rounds + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    print(f"{'':28}{'median':>10}{'of import torch':>28}")
    for name, own in times.items():
        ratios = [a / b for a, b in zip(own[1:], times["import torch"][1:])]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:28}{statistics.median(own[1:]):8.2f} s{spread:>28}")


if __name__ == "__main__":
    main()
