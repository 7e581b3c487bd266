# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (sec:scaling)=
# # Scaling factors
#
# **Question: what makes a diffusion model memorize: more weights, or fewer images?**
#
# One network on one training set has shown a gap ({doc}`02_generalization_gap`). Whether that is a fact about diffusion
# models or about this one depends on what happens when its circumstances change. The optimal denoiser of a training set
# copies whatever the set's size; so it is the *distance* of a network from that optimum that decides, and that distance
# should shrink in two ways: with a larger network, which can represent sharper functions, and with fewer training images,
# which leave less to represent. The paper's claim is that the two trade off: the gap grows with model size *relative to*
# the size of the data set {cite:p}`kaiser2026`.
#
# So we train a small grid of networks, two training-set sizes by two widths or more, and measure $G$ of {eq}`eq:gap` for
# each. Two precautions make the comparison fair. All are compared at *equal images seen*: a network that has passed ten
# times over a small set has seen as many images as one that has passed once over a set ten times its size. And all are
# compared on the *same* images: a smaller training set is a part of the larger one, and the validation set is shared.

# %% tags=["parameters"]
from diffgen.presets import PresetName

preset: PresetName = "quick"  # how much to compute
seed: int = 0  # of the data split, the initial weights and the noise
device: str = "cpu"  # where to compute: "cpu", "cuda", "cuda:1"
results: str = "runs"  # folder in which trained runs are kept and found again

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd
import torch
from myst_nb import glue

import diffgen as dg
from diffgen import book, evaluate, plots
from diffgen.metrics.adjust import adjusted
from diffgen.metrics.gap import difference_at
from diffgen.plots.factors import gaps_of_runs, growth_of_runs

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)

# %% [markdown]
# ## The grid of runs
#
# Everything but the two factors is equal: the batch, the learning rate, the average of the weights, the noise levels in
# training, the number of images seen.

# %%
runs = {key: list(dg.train(config, root=results, device=device)) for key, config in settings.scaling.items()}
splits = {key: config.data.load() for key, config in settings.scaling.items()}
(few, *_, many), (narrow, *_, wide) = settings.scaling_n_train, settings.scaling_channels
parameters = {w: sum(p.numel() for p in runs[few, w][-1].denoiser().parameters()) for w in settings.scaling_channels}
glue("scaling_images", f"{runs[few, wide][-1].images:,}", display=False)
pd.DataFrame(
    {
        "training images": n, "width": w, "parameters": f"{parameters[w]:,}",
        "parameters per training image": round(parameters[w] / n), "epochs": round(runs[n, w][-1].images / n, 1),
    } for n, w in runs
).style.hide(axis="index")  # fmt: skip

# %% [markdown]
# Each network has seen {glue:text}`scaling_images` images. The last column says how often it has seen each of them.
#
# ## Gaps at equal images seen
#
# What do we expect? If only the number of parameters counted, the two widths would separate, whatever the number of
# training images. If only the training set counted, the colours would separate and the dashes would not. If it is their
# ratio, both happen, and the wide network on the few images has the largest gap, the narrow one on the many images the
# smallest.

# %%
sigmas = dg.log_sigmas(settings.sigmas, settings.sigma_min, settings.sigma_max)
first = min(settings.evaluate, few)  # the images that all runs have in common


def adjusted_curves(key: tuple[int, int], snapshots: list[dg.Snapshot], levels: torch.Tensor) -> list[dg.GapCurve]:
    reference = evaluate.reference_curve(None, splits[key], levels, images=first, seed=seed)
    raw = evaluate.gap_curves(snapshots, splits[key], levels, images=first, seed=seed, device=device)
    return [adjusted(curve, reference) for curve in raw]


final = {key: adjusted_curves(key, snapshots[-1:], sigmas)[0] for key, snapshots in runs.items()}

# %%
fig, ax = plt.subplots(figsize=(7, 3.8))
gaps_of_runs(final, ax);

# %% [markdown]
# Bands are 95 % intervals after the luck of the draw has been taken out ({eq}`eq:adjusted`). They overlap more than the
# differences between the curves are uncertain: the curves rest on the same images with the same noise, so most of what
# is uncertain about one is uncertain about all of them in the same way.
#
# ## Growth over training
#
# The same runs over time, at the noise level at which the last gap of the wide network on few images is largest. A gap
# needs repetition: as long as every image is new to the network, training and validation images are the same to it.

# %%
peak_sigma = final[few, wide].peak_sigma
level = torch.tensor([peak_sigma])
growth = {
    key: ([s.images for s in snapshots], [curve.peak for curve in adjusted_curves(key, snapshots, level)])
    for key, snapshots in runs.items()
}
fig, ax = plt.subplots(figsize=(7, 3.6))
growth_of_runs(growth, ax)
ax.set_title(f"σ = {peak_sigma:.2f}")
glue("peak_sigma", peak_sigma, display=False)

# %% [markdown]
# ## Do the samples copy?
#
# The gap is about denoising. What reaches the samples is a question of its own, {doc}`03_trajectories`; here is the
# memorized fraction of each run's last snapshot, with validation images as the null: the share of them that would be
# called copies of a training image though they cannot be.

# %%
rows = []
for (n, w), snapshots in runs.items():
    x, split = evaluate.samples(snapshots[-1], settings.samples // 2, steps=settings.steps, seed=seed), splits[n, w]
    copied, null = dg.memorized_fraction(x, split.train.x), dg.memorized_fraction(split.val.x, split.train.x)
    at = final[n, w].at(peak_sigma)
    rows.append(
        {"training images": n, "width": w, f"G at σ = {peak_sigma:.2f}": f"{float(at):.3f} ± {at.stderr:.3f}",
         "memorized fraction": f"{float(copied):.1%} ± {copied.stderr:.1%}", "of validation images": f"{float(null):.1%}"}
    )  # fmt: skip
pd.DataFrame(rows).style.hide(axis="index")

# %% [markdown]
# ## What we found
#
# Two differences decide: that between few and many training images at the same width, and that between wide and narrow
# networks on the same images. Their intervals are those of a *difference* over the same images.

# %% tags=["hide-input"]
def claim(name: str, statement: str, more: tuple[int, int], less: tuple[int, int]) -> book.Claim:
    found = difference_at(final[more], final[less], peak_sigma)
    measured = rf"$G({more[0]}\text{{ images}}, \text{{width }}{more[1]}) - G({less[0]}, {less[1]})$ at $\sigma$ = "
    measured += f"{peak_sigma:.2f}"
    return book.Claim(name, statement, measured, *found.with_interval(), above=0)


book.ledger(
    claim("C4 (data)", "The gap grows when the data set shrinks, at equal size of the model.", (few, wide), (many, wide)),
    claim("C4 (size)", "The gap grows with the size of the model, on the same data.", (few, wide), (few, narrow)),
)

# %% [markdown]
# Whatever a network has memorized, guidance may change what its samples show of it: {doc}`05_guidance`.
