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
# reason. It asks every question of three training-set sizes, one of them so small that copying is to be expected: a
# measure that finds no copies there would find none anywhere.

# %% tags=["parameters", "published"]
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
from diffgen import book, experiments, plots
from diffgen.book import verbally
from diffgen.features import classifier_features
from diffgen.metrics.copying import authentic_fraction, copying_score
from diffgen.metrics.estimate import Interval
from diffgen.metrics.gap import paired_difference_at
from diffgen.metrics.neighbours import nearest, neighbour_gap
from diffgen.metrics.reproducibility import reproducibility
from diffgen.metrics.split_variance import paired_gaps
from diffgen.metrics.trajectory import peak_window, relative_position
from diffgen.plots import trajectories as draw
from diffgen.plots.images import image_rows
from diffgen.plots.samples import gap_and_samples, points
from diffgen.widgets import Curves, Images, Scrubber, Slider

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)
plan, grid = settings.trajectories, settings.trajectories.sigmas
measure = dg.Measure(seed=seed, device=device, n_images=settings.gap.n_eval)

# %% [markdown]
# ## Three sizes, and their samples
#
# The main run is that of chapter 2; if that was executed before, its snapshots are found and not trained again. Beside it
# stand the same network trained on fewer and on more images of the same pool. All are stopped after equally many images
# *seen*: the smaller the training set, the more often each image was among them. Each snapshot draws its samples from the
# same initial noise.

# %%
trained = {n: list(dg.train(config, root=results, device=device)) for n, config in plan.by_size.items()}
main, smallest = settings.train.data.n_train, min(trained)
runs = {n: of_run if n <= main else of_run[::-2][::-1] for n, of_run in trained.items()}  # large sets change slowly
splits = {n: config.data.load() for n, config in plan.by_size.items()}
seen = {n: [snapshot.images_seen for snapshot in of_run] for n, of_run in runs.items()}
drawn = {n: [experiments.samples(s, plan.n, grid, measure) for s in of_run] for n, of_run in runs.items()}
split, last = splits[main], runs[main][-1]
fig, axes = plt.subplots(len(runs), 1, figsize=(8, 1.35 * len(runs)))
for ax, (n, samples) in zip(axes, drawn.items()):
    closest = splits[n].train.x[nearest(samples[-1][:16], splits[n].train.x, k=1).index[:, 0]]
    image_rows([samples[-1][:16], closest], ax, ["sample", "nearest training"])
    ax.set_title(f"{n:,} training images, {seen[n][-1]:,} images seen", fontsize=9)
glue("n_samples", plan.n, display=False)
glue("steps", plan.n_steps, display=False)
glue("smallest", f"{smallest:,}", display=False)
glue("main", f"{main:,}", display=False)

# %% [markdown]
# Each snapshot draws {glue:text}`n_samples` images in {glue:text}`steps` steps of Heun's method; above are the first of
# the last stop, each with the training image nearest to it. The oldest test of a generator is to look for rows that are
# equal. But an eye can be fooled, and sixteen images are few.
#
# ## Copies, counted
#
# Three counts, each with its null. A *copy* {cite:p}`yoon2023` is a sample less than a third as far from its nearest
# training image as from its second nearest; the null is the same count among validation images, which nobody can have
# copied. A sample is *authentic* {cite:p}`alaa2022` if it lies further from its nearest training image than that image's
# own nearest neighbour does; the null is again that of validation images. And the *data-copying score* $C_T$
# {cite:p}`meehan2020` asks by ranks whether samples are nearer to the training set than held-out images are: far below 0
# is copying, far above 0 are samples that are not yet images; without either it stays within about ±1. For the
# smallest training set we expect the first to rise, and the other two to fall, with training.

