"""Configs and nothing else: how much each chapter computes, at every scale."""

from diffgen.presets.plans import (
    GapPlan,
    GuidancePlan,
    Levels,
    Preset,
    ScalingPlan,
    ToyPlan,
    TrajectoriesPlan,
    as_reference,
)
from diffgen.presets.scales import PresetName, beyond, named, paper, quick, smoke, standard

__all__ = [
    "GapPlan", "GuidancePlan", "Levels", "Preset", "PresetName", "ScalingPlan", "ToyPlan", "TrajectoriesPlan",
    "as_reference", "beyond", "named", "paper", "quick", "smoke", "standard",
]  # fmt: skip
