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
from diffgen.book import verbally
from diffgen.metrics.bootstrap import peak, peak_change
from diffgen.metrics.gap import paired_difference_at
from diffgen.metrics.scaling_laws import power_law
from diffgen.plots import scaling as draw
from diffgen.plots.gap import TICKS, gap_scale
from diffgen.plots.gap import estimates
from diffgen.plots.samples import points
from diffgen.widgets import Curves, Scrubber, Slider

book.check_parameters()
plots.use_style()
plan = dg.presets.named(preset, seed).scaling
measure = dg.Measure(seed=seed, device=device, n_images=plan.n_eval)

# %% [markdown]
# ## One sweep
#
# The runs are one *sweep*: a list of configurations, of which each is trained once and found again by what it says. From
# the command line, `diffgen sweep` with the name of a preset does the same with several runs at a time, on this machine
# or on a cluster ({doc}`reproduce`); what it has computed is read here. Below is all that was trained. Where results are
# published, a run's name leads to its curves. Networks differ in the number of their channels, and the last column says how
# often each has seen every image.

# %%
reference = dg.trained(plan.reference, root=results, device=device) if plan.reference else None


def measured(config: dg.TrainConfig) -> experiments.RunMetrics:
    snapshots = list(dg.train(config, root=results, device=device))
    sizes = plan.levels.sigmas, plan.n_samples, plan.sigmas
    return experiments.measure_run(snapshots, config.data.load(), *sizes, reference, measure)


of = {config: measured(config) for config in plan.runs.values() if config != plan.reference}
grid = {key: of[config] for key, config in plan.grid.items()}
labelled, architectures = ({name: of[c] for name, c in group.items()} for group in (plan.labelled, plan.architectures))
sizes, widths = plan.train_sizes, plan.widths
images_seen, last = grid[sizes[0], widths[0]].images_seen, plan.base.snapshot_images[-1]
rows = []
for name, config in plan.runs.items():
    if config in of:
        run = of[config].snapshots[-1].run
        rows.append({"run": book.run_link(run, name), "training images": f"{config.data.n_train:,}",
                     "parameters": f"{run.metadata['parameters']:,}",
                     "epochs": f"{last / config.data.n_train:.0f}"})  # fmt: skip
glue("scaling_images", f"{last:,}", display=False)
glue("middle", f"{plan.base_cell[0]:,}", display=False)
pd.DataFrame(rows).style.hide(axis="index")

# %% [markdown]
# Each network has seen {glue:text}`scaling_images` images by its last stop.
#
# ## Training images
#
# First the grid, at the last stop. If only the number of parameters counted, the panels below would differ and the lines
# within a panel would not. If only the training set counted, it would be the other way round. If it is their ratio, both
# happen, and the widest network on the fewest images has the largest gap.

# %%
def beside(count: int, height: float = 3.2) -> tuple:
    return plt.subplots(1, count, figsize=(1.5 + 2.6 * count, height), sharey=True, squeeze=False)


fig, (axes,) = beside(len(widths))
for ax, width in zip(axes, widths):
    draw.gaps_by_size({n: grid[n, width].curves[-1] for n in sizes}, ax)
    ax.set(title=f"width {width}", ylabel=ax.get_ylabel() if ax is axes[0] else "")
draw.size_legend(axes)

# %% [markdown]
# The scale is linear up to 0.2 and logarithmic above. Bands are 95 % intervals, after the sampling variability has been
# taken out where there are images enough for that ({eq}`eq:adjusted`). They overlap more than the differences between
# the curves are uncertain: the curves rest on the same images with the same noise, so most of what is uncertain about one
# is uncertain about all of them in the same way.
#
# ## Time
#
# The same runs over training, each at the noise level at which its last gap is largest. A gap needs repetition: as long
# as every image is new to a network, training and validation images are the same to it. So curves should leave 0 the
# later the more images there are.