# %%
cells = max(1, plan.n // 64)
scores = {
    "memorized fraction": lambda x, s: dg.memorized_fraction(x, s.train.x),
    "authentic fraction": lambda x, s: authentic_fraction(x, s.train.x),
    "data-copying score $C_T$": lambda x, s: copying_score(
        x, s.train.x, s.val.x, cells=min(cells, len(s.train)), at_least=5, seed=seed
    ),
}
copying = {name: {n: [of(x, splits[n]) for x in drawn[n]] for n in runs} for name, of in scores.items()}
nulls = {name: {n: of(splits[n].val.x, splits[n]) for n in runs} for name, of in list(scores.items())[:2]}
fig, axes = plt.subplots(1, 3, figsize=(9, 3))
for ax, (name, of_size) in zip(axes, copying.items()):
    draw.over_training({n: (seen[n], values) for n, values in of_size.items()}, ax, nulls.get(name))
    ax.set(ylabel=name)
axes[0].legend(loc="upper left")
axes[0].set(yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
axes[0].set(ylim=(-0.05, 1.8 * max(0.3, *map(max, copying["memorized fraction"].values()))))
axes[2].axhline(0, color=plots.NEUTRAL, lw=0.8);

# %% tags=["hide-input"]
def copies_of(n: int) -> str:
    share, null = copying["memorized fraction"][n][-1], nulls["memorized fraction"][n]
    more = verbally(share, "more than", "fewer than", "not told from", float(null))
    return f"{share.format('.1%')} of the samples are copies, {more} the {float(null):.1%} of the null"


glue("copies_smallest", copies_of(smallest), display=False)
glue("copies_main", copies_of(main), display=False)

# %% [markdown]
# Thin horizontal lines are the nulls. Trained on {glue:text}`smallest` images, at the last stop
# {glue:text}`copies_smallest`. Trained on {glue:text}`main`, {glue:text}`copies_main`.
#
# ## The gap of the denoiser and the gap of its samples
#
# Few copies could still be many images that lean towards the training set. The paper compares two numbers over training
# time. The first is $G$ of {eq}`eq:gap` at its peak, adjusted as in chapter 2 (raw, where there are too few training
# images for that). The second asks the same of the samples: are they nearer to the training set than to a validation set
# of the same size? With $d(q, S)$ the distance of an image $q$ to the nearest of $S$, and $q$ running over the samples,
#
# $$
# G_\text{samples} = \frac{\sum_q d^2(q, \text{val})}{\sum_q d^2(q, \text{train})} - 1 .
# $$ (eq:sample-gap)
#
# Like $G$ it is a ratio of squared errors; a generator that treats both sets alike has 0, one that copies has infinity.
# Two finite sets are never equally near to anything, so the same number for fresh images, in neither set, is subtracted:
# that is the sampling variability of the split, and not the generator's doing. Samples lie elsewhere than fresh images, so
# some of it remains. The error bars contain it: it is measured on splits that are drawn anew from images of neither set.
# If samples followed their denoiser, both curves would rise together. The paper says that they part.

# %%
sigmas = settings.gap.levels.sigmas
reference = dg.trained(settings.reference, root=results, device=device) if settings.reference else None
curves, peaks, gaps, followed, risen = {}, {}, {}, {}, {}


def adjusted(n: int, snapshots: list, levels: torch.Tensor) -> list[dg.GapCurve]:
    raw = experiments.gap_curves(snapshots, splits[n], levels, measure)
    return experiments.adjusted_curves(raw, splits[n], reference, measure)


for n, of_run in runs.items():
    (curves[n],) = adjusted(n, of_run[-1:], sigmas)
    peaks[n] = adjusted(n, of_run, torch.tensor([curves[n].peak_sigma]))
    gaps[n] = [curve.peak for curve in peaks[n]]
    followed[n], risen[n] = paired_gaps(drawn[n], splits[n], seed=seed)
fig, axes = plt.subplots(1, len(runs), figsize=(3 * len(runs), 3.1))
for ax, n in zip(axes, runs):
    gap_and_samples(seen[n], gaps[n], followed[n], ax)
    ax.set(title=f"{n:,} training images", ylabel="relative gap" if ax is axes[0] else "")
glue("main_result", fig, display=False)

# %% tags=["hide-input"]
peak_sigma = curves[main].peak_sigma
grown = paired_difference_at(peaks[main][-1], peaks[main][0], peak_sigma)
grown_samples = risen[main][-1]
lag = grown_samples.minus(grown)
glue("peak_sigma", peak_sigma, display=False)
for name, value in {
    "gap_last": gaps[main][-1], "followed_last": followed[main][-1], "grown": grown, "grown_samples": grown_samples,
    "gap_smallest": gaps[smallest][-1], "followed_smallest": followed[smallest][-1],
}.items():  # fmt: skip
    glue(name, value.format(), display=False)
glue("parted", verbally(lag, "the samples' gap grew more than that of the denoiser", "the samples' gap grew less than that "
     "of the denoiser: the two part", "within their intervals the two grew alike"), display=False)
glue("still", verbally(grown_samples, "grew, though", "fell", "did not grow measurably"), display=False)

# %% [markdown]
# With {glue:text}`main` training images, at the last stop, the gap of the denoiser (at $\sigma =$
# {glue:text}`peak_sigma:.2f`) is {glue:text}`gap_last` and that of its samples {glue:text}`followed_last`. Since the
# first stop the one grew by {glue:text}`grown`, the other by {glue:text}`grown_samples`: {glue:text}`parted`. The
# samples' own gap {glue:text}`still`; early samples are not yet clothes, and equally far from everything, so some growth
# comes with learning to draw. With {glue:text}`smallest` training images the numbers are {glue:text}`gap_smallest` and
# {glue:text}`followed_smallest`. This figure is the book in one picture.
#
# ### The same by Fréchet distances
#
# The paper uses the Fréchet distance between the samples and each split {cite:p}`heusel2017`. Here it is in the features
# of a small classifier of clothes, and in the principal components of the pixels, always to sets of equal size and
# beside two baselines: what training subsets are apart from one another, and from the validation set. The *corrected*
# gap takes out what the splits do by themselves. **On so few images Fréchet gaps say little** {cite:p}`marion2026`: their
# intervals are wide, and what chance does to the split is not in the baselines' difference alone. No verdict of this
# book rests on them.

# %%
spaces = {"classifier": classifier_features, "pixels": None}
distances = {
    space: {n: [experiments.frechet_gap_of(*pair, splits[n], features, measure) for pair in zip(runs[n], drawn[n])]
            for n in runs}
    for space, features in spaces.items()
}  # fmt: skip
fig, axes = plt.subplots(2, 2, figsize=(8.5, 6))
for (left, right), space in zip(axes, spaces):
    draw.frechet_distances(seen[main], distances[space][main], left)
    left.set(title=f"{space}: {main:,} training images")
    corrected = {n: (seen[n], [gap.corrected for gap in of_run]) for n, of_run in distances[space].items()}
    draw.over_training(corrected, right)
    right.axhline(0, color=plots.NEUTRAL, lw=0.8)
    right.set(title=f"{space}: corrected gap", ylabel="corrected Fréchet gap")
axes[0, 1].legend()
frechet_last = distances["classifier"][main][-1].corrected
glue("frechet_last", frechet_last.format(".2f"), display=False)
glue("frechet_says", verbally(frechet_last, "nearer to the training set", "nearer to the validation set",
     "not measurably nearer to either set"), display=False)

# %% [markdown]
# The corrected gap in classifier features at the last stop of the main run is {glue:text}`frechet_last`: by this measure
# its samples are {glue:text}`frechet_says`.
#
# ## Where trajectories run
#
# Why would a network that has memorized not use it? Because it is never asked. What it knows by heart is how to denoise
# $y_i + \sigma n$ for training images $y_i$; a trajectory may visit other places. So ask the network what it predicts *on*
# trajectories, at every noise level of the sampler, and compare with what it predicts for noisy training and for noisy
# validation images. The measure is how similar the prediction is to the most similar training image (cosine, the mean
# image subtracted). At large noise the three should be one: all predictions are the mean image. Noisy training images
# must come out on top further down: their own originals are among the references, and the network may know them. If
# trajectories passed through the same region, their curve would lie there as well. The same against validation
# images as references must turn the order of the two around.
#
# To put a number on it, put the trajectory on a scale on which noisy validation images are 0 and noisy training images
# are 1:
#
# $$
# p(\sigma) = \frac{s_\text{trajectory} - s_\text{val}}{s_\text{train} - s_\text{val}} .
# $$ (eq:position)
#
# The paper reports similarities that amount to $p \approx 0.37$. A model that copies should have $p$ near 1, towards the
# end at the latest.

# %%
stats = {n: experiments.trajectory_stats(runs[n][-1], splits[n], plan.n, grid, measure) for n in runs}
levels = grid[:-1]
window = peak_window(curves[main], levels)
positions = {n: relative_position(of_run, seed=seed) for n, of_run in stats.items()}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for ax, name_of_measure, name in zip(axes, ("similarity", "similarity_val"), ("training", "validation")):
    draw.measure_over_sigma(stats[main], name_of_measure, ax, levels[window])
    ax.set(ylabel=f"similarity to nearest {name} image", ylim=(0, 1.05))
axes[0].legend(loc="lower left")
for n, style in draw.size_styles(list(runs)).items():
    draw.position_over_sigma(levels, positions[n], axes[2], **style)
draw.position_frame(axes[2]).legend(loc="upper left", fontsize=7);

# %% tags=["hide-input"]
def position_in_window(n: int) -> Interval:
    return relative_position(stats[n], levels=peak_window(curves[n], levels), seed=seed).interval()


def position_in_words(n: int) -> str:
    at = position_in_window(n)
    if at.value != at.value:
        return "not defined, for noisy training and noisy validation images are not told apart there"
    words = ("nearer to training", "nearer to validation", "not told apart from the middle")
    return f"{at.value:.2f} (95 % interval {at.low:.2f} to {at.high:.2f}), {verbally(at, *words, 0.5)}"


by_similarity_gap = relative_position(stats[main], "similarity_gap", levels=window, seed=seed).interval()
at = [2 * end - 1 for end in by_similarity_gap]
glue("similarity_gap", f"{at[0]:+.2f} (95 % interval {at[1]:+.2f} to {at[2]:+.2f})", display=False)
glue("position_main", position_in_words(main), display=False)
glue("position_smallest", position_in_words(smallest), display=False)
glue("window", f"{float(levels[window].min()):.2g} to {float(levels[window].max()):.2g}", display=False)

# %% [markdown]
# The shaded noise levels, $\sigma$ from {glue:text}`window`, are those at which the main run's gap is at least half its
# peak. Over them together, the relative position $p$ of its trajectories is {glue:text}`position_main`. For the run on
# {glue:text}`smallest` images, over the noise levels of its own peak, $p$ is {glue:text}`position_smallest`. Levels at
# which noisy training and validation images are not told apart have no $p$ and are not drawn. Two cautions. $p = 0$
# is also what a perfect model would show, which has memorized nothing: $p$ says something only together with $G$. And a
# $p$ below 0 means that predictions on trajectories are less like any training image than those for noisy validation
# images, as the drawings of an unfinished network are. Quality cancels in the *similarity difference*, the similarity to
# training images less that to equally many validation images. On a scale from −1 (noisy validation images) to 1 (noisy
# training images) that of trajectories is {glue:text}`similarity_gap`; 0 is neutral.
#
# ## Where the trajectory leaves the training data
#
# That was the network's opinion. Whether the states themselves overlap with the noisy training data can be measured
# without it. A noisy training image lies on a thin shell of radius $\sigma \sqrt d$ around its original. The *shell ratio*
# {cite:p}`song2025` of a state is its distance to the training image whose shell is nearest, over that radius: 1 on the
# noisy training data. *Shell coverage* {cite:p}`dodson2026` is the share of states inside some shell. The *posterior
# concentration* $W_\sigma$ is the largest weight that the optimal denoiser gives to a training image, averaged: near 1,
# it would copy. And the distance of the network from the optimal denoiser {cite:p}`niedoba2025` says where the network
# has learned to copy: it should be small where it has memorized, if it is asked there.

# %%
panels = {"shell": "shell ratio", "inside": "shell coverage", "concentration": r"concentration $W_\sigma$",
          "distance": "distance to optimal denoiser"}  # fmt: skip
fig, axes = plt.subplots(2, 3, figsize=(9, 5.6), sharex=True)
for ax, (name_of_measure, name) in zip((axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]), panels.items()):
    draw.measure_over_sigma(stats[main], name_of_measure, ax, levels[window])
    ax.set(ylabel=name)
axes[0, 0].set(yscale="log")
axes[0, 0].legend()
axes[1, 1].set(yscale="log")
by_measure = {m: relative_position(stats[main], m, seed=seed) for m in ("shell", "concentration", "distance")}
for (name, at), mark in zip(by_measure.items(), ("o", "s", "^")):
    draw.position_over_sigma(levels, at, axes[0, 2], marker=mark, label=panels[name], ls="none")
draw.position_frame(draw.noise_axis(axes[0, 2], levels[window])).legend(fontsize=7)
axes[1, 2].plot(sigmas, curves[main].gap, color=plots.TRAIN)
draw.noise_axis(axes[1, 2], levels[window]).set(ylabel="gap of the denoiser $G(\\sigma)$");

# %% tags=["hide-input"]
at = by_measure["shell"]
known, near_val, near_train = (~at.value.isnan(), at.high < 0.5, at.low > 0.5)
left = levels[near_val]
text = (
    f"shells tell noisy training from noisy validation images at {int(known.sum())} of {len(levels)} noise levels. "
    f"At {int(near_val.sum())} of these trajectories lie nearer to the validation images, at {int(near_train.sum())} "
    "nearer to the training images, and at the others neither is sure."
)
if len(left):
    text += f" The first on the validation side, from the noise down, is σ = {float(left.max()):.2g}; "
    text += f"{int((near_val & window).sum())} of the {int(window.sum())} levels in the shaded range are among them."
glue("leaves", text[0].upper() + text[1:], display=False)

# %% [markdown]
# {glue:text}`leaves` The upper right panel puts three of the measures on the scale of {eq}`eq:position` (the last two by
# their logarithms); below it is the denoiser's gap. Where the trajectory's points lie near 0 while $G$ is high, the
# network's memory is of places that the trajectory does not visit; where they lie near 1, it visits them.
#
# ## Stopping early
#
# One can leave a trajectory at any noise level by taking the prediction $D(x; \sigma)$ for the image. Its neighbour gap,
# over the sampler's true noise levels, shows when a trajectory decides for one of the sets, if it does. The same for
# predictions from noisy training images shows what the gap of samples would be if trajectories ran there. Error bars here
# and below, under churn, are of the states alone: they hold for this split.

# %%
of_holdout = neighbour_gap(split.holdout.x, split.train.x, split.val.x)
stopped = {part: [t.gap.minus(of_holdout) for t in of_part.gap] for part, of_part in stats[main].items()}
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.2))
for part, (label, style) in draw.PARTS.items():
    for ax in axes if part == "trajectory" else axes[:1]:
        points(levels, stopped[part], ax, marker="o", label=label, **style)
