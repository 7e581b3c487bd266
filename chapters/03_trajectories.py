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
#
# It asks every question of three training-set sizes. On the largest the gap stays where the paper's networks have it. On
# the smallest copying is to be expected: that run is the *positive control*, and a measure that says of it that samples
# do not follow would say so of anything. The one between is beyond the paper's regime.

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
from diffgen.book import counted, verbally
from diffgen.metrics.copying import authentic_fraction, copying_score
from diffgen.metrics.estimate import Interval
from diffgen.metrics.neighbours import nearest, neighbour_gap
from diffgen.metrics.overfitting import growth
from diffgen.metrics.position import over_seeds, share_of_growth
from diffgen.metrics.reproducibility import reproducibility
from diffgen.metrics.split_variance import paired_gaps
from diffgen.metrics.trajectory import peak_window, relative_position
from diffgen.plots import trajectories as draw
from diffgen.plots.images import image_rows
from diffgen.plots.samples import growth_of_both, headline, points, position_against_gap
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
# stand the same network trained on fewer images of the same pool. Time is counted in images *seen*: the smaller the
# training set, the more often each image was among them. Each snapshot draws its samples from the same initial noise, and
# is told the same classes, those of the validation images.

# %%
trained = {n: list(dg.train(config, root=results, device=device)) for n, config in plan.by_size.items()}
main, smallest = settings.train.data.n_train, min(trained)


