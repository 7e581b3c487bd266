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
# (sec:trajectories)=
# # Trajectories
#
# **Question: do the images that a denoiser generates know the training set as well as the denoiser does?**
#
# {doc}`02_generalization_gap` ended with a network that removes noise better from images that it was trained on than
# from others. A diffusion model generates an image by calling that same network again and again: it starts from pure
# noise and follows the probability-flow equation
#
# $$
# \frac{dx}{d\sigma} = \frac{x - D(x; \sigma)}{\sigma}
# $$ (eq:flow)
#
# from the largest noise level down to none {cite:p}`karras2022`. So it seems to follow that whatever the network has
# memorized must show in what it generates. The paper's finding is that it does not {cite:p}`kaiser2026`: the gap of the
# denoiser grows, the samples do not move towards the training set, because on its way from noise to image a trajectory
# does not pass through the places where the network has memorized. This chapter looks for both: the discrepancy, and the
# reason.

# %% tags=["parameters"]
from diffgen.presets import PresetName

preset: PresetName = "quick"  # how much to compute
seed: int = 0  # of the data split, the initial weights and the noise
device: str = "cpu"  # where to compute: "cpu", "cuda", "cuda:1"
results: str = "runs"  # folder in which trained runs are kept and found again

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import torch
from myst_nb import glue

import diffgen as dg
from diffgen import along, book, evaluate, plots
from diffgen.metrics.adjust import adjusted
from diffgen.metrics.neighbours import nearest, sample_gap
from diffgen.plots.images import image_rows
from diffgen.plots.samples import estimates, gap_and_samples, similarity_over_sigma

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)

# %% [markdown]
# The snapshots are those of chapter 2. If it was executed before, they are found and not trained again.

# %%
split = settings.train.data.load()
snapshots = list(dg.train(settings.train, root=results, device=device))
images = [snapshot.images for snapshot in snapshots]
generated = [evaluate.samples(s, settings.samples, steps=settings.steps, seed=seed, device=device) for s in snapshots]
glue("n_samples", settings.samples, display=False)
glue("steps", settings.steps, display=False)

# %% [markdown]
# ## From noise to image
#
# Each snapshot has drawn {glue:text}`n_samples` images in {glue:text}`steps` steps of Heun's method, all snapshots from
# the same noise. Here is one trajectory of the last snapshot: the state $x$ above, the network's one-step prediction
# $D(x; \sigma)$ below. At first the prediction is close to the mean of all clothes. It decides what it is going to be
# within a few steps in the middle, at noise levels not far from the one at which the gap of chapter 2 peaks. If
# memorized images were to take over, this is where it would happen.

# %%
last = snapshots[-1].denoiser(device=device)
grid = dg.edm_sigmas(settings.steps)
noise = evaluate.initial_noise(1, snapshots[-1].shape, seed).to(device)
states = list(dg.trajectory(last, grid[0] * noise, grid))
shown = states[:: max(1, len(states) // 12)]
fig, ax = plt.subplots(figsize=(8, 1.7))
image_rows([torch.cat([s.x / (1 + s.sigma) for s in shown]), torch.cat([s.denoised for s in shown])], ax, ["x", "D(x)"])
side = shown[0].x.shape[-1] + 1
ax.set_xticks([side * (j + 0.5) for j in range(len(shown))], [f"{float(s.sigma):.2g}" for s in shown])
ax.set_xlabel("noise level σ");

# %% [markdown]
# ## Samples beside their nearest training images
#
# The oldest test of a generator: take its images, and lay beside each the training image that is nearest to it. Copies
# would be plain to see. For comparison the same is done with validation images, which nobody can have copied.

# %%
fig, axes = plt.subplots(2, 1, figsize=(8, 2.4))
for ax, queries, name in zip(axes, (generated[-1][:16], split.val.x[:16]), ("sample", "validation")):
    twins = split.train.x[nearest(queries, split.train.x, k=1).index[:, 0]]
    image_rows([queries, twins], ax, [name, "nearest training"])

# %% [markdown]
# The eye finds relatives, not copies; but an eye can be fooled, and sixteen images are few. A copy can be defined
# {cite:p}`yoon2023`: a sample whose nearest training image is less than a third as far away as its second nearest. By
# that rule we count copies among all samples, for every snapshot, and, as a null, among the validation images. Beside
# it, the mean distance to the nearest training image, in the units of the data.

# %%
copied = [dg.memorized_fraction(x, split.train.x) for x in generated]
null = dg.memorized_fraction(split.val.x, split.train.x)
distance = [dg.Estimate.mean(nearest(x, split.train.x, k=1).distance[:, 0]) for x in generated]
typical = dg.Estimate.mean(nearest(split.val.x, split.train.x, k=1).distance[:, 0])
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3))
for ax, values, reference in zip(axes, (copied, distance), (null, typical)):
    estimates(images, values, ax, color=plots.GENERATED, label="samples")
    ax.axhline(reference, color=plots.VAL, ls="--", label="validation images")
    plots.images_seen(ax)
    ax.legend()
