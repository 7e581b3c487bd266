"""diffgen measures how diffusion models generalize: denoisers, generalization gaps, trajectories and toy models.

Everything is a `Denoiser`: D(x, sigma, labels) → the clean data.
"""

from diffgen import presets
from diffgen.data import DataConfig, Points, Split, load_data
from diffgen.data.toy import ToyConfig, circle, manifold
from diffgen.denoiser import Denoiser
from diffgen.guidance import Batched, Guided, Swapped, Unconditional, Windowed
from diffgen.loop import train
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.frechet import frechet_distance
from diffgen.metrics.gap import GapCurve, denoising_error, generalization_gap
from diffgen.metrics.neighbours import memorized_fraction
from diffgen.nets import DiTConfig, MLPConfig, UNetConfig
from diffgen.optimal import ErrorProne, GaussianDenoiser, OptimalDenoiser
from diffgen.precondition import Preconditioned
from diffgen.runs import Run, Snapshot, find_run, load_denoiser
from diffgen.sample import State, churned, euler, heun, sample, trajectory
from diffgen.schedule import LogNormal, edm_sigmas, log_sigmas
from diffgen.train import TrainConfig

__all__ = [
    "Batched", "DataConfig", "Denoiser", "DiTConfig", "ErrorProne", "Estimate", "GapCurve", "GaussianDenoiser",
    "Guided", "LogNormal", "MLPConfig", "OptimalDenoiser", "Points", "Preconditioned", "Run", "Snapshot", "Split",
    "State", "Swapped", "ToyConfig", "TrainConfig", "UNetConfig", "Unconditional", "Windowed", "churned", "circle",
    "denoising_error", "edm_sigmas", "euler", "find_run", "frechet_distance", "generalization_gap", "heun",
    "load_data", "load_denoiser", "log_sigmas", "manifold", "memorized_fraction", "presets", "sample", "train",
    "trajectory",
]  # fmt: skip