for ax in axes:
    draw.noise_axis(ax, levels[window]).axhline(0, color=plots.NEUTRAL, lw=0.8)
    ax.set(ylabel="neighbour gap of $D(x; \\sigma)$")
axes[0].set(ylim=(-1.1, max(3 * max(map(float, stopped["trajectory"])), 2)), title="all three")
axes[0].legend()
axes[1].set(title="trajectories alone")
largest = max(range(len(levels)), key=lambda i: stopped["trajectory"][i])
glue("early", stopped["trajectory"][largest].format(), display=False)
glue("early_sigma", f"{float(levels[largest]):.2g}", display=False)

# %% [markdown]
# Along trajectories it is largest at $\sigma =$ {glue:text}`early_sigma`, where it is {glue:text}`early`. On the left, the
# curve of noisy training images leaves the panel where they are recognized; that of noisy validation images goes to −1,
# as each has itself among the validation images.
#
# ## Two experiments
#
# So far we have watched. Now intervene. *Switch*: sample with the last snapshot, but inside a window of noise levels let an
# early one take its place, from before half of the gap had grown. If what was memorized at these levels mattered,
# samples would lie less near the training set; the change should be negative. *Recall*: start trajectories on noisy
# training images and see how many end as copies of the very image that they started from. At small noise every network
# returns, for there is no way to get lost; noisy validation images, searched among equally many of their kind, are the
# null.

