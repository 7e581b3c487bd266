"""What an audit calls a model for: per-image errors, samples, ends of trajectories. Each piece is kept as it is done.

A killed audit goes on where it stopped, and processes that `torchrun` started share the pieces: each computes every
so-manieth of them, and reads those of the others from the audit's folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from diffgen.auditing.effort import STARTS
from diffgen.data import Points
from diffgen.denoiser import Denoiser, device_of
from diffgen.experiments import Measure
from diffgen.experiments.sampling import draw_samples
from diffgen.metrics.copying import recalled
from diffgen.metrics.gap import denoising_error
from diffgen.runs import Subject, cached, data_hash

ROWS = 512
"""Samples that are drawn and kept together."""
Piece = tuple[str, dict[str, object], Callable[[], dict[str, Tensor]]]
"""A part of a measure: of what, with which settings, and how to compute it."""


def alone() -> None:
    """What a process waits for that shares its work with no other: nothing."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """What is called of a model, and how: each piece is kept as it is done.

    Args:
        subject: the model, with the folder in which pieces are kept.
        seed: of all noise.
        batch_size: rows a call.
        progress: show bars.
        share: (rank, processes) of those that share the work.
        wait: called when this process has done its share, returns when all have.
    """

    subject: Subject
    seed: int = 0
    batch_size: int = 512
    progress: bool = True
    share: tuple[int, int] = (0, 1)
    wait: Callable[[], None] = alone

    @property
    def denoiser(self) -> Denoiser:
        """The model."""
        return self.subject.denoiser()

    def of(self, denoiser: Denoiser, name: str) -> Evaluator:
        """That of another model, whose pieces every process computes for itself and nobody keeps: of a control."""
        subject = Subject(name, denoiser, self.subject.shape)
        return replace(self, subject=subject, share=(0, 1), wait=alone)

    def pieces(self, of: Sequence[Piece], what: str) -> list[dict[str, Tensor]]:
        """All pieces, in order; this process computes its share of those that are not there yet."""
        rank, processes = self.share
        for name, settings, compute in tqdm(
            of[rank::processes], desc=what, unit="part", leave=False, disable=not self.progress or rank > 0
        ):
            cached(self.subject, name, settings, compute, version=1)
        self.wait()
        return [cached(self.subject, name, settings, compute, version=1) for name, settings, compute in of]

    def speed(self, points: Points, sigma: float) -> float:
        """Seconds a row of a call takes: measured once and kept, so that who goes on or shares the work plans alike."""

        def compute() -> dict[str, Tensor]:
            row = seconds_per_row(self.denoiser, points.x, points.labels, sigma, self.batch_size)
            return {"seconds": torch.tensor([row], dtype=torch.float64)}

        (piece,) = self.pieces([("audit_speed", {"sigma": sigma, "rows": self.batch_size}, compute)], "speed")
        return float(piece["seconds"])

    def errors(self, points: Points, sigmas: Tensor, draws: int, what: str) -> Tensor:
        """E_i(σ) of each image, (S, N): see `denoising_error`."""
        common = {"points": data_hash(points), "draws": draws, "seed": self.seed}

        def of(sigma: Tensor) -> Piece:
            def compute() -> dict[str, Tensor]:
                errors = denoising_error(
                    self.denoiser, points.x, sigma[None], labels=points.labels, draws=draws, seed=self.seed,
                    batch_size=self.batch_size,
                )  # fmt: skip
                _finite(errors[0], f"the error at σ = {float(sigma):.3g}")
                return {"errors": errors[0]}

            return "audit_errors", {"sigma": float(sigma), **common}, compute

        return torch.stack([piece["errors"] for piece in self.pieces([of(s) for s in sigmas], f"errors, {what}")])

    def samples(self, n: int, sigmas: Tensor, labels: Tensor | None) -> Tensor:
        """n samples (Heun), sample i from the noise of index i, (n, *)."""
        classes = None if labels is None else labels[torch.arange(n) % len(labels)]

        def of(start: int) -> Piece:
            rows = slice(start, min(start + ROWS, n))

            def compute() -> dict[str, Tensor]:
                quiet = Measure(seed=self.seed, progress=False)
                drawn = draw_samples(self.subject, n, sigmas, quiet, labels=classes, rows=rows)
                _finite(drawn, "a sample")
                return {"samples": drawn}

            settings = {"n": n, "start": start, "sigmas": sigmas.tolist(), "seed": self.seed}
            settings["labels"] = None if classes is None else data_hash(Points(classes[:, None]))
            return "audit_samples", settings, compute

        pieces = self.pieces([of(start) for start in range(0, n, ROWS)], "samples")
        return torch.cat([piece["samples"] for piece in pieces])

    def recalled(self, points: Points, grids: Sequence[Tensor], n: int, what: str) -> Tensor:
        """For each of the first n points the share of starts from which its trajectory returned to it, (n,)."""
        common = {"points": data_hash(points), "n": n, "seed": self.seed}

        def of(grid: Tensor) -> Piece:
            def compute() -> dict[str, Tensor]:
                ends = recalled(self.denoiser, points, grid, n=n, seed=self.seed, batch_size=self.batch_size)
                return {"recalled": ends}

            return "audit_recall", {"sigmas": grid.tolist(), **common}, compute

        pieces = self.pieces([of(grid) for grid in grids], f"recall, {what}")
        return torch.stack([piece["recalled"] for piece in pieces]).double().mean(0)


def seconds_per_row(denoiser: Denoiser, x: Tensor, labels: Tensor | None, sigma: float, batch_size: int) -> float:
    """How long a row of a call takes, measured on one batch after another one."""
    device = device_of(denoiser, x.device)
    rows = x[torch.arange(batch_size) % len(x)].to(device)
    told = None if labels is None else labels[torch.arange(batch_size) % len(labels)].to(device)
    level = torch.tensor(sigma, dtype=rows.dtype, device=device)
    for _ in range(2):
        start = time.perf_counter()
        with torch.no_grad():
            denoiser(rows, level, told).sum().item()  # a device has finished when it has told a number
        elapsed = time.perf_counter() - start
    return elapsed / batch_size


def _finite(x: Tensor, what: str) -> None:
    good = x.flatten(1).isfinite().all(1) if x.ndim > 1 else x.isfinite()
    if not bool(good.all()):
        raise ValueError(
            f"{what} of image {int((~good).nonzero()[0])} is not finite: the model returned NaN or infinity"
        )


def starts(sigmas: Tensor, low: float, high: float, count: int = STARTS) -> Iterator[Tensor]:
    """The rest of the sampler's grid from a few of its levels on, those that are nearest to a range of σ in ln σ."""
    inside = [i for i, s in enumerate(sigmas[:-1].tolist()) if low <= s <= high]
    if not inside:
        middle = (low * high) ** 0.5
        inside = [min(range(len(sigmas) - 1), key=lambda i: abs(float(sigmas[i].log()) - torch.tensor(middle).log()))]
    picks = torch.linspace(0, len(inside) - 1, min(count, len(inside))).round().long().tolist()
    for pick in picks:
        yield sigmas[inside[pick] :]
