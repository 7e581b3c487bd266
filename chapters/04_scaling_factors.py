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
# **Question: what makes a diffusion model memorize: more weights, fewer images, finer labels, or just time?**
#
# One network on one training set has shown a gap ({doc}`02_generalization_gap`). Whether that is a fact about diffusion
# models or about this one depends on what happens when its circumstances change. The optimal denoiser of a training set
# copies whatever the set's size; so it is the *distance* of a network from that optimum that decides, and that distance
# should shrink in several ways: with a larger network, which can represent sharper functions; with fewer training images,
# which leave less to represent; with time; and with labels that tell the network which few images it may be looking at.
# The paper's claim is that the gap grows with model size *relative to* the size of the data set, and with the granularity
# of the condition {cite:p}`kaiser2026`. Others found that the time at which memorization begins grows in proportion to
# the number of training images, while the time that it takes to generalize does not depend on it {cite:p}`bonnaire2025`,
# and that labels raise memorization even when they are random {cite:p}`gu2023`.
#
# So we train a grid of networks, and a few more beside it, and measure all of them alike. Three precautions make the
# comparison fair. All are compared at *equal images seen*: a network that has passed ten times over a small set has seen
# as many images as one that has passed once over a set ten times its size. All are evaluated on the *same* images: a
# smaller training set is a part of the larger one, and the validation set is shared. And runs differ in one thing only;
# where two things differ after all, the text says so.

# %% tags=["parameters", "published"]
from diffgen.presets import PresetName

preset: PresetName = "quick"  # how much to compute
seed: int = 0  # of the data split, the initial weights and the noise
device: str = "cpu"  # where to compute: "cpu", "cuda", "cuda:1"
results: str = "runs"  # folder in which trained runs are kept and found again

# %% tags=["hide-input"]
import math

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.colors import Normalize, SymLogNorm
from myst_nb import glue

import diffgen as dg
from diffgen import book, experiments, plots
from diffgen.features import classifier_features
from diffgen.metrics.bootstrap import peak
from diffgen.metrics.centre import centre, centre_change, mean_difference_at
from diffgen.metrics.estimate import Interval
from diffgen.metrics.frechet import frechet_distance
from diffgen.metrics.gap import paired_difference_at, relative_error_change
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.scaling_laws import power_law
from diffgen.plots import scaling as draw
from diffgen.plots.gap import TICKS, band, estimates, gap_scale, gaps_beside
from diffgen.plots.samples import points
from diffgen.widgets import Curves, Scrubber, Slider

book.check_parameters()
plots.use_style()
plan = dg.presets.named(preset, seed).scaling
measure = dg.Measure(seed=seed, device=device, n_images=plan.n_eval)

# %% [markdown]
# (sec:scaling-sweep)=
# ## One sweep
#
# The runs are one *sweep*: a list of configurations. Each is trained once and found again by what it says. From the
# command line, `diffgen sweep` with the name of a preset does the same with several runs at a time, on this machine or
# on a cluster ({doc}`reproduce`). What it has computed is read here.

# %%
reference = dg.trained(plan.reference, root=results, device=device) if plan.reference else None


def measured(config: dg.TrainConfig) -> experiments.RunMetrics:
    snapshots = list(dg.train(config, root=results, device=device))
    sizes = plan.levels.sigmas, plan.n_samples, plan.sigmas
    return experiments.measure_run(snapshots, config.data.load(), *sizes, reference, measure)


of = {config: measured(config) for config in plan.runs.values() if config != plan.reference}
grid = {key: of[config] for key, config in plan.grid.items()}
labelled, architectures = ({name: of[c] for name, c in group.items()} for group in (plan.labelled, plan.architectures))

# %% tags=["hide-input", "hide-output"]
sizes, widths, (middle, base_width) = plan.train_sizes, plan.widths, plan.base_cell
wide, narrow, few, many = widths[-1], widths[0], sizes[0], sizes[-1]
base = grid[middle, base_width]
images_seen, last = base.images_seen, plan.base.snapshot_images[-1]
rows = []
for name, config in plan.runs.items():
    if config in of:
        run = of[config].snapshots[-1].run
        rows.append({"run": book.run_link(run, name), "training images": f"{config.data.n_train:,}",
                     "parameters": f"{run.metadata['parameters']:,}",
                     "epochs": f"{last / config.data.n_train:.0f}"})  # fmt: skip
for name, value in (("n_runs", len(rows)), ("scaling_images", last), ("middle", middle), ("few", few), ("many", many),
                    ("wide", wide), ("narrow", narrow), ("base_width", base_width), ("n_sizes", len(sizes))):  # fmt: skip
    glue(name, f"{value:,}", display=False)
pd.DataFrame(rows).style.hide(axis="index")

# %% [markdown]
# These are {glue:text}`n_runs` runs. The folded table lists them. Where results are published, a run's name leads to
# its curves. Networks differ in the number of their channels, their *width*. The last column says how often a run has
# seen each image of its training set: all have seen {glue:text}`scaling_images` images at their last stop.
#
# (sec:scaling-data)=
# ## Training images
#
# First the grid, at the last stop. If only the number of parameters counted, the panels below would differ and the lines
# within a panel would not. If only the training set counted, it would be the other way round. If it is their ratio, both
# happen, and the widest network on the fewest images has the largest gap.

# %% tags=["hide-input"]
def beside(count: int, height: float = 3.2) -> tuple:
    return plt.subplots(1, count, figsize=(1.5 + 2.6 * count, height), sharey=True, squeeze=False)