axes[0].set(ylabel="memorized fraction", ylim=(-0.02, max(0.12, 1.3 * max(copied))))
axes[1].set(ylabel="distance to training set", ylim=(0, None));
glue("copied", f"{float(copied[-1]):.1%} ± {copied[-1].stderr:.1%}", display=False)
glue("null", f"{float(null):.1%} ± {null.stderr:.1%}", display=False)
glue("distance", f"{float(distance[-1]):.2f} ± {distance[-1].stderr:.2f}", display=False)
glue("typical", f"{float(typical):.2f} ± {typical.stderr:.2f}", display=False)

# %% [markdown]
# After the last snapshot the memorized fraction is {glue:text}`copied`, that of validation images {glue:text}`null`.
# Samples lie {glue:text}`distance` from the training set, validation images {glue:text}`typical`. Early samples are
# farther away because they are not yet clothes; what matters is whether the curve falls *below* the dashed line.
#
# ## The gap of the denoiser and the gap of its samples
#
# The paper compares two numbers over training time. The first is $G$ of {eq}`eq:gap` at its peak. The second asks the
# same of the samples: are they nearer to the training set than to a validation set of the same size? With $d(q, S)$ the
# distance of an image $q$ to the nearest of $S$, and $q$ running over the samples,
#
# $$
# G_\text{samples} = \frac{\sum_q d^2(q, \text{val})}{\sum_q d^2(q, \text{train})} - 1 .
# $$ (eq:sample-gap)
#
# Like $G$ it is a ratio of squared errors; a generator that treats both sets alike has 0, one that copies has infinity.
# Two finite sets are never equally near to anything, so the same number for fresh images, in neither set, is subtracted:
# that is the luck of the split, and not the generator's doing. The paper uses Fréchet distances of deep features for
# this comparison, which need tens of thousands of images to mean something; nearest neighbours work with hundreds.

# %%
sigmas = dg.log_sigmas(settings.sigmas, settings.sigma_min, settings.sigma_max)
curves = evaluate.gap_curves(snapshots, split, sigmas, images=settings.evaluate, seed=seed, device=device)
reference = evaluate.reference_curve(
    settings.reference, split, sigmas, images=settings.evaluate, seed=seed, root=results, device=device
)
curves = [adjusted(curve, reference) for curve in curves]
peak_sigma = curves[-1].peak_sigma
gaps = [curve.at(peak_sigma) for curve in curves]
followed = [sample_gap(x, split.train.x, split.val.x, split.rest.x) for x in generated]

# %%
fig, ax = plt.subplots(figsize=(7, 3.8))
gap_and_samples(images, gaps, followed, ax)
glue("main_result", fig, display=False)
glue("peak_sigma", peak_sigma, display=False)
glue("gap_last", f"{float(gaps[-1]):.3f} ± {gaps[-1].stderr:.3f}", display=False)
glue("followed_last", f"{float(followed[-1]):.3f} ± {followed[-1].stderr:.3f}", display=False)

