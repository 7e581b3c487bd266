"""Training in memory: configs, averages of the weights, the loop. It writes no files; `diffgen.runs` does."""

from diffgen.training.config import TrainConfig
from diffgen.training.ema import HalfLife, PowerFunction
from diffgen.training.trainer import Trainer, accelerator_on, build_denoiser, classes_of, untrained

__all__ = [
    "HalfLife", "PowerFunction", "TrainConfig", "Trainer", "accelerator_on", "build_denoiser", "classes_of",
    "untrained",
]  # fmt: skip