fig, (axes,) = beside(len(widths))
for ax, width in zip(axes, widths):
    draw.gaps_by_size({n: grid[n, width].curves[-1] for n in sizes}, ax)
    ax.set(title=f"width {width}", ylabel=ax.get_ylabel() if ax is axes[0] else "")
draw.size_legend(axes)
tops = {key: run.curves[-1].peak for key, run in grid.items()}
for name, key in (("few", (few, wide)), ("many", (many, wide)), ("narrow", (middle, narrow)), ("wide", (middle, wide))):
    glue(f"top_{name}", f"{float(tops[key]):.2g}", display=False)
    glue(f"top_sigma_{name}", f"{grid[key].curves[-1].peak_sigma:.2g}", display=False)

# %% [markdown]
# The scale is linear up to 0.2 and logarithmic above. Bands are 95 % intervals, after the sampling variability has been
# taken out where there are images enough for that ({eq}`eq:adjusted`). Two bands may overlap although the difference of
# their curves is certain. All curves rest on the same images with the same noise, and an image that is hard for one
# network is hard for the other.
#
# At width {glue:text}`wide` the largest gap is {glue:text}`top_few` on {glue:text}`few` images and
# {glue:text}`top_many` on {glue:text}`many`. On {glue:text}`middle` images it is {glue:text}`top_narrow` at width
# {glue:text}`narrow` and {glue:text}`top_wide` at width {glue:text}`wide`. So look at both the lines and the panels:
# the training set moves the gap more than the network, because it varies more. The place of the peak moves as well. At
# width {glue:text}`wide` it lies at $\sigma =$ {glue:text}`top_sigma_few` on {glue:text}`few` images and at
# {glue:text}`top_sigma_wide` on {glue:text}`middle`.
#
# (sec:scaling-time)=
# ## Time
#
# The same runs over training, each at the noise level at which its last gap is largest. A gap needs repetition: as long
# as every image is new to a network, training and validation images are the same to it. So curves should leave 0 the
# later the more images there are.

# %% tags=["hide-input"]
fig, (axes,) = beside(len(widths))
for ax, width in zip(axes, widths):
    draw.growth_by_size({n: (images_seen, grid[n, width].peak_gaps) for n in sizes}, ax)
    ax.set(title=f"width {width}", ylabel="gap at its peak" if ax is axes[0] else "")
draw.size_legend(axes)
times = {key: run.onset_times for key, run in grid.items()}
reached = {w: [n for n in sizes if times[n, w]["gap"].value == times[n, w]["gap"].value] for w in widths}
for name, w in (("narrow", narrow), ("wide", wide)):
    glue(f"reached_{name}", len(reached[w]), display=False)
for name, n in (("first", reached[wide][:1]), ("last", reached[wide][-1:])):
    glue(f"reached_{name}_n", f"{n[0]:,}" if n else "none", display=False)
    glue(f"reached_{name}_at", f"{times[n[0], wide]['gap'].value:,.0f}" if n else "never", display=False)

# %% [markdown]
# Take the moment at which a gap passes 0.2. At width {glue:text}`wide` that is after
# {glue:text}`reached_first_at` images seen with a training set of {glue:text}`reached_first_n`, and after
# {glue:text}`reached_last_at` with one of {glue:text}`reached_last_n`. By the end of training
# {glue:text}`reached_wide` of {glue:text}`n_sizes` sizes have come so far at width {glue:text}`wide`, and
# {glue:text}`reached_narrow` at width {glue:text}`narrow`. The others might with more training.
#
# (sec:scaling-phases)=
# ## A phase diagram
#
# Both factors in one picture: training-set size to the right, images seen upwards, one column a width. The upper row is
# the height of the gap, the lower one the memorized fraction of {doc}`03_trajectories`, with the share of validation
# images that would be taken for copies subtracted. The line is the overfit onset: the time after which the validation
# error rises. Below it a network still gets better at images that it has never seen. If samples were copied as soon as
# a network overfits, the lower row would brighten at the line.

# %% tags=["hide-input"]
tallest = max(float(run.peak_gaps[-1]) for run in grid.values())
norms = (SymLogNorm(0.2, vmin=0, vmax=tallest), Normalize(0, 1))
fig, axes = plt.subplots(2, len(widths), figsize=(1.5 + 2.6 * len(widths), 5.4), sharex=True, sharey=True, squeeze=False)
for j, width in enumerate(widths):
    column, at = [grid[n, width] for n in sizes], {n: grid[n, width].overfit_onset for n in sizes}
    values = ([run.peak_gaps for run in column], [run.excess_memorized for run in column])
    meshes = [draw.phase_diagram(sizes, images_seen, v, ax, norm, at) for v, ax, norm in zip(values, axes[:, j], norms)]
    axes[0, j].set(title=f"width {width}", xlabel="")
bars = [fig.colorbar(mesh, ax=row) for mesh, row in zip(meshes, axes)]
bars[0].set_ticks([tick for tick in TICKS if tick in (0, 0.1) or 0.2 <= tick <= tallest], minor=False)
bars[0].minorticks_off()
bars[0].ax.yaxis.set_major_formatter("{x:g}")
for bar, row, name in zip(bars, axes, ("gap at its peak", "memorized fraction")):
    bar.set_label(name)
    row[0].set(ylabel="images seen")
axes[0, -1].legend(loc="lower right", fontsize=7, frameon=True, facecolor="white", framealpha=0.9)
overfit = [n for n in sizes if math.isfinite(times[n, wide]["onset"].value)]
copying = [n for n in sizes if grid[n, wide].excess_memorized[-1].interval()[0] > 0]
glue("overfit_sizes", len(overfit), display=False)
glue("copying_sizes", len(copying), display=False)
glue("copied_few", f"{float(grid[few, wide].memorized[-1]):.0%}", display=False)
for name, key in (("onset", "onset"), ("copies", "copies")):
    glue(f"few_{name}", f"{times[few, wide][key].value:,.0f}", display=False)