# %%
fig, (axes,) = beside(len(widths))
for ax, width in zip(axes, widths):
    draw.growth_by_size({n: (images_seen, grid[n, width].peak_gaps) for n in sizes}, ax)
    ax.set(title=f"width {width}", ylabel="gap at its peak" if ax is axes[0] else "")
draw.size_legend(axes)

# %% [markdown]
# ## A phase diagram
#
# Both factors in one picture: training-set size to the right, images seen upwards, one column a width. The upper row is
# the height of the gap, the lower one the memorized fraction of {doc}`03_trajectories`, with the share of validation
# images that would be taken for copies subtracted. The line is the overfit onset: the time after which the validation
# error rises. It divides the plane. Below it a network still gets better at images that it has never seen.

# %%
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
axes[0, -1].legend(loc="lower right", fontsize=7, frameon=True, facecolor="white", framealpha=0.9);

# %% [markdown]
# ## Laws
#
# When does memorization begin, and how does that depend on the number $n$ of training images? Four times are read off
# the runs, between snapshots. $\tau_\text{mem}$ is the overfit onset, or, by the samples, the time at which the memorized
# fraction exceeds its null by one percent. $\tau_G$ is the time at which the gap reaches 0.2. And $\tau_\text{gen}$ is
# the time at which samples are good: when their Fréchet distance to validation images has come within half of its floor,
# the lowest of the run. The literature expects the first three to grow as $n^1$ and the last not at all.

# %%
names = {"onset": "overfit onset", "copies": "1 % copies", "gap": "G = 0.2", "quality": "good samples"}

times = {key: run.onset_times for key, run in grid.items()}
laws = {(w, name): power_law(sizes, [times[n, w][name].value for n in sizes]) for w in widths for name in names}
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
        return f"{law.n} reached"
    return f"{law.slope.value:.2f} [{law.slope.low:.2f}, {law.slope.high:.2f}] ({law.n})"


table = {label: [exponent(laws[w, name]) for w in widths] for name, label in names.items()}
pd.DataFrame(table, index=[f"width {w}" for w in widths]).T.rename_axis("exponent of n", axis=1)

# %% tags=["hide-input"]
wide, narrow, few, many = widths[-1], widths[0], sizes[0], sizes[-1]


def against(law, value: float) -> str:
    if law.n < 3:
        return "was reached with too few training-set sizes for a law"
    words = ("grows faster than n", "grows more slowly than n", "agrees with growth as n")
    if value == 0:
        words = ("grows with n", "falls with n", "does not change measurably with n")
    return f"{verbally(law.slope, *words, value)} (exponent {exponent(law)})"


for name in names:
    glue(f"law_{name}", against(laws[wide, name], 0 if name == "quality" else 1), display=False)
glue("wide", wide, display=False)

# %% [markdown]
# In the table are the exponents with their 95 % intervals, from the scatter about each line, and in brackets how many
# training-set sizes reached that time before training ended. The late ones are those that are missing, so an exponent
# from few sizes is one of small $n$. In the figure, an interval that reaches the end of training is drawn to twice the
# time. The floor of $\tau_\text{gen}$ is each run's own: if a run on few images ends higher it comes near its end sooner,
# which tilts that exponent upwards. For width {glue:text}`wide`: the overfit onset {glue:text}`law_onset`; the time of
# one percent of copies {glue:text}`law_copies`; the time at which the gap is 0.2 {glue:text}`law_gap`; and the time to
# good samples {glue:text}`law_quality`.
#
# If times grow in proportion to $n$, then what counts is $\tau / n$, the epochs. Drawn against them, curves of all sizes
# should fall on one. And if size counts relative to data, the last gaps should be a function of parameters per image.

# %%
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
glue("ratio_law", exponent(ratio_law), display=False)

