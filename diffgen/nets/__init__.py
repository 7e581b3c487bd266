"""Networks F(x, c_noise, labels) for `Preconditioned`. They know nothing of noise levels, losses and data."""

from diffgen.nets.dit import DiT, DiTConfig
from diffgen.nets.mlp import MLP, MLPConfig
from diffgen.nets.unet import UNet, UNetConfig

__all__ = ["MLP", "DiT", "DiTConfig", "MLPConfig", "UNet", "UNetConfig"]