def stops(of_run: list[dg.Snapshot]) -> list[dg.Snapshot]:
    return list(dict.fromkeys([of_run[0], of_run[2 * len(of_run) // 3], of_run[-1]]))


runs = {n: stops(of_run) for n, of_run in trained.items()}
splits = {n: config.data.load() for n, config in plan.by_size.items()}
seen = {n: [snapshot.images_seen for snapshot in of_run] for n, of_run in runs.items()}
split, last = splits[main], runs[main][-1]
told = experiments.val_labels(last, split, plan.n)
drawn = {n: [experiments.samples(s, plan.n, grid, measure, labels=told) for s in of_run] for n, of_run in runs.items()}
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
for name, n in (("smallest", smallest), ("main", main)):
    share, null = copying["memorized fraction"][n][-1], nulls["memorized fraction"][n]
    glue(f"copies_{name}", counted(share), display=False)
    glue(f"copies_null_{name}", counted(null), display=False)
    glue(f"copies_says_{name}", verbally(share.minus(null), "more", "fewer", "undecided"), display=False)

# %% [markdown]
# Thin horizontal lines are the nulls. At the last stop:
#
# | training images | copies among samples | among validation images in their place | in a word |
# | --- | --- | --- | --- |
# | {glue:text}`smallest` | {glue:text}`copies_smallest` | {glue:text}`copies_null_smallest` | {glue:text}`copies_says_smallest` |
# | {glue:text}`main` | {glue:text}`copies_main` | {glue:text}`copies_null_main` | {glue:text}`copies_says_main` |
#
# (sec:traj-place)=
# ## The gap of the denoiser and the place of its samples
#
# Few copies could still be many images that lean towards the training set. So how near to it do samples lie? Let
# $d(q, S)$ be the distance of an image $q$ to the nearest of $S$, and
#
# $$
# \ell(q) = \ln \frac{d^2(q, \text{val})}{d^2(q, \text{train})}
# $$ (eq:nearness)
#
# its *nearness* to the training set, against a validation set of the same size. A distance alone says little, for early
# samples are far from everything. The mean of $\ell$ over samples is put on a scale with two ends that are measured. At 0
# are unseen images. At 1 are training images that the network recognizes: its one-step predictions for noisy training
# images, at the noise level at which $G$ is largest,
#
# $$
# p = \frac{\bar\ell_\text{samples} - \bar\ell_\text{unseen}}{\bar\ell_\text{recognized} - \bar\ell_\text{unseen}} .
# $$ (eq:sample-position)
#
# If samples followed their denoiser, they would go from 0 to 1 as its gap grows. The paper says that they do not.

# %%
sigmas = settings.gap.levels.sigmas
reference = dg.trained(settings.reference, root=results, device=device) if settings.reference else None
curves, peaks, gaps, reports, positions = {}, {}, {}, {}, {}


def adjusted(n: int, snapshots: list, levels: torch.Tensor) -> list[dg.GapCurve]:
    raw = experiments.gap_curves(snapshots, splits[n], levels, measure)
    return experiments.adjusted_curves(raw, splits[n], reference, measure)


def placed(snapshot: dg.Snapshot, data: dg.Split, sigma: float, how: dg.Measure):
    count = plan.n_samples if len(data.train) == main else min(plan.n_samples, 4 * plan.n)
    report = experiments.sample_report(snapshot, data, count, grid, how, stops=plan.stops)
    return report, experiments.sample_position(report, experiments.recognition(snapshot, data, sigma, how))


for n, of_run in runs.items():
    (curves[n],) = adjusted(n, of_run[-1:], sigmas)
    peaks[n] = adjusted(n, of_run, torch.tensor([curves[n].peak_sigma]))
    gaps[n] = [curve.peak for curve in peaks[n]]
    reports[n], positions[n] = zip(*(placed(s, splits[n], curves[n].peak_sigma, measure) for s in of_run))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
growth_of_both(seen, gaps, positions, axes)
glue("main_result", fig, display=False)
peak_sigma = curves[main].peak_sigma
glue("peak_sigma", peak_sigma, display=False)
for name, n in (("main", main), ("smallest", smallest)):
    glue(f"gap_{name}", gaps[n][-1].format(), display=False)
    glue(f"position_{name}", positions[n][-1].format(".3f"), display=False)
    glue(f"copies_report_{name}", counted(reports[n][-1].memorized), display=False)

# %% [markdown]
# With {glue:text}`main` training images the gap of the denoiser at the last stop (at $\sigma =$
# {glue:text}`peak_sigma:.2f`) is {glue:text}`gap_main`, and its samples are at $p =$ {glue:text}`position_main`. With
# {glue:text}`smallest` training images the gap is {glue:text}`gap_smallest` and the samples are at
# {glue:text}`position_smallest`. Copies are {glue:text}`copies_report_main` samples of the one and
# {glue:text}`copies_report_smallest` of the other. This figure is the book in one picture.
#
# (sec:traj-threshold)=
# ### Is there a threshold?
#
# The three sizes differ in how far their gap goes. So put all runs of this book on one axis: the main run with all its
# seeds, the smaller network, the transformer, and the runs on fewer images. Each mark is a snapshot. A line at 0 all
# along would be the paper's statement. A line that rises with $G$ from the start would be its contrary.

# %%
again = {k: dg.presets.named(preset, k) for k in range(seed, seed + settings.n_seeds)}
of_seed, seen_main = {}, []
for k, other in again.items():
    data, how = other.train.data.load(), measure.with_(seed=k, n_images=settings.gap.n_peak or settings.gap.n_eval)
    every = list(dg.train(other.train, root=results, device=device))
    few = stops(every)
    like = dg.trained(other.reference, root=results, device=device) if other.reference else None
    level = torch.tensor([peak_sigma])
    of_gap = experiments.adjusted_curves(experiments.gap_curves(few, data, level, how), data, like, how)
    fresh = experiments.gap_curves(few, data.fresh, level, how)
    of_reports, places = zip(*(placed(s, data, peak_sigma, how) for s in few))
    of_seed[k] = {"gap": of_gap, "fresh": fresh, "reports": of_reports, "places": places, "data": data, "last": few[-1]}
    seen_main = [snapshot.images_seen for snapshot in few]

# %%
every_run = {f"{n:,} images" if n != main else f"{n:,} images, seed {seed}": (gaps[n], positions[n]) for n in runs}
for k, of in list(of_seed.items())[1:]:
    every_run[f"{main:,} images, seed {k}"] = ([curve.peak for curve in of["gap"]], of["places"])
networks = {"small U-Net": settings.gap.networks["small U-Net"], "transformer": settings.gap.architectures["transformer"]}
beside_main = {}
for name, config in networks.items():
    data, every = config.data.load(), list(dg.train(config, root=results, device=device))
    few = [every[0], every[-1]]
    (curve,) = experiments.gap_curves(few[-1:], data, sigmas, measure)
    level = torch.tensor([peak_sigma if len(data.train) == main else curve.peak_sigma])
    of_gap = experiments.adjusted_curves(experiments.gap_curves(few, data, level, measure), data, reference, measure)
    of_reports, places = zip(*(placed(s, data, float(level), measure) for s in few))
    beside_main[name] = {"gap": of_gap, "curve": curve, "reports": of_reports, "places": places, "data": data, "seen": [s.images_seen for s in few],
                         "level": level, "last": few[-1]}  # fmt: skip
    every_run[f"{len(data.train):,} images, {name}"] = ([c.peak for c in of_gap], places)
fig, ax = plt.subplots(figsize=(8, 3.8))
position_against_gap(every_run, ax, (0.02, 0.35));

# %% tags=["hide-input"]
flat = [(float(g), p) for of_gaps, places in every_run.values() for g, p in zip(of_gaps, places)]
inside = [p for g, p in flat if 0.02 <= g <= 0.35]
beyond = [p for g, p in flat if g > 0.35]
glue("n_inside", len(inside), display=False)
glue("most_inside", f"{max(map(float, inside), default=float('nan')):.3f}", display=False)
glue("n_above", sum(p.interval()[0] > 0 for p in inside), display=False)
glue("n_beyond", len(beyond), display=False)
glue("beyond_above", sum(p.interval()[0] > 0 for p in beyond), display=False)
glue("most_beyond", f"{max(map(float, beyond), default=float('nan')):.2f}", display=False)
middle = next((n for n in sorted(runs) if n not in (main, smallest)), smallest)
glue("middle", f"{middle:,}", display=False)
glue("gap_middle", gaps[middle][-1].format(), display=False)
glue("position_middle", positions[middle][-1].format(".3f"), display=False)


def share(of_reports: list, of_gaps: list[dg.Estimate]) -> dg.Estimate:
    return share_of_growth((of_reports[0].near, of_reports[-1].near), (of_gaps[0], of_gaps[-1]))


shared = over_seeds([float(share(of["reports"], [curve.peak for curve in of["gap"]])) for of in of_seed.values()])
glue("share", f"{shared.value:.2f} [{shared.low:.2f}, {shared.high:.2f}]", display=False)
glue("share_middle", share(reports[middle], gaps[middle]).format(".2f"), display=False)
glue("share_smallest", share(reports[smallest], gaps[smallest]).format(".2f"), display=False)
glue("share_says", verbally(shared, "more than", "less than", "not told apart from"), display=False)

# %% [markdown]
# In the range of the paper's networks, shaded, {glue:text}`n_inside` snapshots lie, of which {glue:text}`n_above` have
# samples measurably nearer to the training set than unseen images are; the nearest of them are at $p =$
# {glue:text}`most_inside`. Beyond it there are {glue:text}`n_beyond` snapshots, {glue:text}`beyond_above` of them
# measurably above 0, up to $p =$ {glue:text}`most_beyond`. The run on {glue:text}`middle` images ends with a gap of
# {glue:text}`gap_middle` and its samples at {glue:text}`position_middle`.
#
# How much do samples follow, for what the denoiser memorizes? Take logarithms, as one would read the paper's Figure 1:
# the growth of the mean $\ell$ of samples over the growth of $\ln(1 + G)$, from the first stop to the last. Samples that
# do not follow have 0, and those that keep pace have 1. The main run has {glue:text}`share` (mean over seeds, with its
# interval), {glue:text}`share_says` 0. The run on {glue:text}`middle` images has {glue:text}`share_middle`, and the one
# that copies {glue:text}`share_smallest`. The paper's Fréchet gaps, .044 to .081 while $G$ goes from .049 to .226, make
# .22. So what looks flat in one regime may be slow: a network that copies is at the end of a way, and not another kind of
# thing.
#
# (sec:traj-frechet)=
# ### The same by Fréchet distances
#
# The paper's own figure has the gap of the denoiser and that of its samples on one axis. The second is the Fréchet
# distance of samples to the validation set over that to the training set, less 1 {cite:p}`heusel2017`. Here it is in the
# features of a small classifier of clothes. Two finite sets are never equally near to anything, and what the split does
# by chance is as large as what one looks for {cite:p}`marion2026`. So the band shows the same number for splits drawn
# anew, from images that no network here has seen.

# %%
seeds_gap = [over_seeds([float(of["gap"][j].peak) for of in of_seed.values()]) for j in range(len(seen_main))]
by_kind = {
    kind: [over_seeds([float(getattr(of["reports"][j].frechet, kind)) for of in of_seed.values()]) for j in range(len(seen_main))]
    for kind in ("raw",)
}
luck = max((of["reports"][-1].frechet.luck.stderr for of in of_seed.values()), default=float("nan"))
fig, ax = plt.subplots(figsize=(6, 3.6))
headline(seen_main, seeds_gap, by_kind, luck, ax);

# %% tags=["hide-input"]
names = {"to_val": "samples to validation", "to_train": "samples to training", "train_val": "training to validation, halves",
         "train_train": "training to training, halves", "raw": "raw gap", "luck": "raw gap, splits drawn anew"}  # fmt: skip
table = {f"seed {k}": {label: getattr(of["reports"][-1].frechet, field).format(".3f") for field, label in names.items()}
         for k, of in of_seed.items()}  # fmt: skip
glue("luck", f"{luck:.3f}", display=False)
raw_change = over_seeds([float(of["reports"][-1].frechet.raw) - float(of["reports"][0].frechet.raw) for of in of_seed.values()])
glue("raw_change", f"{raw_change.value:+.3f} ({raw_change.low:+.3f} to {raw_change.high:+.3f})", display=False)
pd.DataFrame(table).rename_axis("Fréchet distance, last stop", axis=1)

# %% [markdown]
# Points are means over the seeds with Student's 95 % interval. From the first stop to the last the raw gap changes by
# {glue:text}`raw_change` (mean over seeds, with its interval). The standard deviation over splits drawn anew is
# {glue:text}`luck`: nothing smaller than about twice that can be read from one split. The table has the two baselines of the
# paper, what training images are apart from other training images and from validation images. Of sets as large as ours
# there is only one, so both are between halves, and larger by the bias of few images. **No verdict of this book rests on
# a Fréchet gap alone.**
#
# (sec:traj-run)=
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
def stats_of(snapshot: dg.Snapshot, data: dg.Split, how: dg.Measure) -> dict:
    labels = experiments.val_labels(snapshot, data, plan.n)
    parts = experiments.trajectory_stats(snapshot, data, plan.n, grid, how, labels=labels)
    return {**parts, "unseen": experiments.part_stats(snapshot, data, "holdout", plan.n, grid, how)}


stats = {n: stats_of(runs[n][-1], splits[n], measure) for n in runs}
levels = grid[:-1]
window = peak_window(curves[main], levels)
by_similarity = {n: relative_position(of_run, seed=seed) for n, of_run in stats.items()}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for ax, name_of_measure, name in zip(axes, ("similarity", "similarity_val"), ("training", "validation")):
    draw.measure_over_sigma(stats[main], name_of_measure, ax, levels[window])
    ax.set(ylabel=f"similarity to nearest {name} image", ylim=(0, 1.05))
axes[0].legend(loc="lower left")
for n, style in draw.size_styles(list(runs)).items():
    draw.position_over_sigma(levels, by_similarity[n], axes[2], **style)
draw.position_frame(axes[2]).legend(loc="upper left", fontsize=7);

# %% tags=["hide-input"]
def recognized_on(of_run: dict, around: torch.Tensor) -> Interval:
    """Where predictions on trajectories lie between those for noisy unseen (0) and noisy training images (1)."""
    ends = {"train": of_run["train"], "val": of_run["unseen"], "trajectory": of_run["trajectory"]}
    return relative_position(ends, "similarity_gap", levels=around, seed=seed).interval()


def bracket(at: Interval) -> str:
    return f"{at.value:.2f} (95 % interval {at.low:.2f} to {at.high:.2f})" if at.value == at.value else "not defined"


recognized = {n: recognized_on(stats[n], peak_window(curves[n], levels)) for n in runs}
for name, n in (("main", main), ("smallest", smallest)):
    by_itself = relative_position(stats[n], levels=peak_window(curves[n], levels), seed=seed).interval()
    glue(f"similarity_{name}", bracket(by_itself), display=False)
    glue(f"recognized_{name}", bracket(recognized[n]), display=False)
glue("window", f"{float(levels[window].min()):.2g} to {float(levels[window].max()):.2g}", display=False)

# %% [markdown]
# The shaded noise levels, $\sigma$ from {glue:text}`window`, are those at which the main run's gap is at least half its
# peak. Over them together, the relative position of its trajectories is {glue:text}`similarity_main`. For the run on
# {glue:text}`smallest` images, over the noise levels of its own peak, it is {glue:text}`similarity_smallest`. Levels at
# which noisy training and validation images are not told apart have no $p$ and are not drawn.
#
# Two cautions. $p = 0$ is also what a perfect model would show, which has memorized nothing: $p$ says something only
# together with $G$. And a $p$ below 0 means that predictions on trajectories are less like any training image than those
# for noisy validation images, as the drawings of an unfinished network are. Quality cancels in the *similarity
# difference*, the similarity to training images less that to equally many validation images. Put that on a scale from
# noisy unseen images (0) to noisy training images (1), and trajectories of the main run are at
# {glue:text}`recognized_main`, those of the smallest training set at {glue:text}`recognized_smallest`. This number
# decides C6.
#
# (sec:traj-features)=
# ### In features, over training
#
# The paper draws similarities over training time, in features. Here they are for the main run at the noise level of the
# peak. If trajectories came to run through the training data as the denoiser memorizes, their curve would move from the
# validation images' to the training images'.

# %%
step = int((levels.log() - torch.tensor(peak_sigma).log()).abs().argmin())
in_features = [experiments.feature_similarity(s, split, plan.n, grid, step, measure, labels=told) for s in runs[main]]
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), sharey=True)
for ax, to, name in zip(axes, ("to_train", "to_val"), ("training", "validation")):
    draw.similarities_over_training(seen[main], in_features, ax, to).set(title=f"to the nearest {name} image")
axes[0].set(ylabel="cosine similarity in features")
axes[0].legend(fontsize=8)
for part in ("train", "val", "trajectory"):
    glue(f"feature_{part}", in_features[-1].to_train[part].format(".4f"), display=False)

# %% [markdown]
# At the last stop the similarity to the nearest training image is {glue:text}`feature_train` for noisy training images,
# {glue:text}`feature_val` for noisy validation images, and {glue:text}`feature_trajectory` on trajectories. In the paper
# it is .653, .569 and .600.
#
# (sec:traj-leave)=
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
glue("n_levels", len(levels), display=False)
glue("n_known", int(known.sum()), display=False)
glue("n_val_side", int(near_val.sum()), display=False)
glue("n_train_side", int(near_train.sum()), display=False)
glue("n_unsure", int((known & ~near_val & ~near_train).sum()), display=False)
glue("n_window", int(window.sum()), display=False)
glue("n_val_window", int((near_val & window).sum()), display=False)

# %% [markdown]
# Shells tell noisy training images from noisy validation images at {glue:text}`n_known` of {glue:text}`n_levels` noise
# levels. At {glue:text}`n_val_side` of these, trajectories lie nearer to the validation images, at
# {glue:text}`n_train_side` nearer to the training images, and at {glue:text}`n_unsure` it is not sure. In the shaded range
# they are on the validation side at {glue:text}`n_val_window` of {glue:text}`n_window` levels. The upper right panel
# puts three of the measures on the scale of {eq}`eq:position` (the last two by their logarithms); below it is the
# denoiser's gap. Where the trajectory's points lie near 0 while $G$ is high, the network's memory is of places that
# the trajectory does not visit; where they lie near 1, it visits them.
#
# (sec:traj-stopping)=
# ## Stopping early
#
# One can leave a trajectory at any noise level by taking the prediction $D(x; \sigma)$ for the image. With $d$ as in
# {eq}`eq:nearness` and $q$ running over these images, their neighbour gap
#
# $$
# G_\text{samples} = \frac{\sum_q d^2(q, \text{val})}{\sum_q d^2(q, \text{train})} - 1,
# $$ (eq:sample-gap)
#
# less that of fresh images, over the sampler's true noise levels, shows when a trajectory decides for one of the
# sets, if it does. The same for predictions from noisy training images shows what the gap of samples would be if
# trajectories ran there. Error bars here and below, under churn, are of the states alone: they hold for this split.

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
# In the paper's units, the same question is put to Fréchet distances: of samples that are stopped early, at several
# noise levels and moments of training.

# %%
early_stops = {f"{n_seen:,} images seen": report.stopped for n_seen, report in zip(seen[main], reports[main])}
whole = {name: report.frechet for name, report in zip(early_stops, reports[main])}
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
draw.stopped_over_sigma({name: {s: g for s, (_, g) in of.items()} for name, of in early_stops.items()}, whole, axes[0])
axes[0].legend(fontsize=7)
for sigma, style in zip(reports[main][-1].stopped, draw.LINES * 2):
    at = [report.stopped[sigma][1].raw for report in reports[main]]
    points(seen[main], at, axes[1], marker="o", label=f"stopped at σ = {sigma:.2f}", **style)
points(seen[main], [report.frechet.raw for report in reports[main]], axes[1], marker="s", color=plots.GENERATED, label="whole")
plots.training_axis(axes[1]).set(ylabel="raw Fréchet gap")
axes[1].legend(fontsize=7)
stopped_last = {sigma: gap for sigma, (_, gap) in reports[main][-1].stopped.items()}
widest = max(stopped_last, key=lambda sigma: float(stopped_last[sigma].raw))
glue("stopped_widest", stopped_last[widest].raw.format(".3f"), display=False)
glue("stopped_sigma", f"{widest:.2f}", display=False)
glue("stopped_whole", reports[main][-1].frechet.raw.format(".3f"), display=False)

# %% [markdown]
# On the left, the gap against the noise level at which sampling was stopped, with the whole samples as the dot at the left end;
# on the right, over training. At the last stop the largest is {glue:text}`stopped_widest`, for samples stopped at $\sigma =$
# {glue:text}`stopped_sigma`; that of whole samples is {glue:text}`stopped_whole`. The noise levels are the sampler's own.
#
# (sec:traj-experiments)=
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
    x = [experiments.samples(subject, plan.n, grid, measure, labels=told) for subject in mixed]
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
# (sec:traj-images)=
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
    of_both = [experiments.samples(snapshot, plan.n, grid, measure, labels=told) for snapshot in (sibling, twin)]
    agreement[n] = reproducibility(*of_both).agreement
churns = (0.0, plan.n_steps / 10, plan.n_steps / 2)
stirred = [experiments.part_stats(last, split, "trajectory", plan.n, grid, measure, s_churn=s, labels=told) for s in churns]
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
listed = ", ".join(f"{a.format('.2f')} with {n:,} images" for n, a in agreement.items())
glue("agreement", listed, display=False)
stir = stirred[-1].gap[-1].minus(stirred[0].gap[-1])  # from the same noise: pairs
glue("stirred", verbally(stir, "brings samples nearer to the training set", "takes samples away from the training set",
     "does not measurably change how near samples lie to the training set"), display=False)

# %% [markdown]
# The twins' agreement is {glue:text}`agreement`. Full agreement would say that the images do not matter at all.
# Mismatched pairs are of samples in any order, while twins are told the same class, so a part of the agreement is the
# class's. The largest churn {glue:text}`stirred`.
#
# ## Scrub along a trajectory
#
# Choose one of six samples of the main run and move through the noise. The curve is the relative position of this one
# trajectory beside the mean of all; a single one may lie beyond 0 and 1.

# %%
chosen = 6
_, x, denoised = experiments.example_trajectories(last, chosen, grid, measure, labels=None if told is None else told[:chosen])
closest = nearest(denoised.flatten(0, 1), split.train.x, k=1).index[:, 0]
rows = [
    Images("state x, scaled", (x / (1 + levels.reshape(-1, 1, 1, 1, 1).to(x) ** 2).sqrt())[:, :, None], plots.GENERATED),
    Images("prediction D(x)", denoised[:, :, None], plots.GENERATED),
    Images("nearest training image", split.train.x[closest].reshape(denoised[:, :, None].shape), plots.TRAIN),
]
means = {part: stats[main][part]["similarity"].mean(1) for part in ("train", "val")}
own = stats[main]["trajectory"]["similarity"][:, :chosen] - means["val"][:, None]
own = own / (means["train"] - means["val"])[:, None]
own = torch.where(by_similarity[main].value.isnan()[:, None], torch.nan, own)
lines = torch.stack([own, by_similarity[main].value[:, None].expand_as(own)], 1).permute(2, 1, 0).flip(2)[None]
curve = Curves(x=levels.flip(0), y=lines, labels=("this one", "mean of all"), x_label="noise level σ", log_x=True,
               y_label="relative position p(σ)", marker="noise level σ", colours=(plots.GENERATED, plots.NEUTRAL), limits=(-1.5, 2))  # fmt: skip
names = [f"{k + 1}" for k in range(chosen)]
first_known = next((i for i, value in enumerate(by_similarity[main].value) if not value.isnan()), plan.n_steps // 2)
sliders = [Slider("noise level σ", levels, start=first_known), Slider("sample", names)]
Scrubber(sliders, rows, [curve], title="Along a sampling trajectory", play="noise level σ")

# %% [markdown]
# ## What we found
#
# The gap of the denoiser grows many times over, and its samples stay near unseen images: at the last stop of the main run
# they have gone {glue:text}`position_main` of the way to training images that the network recognizes. The paper's reason
# can be seen as well: on trajectories the network predicts nearly as it does for images that it has not seen.
#
# But the samples are not blind to what was memorized. Their nearness to the training set grew by {glue:text}`share` of
# what $\ln(1 + G)$ grew by. Where this interval lies above 0 samples follow the denoiser, at a fraction of its pace. To
# see it takes thousands of samples, distances to single images, and several seeds; the Fréchet gaps of this chapter are
# too noisy for it. With more memory the samples go further, until they copy. The published results show no threshold: the
# run in the paper's regime follows already.
#
# C5 is decided by where samples are at the last stop, on the scale of {eq}`eq:sample-position`: nearer to unseen images
# or to recognized training images. C6 by the same question to predictions on trajectories, over the noise levels of the
# peak. Both need a premise: without a gap there is nothing to follow. The control is the run that copies. In the null,
# fresh images take the place of the training images, and the premise must be missing.

# %% tags=["hide-input"]
table = {"G at its peak": gaps, "position of samples": positions, **copying}  # of the last stop
shown = {k: {f"{n:,}": of[n][-1].format() for n in runs} for k, of in table.items()}
pd.DataFrame(shown).T.rename_axis("training images", axis=1).rename(index=lambda name: name.replace("$C_T$", "C_T"))

# %% tags=["hide-input"]
def rise(of_gap: list[dg.GapCurve]) -> Interval:
    return growth(of_gap, float(of_gap[-1].sigmas[0])).with_interval()



of_main = over_seeds([float(of["places"][-1]) for of in of_seed.values()])
grew = over_seeds([float(growth(of["gap"], peak_sigma)) for of in of_seed.values()])
grew_fresh = over_seeds([float(growth(of["fresh"], peak_sigma)) for of in of_seed.values()])
followed = over_seeds([float(of["places"][-1]) - float(of["places"][0]) for of in of_seed.values()])
first_gap, last_gap = (over_seeds([float(of["gap"][j].peak) for of in of_seed.values()]) for j in (0, -1))
# fresh images in the place of the training images: the same samples against sets of which the network saw neither
ends = {k: experiments.recognition(of["last"], of["data"], peak_sigma, measure.with_(seed=k)) for k, of in of_seed.items()}
null_place = over_seeds([float(of["reports"][-1].luck.mean()) / (float(ends[k].train) - float(ends[k].unseen))
                         for k, of in of_seed.items()])
unmeasured = Interval(*3 * [float("nan")])  # by the premise alone: predictions on fresh splits were not computed
on_trajectories = {
    k: recognized_on(stats[main] if k == seed else stats_of(of["last"], of["data"], measure.with_(seed=k)), window)
    for k, of in of_seed.items()
}
recognized_main = over_seeds([at.value for at in on_trajectories.values()])
dit, near_dit = beside_main["transformer"], beside_main["transformer"]["places"][-1]
dit_stats = stats_of(dit["last"], dit["data"], measure)
copier = book.Beside(f"{smallest:,} images, {float(reports[smallest][-1].memorized):.0%} copies",
                     positions[smallest][-1].with_interval(), rise(peaks[smallest]))  # fmt: skip
none = book.Beside("fresh images for training images", null_place, grew_fresh)
five = {"below": 0.5, "origin": "half way from unseen to recognized", "control": copier, "null": none}
paper_5 = "EDM2-M: G .049 → .226, samples' Fréchet gap .044 → .081 (Fig. 1)"
book.ledger(
    book.Claim(
        "C5", "Denoising trajectories do not follow the growing gap: samples stay with unseen images.",
        f"position of samples at the last stop, unseen (0) to recognized (1), mean of {len(of_seed)} seeds; since the first stop it "
        f"changed by {followed.value:+.3f} while G went from {first_gap.value:.3f} to {last_gap.value:.3f}",
        *of_main, premise=grew, paper=paper_5, why="another unit: Fréchet gaps of few images are ruled by the split", **five),
    book.Claim(
        "C5 (ratio)", "The gap of samples grows less than that of the denoiser, both as logarithms.",
        r"growth of the mean $\ell$ of samples over growth of $\ln(1 + G)$, from the first stop to the last, mean over seeds",
        *shared, below=1,
        origin="as much as the denoiser", premise=grew,
        paper="ln(1.081 / 1.044) / ln(1.226 / 1.049) = .22, with Fréchet gaps (Fig. 1)",
        control=book.Beside(f"{smallest:,} images", share(reports[smallest], gaps[smallest]).with_interval(), rise(peaks[smallest])),
        null=none),
    book.Claim(
        "C5 (beyond)", f"The same beyond the paper's regime, with {middle:,} training images.",
        f"position of samples at the last stop, where G = {float(gaps[middle][-1]):.2f}",
        *positions[middle][-1].with_interval(), premise=rise(peaks[middle]), paper="no such network", **five),
    book.Claim(
        "C5 (flat)", "In the paper's regime the position of samples does not change at all.",
        "change of the position of samples from the first to the last stop, mean over seeds, less than",
        *followed, below=0.05, origin="a tenth of the way to the threshold of C5", premise=grew, paper=paper_5,
        control=book.Beside(f"{smallest:,} images", positions[smallest][-1].minus(positions[smallest][0]).with_interval(),
                            rise(peaks[smallest])),
        null=none),
    book.Claim(
        "C6", "At intermediate noise, trajectories overlap little with the noisy training data.",
        "predictions on trajectories between those for noisy unseen (0) and noisy training images (1), by similarity "
        f"difference, σ where G is at least half its peak, mean of {len(of_seed)} seeds",
        *recognized_main, below=0.5, origin="half way from unseen to training", premise=last_gap,
        paper="similarity .653 training, .600 trajectory, .569 validation: .37 of the way",
        control=book.Beside(f"{smallest:,} images", recognized[smallest], gaps[smallest][-1].with_interval()),
        null=book.Beside("fresh images for training images", unmeasured,
                         over_seeds([float(of["fresh"][-1].peak) for of in of_seed.values()])),
        why="pixels and a difference of similarities, which image quality does not move"),
    book.Claim(
        "C12 (C5)", "Samples of a transformer do not follow either.",
        f"position of samples at the last stop, where G = {float(dit['gap'][-1].peak):.3f}, one seed",
        *near_dit.with_interval(), premise=rise(dit["gap"]), paper="abstract", **five),
    book.Claim(
        "C12 (C6)", "Nor do its trajectories overlap with the noisy training data.",
        "as C6, one seed", *recognized_on(dit_stats, peak_window(dit["curve"], levels)), below=0.5,
        origin="half way from unseen to training", premise=dit["gap"][-1].peak.with_interval(), paper="abstract",
        control=book.Beside(f"{smallest:,} images, U-Net", recognized[smallest], gaps[smallest][-1].with_interval()),
        null=book.Beside("fresh images for training images", unmeasured,
                         over_seeds([float(of["fresh"][-1].peak) for of in of_seed.values()]))),
)  # fmt: skip

# %% [markdown]
# What makes a network memorize sooner, and what later, is the question of {doc}`04_scaling_factors`.