# %%
fig, axes = plt.subplots(2, 2, figsize=(8.5, 5.8))
switches, recall, groups = {}, {}, experiments.level_groups(grid, 4)
starts = [i for i, level in enumerate(levels) if 0.03 < level < 8]
for (switch, rate), n in zip(axes.T, (smallest, main)):
    early = max((k for k, gap in enumerate(gaps[n][:-1]) if gap <= gaps[n][-1] / 2), default=0)
    mixed = [experiments.switched(runs[n][-1], runs[n][early], group) for group in groups]
    x = [experiments.samples(subject, plan.n, grid, measure) for subject in mixed]
    _, (_, *switches[n]) = paired_gaps([drawn[n][-1], *x], splits[n], seed=seed)
    draw.over_windows(groups, switches[n], switch, color=plots.GENERATED).axhline(0, color=plots.NEUTRAL, lw=0.8)
    switch.set(title=f"{n:,} training images", ylabel="change of the samples' gap")
    recall[n] = experiments.recall_rates(runs[n][-1], splits[n], starts, min(48, plan.n), grid, measure)
    draw.rates_over_sigma(levels[starts], recall[n], rate).set(ylabel="share that returns to its image")
    rate.legend()

# %% tags=["hide-input"]
def changed(n: int) -> str:
    lower = sum(change.interval()[1] < 0 for change in switches[n])
    higher = sum(change.interval()[0] > 0 for change in switches[n])
    return f"lower in {lower} of {len(groups)} windows, and higher in {higher}"