# %% [markdown]
# At the last snapshot the denoiser's gap (at $\sigma =$ {glue:text}`peak_sigma:.2f`) is {glue:text}`gap_last`, and that
# of its samples {glue:text}`followed_last`. If the two curves went together, whatever the network has memorized would
# have reached its samples. How far they do not is the paper's point, and this figure is the book in one picture.

# %% [markdown]
# ## Where the trajectory runs
#
# Why would a network that has memorized not use it? Because it is never asked. What it knows by heart is how to denoise
# $y_i + \sigma n$ for training images $y_i$. A trajectory visits other places. So ask the network what it predicts *on*
# trajectories, at every noise level, and compare with what it predicts for noisy training images and for noisy
# validation images: which of the two do trajectories resemble? The measure is how similar the prediction is to the
# nearest training image (cosine similarity, after subtracting the mean image).
#
# Noisy training images must come out on top at intermediate noise, since the network recognizes them; that is the gap of
# chapter 2 in another guise. If trajectories passed through the same region, their curve would lie there as well.

# %%
levels, similarity = along.prediction_similarities(
    snapshots[-1], split, n=settings.trajectories, steps=settings.steps, seed=seed, device=device
)
fig, ax = plt.subplots(figsize=(7, 3.8))
similarity_over_sigma(levels, similarity, ax);

# %% [markdown]
# At large noise the three are one: all predictions are the mean image. At the small end a prediction is the image
# itself, and a training image is, of course, its own nearest training image. What counts is the middle.
#
# To put a number on it, place the trajectory on a scale on which noisy validation images are 0 and noisy training images
# are 1:
#
# $$
# p(\sigma) = \frac{s_\text{trajectory} - s_\text{val}}{s_\text{train} - s_\text{val}} .
# $$ (eq:place)
#
# The paper reports similarities that amount to $p \approx 0.37$: nearer to validation than to training.

# %%
nearest_level = int((levels.log() - torch.tensor(peak_sigma).log()).abs().argmin())
at_peak = {name: values[nearest_level] for name, values in similarity.items()}


def resampled_mean(values: torch.Tensor, draws: int = 2000) -> torch.Tensor:
    picks = torch.randint(len(values), (draws, len(values)), generator=torch.Generator().manual_seed(seed))
    return values[picks].mean(1)


boot = {name: resampled_mean(values) for name, values in at_peak.items()}
place = (boot["trajectory"] - boot["val"]) / (boot["train"] - boot["val"])
place_low, place_high = place.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
means = {name: float(values.mean()) for name, values in at_peak.items()}
place_estimate = (means["trajectory"] - means["val"]) / (means["train"] - means["val"])
glue("place", f"{place_estimate:.2f} (95 % interval {place_low:.2f} to {place_high:.2f})", display=False)
glue("place_sigma", float(levels[nearest_level]), display=False)

# %% [markdown]
# At $\sigma =$ {glue:text}`place_sigma:.2f`, the sampler's noise level nearest to the peak of the gap, the trajectory
# sits at $p =$ {glue:text}`place`.
#
# ## What we found

# %% tags=["hide-input"]
growth, growth_samples = gaps[-1] - gaps[0], followed[-1] - followed[0]
stderr = sum(e.stderr**2 for e in (gaps[-1], gaps[0], followed[-1], followed[0])) ** 0.5
lag = growth_samples - growth
book.ledger(
    book.Claim(
        "C5", "Denoising trajectories do not follow the growing gap: that of the samples grows less.",
        f"growth of the samples' gap less that of $G$, from {images[0]:,} to {images[-1]:,} images seen",
        estimate=lag, low=lag - 1.96 * stderr, high=lag + 1.96 * stderr, below=0,
    ),
    book.Claim(
        "C6", "At intermediate noise, trajectories have little overlap with the noisy training data: their predictions "
        "lie nearer to those for validation images.",
        rf"place $p$ between validation (0) and training (1) at $\sigma$ = {levels[nearest_level]:.2f}",
        estimate=place_estimate, low=min(place_low, place_estimate), high=max(place_high, place_estimate), below=0.5,
    ),
)  # fmt: skip

# %% [markdown]
# What makes a network memorize sooner, and what later, is the question of {doc}`04_scaling_factors`.
