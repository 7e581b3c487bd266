"""The report of an audit: one page that needs nothing beside it, the numbers as JSON, the figures, and the errors."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffgen.auditing.figures import figures, svg
from diffgen.files import write_tensors, write_whole
from diffgen.runs.log import provenance

if TYPE_CHECKING:
    from diffgen.auditing.outcome import Outcome
    from diffgen.metrics.estimate import Estimate

SCHEMA = 1
"""Version of `audit.json`, raised by hand when a field changes its meaning or goes."""


def as_json(outcome: Outcome) -> dict[str, Any]:
    """All numbers of an audit, for machines: every field is a number, a text, a list or null."""
    result: dict[str, Any] = {
        "schema": SCHEMA, "model": outcome.name, "exit_code": outcome.exit_code, "verdicts": outcome.verdicts,
        "check": {"ok": outcome.check.ok, "findings": [
            asdict(finding) for finding in outcome.check.findings]},
        "data": {
            "n_train": outcome.data.n_train, "n_val": outcome.data.n_val, "hashes": dict(outcome.hashes),
            "repeated": len(outcome.data.repeated), "shared": len(outcome.data.shared), "near": len(outcome.data.near),
            "apart": list(outcome.data.apart), "conditional": outcome.conditional,
        },
        "answers": [answer.as_json() for answer in outcome.answers.values()],
        "effort": vars(outcome.effort), "evaluations": outcome.effort.evaluations, "notes": list(outcome.notes),
        "provenance": provenance(),
    }  # fmt: skip
    if e := outcome.errors:
        gap, band = e.gap, e.gap.band
        result["gap"] = {
            "sigmas": gap.raw.sigmas.tolist(), "raw": gap.raw.gap.tolist(), "adjusted": gap.adjusted.gap.tolist(),
            "low": band.low.tolist(), "high": band.high.tolist(), "train": gap.raw.train.tolist(),
            "val": gap.raw.val.tolist(), "peak_sigma": gap.peak_sigma,
        }  # fmt: skip
        result["membership"] = {
            "auc": list(gap.told.auc), "p": gap.told.p,
            "true_positives": [{"false_rate": d.false_rate, "rate": list(d.rate), "p": d.p} for d in e.detections],
        }  # fmt: skip
        result["at_risk"] = {
            "false_discovery_rate": e.at_risk.false_discovery_rate, "count": len(e.at_risk.index),
            "p": e.at_risk.p.tolist(),
        }  # fmt: skip
    if s := outcome.samples:
        result["samples"] = {
            "n": s.n, "memorized": list(s.memorized), "memorized_null": list(s.memorized_null),
            "authentic": with_error(s.authentic), "authentic_null": with_error(s.authentic_null),
            "copying_score": None if s.copying_score is None else with_error(s.copying_score),
            "lean": s.lean._asdict(), "lean_null": s.lean_null._asdict(), "frechet_features": s.frechet_features,
            "frechet": None if s.frechet is None else {k: with_error(v) for k, v in s.frechet._asdict().items()},
        }  # fmt: skip
    if t := outcome.trajectories:
        result["trajectories"] = {"n": t.n, "position": list(t.position), "returned": dict(t.returned)}
    return _plain(result)


def with_error(number: Estimate) -> list[float]:
    """An estimate and its standard error."""
    return [float(number), number.stderr]


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if abs(value) < float("inf") else None
    return value


def html(outcome: Outcome) -> str:
    """The page."""
    from jinja2 import Environment

    template = (files("diffgen") / "auditing" / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    drawn = {name: {**figure._asdict(), "svg": svg(figure)} for name, figure in figures(outcome).items()}
    return environment.from_string(template).render(a=outcome, figures=drawn, data=as_json(outcome), says=says(outcome))


def says(outcome: Outcome) -> str:
    """One sentence for a reader who reads one."""
    if not outcome.check.ok:
        return "This model could not be audited: what it returns is not the output of a denoiser."
    yes = [a.key for a in outcome.answers.values() if a.verdict == "memorizes"]
    undecided = [a.key for a in outcome.answers.values() if a.verdict == "undecided"]
    words = {
        "gap": "it denoises its training images better than unseen ones",
        "membership": "a training image can be told from an unseen one by its errors",
        "copies": "some of its samples are copies of training images",
        "lean": "its samples lie nearer to the training images than chance has it",
        "recall": "trajectories that start on noisy training images return to them",
    }
    if not yes:
        tail = f" Undecided: {', '.join(undecided)}." if undecided else " All questions were decided."
        return "Nothing was found that says that this model remembers its training images." + tail
    return "This model remembers its training images: " + "; ".join(words[key] for key in yes) + "."


def save(outcome: Outcome, folder: Path) -> Path:
    """Write report.html, audit.json, figures/ and errors.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures(outcome).items():
        write_whole(folder / "figures" / f"{name}.svg", svg(figure).replace("currentColor", "#222222").encode())
    numbers = as_json(outcome)
    write_whole(folder / "audit.json", json.dumps(numbers, indent=1, ensure_ascii=False).encode())
    if gap := outcome.gap:
        tensors = {
            "sigmas": gap.raw.sigmas, "train": gap.raw.train_errors, "val": gap.raw.val_errors,
            "train_score": gap.told.members, "val_score": gap.told.others,
        }  # fmt: skip
        what = {"what": "per-image denoising errors, (S, N), and membership scores", "hashes": dict(outcome.hashes)}
        write_tensors(folder / "errors.safetensors", {k: v.contiguous() for k, v in tensors.items()}, what)
    path = folder / "report.html"
    write_whole(path, html(outcome).encode())
    return path