def held(n: int) -> str:
    pairs = zip(starts, recall[n]["train"], recall[n]["val"])
    more = [float(levels[i]) for i, a, b in pairs if a.minus(b).interval()[0] > 0]
    if not more:
        return "at no noise level are training images returned to measurably more often than the null"
    return f"training images are returned to measurably more often than the null, up to σ = {max(more):.2g}"


for name, n in (("main", main), ("smallest", smallest)):
    glue(f"switch_{name}", changed(n), display=False)
    glue(f"held_{name}", held(n), display=False)

# %% [markdown]
# With the early snapshot in a window, the gap of the main run's samples is measurably {glue:text}`switch_main`. For the
# smallest training set it is {glue:text}`switch_smallest`. In the recall test, for the main run,
# {glue:text}`held_main`; for the smallest training set, {glue:text}`held_smallest`. Where the field returns to training
# images from noise levels at which its trajectories show no sign of them, its memory would be followed, if trajectories
# came there. Where it does no more than the null, what $G$ measures is a better guess and not yet a copy.
#
# ## Does it depend on which images?
#
# If samples owe little to the particular training images, a network trained on other images of the same kind should make
# the same samples of the same noise {cite:p}`kadkhodaie2024,zhang2024`. So each size has a *twin*, trained on as many
# images of which none is shared. *Agreement* is the mean cosine similarity of their samples, on a scale on which
# mismatched samples are 0 and equal ones 1. And one more parameter: *churn* adds fresh noise at every step
# {cite:p}`karras2022`, which pulls states back to where noisy data is. Does it lead trajectories to the training data?