# %% [markdown]
# It does not. At width {glue:text}`wide` networks overfit on {glue:text}`overfit_sizes` of {glue:text}`n_sizes`
# training sets before training ends. Their samples hold measurably more copies than chance makes on
# {glue:text}`copying_sizes` of them. On {glue:text}`few` images the onset is at {glue:text}`few_onset` images seen, and
# the memorized fraction passes one percent only at {glue:text}`few_copies`; in the end it is {glue:text}`copied_few`.
# Between the line and the bright corner lies a wide region of networks that know their training images and do not draw
# them.
#
# (sec:scaling-laws)=
# ## Laws
#
# When does memorization begin, and how does that depend on the number $n$ of training images? Four times are read off
# the runs, between snapshots. $\tau_\text{mem}$ is the overfit onset, or, by the samples, the time at which the memorized
# fraction exceeds its null by one percent. $\tau_G$ is the time at which the gap reaches 0.2. And $\tau_\text{gen}$ is
# the time at which samples are good: when their Fréchet distance to validation images has come within half of its floor,
# the lowest of the run. The literature expects the first three to grow as $n^1$ and the last not at all.

# %%
names = {"onset": "overfit onset", "copies": "1 % copies", "gap": "G = 0.2", "quality": "good samples"}
laws = {(w, name): power_law(sizes, [times[n, w][name].value for n in sizes]) for w in widths for name in names}

# %% tags=["hide-input"]
fig, (axes,) = beside(len(widths), 3.6)
for ax, width in zip(axes, widths):
    for (name, label), style, mark in zip(names.items(), plots.LINES, "osD^"):
        style = {"color": style["color"], "marker": mark, "label": label}
        draw.onset_times(sizes, [times[n, width][name] for n in sizes], laws[width, name], ax, **style)
    ax.set(title=f"width {width}", ylabel="images seen" if ax is axes[0] else "")
axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5));

# %% tags=["hide-input"]
def exponent(law) -> str:
    if law.n < 3:
        return f"reached on {law.n} of {len(sizes)} sizes"
    number = f"{law.slope.value:.2f} [{law.slope.low:.2f}, {law.slope.high:.2f}], {law.n} sizes"
    return f"not determined: {number}" if law.slope.low < 0 and law.slope.high > 1 else number


for name in names:
    law, expected = laws[wide, name], 0 if name == "quality" else 1
    glue(f"law_{name}", exponent(law), display=False)
    side = book.verbally(law.slope, "above", "below", "not told from", expected) if law.n > 2 else "not told from"
    glue(f"side_{name}", side, display=False)
table = {label: [exponent(laws[w, name]) for w in widths] for name, label in names.items()}
pd.DataFrame(table, index=[f"width {w}" for w in widths]).T.rename_axis("exponent of n", axis=1)

# %% [markdown]
# The table has the exponents with their 95 % intervals, from the scatter about each line. An interval that holds both 0
# and 1 agrees with everything: there the exponent is not determined. Not all sizes reach all times before training
# ends. The late times are the ones that are missing, so these laws are of small $n$. In the figure a bar that reaches
# the end of training is drawn to twice its time.
#
# At width {glue:text}`wide` the exponent of the overfit onset is {glue:text}`law_onset`, which is
# {glue:text}`side_onset` 1. That of the gap of 0.2 is {glue:text}`law_gap`, {glue:text}`side_gap` 1. That of one percent
# of copies is {glue:text}`law_copies`. So a larger training set delays memorization, but a set of twice the size need
# not delay it by twice the time. The exponent of good samples is {glue:text}`law_quality`, {glue:text}`side_quality` 0.
# One thing that tilts it upwards is known: the floor is each run's own, and a run on few images has a high one, which
# is reached sooner.
#
# If times grow in proportion to $n$, then what counts is $\tau / n$, the epochs. Drawn against them, curves of all sizes
# should fall on one. And if size counts relative to data, the last gaps should be a function of parameters per image.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(8.8, 3.6))
draw.growth_by_size({n: ([seen / n for seen in images_seen], grid[n, wide].peak_gaps) for n in sizes}, axes[0])
axes[0].set(xlabel="epochs", ylabel="gap at its peak", title=f"width {wide}", ylim=(-0.12, None))
density = {(n, w): run.snapshots[-1].run.metadata["parameters"] / n for (n, w), run in grid.items()}
top = {key: peak(run.curves[-1], seed=seed).height for key, run in grid.items()}
ratio_law = power_law(list(density.values()), [top[key].value if top[key].low > 0 else math.nan for key in density])
for (n, w), at in top.items():
    points([density[n, w]], [at], axes[1], marker="osD^"[widths.index(w)], color=draw.graded(sizes)[n])
axes[1].set(xscale="log", xlabel="parameters per training image", ylabel="last gap at its peak")
gap_scale(axes[1].yaxis)
axes[1].set(ylim=(-0.12, None))
axes[0].legend(title="training images", fontsize=7)
for w in widths:
    label = f"width {w}"
    axes[1].plot([], [], ls="none", marker="osD^"[widths.index(w)], color=plots.NEUTRAL, ms=4, label=label)
