"""Images/s of our training beside plain float32 loops around other U-Nets of equal parameter count.

    python benchmarks/training.py                   speed, a few minutes on one core
    python benchmarks/training.py --train 16384     also train both on so many images and compare the validation error

Ours is `Trainer.step` with a U-Net that is narrow where it is fine and wide where it is coarse, channels last, Adam in
one kernel; in bfloat16 where the processor has it, and in float32. Theirs is diffusers' `UNet2DModel` with the levels
of its course's Fashion-MNIST model (32, 64, 64; two layers each, attention at 14 and 7 pixels), and azula's `UNet` if
azula is installed. Both get the same images, preconditioning, loss, optimizer settings, clipping and average of the
weights, in the float32 loop that one writes first.

All are timed in turn, block by block, so that other load on the machine meets all of them; with one thread
(OMP_NUM_THREADS=1) the clock is the process's own time, which other load hardly changes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import diffgen as dg
from diffgen.data import Split
from diffgen.loss import edm_loss
from diffgen.rng import generator
from diffgen.training import HalfLife, Trainer, accelerator_on
from diffgen.training.precision import has_bf16


class Diffusers(nn.Module):
    """diffusers' U-Net as F(x, c_noise, labels); its embedding expects times from 0 to 1000."""

    def __init__(self, size: int):
        super().__init__()
        from diffusers import UNet2DModel

        self.net = UNet2DModel(
            sample_size=size, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        """Return F(x)."""
        return self.net(x, 1000 * c_noise).sample


class Azula(nn.Module):
    """azula's U-Net as F(x, c_noise, labels), modulated by a sine embedding as in its examples."""

    def __init__(self, channels: int):
        super().__init__()
        from azula.nn.layers import SineEncoding
        from azula.nn.unet import UNet

        self.embed = nn.Sequential(SineEncoding(64), nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 256))
        widths = (channels, 2 * channels, 2 * channels)
        self.net = UNet(1, 1, hid_channels=widths, hid_blocks=(2, 2, 2), mod_features=256)

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        """Return F(x)."""
        return self.net(x, self.embed(c_noise))


class Plain:
    """The loop that one writes first: random batches, default Adam, clipping, an average of each parameter in turn."""

    def __init__(self, network: nn.Module, config: dg.TrainConfig, split: Split):
        self.config, self.x, self.images_seen = config, split.train.x, 0
        self.denoiser = dg.Preconditioned(network, split.sigma_data)
        self.average = {name: value.detach().clone() for name, value in self.denoiser.named_parameters()}
        self.optimizer = torch.optim.Adam(self.denoiser.parameters(), lr=config.learning_rate)

    def step(self) -> None:
        """One step."""
        config = self.config
        y = self.x[torch.randint(len(self.x), (config.batch,))]
        sigma = config.sigma(torch.randn(len(y)))
        loss = edm_loss(self.denoiser, y, sigma, torch.randn_like(y), self.denoiser.sigma_data).mean()
        self.images_seen += config.batch
        self.optimizer.param_groups[0]["lr"] = config.learning_rate_at(self.images_seen)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), config.clip)
        self.optimizer.step()
        decay = config.ema[0].decay(self.images_seen, config.batch)
        with torch.no_grad():
            for name, value in self.denoiser.named_parameters():
                self.average[name].mul_(decay).add_(value, alpha=1 - decay)

    def averaged(self) -> nn.Module:
        """The denoiser with its averaged weights."""
        self.denoiser.load_state_dict(self.average, strict=False)
        return self.denoiser


