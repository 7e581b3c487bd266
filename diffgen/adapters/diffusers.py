"""Networks that were trained in discrete time, as diffusers has them: DDPM, improved DDPM, v-prediction."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from diffgen.adapters.adapter import Adapter, Network, network_dtype, output_of, time_dtype, within

Prediction = Literal["epsilon", "v_prediction", "sample"]
"""What a network predicts: the noise, the velocity √ᾱ n − √(1 − ᾱ) y, or the clean data."""


def from_diffusers(
    unet: Network,
    scheduler: Any,
    *,
    prediction: Prediction | None = None,
    n_labels: int | None = None,
    null_label: int | None = None,
) -> Adapter:
    """A network of the kind of diffusers' `UNet2DModel`, with the noise levels of its scheduler, as a denoiser.

    x_t = α x with α = √ᾱ_t = 1 / √(1 + σ²), and with the network's output F(x_t, t)

    D = x − σ F  (epsilon)
    D = α² x − α σ F  (v_prediction)
    D = F  (sample)

    The network knows σ_t = √((1 − ᾱ_t) / ᾱ_t) for whole t. Between two of them t is linear in log σ, and the network is
    called with that broken t; x and D are scaled by the σ asked for. So at its own levels D is the library's prediction
    (up to rounding), and between them only t is approximate. In the linear schedule of DDPM, 1000 steps, it is off by
    up to 0.06 steps near t = 1, 0.01 from t = 10 and 0.001 from t = 100 on, and the noise that an untrained U-Net
    predicts by 3e-3, 5e-4 and 5e-5. A network that looks its times up in a table gets the nearest whole t.

    Outside of its levels see `diffgen.adapters.adapter.within`: below the smallest D → x, above the largest the network
    is asked at the largest. At the σ = 80 of EDM's grids that concerns the schedules of latent models, which end at
    14.6, not DDPM's, which ends at 157. Under a schedule with zero terminal signal-to-noise ratio the last step is
    σ = ∞, so nothing is outside: from the last finite level on t is linear in 1 / σ.

    Args:
        unet: called `unet(x, t, class_labels=...)`, without class_labels if it has no classes. It returns an object
            with `.sample`, a tuple or a tensor; of 2 C channels (learned variance) the first C count.
        scheduler: of the training: `alphas_cumprod` or `betas`, (T,), and `config.prediction_type`. Its clipping and
            its thresholds are not applied, for what is clipped is no posterior mean.
        prediction: what the network predicts; None is what the scheduler says.
        n_labels: number of classes, rows of the class embedding; None is what the network says.
        null_label: the class that stands for none. diffusers has no convention; where labels were dropped in training
            it is often the last row of the class embedding. None refuses rows without a class.

    Raises:
        ValueError: a scheduler without increasing noise levels, an unknown prediction, and what `Adapter` raises.

    Source: Ho, Jain and Abbeel 2020, *Denoising Diffusion Probabilistic Models*, arXiv 2006.11239, eq. 4 and 9;
    Salimans and Ho 2022, *Progressive Distillation for Fast Sampling of Diffusion Models*, arXiv 2202.00512, App. D;
    Lin et al. 2023, *Common Diffusion Noise Schedules and Sample Steps are Flawed*, arXiv 2305.08891 (zero terminal
    ratio).
    """
    kind = _configured(scheduler, "prediction_type") if prediction is None else prediction
    if kind not in get_args(Prediction):
        raise ValueError(f"prediction is {kind!r}: give one of {get_args(Prediction)}; for flow see from_velocity")
    n_labels = _classes_of(unet) if n_labels is None else n_labels
    return DiffusersAdapter(unet, _log_levels(scheduler), str(kind), n_labels, null_label)


class DiffusersAdapter(Adapter):
    """What `from_diffusers` returns.

    Args:
        network: the U-Net.
        log_levels: log σ_t, (T,), increasing; the last may be infinite. Numbers, so that no cast rounds them.
        prediction: what it predicts.
        n_labels: as in `Adapter`.
        null_label: as in `Adapter`.
    """

    def __init__(
        self,
        network: Network,
        log_levels: tuple[float, ...],
        prediction: str,
        n_labels: int | None,
        null_label: int | None,
    ):
        super().__init__(network, n_labels, null_label)
        self.log_levels, self.prediction = log_levels, prediction
        self.whole_times = getattr(getattr(network, "config", None), "time_embedding_type", None) == "learned"

    def denoised(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        """D(x; σ), at levels that the network lacks by `within`."""

        def known(x: Tensor, sigma: Tensor) -> Tensor:
            dtype = network_dtype(self.network, x)
            alpha, t = (1 + sigma.square()).rsqrt(), self.time(sigma)
            time = t.round().long() if self.whole_times else t.to(time_dtype(dtype))
            given = {} if classes is None else {"class_labels": classes}
            output = output_of(self.network((alpha * x).to(dtype), time, **given), x, variance=True)
            if self.prediction == "epsilon":
                return x - sigma * output
            return alpha.square() * x - alpha * sigma * output if self.prediction == "v_prediction" else output

        return within(known, x, sigma, math.exp(self.log_levels[0]), math.exp(self.log_levels[-1]))

    def time(self, sigma: Tensor) -> Tensor:
        """The time of each noise level, (B,), float64, from 0 to T − 1."""
        log_sigma = sigma.detach().flatten().double().log()
        grid = torch.tensor(self.log_levels, dtype=torch.float64, device=sigma.device)
        finite = grid[grid.isfinite()]
        i = (torch.searchsorted(finite, log_sigma, right=True) - 1).clamp(0, len(finite) - 2)
        t = i + (log_sigma - finite[i]) / (finite[i + 1] - finite[i])
        if len(finite) == len(grid):
            return t
        return torch.where(log_sigma > finite[-1], len(finite) - (finite[-1] - log_sigma).exp(), t)


def _log_levels(scheduler: Any) -> tuple[float, ...]:
    """log σ_t of a scheduler, (T,). In float64, but of the very ᾱ_t that its own steps compute with."""
    product = getattr(scheduler, "alphas_cumprod", None)
    if product is None and getattr(scheduler, "betas", None) is not None:
        product = (1 - torch.as_tensor(scheduler.betas, dtype=torch.float64)).cumprod(0)
    if product is None:
        raise ValueError(
            f"scheduler is {type(scheduler).__name__}, without alphas_cumprod or betas: give that of the training "
            "(DDPMScheduler, say); for flow matching see from_velocity, for EDM from_edm"
        )
    product = torch.as_tensor(product).detach().cpu().double().flatten()
    levels = ((1 - product).log() - product.log()) / 2
    if _configured(scheduler, "rescale_betas_zero_snr") and len(levels):
        levels[-1] = math.inf  # some schedulers put 2⁻²⁴ in the place of ᾱ = 0, which is more than the step before has
    rising = bool((levels[1:] > levels[:-1]).all()) and bool(levels[:-1].isfinite().all())
    if len(levels) < 3 or not rising or bool(levels[-1].isnan()):
        raise ValueError(
            f"scheduler has {len(levels)} noise levels that do not rise: give alphas_cumprod, (T,), falling"
        )
    return tuple(levels.tolist())


def _configured(scheduler: Any, name: str) -> Any:
    """What the config of a scheduler says, None if it says nothing."""
    config = getattr(scheduler, "config", None)
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)


def _classes_of(unet: Network) -> int | None:
    """How many classes a network says it has: 0 if its class embedding is None, None if it has no such attribute."""
    if not hasattr(unet, "class_embedding"):
        return None
    return 0 if unet.class_embedding is None else getattr(unet.class_embedding, "num_embeddings", None)