axes[1].legend(fontsize=7)
glue("ratio_law", exponent(ratio_law), display=False)
same_ratio = min(((a, b) for a in grid for b in grid if a[0] < b[0]), key=lambda p: abs(math.log(density[p[0]] / density[p[1]])))
for side, key in zip(("a", "b"), same_ratio):
    glue(f"ratio_{side}", f"{density[key]:,.0f}", display=False)
    glue(f"ratio_n_{side}", f"{key[0]:,}", display=False)
    glue(f"ratio_gap_{side}", f"{top[key].value:.2g} [{top[key].low:.2g}, {top[key].high:.2g}]", display=False)

# %% [markdown]
# On the right, colours are those of the left, and each width has its mark. A power law through the gaps whose interval
# lies above 0 has the exponent {glue:text}`ratio_law`. But the ratio is not all. If it were, the points would lie on
# one line. The two runs with the most similar ratios have {glue:text}`ratio_a` and {glue:text}`ratio_b` parameters an
# image. The one on {glue:text}`ratio_n_a` images has a gap of {glue:text}`ratio_gap_a`, the one on
# {glue:text}`ratio_n_b` one of {glue:text}`ratio_gap_b`. At an equal ratio the run on fewer images has passed more often
# over each of them.
#
# (sec:scaling-labels)=
# ## Labels
#
# A label narrows down what an image may be. With as many labels as images it names the image, and denoising becomes a
# matter of looking it up. Between none and that lie clusters of the training images (k-means on the features of a small
# classifier), as coarse or fine as one likes. A validation image has the label of its nearest cluster. All networks are
# equal but for the embedding of their labels, on {glue:text}`middle` training images at width {glue:text}`base_width`.
# We expect the gap to rise from coarse to fine, and to move to larger noise, as a label helps most where the image does
# not say much.
#
# There is a catch. At the largest noise the image says nothing, and all that a network can return is the mean of its
# label. If validation images happen to lie further from the means of their labels, they have a larger error. That is
# luck, and the reference that takes luck out elsewhere does not see it, because it knows no labels. So here a second
# reference stands beside it: the mean of all images of a label that are in *neither* split, with a linear denoiser for
# what the mean leaves.