def parameters(network: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(p.numel() for p in network.parameters())


def nearest(build: Callable[[int], nn.Module], widths: range, wanted: int) -> int:
    """The width whose network comes nearest to a number of parameters."""
    return min(widths, key=lambda width: abs(parameters(build(width)) - wanted))


@torch.no_grad()
def validation_error(denoiser: nn.Module, split: Split, draws: int = 8) -> Tensor:
    """The training loss of each validation image, with fixed noise, mean over `draws` noise levels, (N,)."""
    denoiser.eval()
    y, errors = split.val.x, []
    for draw in range(draws):
        noise = generator(0, draw)
        sigma = dg.LogNormal()(torch.randn(len(y), generator=noise))
        n = torch.randn(y.shape, generator=noise)
        parts = zip(y.split(64), sigma.split(64), n.split(64))
        errors.append(torch.cat([edm_loss(denoiser, *part, split.sigma_data) for part in parts]))
    return torch.stack(errors).mean(0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=28, help="side of the images")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3, help="steps a block")
    parser.add_argument("--blocks", type=int, default=7, help="blocks of each, in turn")
    parser.add_argument("--train", type=int, default=0, help="images to train each on, to compare validation errors")
    args = parser.parse_args()

    torch.manual_seed(0)
    theirs = Diffusers(args.size)
    shape, wanted = torch.Size([1, args.size, args.size]), parameters(theirs)

    def unet(channels: int) -> dg.UNetConfig:
        return dg.UNetConfig(channels=channels, multipliers=(1, 3, 6))

    network = unet(nearest(lambda c: unet(c).build(shape), range(8, 100, 4), wanted))
    config = dg.TrainConfig(
        data=dg.DataConfig(size=args.size, n_train=4096, n_val=1024), network=network, total_images=10**9,
        batch=args.batch, learning_rate=1e-3, warmup=2_000, ema=(HalfLife(images=2_000),),
    )  # fmt: skip
    split = config.data.load()
    runs: dict[str, Trainer | Plain] = {}
    for precision in ("bf16", "no"):
        accelerator = accelerator_on("cpu", precision)
        name = "diffgen" if precision == "bf16" else "diffgen float32"
        runs[name] = Trainer(config.with_(precision=precision), split, accelerator)
    if not has_bf16():
        print("this processor has no bfloat16: diffgen computes in float32 twice\n")
    runs["diffusers UNet2DModel"] = Plain(theirs, config, split)
    try:
        runs["azula UNet"] = Plain(Azula(nearest(Azula, range(16, 100, 4), wanted)), config, split)
    except ModuleNotFoundError:
        print("azula is not installed, so its U-Net is left out\n")

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.blocks + 1):
        for name, run in runs.items():
            start = clock()
            for _ in range(args.steps):
                run.step()
            speeds[name].append(args.steps * args.batch / (clock() - start))
    print(f"{args.size} pixels, batch {args.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"{'':24}{'parameters':>12}{'images/s':>10}{'ours is':>22}")
    for name, run in runs.items():
        ratios = [a / b for a, b in zip(speeds["diffgen"][1:], speeds[name][1:])]  # the first block warms up
        line = f"{name:24}{parameters(run.denoiser):12,}{statistics.median(speeds[name][1:]):10.1f}"
        print(f"{line}{statistics.median(ratios):9.2f} times ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    if args.train:
        compare(runs, split, args.train)


def compare(runs: dict[str, Trainer | Plain], split: Split, images: int) -> None:
    """Train all to the same number of images and print their validation errors, paired image by image."""
    errors: dict[str, Tensor] = {}
    print(f"\n{'':24}{'validation error':>18} after {images} images")
    for name, run in runs.items():
        while run.images_seen < images:
            run.step()
        denoiser = run.averaged() if isinstance(run, Plain) else next(iter(run.averages.values())).module
        errors[name] = validation_error(denoiser, split)
        ratio = errors[name] / errors["diffgen"].mean()
        stderr = (ratio - errors["diffgen"] / errors["diffgen"].mean()).std() / len(ratio) ** 0.5
        print(f"{name:24}{errors[name].mean():18.5f}   {ratio.mean():.4f} ± {stderr:.4f} of ours", flush=True)


if __name__ == "__main__":
    main()