# %%
agreement = {}
for n, config in plan.disjoint_runs.items():
    twin = dg.trained(config, root=results, device=device)
    sibling = next(snapshot for snapshot in trained[n] if snapshot.images_seen == twin.images_seen)
    of_both = [experiments.samples(snapshot, plan.n, grid, measure) for snapshot in (sibling, twin)]
    agreement[n] = reproducibility(*of_both).agreement
churns = (0.0, plan.n_steps / 10, plan.n_steps / 2)
stirred = [experiments.part_stats(last, split, "trajectory", plan.n, grid, measure, s_churn=s) for s in churns]
fig, axes = plt.subplots(1, 3, figsize=(9, 3))
style = {"marker": "o", "color": plots.GENERATED}
points(list(agreement), list(agreement.values()), axes[0], **style)
axes[0].set(xscale="log", xlabel="training images", ylabel="agreement of twins")
axes[0].set_xticks(list(agreement), [f"{n:,}" for n in agreement])
axes[0].minorticks_off()
ends = [of_churn.gap[-1].gap.minus(of_holdout) for of_churn in stirred]
points(churns, ends, axes[1], **style)
axes[1].set(xlabel="churn $S$", ylabel="neighbour gap of samples")
for churn, of_churn, style in zip(churns, stirred, draw.size_styles(churns).values()):
    at = relative_position({**stats[main], "trajectory": of_churn}, seed=seed)
    draw.position_over_sigma(levels, at, axes[2], **{**style, "label": f"churn {churn:g}"})
draw.position_frame(axes[2]).legend(fontsize=7);