# %% [markdown]
# On the right, colours are those of the left and each width has its mark. The power law through the gaps whose interval
# lies above 0 has the exponent {glue:text}`ratio_law`. Points of different colours that lie above one another at equal
# abscissa mean that the ratio is not all that counts.
#
# ## Labels
#
# A label narrows down what an image may be. With as many labels as images it names the image, and denoising becomes a
# matter of looking it up. Between none and that lie the ten classes, and clusters of the training images (k-means on the
# features of a small classifier) as coarse or fine as one likes. A validation image has the label of its nearest
# cluster. *Random* labels, ten of them, say nothing about the image, but which part of the training set to look in. All
# these networks are equal but for the embedding of their labels, on {glue:text}`middle` training images. We expect the
# gap to rise from coarse to fine, and its peak to move to larger noise, as a label helps most where the image does not
# say much.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
marks = {"none": {"color": plots.NEUTRAL, "lw": 2}, "random": {"ls": ":"}, "one an image": {"ls": "--"}, "classes": {"ls": "-."}}
draw.gaps_by_name({name: run.curves[-1] for name, run in labelled.items()}, axes[0], marks)
axes[0].legend(fontsize=7)
tops = {name: peak(run.curves[-1], seed=seed) for name, run in labelled.items()}
points(range(len(tops)), [at.height for at in tops.values()], axes[1], fmt="o", color=plots.NEUTRAL)
for k, at in enumerate(tops.values()):
    above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "size": 7}
    axes[1].annotate(f"σ {at.sigma.value:.2g}", (k, at.height.high), **above)
axes[1].set_xticks(range(len(tops)), list(tops), rotation=35, ha="right")
axes[1].set(ylabel="gap at its peak")
axes[1].margins(y=0.15);

# %% tags=["hide-input"]
finest = f"{max(plan.clusters)} clusters"


unlabelled = labelled["none"]
at_peak = unlabelled.curves[-1].peak_sigma  # a maximum of each would be picked by chance, the more the flatter it is
_, moved = peak_change(labelled[finest].curves[-1], unlabelled.curves[-1], seed=seed)
words = ("above that without labels", "below that without labels", "not told from that without labels")
for name, key in (("random", "random"), ("one an image", "single"), (finest, "finest")):
    higher = experiments.last_gap_difference(labelled[name], unlabelled, at_peak)
    says = f"{verbally(higher, *words)} (difference {higher.format()})"
    glue(f"labels_{key}", says, display=False)
glue("finest", finest, display=False)
glue("at_peak", f"{at_peak:.2g}", display=False)

# %% [markdown]
# Beside each peak on the right is its noise level. Where the gap without labels is largest, at $\sigma =$
# {glue:text}`at_peak`, the gap with {glue:text}`finest` is {glue:text}`labels_finest`; with random labels
# {glue:text}`labels_random`; with one label an image {glue:text}`labels_single`. For validation images the last is a
# wrong label, that of another image; their error contains what a network does with a wrong name, and the gap with it.
#
# ## Dropout, and a transformer
#
# The same training set, the same number of images seen, another network. Dropout makes a network worse at recalling
# single images, and should lower the gap; what it does to the error on validation images decides whether that is worth
# it. The transformer has {glue:text}`parameters_transformer` parameters, the U-Net {glue:text}`parameters_unet`, and the same
# learning rate, but it computes in float32.

# %%
fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.2))
for (name, run), style in zip(architectures.items(), plots.LINES):
    curve, mark = run.curves[-1], {"marker": "o", "ms": 3.5, "label": name, **style}
    axes[0].plot(curve.sigmas, curve.gap, **mark)
    axes[1].plot(curve.sigmas, curve.val / architectures["U-Net"].curves[-1].val, **mark)
    estimates(images_seen, run.peak_gaps, axes[2], label=name, **style)
for ax in axes[:2]:
    ax.set(xscale="log", xlabel="noise level σ")
axes[0].set(ylabel="relative gap $G(\\sigma)$")
axes[1].set(ylabel="validation error / that of the U-Net")
plots.training_axis(axes[2]).set(ylabel="gap at its peak")
axes[1].legend(fontsize=7);

