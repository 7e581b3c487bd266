"""Small untrained networks called as other people's are, written from the papers' equations, and adapters of them."""

import math
from types import SimpleNamespace

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import nn

import diffgen as dg
from diffgen import adapters

CLASSES = 3
SHAPE = (1, 8, 8)


def column(values, x):
    """Values of rows, (B,), over the entries of x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def randn(*shape, seed=0):
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def levels(scheduler):
    """The noise levels of a scheduler of diffusers, (T,), float64."""
    product = scheduler.alphas_cumprod.double()
    return ((1 - product) / product).sqrt()


def close(ours, theirs, sigma=None):
    """Equal up to rounding: 1e-5 in units of the data, or of the noise where that is larger."""
    assert ours.dtype == theirs.dtype
    scale = 1 if sigma is None else 1 + column(sigma.to(ours), ours)
    assert ((ours - theirs).abs() / scale).max() < 1e-5


def seeded(make):
    """A network whose weights depend on nothing but its shape, away from zero, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = make()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.15)
    return network.eval()


class Plain(nn.Module):
    """F(x, t, class), rows of any shape; each of the three matters. Classes are indices or one-hot rows."""

    def __init__(self, classes=0, size=64, slow=1.0):
        super().__init__()
        self.classes, self.slow = classes, slow
        self.mix, self.out = nn.Linear(size, 24), nn.Linear(24, size)
        self.time, self.label = nn.Linear(2, 24), nn.Linear(max(classes, 1), 24, bias=False)

    def forward(self, x, t, labels=None):
        assert t.shape == (len(x),)
        t = (t / self.slow).to(x.dtype)
        h = self.mix(x.flatten(1)) + self.time(torch.stack([t.cos(), t.sin()], 1))
        if labels is not None:
            assert self.classes, "labels for a network without classes"
            one_hot = labels if labels.is_floating_point() else nn.functional.one_hot(labels, self.classes)
            h = h + 8 * self.label(one_hot.to(x.dtype))
        return self.out(2 * h.tanh()).reshape(x.shape)


def unet(classes=None, channels=1, **options):
    """A UNet2DModel; with classes the last row of their embedding is for none."""
    return seeded(
        lambda: UNet2DModel(
            sample_size=8, in_channels=1, out_channels=channels, block_out_channels=(8, 16), layers_per_block=1,
            norm_num_groups=4, down_block_types=("DownBlock2D", "DownBlock2D"), add_attention=False,
            up_block_types=("UpBlock2D", "UpBlock2D"), num_class_embeds=classes, **options,
        )
    )  # fmt: skip


def ddpm(**options):
    """A scheduler that clips nothing."""
    return DDPMScheduler(clip_sample=False, **options)


class EDM(nn.Module):
    """Preconditioned and called as EDM's networks are: arXiv 2206.00364, eq. 7 and table 1."""

    def __init__(self, label_dim=0, sigma_data=0.5):
        super().__init__()
        self.label_dim, self.sigma_data, self.model = label_dim, sigma_data, Plain(label_dim)

    def forward(self, x, sigma, class_labels=None, force_fp32=False):
        assert x.dtype == sigma.dtype == torch.float32
        if not self.label_dim:
            assert class_labels is None
        elif class_labels is None:
            class_labels = x.new_zeros(len(x), self.label_dim)
        x = x if force_fp32 else x.bfloat16().float()
        s = column(sigma, x)
        total = s**2 + self.sigma_data**2
        output = self.model(x / total.sqrt(), sigma.log() / 4, class_labels)
        return self.sigma_data**2 / total * x + s * self.sigma_data / total.sqrt() * output


class EDM2(EDM):
    """As EDM2's, its weights are kept in float16 and cast on use; what it returns is float32."""

    def __init__(self, label_dim=0):
        super().__init__(label_dim)
        self.half()

    def forward(self, x, sigma, class_labels=None, force_fp32=False):
        weights = {name: value.float() for name, value in self.model.state_dict().items()}
        s, own = column(sigma, x), self.sigma_data
        scale = (s**2 + own**2).rsqrt()
        given = (scale * x, sigma.log() / 4, class_labels)
        output = torch.func.functional_call(self.model, weights, given)
        output = output if force_fp32 else output.half()
        return (own * scale) ** 2 * x + s * own * scale * output.float()


