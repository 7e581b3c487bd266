"""Measures of subjects, kept beside them: of a snapshot, of somebody else's model, of anything with a name.

Each takes a `Subject` and a `Measure` and returns what the pure functions of `diffgen.metrics` make of it.
"""

from diffgen.experiments.gap import adjusted_curves, gap_curves, gap_table, reference_curve
from diffgen.experiments.guidance import guided_gap_curves, reconstruction_curve
from diffgen.experiments.measure import Measure
from diffgen.experiments.publishing import publish
from diffgen.experiments.receptive_field import range_maps, receptive_fields
from diffgen.experiments.reports import (
    Recognition,
    SampleReport,
    luck_of_split,
    recognition,
    sample_position,
    sample_report,
    val_labels,
)
from diffgen.experiments.sampling import denoised_images, draw_samples, frechet_gap_of, initial_noise, samples
from diffgen.experiments.scaling import (
    RunMetrics,
    comparable_curves,
    label_adjusted,
    label_reference,
    last_gap_difference,
    measure_run,
    run_gap_curves,
    sample_distances,
)
from diffgen.experiments.subject import averaged_over, guided, switched, windowed
from diffgen.experiments.trajectories import (
    FeatureSimilarity,
    example_trajectories,
    feature_similarity,
    level_groups,
    part_stats,
    recall_rates,
    trajectory_stats,
)

__all__ = [
    "FeatureSimilarity", "Measure", "Recognition", "RunMetrics", "SampleReport", "adjusted_curves", "averaged_over",
    "comparable_curves", "denoised_images", "draw_samples", "example_trajectories", "feature_similarity",
    "frechet_gap_of", "gap_curves", "gap_table", "guided", "guided_gap_curves", "initial_noise", "label_adjusted",
    "label_reference", "last_gap_difference", "level_groups", "luck_of_split", "measure_run", "part_stats",
    "publish", "range_maps", "recall_rates", "receptive_fields", "recognition", "reconstruction_curve",
    "reference_curve", "run_gap_curves", "sample_distances", "sample_position", "sample_report", "samples", "switched",
    "trajectory_stats", "val_labels", "windowed",
]  # fmt: skip