# %%
split_of = {name: config.data.load() for name, config in plan.labelled.items()}
fine = measure.with_(n_images=plan.labels_n_eval or plan.n_eval)
last_gaps = {
    name: experiments.run_gap_curves(run.snapshots[-1:], split_of[name], plan.levels.sigmas, reference, fine)
    for name, run in labelled.items()
}
final = {name: gaps.curves[0] for name, gaps in last_gaps.items()}
by_k = {1: "none"} | {k: f"{k} clusters" for k in plan.clusters}
fresh = {k: experiments.label_reference(split_of[by_k[k]], plan.levels.sigmas, fine) for k in plan.clusters}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
ks = list(by_k)
draw.gaps_by_labels({k: final[name] for k, name in by_k.items()}, axes[0], {1, ks[len(ks) // 2], ks[-1]})
axes[0].set_ylim(top=1.25 * axes[0].get_ylim()[1])
axes[0].legend(title="clusters", fontsize=7, ncol=2)
gaps_beside({name: final[name] for name in ("none", "random", "classes", "one an image")}, axes[1])
axes[1].set(ylabel="")
axes[1].legend(fontsize=7);

# %% [markdown]
# Left, the number of clusters, darker for more; three of the curves have their bands. Right, labels of other kinds.
# *Random* labels, ten of them, say nothing about the image. All they do is to name a part of the training set. With
# *one an image*, a validation image has a wrong label: that of another image.
#
# Now the numbers: the gap at the noise level at which it is largest without labels; the *place* of the gap, which is the
# centre of mass of $\ln \sigma$ under its positive part,
#
# $$
# c = \frac{\int \ln\sigma \, \max(G(\sigma), 0) \, d\ln\sigma}{\int \max(G(\sigma), 0) \, d\ln\sigma};
# $$ (eq:place)
#
# and the gap at the largest noise, before and after the second reference, beside that of the reference alone. The
# centre is drawn as a noise level, $e^c$. The maximum would be no good place on curves this flat: chance moves it from
# one end of a plateau to the other.

# %%
unlabelled, at_peak = final["none"], final["none"].peak_sigma
heights = {k: final[name].at(at_peak) for k, name in by_k.items()}
places = {k: centre(final[name], seed=seed) for k, name in by_k.items()}
coarse = [k for k in plan.clusters if 10 * k <= middle] or [min(plan.clusters)]  # ten training images a label or more
curves_of = {"coarse": [final[by_k[k]] for k in coarse], "all": [final[by_k[k]] for k in plan.clusters]}
higher = {which: mean_difference_at(curves, unlabelled, at_peak) for which, curves in curves_of.items()}
moved = {which: centre_change(curves, unlabelled, seed=seed) for which, curves in curves_of.items()}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
draw.by_labels(heights, axes[0], color=plots.NEUTRAL)
draw.by_labels({k: Interval(*map(math.exp, at)) for k, at in places.items()}, axes[1], color=plots.NEUTRAL)
others = {"classes": (10, "s"), "random": (10, "X"), "one an image": (middle, "D")}
for (name, (k, mark)), style in zip(others.items(), plots.LINES[1:]):
    look = {"marker": mark, "color": style["color"], "label": name, "ms": 5, "ls": "none"}
    draw.by_labels({k * 1.15: final[name].at(at_peak)}, axes[0], **look)
    draw.by_labels({k * 1.15: Interval(*map(math.exp, centre(final[name], seed=seed)))}, axes[1], **look)
end = float(plan.levels.sigmas[-1])
at_end = {
    "network": {k: last_gaps[name].raw[0].at(end) for k, name in by_k.items()},
    "means of fresh images": {k: curve.at(end) for k, curve in fresh.items()},
    "network, less luck": {k: final[name].at(end) for k, name in by_k.items()},
}
for (name, values), style, mark in zip(at_end.items(), (plots.LINES[2], plots.LINES[1], plots.LINES[0]), "^so"):
    draw.by_labels(values, axes[2], marker=mark, label=name, **style)
axes[2].axhline(0, color=plots.NEUTRAL, lw=0.8)
axes[0].set(ylabel=f"gap at $\\sigma$ = {at_peak:.2g}")
axes[1].set(ylabel="place of the gap, $\\sigma$")
axes[2].set(ylabel=f"gap at $\\sigma$ = {end:g}")
for ax in axes:
    draw.label_axis(ks, ax)
axes[0].legend(fontsize=7)
axes[2].legend(fontsize=7)
some = coarse[-1]
bare = split_of["none"]
bare = dg.Split(*(dg.Points(part.x) for part in (bare.train, bare.val, bare.holdout)))
one_reference = [experiments.adjusted_curves(last_gaps[by_k[k]].raw, bare, reference, fine)[0] for k in coarse]
moved_before = centre_change(one_reference, unlabelled, seed=seed)
for name, value in (
    ("at_peak", f"{at_peak:.2g}"), ("end", f"{end:g}"), ("some", some), ("finest", max(plan.clusters)),
    ("n_fine", f"{fine.n_images:,}"), ("height_none", heights[1].format()), ("height_some", heights[some].format()),
    ("height_random", mean_difference_at([final["random"]], unlabelled, at_peak).format("+.3f")),
    ("height_single", mean_difference_at([final["one an image"]], unlabelled, at_peak).format("+.3f")),
    ("height_all", higher["all"].format("+.3f")), 
    ("place_all", "{:+.2f} [{:+.2f}, {:+.2f}]".format(*moved["all"])),
    ("place_coarse", "{:+.2f} [{:+.2f}, {:+.2f}]".format(*moved["coarse"])),
    ("place_before", "{:+.2f} [{:+.2f}, {:+.2f}]".format(*moved_before)), ("n_eval", f"{plan.n_eval:,}"),
    ("end_few", labelled[by_k[some]].raw[-1].at(end).format()),
    ("end_raw", at_end["network"][some].format()), ("end_fresh", fresh[some].at(end).format()),
    ("end_adjusted", final[by_k[some]].at(end).format()), ("finest_fresh", fresh[ks[-1]].at(end).format()),
):  # fmt: skip
    glue(name, value, display=False)

# %% [markdown]
# *Height.* Without labels the gap at $\sigma =$ {glue:text}`at_peak` is {glue:text}`height_none`. With
# {glue:text}`some` clusters it is {glue:text}`height_some`. On average over all numbers of clusters the difference is
# {glue:text}`height_all`. (After ± is one standard error, in brackets are 95 % intervals.) Random labels make a
# difference of {glue:text}`height_random`, one label an image {glue:text}`height_single`. The step is taken by some tens
# of labels. Finer ones add little, as each of them is seen with a few images only.
#
# *Noise so large that nothing is seen.* At $\sigma =$ {glue:text}`end` all gaps should be 0
# ({doc}`02_generalization_gap`). On the {glue:text}`n_eval` images a split on which the grid is measured, the raw gap
# with {glue:text}`some` clusters is {glue:text}`end_few`. On the {glue:text}`n_fine` used here it is
# {glue:text}`end_raw`. Is that memory? The means of fresh images, which know nothing of either split, have a gap of
# {glue:text}`end_fresh`. After both references {glue:text}`end_adjusted` is left. So a gap that stays open at large
# noise is the luck of labels, and a reference without labels cannot see it.
#
# There is a limit to this. With {glue:text}`finest` clusters the means of fresh images have a gap of
# {glue:text}`finest_fresh`, and the network does not. Clusters so fine were drawn around single training images, and
# describe these better than any others. Such a reference takes away too much. So the ledger below asks labels only that
# have ten training images or more. (The paper's finest, 500 on 50,000 images, have a hundred.)
#
# *Place.* The gaps of these coarse labels lie by {glue:text}`place_coarse` further up in $\ln \sigma$ than that without
# labels, and those of all clusters by {glue:text}`place_all`. Without the second reference it would be
# {glue:text}`place_before` for the coarse ones.
#
# (sec:scaling-label-samples)=
# ### Do samples notice?
#
# The paper asks this as well: of networks with finer labels, are samples nearer to the training images? Each network
# draws samples with the labels of the validation images. Below is their gap ({eq}`eq:sample-gap`), that of fresh images
# subtracted, and their Fréchet distance to equally many training and validation images. If labels made a network copy,
# the two distances would part.

# %%
sample_gaps = {k: labelled[name].sample_gap[-1] for k, name in by_k.items()}
near = {
    k: experiments.sample_distances(labelled[name].snapshots[-1], split_of[name], plan.n_samples, plan.sigmas, measure)
    for k, name in by_k.items()
}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
draw.by_labels(sample_gaps, axes[0], color=plots.GENERATED)
axes[0].axhline(0, color=plots.NEUTRAL, lw=0.8)
axes[0].set(ylabel="gap of the samples")
same, of_fresh = min(len(bare.train), len(bare.val)), classifier_features(bare.holdout.x[: plan.n_samples])
for name, part, colour, mark in (("train", bare.train, plots.TRAIN, "o"), ("val", bare.val, plots.VAL, "s")):
    shift = 0.96 if name == "train" else 1.04
    label = {"train": "to training images", "val": "to validation images"}[name]
    values = {k * shift: getattr(at, f"to_{name}") for k, at in near.items()}
    draw.by_labels(values, axes[1], color=colour, marker=mark, label=label)
    floor = frechet_distance(of_fresh, classifier_features(part.x[:same]))
    axes[1].axhline(floor, color=colour, lw=1, ls=":")
axes[1].set(ylabel="Fréchet distance", ylim=(0, None))
axes[1].legend(fontsize=7)
for ax in axes:
    draw.label_axis(ks, ax)
apart = {k: float(at.to_val) - float(at.to_train) for k, at in near.items()}
glue("n_drawn", f"{plan.n_samples:,}", display=False)
for name, k in (("none", 1), ("some", some), ("finest", ks[-1])):
    glue(f"sample_gap_{name}", sample_gaps[k].format(), display=False)
    glue(f"apart_{name}", f"{apart[k]:+.3f}", display=False)

# %% [markdown]
# Dotted are the distances of as many fresh images. From {glue:text}`n_drawn` samples each, the samples' gap is
# {glue:text}`sample_gap_none` without labels, {glue:text}`sample_gap_some` with {glue:text}`some` clusters and
# {glue:text}`sample_gap_finest` with {glue:text}`finest`. The Fréchet distance to validation images exceeds that to
# training images by {glue:text}`apart_none` without labels, by {glue:text}`apart_some` with {glue:text}`some` clusters
# and by {glue:text}`apart_finest` with {glue:text}`finest`. Hold these differences against the bars. A Fréchet distance
# of so few samples is mostly the number of samples, as the fresh images show. The curves do not part by more than
# that.
#
# (sec:scaling-networks)=
# ## Dropout, and a transformer
#
# The same training set, the same number of images seen, another network. Dropout makes a network worse at recalling
# single images, and should lower the gap. What it does to the error on validation images decides whether that is worth
# it. The transformer has {glue:text}`parameters_transformer` parameters, the U-Net {glue:text}`parameters_unet`, and the
# same learning rate, but it computes in float32.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.2))
for (name, run), style in zip(architectures.items(), plots.LINES):
    curve, mark = run.curves[-1], {"marker": "o", "ms": 3.5, "label": name, **style}
    band(curve.sigmas, curve.gap, curve.stderr, axes[0], **mark)
    axes[1].plot(curve.sigmas, curve.val / architectures["U-Net"].curves[-1].val, **mark)
    estimates(images_seen, run.peak_gaps, axes[2], label=name, **style)
for ax in axes[:2]:
    ax.set(xscale="log", xlabel="noise level σ")
axes[0].set(ylabel="relative gap $G(\\sigma)$")
axes[1].set(ylabel="validation error / that of the U-Net")
plots.training_axis(axes[2]).set(ylabel="gap at its peak")
axes[1].legend(fontsize=7)
unet = architectures["U-Net"].curves[-1]
for name, key in (("with dropout", "dropout"), ("transformer", "transformer")):
    other = architectures[name].curves[-1]
    glue(f"compared_{key}", paired_difference_at(other, unet, at_peak).format("+.3f"), display=False)
    glue(f"error_{key}", (relative_error_change(other, unet, at_peak) * 100).format("+.1f"), display=False)
for name, key in (("U-Net", "unet"), ("transformer", "transformer")):
    parameters = architectures[name].snapshots[-1].run.metadata["parameters"]
    glue(f"parameters_{key}", f"{parameters:,}", display=False)
glue("unet_top", unet.at(at_peak).format(), display=False)

# %% [markdown]
# At $\sigma =$ {glue:text}`at_peak` the gap of the U-Net is {glue:text}`unet_top`. With dropout it changes by
# {glue:text}`compared_dropout`, and the validation error by {glue:text}`error_dropout` percent. Of the transformer the
# gap differs by {glue:text}`compared_transformer` and the validation error by {glue:text}`error_transformer` percent.
# A small gap is no merit by itself: a network that has learned less has less to remember.
#
# (sec:scaling-samples)=
# ## Do the samples follow?
#
# The gap is about denoising. What reaches the samples is a question of its own ({doc}`03_trajectories`). Here it is
# asked of the whole grid, at the last stop. Left is the memorized fraction, with that of validation images as a thin
# line. Right is how much nearer samples lie to training than to validation images ({eq}`eq:sample-gap`), beside the gap
# of the denoiser. Both are ratios, but of different distances, so their being equal would mean nothing. What a copier
# would show does mean something. Let every sample be a training image, as the network itself denoises it at
# $\sigma =$ {glue:text}`at_peak`. Its squared distance to that image is the training error; to the nearest validation
# image it is larger by the distance between the two images. The hollow marks are the gaps of such samples. If samples
# follow their denoisers, full marks rise with them.

# %%
def copiers_gap(n: int, width: int) -> float:
    """The gap of samples that are training images, as the network denoises them."""
    split, curve = plan.at(n, width).data.load(), grid[n, width].curves[-1]
    same = min(len(split.train), len(split.val))
    apart = nearest(split.train.x[:same], split.val.x[:same], k=1).distance.square().mean()
    return float(apart / (curve.train[curve.index(at_peak)] * split.train.x[0].numel()))


copier = {key: copiers_gap(*key) for key in grid}
share = {key: math.log1p(max(0, float(run.sample_gap[-1]))) / math.log1p(copier[key]) for key, run in grid.items()}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.6))
for width, style, mark in zip(widths, plots.LINES, "osD^"):
    runs, style = [grid[n, width] for n in sizes], {**style, "marker": mark, "label": f"width {width}"}
    points(sizes, [run.memorized[-1] for run in runs], axes[0], **style)
    gaps = [run.curves[-1].at(at_peak) for run in runs]
    points(gaps, [run.sample_gap[-1] for run in runs], axes[1], xerr=[1.96 * gap.stderr for gap in gaps], **style)
    hollow = {"mfc": "none", "ls": "none", "ms": 4, "color": style["color"], "marker": mark}
    axes[1].plot(gaps, [copier[n, width] for n in sizes], **hollow)
axes[0].plot(sizes, [float(grid[n, wide].null) for n in sizes], color=plots.VAL, lw=0.8)
draw.size_axis(sizes, axes[0]).set(ylabel="memorized fraction", ylim=(-0.06, 1.06))
axes[1].plot([], [], marker="o", mfc="none", ls="none", ms=4, color=plots.NEUTRAL, label="a copier")
axes[1].axhline(0, color=plots.NEUTRAL, lw=0.8)
gap_scale(axes[1].xaxis)
gap_scale(axes[1].yaxis)
axes[1].set(xlabel=f"gap of the denoiser at $\\sigma$ = {at_peak:.2g}", ylabel="gap of the samples")
axes[1].set(xlim=(-0.08, None), ylim=(-0.08, 1.5 * max(copier.values())))
axes[1].tick_params(axis="x", labelsize=7)
axes[1].legend(fontsize=7, loc="lower right")
for name, n in (("few", few), ("middle", middle)):
    glue(f"share_{name}", f"{share[n, wide]:.0%}", display=False)
    glue(f"samples_{name}", grid[n, wide].sample_gap[-1].format(".2f" if n == few else ".3f"), display=False)
    glue(f"copier_{name}", f"{copier[n, wide]:.3g}", display=False)
    glue(f"denoiser_{name}", f"{float(grid[n, wide].curves[-1].at(at_peak)):.2g}", display=False)

# %% [markdown]
# Do they? On {glue:text}`middle` images at width {glue:text}`wide` the denoiser's gap is {glue:text}`denoiser_middle`,
# the samples' {glue:text}`samples_middle`, and a copier's would be {glue:text}`copier_middle`. On the logarithm of
# $1 +$ gap the samples have gone {glue:text}`share_middle` of the way from fresh images to a copier. On
# {glue:text}`few` images the three are {glue:text}`denoiser_few`, {glue:text}`samples_few` and
# {glue:text}`copier_few`, and the samples have gone {glue:text}`share_few` of the way. So the answer is: late. As
# long as the denoiser's gap is a few tenths, as in the paper, samples show next to nothing of it. When it grows tenfold
# and more, they follow, and in the end they are copies.
#
# The same over time, by width, for {glue:text}`middle` images and for {glue:text}`fewer`. The paper's networks of
# different size differ in the gap of their samples far less than in that of their denoisers. Below each is the Fréchet
# distance to validation images: does a larger network draw better samples, and for how long?

# %% tags=["hide-input"]
fewer = sizes[sizes.index(middle) // 2]
glue("fewer", f"{fewer:,}", display=False)
fig, axes = plt.subplots(2, 2, figsize=(9, 5.4), sharex=True, sharey="row")
for (top_ax, low_ax), n in zip(axes.T, (middle, fewer)):
    draw.growth_by_width({w: grid[n, w].sample_gap for w in widths}, images_seen, top_ax)
    draw.growth_by_width({w: grid[n, w].to_val for w in widths}, images_seen, low_ax)
    top_ax.set(title=f"{n:,} training images", xlabel="")
    top_ax.axhline(0, color=plots.NEUTRAL, lw=0.8)
    low_ax.set(yscale="log")
axes[0, 0].set(ylabel="gap of the samples")
axes[1, 0].set(ylabel="Fréchet distance to validation")
axes[0, 0].legend(fontsize=7)
for name, n in (("middle", middle), ("fewer", fewer)):
    for which, w in (("narrow", narrow), ("wide", wide)):
        run = grid[n, w]
        glue(f"late_{name}_{which}", run.sample_gap[-1].format(".2f"), display=False)
        glue(f"late_gap_{name}_{which}", f"{float(run.peak_gaps[-1]):.2g}", display=False)
        glue(f"frechet_{name}_{which}", run.to_val[-1].format(".2f"), display=False)

# %% [markdown]
# On {glue:text}`middle` images the last gap of the samples is {glue:text}`late_middle_narrow` at width
# {glue:text}`narrow` and {glue:text}`late_middle_wide` at width {glue:text}`wide`, while the gap of the denoiser is
# {glue:text}`late_gap_middle_narrow` and {glue:text}`late_gap_middle_wide`. On {glue:text}`fewer` images it is
# {glue:text}`late_fewer_narrow` and {glue:text}`late_fewer_wide`, with {glue:text}`late_gap_fewer_narrow` and
# {glue:text}`late_gap_fewer_wide` of the denoiser: there size shows. The last Fréchet distance on {glue:text}`middle`
# images is {glue:text}`frechet_middle_narrow` at the smallest width and {glue:text}`frechet_middle_wide` at the largest.
# On {glue:text}`fewer` it is {glue:text}`frechet_fewer_narrow` and {glue:text}`frechet_fewer_wide`. A larger network
# draws better samples for its first tens of thousands of images. On few images that advantage is gone at the end.
#
# (sec:scaling-choose)=
# ## Choose a run
#
# All curves of the grid, then those of the runs beside it: the ratio $E_\text{val} / E_\text{train} = 1 + G$ over the
# noise level at each stop, and the gap's height over training.

# %%
def drawn(rows: list[list]) -> list[Curves]:
    """The plots of a widget, of runs in rows and columns."""
    ratio = torch.stack([torch.stack([torch.stack([c.gap + 1 for c in run.curves]) for run in row]) for row in rows])
    height = torch.tensor([[[float(e) for e in run.peak_gaps] for run in row] for row in rows])
    copied = torch.tensor([[[float(c) for c in run.memorized] for run in row] for row in rows])
    axes = {"log_x": True, "log_y": bool(ratio.max() > 5)}
    over_sigma = Curves(x=rows[0][0].curves[0].sigmas, y=ratio[:, :, :, None].clamp(min=0.5), x_label="noise level σ",
                        y_label="1 + G", behind="images seen", colours=(plots.TRAIN,), **axes)  # fmt: skip
    over_time = Curves(x=torch.tensor(images_seen), y=torch.stack([1 + height, 1 + copied], 2)[:, :, None].clamp(min=0.5),
                       labels=("1 + G at its peak", "1 + memorized fraction"), x_label="images seen", marker="images seen",
                       colours=(plots.TRAIN, plots.GENERATED), **axes)  # fmt: skip
    return [over_sigma, over_time]


stops = Slider("images seen", images_seen, start=-1)
sliders = [Slider("training images", [f"{n:,}" for n in sizes]), Slider("width", [str(w) for w in widths], start=-1), stops]
Scrubber(sliders, curves=drawn([[grid[n, w] for w in widths] for n in sizes]), title="The grid of runs", play="images seen")

# %% tags=["hide-input"]
others = {f"labels: {name}": run for name, run in labelled.items()} | {k: run for k, run in architectures.items() if k != "U-Net"}
choice = [Slider("network", list(others)), Slider("training images", [f"{plan.base_cell[0]:,}"]), stops]
Scrubber(choice, curves=drawn([[run] for run in others.values()]), title="Labels and architectures", play="images seen")

# %% [markdown]
# (sec:scaling-claims)=
# ## What we found
#
# For each claim one number decides. Intervals are those of a *difference* over the same images, for these networks. What
# another training would have given is seen in the scatter about the laws, and in the null: a network that was trained
# again with labels that mean nothing. A control is a comparison of which the answer is known, and is no: a larger
# network that has many more images, or fewer images for a much smaller network.

# %%
below = max(0, len(sizes) - 4)  # these sizes have gaps as in the paper, of a few tenths at most
less, some_n = sizes[below], sizes[below + 1]
where = grid[some_n, wide].curves[-1].peak_sigma


def last_difference(more: experiments.RunMetrics, less: experiments.RunMetrics, at: float) -> Interval:
    return experiments.last_gap_difference(more, less, at).with_interval()


def place_difference(run: experiments.RunMetrics, before: experiments.RunMetrics) -> Interval:
    first, second = experiments.comparable_curves([run, before])
    return centre_change([first], second, seed=seed)


again = book.Beside("random labels less none", last_difference(labelled["random"], base, where))

# %% tags=["hide-input"]
G = "$G$({} images, width {})".format
ORDER = "xs < s < m < l < xl at equal images seen (fig. 2)"
paired = f"mean over {min(coarse)} to {max(coarse)} clusters less none"
before_half = grid[less, wide]
book.ledger(
    book.Claim(
        "C4 (data)", "The gap grows when the data set shrinks, at equal size of the model.",
        f"{G(some_n, wide)} less {G(many, wide)} at $\\sigma$ = {where:.2f}",
        *last_difference(grid[some_n, wide], grid[many, wide], where), above=0, origin="no difference",
        paper="size relative to the data set (fig. 2); no number",
        control=book.Beside(f"fewer images, smaller network: {G(less, narrow)} less {G(some_n, wide)}",
                            last_difference(grid[less, narrow], grid[some_n, wide], where)),
        null=again, why="the paper has one data set a figure; here its size is varied alone",
    ),
    book.Claim(
        "C4 (size)", "The gap grows with the size of the model, on the same data.",
        f"{G(some_n, wide)} less {G(some_n, narrow)} at $\\sigma$ = {where:.2f}",
        *last_difference(grid[some_n, wide], grid[some_n, narrow], where), above=0, origin="no difference", paper=ORDER,
        control=book.Beside(f"larger network, more images: {G(many, wide)} less {G(less, narrow)}",
                            last_difference(grid[many, wide], grid[less, narrow], where)),
        null=again, why="agrees; three widths in place of the paper's six sizes",
    ),
    book.Claim(
        "C9 (height)", "Finer conditions raise the gap.",
        f"$G$ at $\\sigma$ = {at_peak:.2f}, {paired}", *higher["coarse"].with_interval(), above=0,
        origin="no difference", paper="peak .060 without, .092 with 500 of CIFAR-10's k-means labels",
        control=book.Beside(f"no labels, smaller network: {G(middle, narrow)} less {G(middle, base_width)}",
                            last_difference(grid[middle, narrow], base, at_peak)),
        null=book.Beside("random labels less none", mean_difference_at([final["random"]], unlabelled, at_peak).with_interval()),
        why="a smaller step, at a hundredth of the paper's images",
    ),
    book.Claim(
        "C9 (place)", "Finer conditions move the gap to larger noise.",
        rf"centre of $\ln\sigma$ under $G$, {paired}", *moved["coarse"], above=0, origin="no move",
        paper="peak from .7 to 1.2, .54 in $\\ln\\sigma$",
        control=book.Beside(f"no labels, fewer images: {less}, width {wide}, less {middle}, width {base_width}",
                            place_difference(before_half, base)),
        null=book.Beside("random labels less none", centre_change([final["random"]], unlabelled, seed=seed)),
        why="a smaller move, if any; the luck that labels leave at large noise is taken out here",
    ),
)  # fmt: skip

# %% [markdown]
# Whatever a network has memorized, guidance may change what its samples show of it: {doc}`05_guidance`.
