"""Networks F(x, c_noise, labels) for `Preconditioned`. They know nothing of noise levels, losses and data."""

from diffgen.nets.dit import DiT, DiTConfig
from diffgen.nets.mlp import MLP, MLPConfig
from diffgen.nets.unet import UNet, UNetConfig

Network = UNetConfig | DiTConfig | MLPConfig
"""Every network that a `TrainConfig` can name: a config with `kind`, `version` and `build(shape, classes)`."""

__all__ = ["MLP", "DiT", "DiTConfig", "MLPConfig", "Network", "UNet", "UNetConfig"]