# %% tags=["hide-input"]
rise = agreement[max(agreement)].minus(agreement[min(agreement)])
listed = ", ".join(f"{a.format('.2f')} with {n:,} images" for n, a in agreement.items())
glue("agreement", listed, display=False)
glue("rises", verbally(rise, "it rises", "it falls", "it does not change measurably"), display=False)
stir = stirred[-1].gap[-1].minus(stirred[0].gap[-1])  # from the same noise: pairs
glue("stirred", verbally(stir, "brings samples nearer to the training set", "takes samples away from the training set",
     "does not measurably change how near samples lie to the training set"), display=False)

# %% [markdown]
# The twins' agreement is {glue:text}`agreement`: from the smallest to the largest training set {glue:text}`rises`. Full
# agreement would say that the images do not matter at all. The largest churn {glue:text}`stirred`.
#
# ## Scrub along a trajectory
#
# Choose one of six samples of the main run and move through the noise. The curve is the relative position of this one
# trajectory beside the mean of all; a single one may lie beyond 0 and 1.

# %%
chosen = 6
_, x, denoised = experiments.example_trajectories(last, chosen, grid, measure)
closest = nearest(denoised.flatten(0, 1), split.train.x, k=1).index[:, 0]
rows = [
    Images("state x, scaled", (x / (1 + levels.reshape(-1, 1, 1, 1, 1).to(x) ** 2).sqrt())[:, :, None], plots.GENERATED),
    Images("prediction D(x)", denoised[:, :, None], plots.GENERATED),
    Images("nearest training image", split.train.x[closest].reshape(denoised[:, :, None].shape), plots.TRAIN),
]
means = {part: stats[main][part]["similarity"].mean(1) for part in ("train", "val")}
own = stats[main]["trajectory"]["similarity"][:, :chosen] - means["val"][:, None]
own = own / (means["train"] - means["val"])[:, None]
own = torch.where(positions[main].value.isnan()[:, None], torch.nan, own)
lines = torch.stack([own, positions[main].value[:, None].expand_as(own)], 1).permute(2, 1, 0).flip(2)[None]
curve = Curves(x=levels.flip(0), y=lines, labels=("this one", "mean of all"), x_label="noise level σ", log_x=True,
               y_label="relative position p(σ)", marker="noise level σ", colours=(plots.GENERATED, plots.NEUTRAL), limits=(-1.5, 2))  # fmt: skip
names = [f"{k + 1}" for k in range(chosen)]
middle = next((i for i, value in enumerate(positions[main].value) if not value.isnan()), plan.n_steps // 2)
sliders = [Slider("noise level σ", levels, start=middle), Slider("sample", names)]
Scrubber(sliders, rows, [curve], title="Along a sampling trajectory", play="noise level σ")

# %% [markdown]
# ## What we found
#
# Both claims are decided by numbers that do not need many images: C5 by the growth of both gaps from the first stop to
# the last, C6 by the relative position over the noise levels of the peak. The intervals are for these training images and this
# training; another seed of the split gives other networks, see {doc}`reproduce`.

# %% tags=["hide-input"]
table = {"G at its peak": gaps, "gap of samples": followed, **copying}  # of the last stop
shown = {k: {f"{n:,}": of[n][-1].format() for n in runs} for k, of in table.items()}
pd.DataFrame(shown).T.rename_axis("training images", axis=1).rename(index=lambda name: name.replace("$C_T$", "C_T"))

# %% tags=["hide-input"]
book.ledger(
    book.Claim(
        "C5", "Denoising trajectories do not follow the growing gap: that of the samples grows less.",
        f"growth of the samples' gap less that of $G$, from {seen[main][0]:,} to {seen[main][-1]:,} images seen",
        *lag.with_interval(), below=0,
    ),
    book.Claim(
        "C6", "At intermediate noise, trajectories have little overlap with the noisy training data: their predictions "
        "lie nearer to those for validation images.",
        r"relative position $p$ between validation (0) and training (1), over the $\sigma$ at which $G$ is at least half its peak",
        *position_in_window(main), below=0.5,
    ),
)  # fmt: skip

# %% [markdown]
# What makes a network memorize sooner, and what later, is the question of {doc}`04_scaling_factors`.
