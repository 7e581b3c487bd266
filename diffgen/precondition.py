"""EDM preconditioning: what turns a raw network into a denoiser."""

from __future__ import annotations

from torch import Tensor, nn

from diffgen.denoiser import expand, expand_labels


class Preconditioned(nn.Module):
    """D(x; σ) = c_skip(σ) x + c_out(σ) F(c_in(σ) x, c_noise(σ)), with inputs and targets of F of unit variance.

    c_skip = σ_d² / (σ² + σ_d²),  c_out = σ σ_d / √(σ² + σ_d²),  c_in = 1 / √(σ² + σ_d²),  c_noise = ln(σ) / 4

    With F = 0 this is the best denoiser for Gaussian data N(0, σ_d²); as σ → 0, D → x whatever F says.

    Args:
        network: F(x, c_noise, labels), x (B, *), c_noise (B,), labels (B,) with −1 for none; returns (B, *).
        sigma_data: σ_d, the standard deviation of the data.

    Raises:
        ValueError: sigma_data is not positive.

    Source: Karras et al. 2022, arXiv 2206.00364, eq. 7 and table 1.
    """

    def __init__(self, network: nn.Module, sigma_data: float):
        super().__init__()
        if not sigma_data > 0:
            raise ValueError(f"sigma_data is {sigma_data:g}: the standard deviation of the data is positive")
        self.network, self.sigma_data = network, float(sigma_data)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return D(x; σ, labels), (B, *)."""
        sigma = expand(sigma, x)
        scale = (sigma.square() + self.sigma_data**2).rsqrt()
        c_skip, c_out, c_in = (self.sigma_data * scale).square(), sigma * self.sigma_data * scale, scale
        c_noise = sigma.flatten().log() / 4
        # The network computes in its own dtype: so one may sample in float64, as EDM does, and train under autocast.
        parameter = next(self.network.parameters(), x)
        output = self.network((c_in * x).to(parameter.dtype), c_noise.to(parameter.dtype), expand_labels(labels, x))
        return c_skip * x + c_out * output.to(x.dtype)