# %% tags=["hide-input"]
def compared(name: str) -> str:
    at = architectures["U-Net"].curves[-1].peak_sigma
    less = paired_difference_at(architectures[name].curves[-1], architectures["U-Net"].curves[-1], at)
    side = verbally(less, "higher than", "lower than", "not told from")
    return f"{side} that of the U-Net (difference {less.format()})"


for name, key in (("with dropout", "dropout"), ("transformer", "transformer")):
    glue(f"compared_{key}", compared(name), display=False)
for name, key in (("U-Net", "unet"), ("transformer", "transformer")):
    parameters = architectures[name].snapshots[-1].run.metadata["parameters"]
    glue(f"parameters_{key}", f"{parameters:,}", display=False)

# %% [markdown]
# At the noise level of the U-Net's peak, the gap with dropout is {glue:text}`compared_dropout`, and that of the
# transformer is {glue:text}`compared_transformer`.
#
# ## Do the samples follow?
#
# The gap is about denoising. What reaches the samples is a question of its own ({doc}`03_trajectories`); here it is
# asked of the whole grid, at the last stop: the memorized fraction, with that of validation images as a thin line, and how
# much nearer samples lie to training than to validation images ({eq}`eq:sample-gap`), beside the gap of the denoiser.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8.8, 3.3))
for width, style, mark in zip(widths, plots.LINES, "osD^"):
    runs, style = [grid[n, width] for n in sizes], {**style, "marker": mark, "label": f"width {width}"}
    points(sizes, [run.memorized[-1] for run in runs], axes[0], **style)
    gaps = [run.peak_gaps[-1] for run in runs]
    points(gaps, [run.sample_gap[-1] for run in runs], axes[1], xerr=[1.96 * gap.stderr for gap in gaps], **style)
axes[0].plot(sizes, [float(grid[n, wide].null) for n in sizes], color=plots.VAL, lw=0.8)
draw.size_axis(sizes, axes[0]).set(ylabel="memorized fraction", ylim=(-0.06, 1.06))
axes[1].axline((0, 0), slope=1, color=plots.NEUTRAL, lw=0.8, ls=":")
gap_scale(axes[1].xaxis)
gap_scale(axes[1].yaxis)
axes[1].set(xlabel="gap of the denoiser at its peak", ylabel="gap of the samples")
axes[0].legend();

# %% [markdown]
# On the dotted line samples would follow their denoiser. Below it, the denoiser knows more of its training set than its
# samples show.
#
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
# ## What we found
#
# For each claim one number decides. Intervals are those of a *difference* over the same images, for these networks; what
# another training would have given is seen in the scatter about the laws.

# %% tags=["hide-input"]
def claim(name: str, statement: str, more: tuple[int, int], less: tuple[int, int], at: float) -> book.Claim:
    difference = experiments.last_gap_difference(grid[more], grid[less], at)
    what = rf"$G({more[0]}\text{{ images}}, \text{{width }}{more[1]}) - G({less[0]}, {less[1]})$ at $\sigma$ = {at:.2f}"
    return book.Claim(name, statement, what, *difference.with_interval(), above=0)


middle = plan.base_cell[0]
book.ledger(
    claim("C4 (data)", "The gap grows when the data set shrinks, at equal size of the model.", (few, wide), (many, wide),
          grid[few, wide].curves[-1].peak_sigma),
    claim("C4 (size)", "The gap grows with the size of the model, on the same data.", (middle, wide), (middle, narrow),
          grid[middle, wide].curves[-1].peak_sigma),
    book.Claim("C9 (height)", "Finer conditions raise the gap.",
               rf"$G$ with {finest} less that without labels, at $\sigma$ = {at_peak:.2f}, where the latter peaks",
               *experiments.last_gap_difference(labelled[finest], unlabelled, at_peak).with_interval(), above=0),
    book.Claim("C9 (place)", "Finer conditions move the peak of the gap to larger noise.",
               rf"$\ln\sigma$ of the peak with {finest} less that without labels", *moved.with_interval(), above=0),
)  # fmt: skip

# %% [markdown]
# Whatever a network has memorized, guidance may change what its samples show of it: {doc}`05_guidance`.