class KDiffusion(nn.Module):
    """A wrapper as k-diffusion's: D of σ, (B,), labels by keyword."""

    def __init__(self, classes=0):
        super().__init__()
        self.inner_model = Plain(classes)

    def forward(self, x, sigma, **kwargs):
        s = column(sigma, x)
        output = self.inner_model(x * (s**2 + 1).rsqrt(), sigma.log() / 4, kwargs.get("class_cond"))
        return x / (s**2 + 1) + s * (s**2 + 1).rsqrt() * output


class VariancePreserving:
    """A schedule as azula's: α_t = exp(t² log α_1), σ_t² = 1 − α_t² + σ_0²."""

    def __call__(self, t):
        alpha = torch.exp(math.log(1e-3) * t**2)
        return alpha, torch.sqrt(1 - alpha**2 + 1e-6)


class Rectified:
    """A schedule as azula's: between 1 and a thousandth, both straight."""

    def __call__(self, t):
        return 1 - 0.999 * t, 0.001 + 0.999 * t


class Posterior(nn.Module):
    """Called as azula's denoisers are: EDM's preconditioning for x_t = α_t y + σ_t n, a posterior with a mean."""

    def __init__(self, schedule, classes=0):
        super().__init__()
        self.backbone, self.schedule = Plain(classes), schedule

    def forward(self, x_t, t, label=None):
        alpha, sigma = (column(value, x_t) for value in self.schedule(t))
        total = alpha**2 + sigma**2
        time = (sigma / alpha).log().flatten()
        dtype = self.backbone.out.weight.dtype
        output = self.backbone((x_t / total.sqrt()).to(dtype), time.to(dtype), label)
        return SimpleNamespace(mean=alpha / total * x_t + sigma / total.sqrt() * output.to(x_t))


def velocity(classes=0):
    """A network whose times are 0 to 1."""
    return seeded(lambda: Plain(classes))


NULL = {"n_labels": CLASSES, "null_label": CLASSES}
ADAPTED = {
    "diffusers": lambda: adapters.from_diffusers(unet(), ddpm()),
    "diffusers, classes": lambda: adapters.from_diffusers(
        unet(CLASSES + 1), ddpm(prediction_type="v_prediction", rescale_betas_zero_snr=True), null_label=CLASSES
    ),
    "velocity": lambda: adapters.from_velocity(velocity(), n_labels=0),
    "velocity, classes": lambda: adapters.from_velocity(velocity(CLASSES + 1), path="cosine", data_at=0, **NULL),
    "edm": lambda: adapters.from_edm(seeded(EDM)),
    "edm, classes": lambda: adapters.from_edm(seeded(lambda: EDM(CLASSES))),
    "edm2, classes": lambda: adapters.from_edm(seeded(lambda: EDM2(CLASSES))),
    "azula": lambda: adapters.from_azula(seeded(lambda: Posterior(VariancePreserving())), n_labels=0),
    "azula, classes": lambda: adapters.from_azula(seeded(lambda: Posterior(Rectified(), CLASSES + 1)), **NULL),
    "k-diffusion": lambda: adapters.from_k_diffusion(seeded(KDiffusion), n_labels=0),
    "k-diffusion, classes": lambda: adapters.from_k_diffusion(seeded(lambda: KDiffusion(CLASSES + 1)), **NULL),
}
"""Adapters of networks of images of `SHAPE`; those of networks with classes say so."""

GAUSSIAN = dg.GaussianDenoiser(torch.tensor([0.3, -0.2]), torch.tensor([[1.0, 0.5], [0.5, 0.6]]))
"""The exact posterior mean of points in the plane."""
