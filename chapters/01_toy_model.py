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
# (sec:toy)=
# # The toy model
#
# **Question: why does the best denoiser copy, why does an imperfect one not, and why does the difference show at
# intermediate noise?**
#
# Twenty points on a circle are enough to see most of what {cite:t}`kaiser2026` say about large diffusion models. Ten of
# them are training points, the ten between them are for validation. In the plane nothing has to be estimated: the best
# denoiser is a formula, a denoiser with errors is another one, and the generalization gap is an integral that a grid
# computes to a fraction of a percent. You can also take hold of the points yourself: the two widgets below compute
# everything in your browser.

# %% [markdown]
# The next cell holds what can be changed when this chapter is executed again, see {doc}`reproduce`.

# %% tags=["parameters"]
from typing import Literal

preset: Literal["smoke", "quick", "standard", "paper"] = "quick"  # how much to compute
seed: int = 0  # of noise draws, random points and the trained network
device: str = "cpu"  # the toy model is too small for anything else; kept so that all chapters take the same
results: str = "runs"  # likewise: nothing here takes long enough to be kept
shape: Literal["circle", "line", "moons", "spiral", "grid"] = "circle"  # manifold of the random data

# %% tags=["hide-input"]
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import pandas as pd
import torch
from myst_nb import glue

import diffgen as dg
from diffgen import book, plots
from diffgen.data.toy import circle, manifold, plane
from diffgen.metrics import toy
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.neighbours import nearest
from diffgen.metrics.toy_comparisons import (
    blurred_distances,
    density_comparisons,
    error_comparisons,
    mean_top,
    peak_drop,
    random_gaps,
)
from diffgen.plots import toy as draw
from diffgen.training.toy import toy_config, train_toy
from diffgen.widgets import FieldExplorer, TrajectoryPlayer

book.check_parameters()
torch.set_num_threads(1)  # points in the plane are too little work to share between cores
plots.use_style()
settings = dg.presets.named(preset, seed)
smoke = preset == "smoke"

# %% [markdown]
# (sec:toy-flow)=
# ## The best denoiser, by hand
#
# A denoiser gets $x = y + \sigma n$, a data point with noise $n \sim N(0, I)$ of level $\sigma$ added, and returns its
# best guess of $y$. If $y$ is one of the training points $y_1, \dots, y_N$, each as likely as any other, then the guess
# with the smallest squared error is the mean of the points, weighted by how well each explains $x$
# {cite:p}`karras2022`:
#
# $$
# y^*(x, \sigma) = \sum_i w_i(x)\, y_i, \qquad w = \mathrm{softmax}_i \left( - \frac{\|x - y_i\|^2}{2 \sigma^2} \right).
# $$ (eq:toy-optimal)
#
# Three lines of code, and the library's denoiser, which does the same for a million images in bounded memory, must
# agree.

# %%
ten = circle(10, offset=1e-3, split=None)
places = plane(15, 24 if smoke else 64)
x, sigma = places.flatten(0, 1), torch.tensor(2.8)
weights = (-torch.cdist(x, ten.train.x.double()).square() / (2 * sigma**2)).softmax(1)
by_hand = weights @ ten.train.x.double()
optimal = dg.OptimalDenoiser(ten.train.x)
disagreement = (by_hand - optimal(x, sigma)).abs().max()
glue("disagreement", f"{disagreement:.0e}", display=False)
print(f"largest disagreement: {disagreement:.1e}")

# %% [markdown]
# They agree to {glue:text}`disagreement`. What does this denoiser do? Sampling follows $x$ in the direction of
# $y^*(x, \sigma) - x$ while $\sigma$ falls. So draw that field, at three noise levels: one larger than the circle, one
# between the circle and the distance of neighbours, one far below it. At which of them do you expect to recognize the
# single points?

# %%
levels = [28, 2.8, 0.63]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.7))
for ax, level in zip(axes, levels):
    denoised = optimal(x, torch.tensor(level)).reshape(places.shape)
    lines = draw.flow_field(places, denoised, ten, ax)
    ax.set_title(rf"$\sigma = {level}$")
    fig.colorbar(lines, ax=ax, location="bottom", label=r"$\|y^* - x\|$", shrink=0.8)

# %% [markdown]
# *Left*, everything flows to one place and the predictions (crosses) sit on top of each other: all points explain $x$
# about equally well, and their mean is all that can be said. *Middle*, the predictions trace the circle, with the
# points faintly visible: the denoiser knows the manifold. *Right*, the plane is cut like a cake, every prediction is
# one of the training points, and there is no in between.
#
# One number measures this: how many training points have a say. Take the entropy of the weights in
# {eq}`eq:toy-optimal`, averaged over noisy training points, and divide it by its largest value, $\ln N$. It is 1 if all
# points count the same, and 0 if only one does.

# %%
having_say = dict(zip(levels, toy.posterior_spread(ten.train.x, levels).tolist()))
in_code = toy.posterior_spread(ten.train.x, [25.5, 2.61, 0.585]).tolist()  # what the authors' code takes instead
for k, name in enumerate(("global", "moderate", "sharp")):
    glue(f"spread_{name}", having_say[levels[k]], display=False)
    glue(f"in_code_{name}", in_code[k], display=False)

# %% [markdown]
# It is {glue:text}`spread_global:.2f` at $\sigma = 28$, {glue:text}`spread_moderate:.2f` at 2.8 and
# {glue:text}`spread_sharp:.2f` at 0.63: global, moderately localized, sharply localized. (These are the noise levels in
# the caption of the paper's figure. The authors' code now takes 25.5, 2.61 and 0.585, where the number is
# {glue:text}`in_code_global:.2f`, {glue:text}`in_code_moderate:.2f` and {glue:text}`in_code_sharp:.2f`: the same
# picture.) A sampler that uses this field ends on a training point, always. The best denoiser is a copying machine.
#
# ## Error is a blur
#
# No network reaches {eq}`eq:toy-optimal`. The paper models what is left of its error by a single number $\delta$, a
# length:
#
# $$
# y_\delta(x, \sigma) = \frac{\sigma^2\, y^*\big(x, \sqrt{\sigma^2 + \delta^2}\big) + \delta^2 x}{\sigma^2 + \delta^2}.
# $$ (eq:toy-prone)
#
# This looks made up, and it is not. It is the *best* denoiser for other data: the training points, each blurred into a
# Gaussian cloud $N(y_i, \delta^2 I)$. If $y$ comes from such a cloud then $x = y + \sigma n$ lies around $y_i$ with
# variance $\sigma^2 + \delta^2$, which is where $y^*$ gets its second argument, and within the cloud the best guess is
# the usual compromise between its centre and $x$. If that is right, then summing over the clouds numerically, without
# {eq}`eq:toy-prone`, must give the same numbers.

# %%
data = circle()
train, val = data.train.x.double(), data.val.x.double()
delta, level = 1.6, torch.tensor(1.1)
cloud = plane(20, 121).flatten(0, 1)
log_density = (-torch.cdist(cloud, train).square() / (2 * delta**2)).logsumexp(1)
some = plane(11, 12).flatten(0, 1)
log_likelihood = -torch.cdist(some, cloud).square() / (2 * level**2)
blurred = (log_density + log_likelihood).softmax(1) @ cloud
blur_error = (blurred - dg.ErrorProne(train, delta)(some, level)).abs().max()
glue("blur_error", f"{blur_error:.0e}", display=False)

# %% [markdown]
# The largest difference is {glue:text}`blur_error`, on a circle of radius 10. So *a model error of $\delta$ means: the
# model cannot tell a training point from a place a distance $\delta$ away*. And what cannot be told apart cannot be
# copied.
#
# (sec:toy-gap)=
# ## The gap is a bump
#
# How much better does a denoiser know its training points? Let $E_S(\sigma)$ be the mean over the points $y$ of a set
# $S$ and over the noise of $\|D(y + \sigma n; \sigma) - y\|$ (in this chapter the distance, later its square). The
# relative generalization gap is
#
# $$
# G(\sigma) = \frac{E_\text{val}(\sigma) - E_\text{train}(\sigma)}{E_\text{train}(\sigma)}.
# $$ (eq:toy-gap)
#
# Before looking: where should it be? At large $\sigma$ the denoiser returns the mean of everything, for training and
# validation points alike, so $G = 0$. At very small $\sigma$ an error-prone denoiser, $\delta > \sigma$, returns $x$
# and errs by the noise that $x$ carries, for both alike, so again $G = 0$. If there is a gap, then in between. The
# smaller $\delta$, the larger.

# %%
sigmas = dg.edm_sigmas(40 if smoke else 120, dtype=torch.float64)[:-1]
deltas = [round(2.2 - 0.1 * k, 1) for k in range(11)]  # the paper's
exact = {d: toy.expected_gap(dg.ErrorProne(train, d), train, val, sigmas) for d in deltas}
fig, ax = plt.subplots(figsize=(6.5, 3.6))
draw.curve_family(sigmas, [c.gap for c in exact.values()], deltas, r"model error $\delta$", ax)
tops = {d: toy.toy_peak(curve) for d, curve in exact.items()}
glue("sigma_low", min(top.sigma for top in tops.values()), display=False)
glue("sigma_high", max(top.sigma for top in tops.values()), display=False)
ends = max(float(c.gap[[0, -1]].abs().max()) for c in exact.values())
glue("ends", f"{ends:.0e}", display=False)

# %% [markdown]
# A bump at $\sigma \approx$ {glue:text}`sigma_low:.2f`–{glue:text}`sigma_high:.2f`; at both ends of the axis $|G|$ is
# below {glue:text}`ends`. Two things were expected, and one was not: the bump *stays where it is*. It does not move to
# $\sigma \approx \delta$, as one might think. We come back to that.
#
# These curves are free of chance: the mean over the noise is an integral over the plane, done by a grid. The paper
# draws 50 noises for each point instead, the same at every $\sigma$. The authors' code documents which: NumPy's classic
# random stream of seed 0. It prints no table of peaks, so the second column below is computed here from their noise.
# The third is this project's own, with more of the same stream.

# %% tags=["hide-input"]
near = sigmas[(sigmas > 0.9) & (sigmas < 1.5)]
table = pd.DataFrame({"exact": [tops[d].height for d in deltas]}, index=deltas)
for draws, whose in ((50, "50 draws, the authors' noise"), (1000, "1,000 draws, ours")):
    noise = toy.paper_noise(draws)
    drawn = [toy.drawn_gap(dg.ErrorProne(train, d), train, val, near, noise) for d in deltas]
    table[whose] = [float(curve.peak) for curve in drawn]
    above = table[whose] / table.exact - 1
    glue(f"above_{draws}", f"{above.min():.0%}–{above.max():.0%}", display=False)
table.round(3).rename_axis("δ")

# %% [markdown]
# With 50 draws the peaks lie {glue:text}`above_50` above the exact ones, with 1,000 {glue:text}`above_1000`. All
# deviate in the same direction, because all rows share one noise, and training and validation points have different
# ones. Fifty draws are enough for the picture, and not for the second digit; everything below uses the exact curves.
#
# (sec:toy-regions)=
# ## Where a place must lie to be known
#
# $G$ compares two sets. The same question can be asked of every place in the plane: if *it* were the validation point,
# how large would the gap be? At the bump's noise level, with the line where the gap is 0.5:

# %%
middle, shown = 1.1, [2.2, 1.6, 1.2]
grid = plane(17, 15 if smoke else 48)
maps = {d: toy.gap_map(dg.ErrorProne(train, d), train, grid.flatten(0, 1), middle) for d in shown}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4))
for ax, (d, gaps) in zip(axes, maps.items()):
    filled = draw.gap_region(grid, gaps.reshape(grid.shape[:2]), data, ax)
    ax.set_title(rf"$\delta = {d}$")
fig.colorbar(filled, ax=axes, label="gap to the training points", shrink=0.8)
at_val = {d: float(toy.gap_map(dg.ErrorProne(train, d), train, val, middle).mean()) for d in shown}
for name, d in zip(("large", "medium", "small"), shown):
    glue(f"val_{name}", at_val[d], display=False)

# %% [markdown]
# At $\delta = 2.2$ the region below 0.5 is a ring that holds the validation points (diamonds), whose gap is
# {glue:text}`val_large:.2f`. At 1.6 the ring has necks, and the points lie in them, at {glue:text}`val_medium:.2f`. At
# 1.2 it has broken into islands around the training points, and the validation points are out, at
# {glue:text}`val_small:.2f`. Generalization does not fade everywhere at once: it is cut at the places furthest from the
# training data. Along the circle:

# %%
turn = torch.linspace(0, 1, 41 if smoke else 201, dtype=torch.float64)
ring = 10 * torch.stack([(2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()], 1)
along = [toy.gap_map(dg.ErrorProne(train, d), train, ring, middle) for d in shown]
fig, ax = plt.subplots(figsize=(8, 3.2))
ax = draw.gap_along(turn, along, shown, data, ax)

# %% [markdown]
# Zero at the training points, and nearly a sine in between: the valleys and hills of what the denoiser knows.
#
# (sec:toy-displacement)=
# ## What a denoiser leaves nearly alone
#
# There is another way to ask what a denoiser takes for data. Give it any place $x$ and look how far it moves it. If
# $\|y_\delta(x, \sigma) - x\| \le \sigma$ then $x$ passes for a data point with noise $\sigma$. By {eq}`eq:toy-prone`
# that is so where $\|y^*(x, \sqrt{\sigma^2 + \delta^2}) - x\| \le \sigma + \delta^2 / \sigma$. So at large $\sigma$ the
# error should not matter. At small $\sigma$ it should widen the region a lot: to a ball of about that radius around
# each training point.

# %%
moved_by, at_levels = [2.0, 1.0, 0.5], [2.8, 1.1, 0.5]  # errors, noise levels
wide = plane(19, 40 if smoke else 160)
moves = {
    level: [
        (dg.ErrorProne(train, d)(wide.flatten(0, 1), torch.tensor(level)) - wide.flatten(0, 1)).norm(dim=1)
        for d in moved_by
    ]
    for level in at_levels
}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6))
for ax, (level, fields) in zip(axes, moves.items()):
    grids = [field.reshape(wide.shape[:2]) for field in fields]
    lines = draw.below(wide, grids, level, moved_by, data, ax)
    ax.set_title(rf"$\sigma = {level}$")
fig.colorbar(lines, ax=axes, label=r"model error $\delta$", ticks=sorted(moved_by), shrink=0.8)
share = {level: [float((field <= level).double().mean()) for field in fields] for level, fields in moves.items()}
for name, level in zip(("high", "middle", "low"), at_levels):
    glue(f"left_alone_{name}", share[level][0] / share[level][-1], display=False)

# %% [markdown]
# In the tinted regions the denoiser moves a place by less than $\sigma$. *Left*, the three errors make nearly the same
# ring: the region for $\delta = 2$ has {glue:text}`left_alone_high:.1f` times the area of that for 0.5. *Middle*, the
# areas differ {glue:text}`left_alone_middle:.1f`-fold, and *right* {glue:text}`left_alone_low:.0f`-fold. There the
# better denoiser knows islands around the training points, and small ones half way between them, where two points pull
# alike. The worse one takes all of a disc for data. What it leaves alone, sampling leaves where it is.
#
# ## Take hold of it
#
# Flow, region and gap belong together; here they are in one picture, and below it again as a thing to play with.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.9))
denoised = dg.ErrorProne(train, 1.6)(x, torch.tensor(middle)).reshape(places.shape)
draw.flow_field(places, denoised, data, axes[0])
axes[0].contour(grid[0, :, 0], grid[0, :, 0], maps[1.6].reshape(grid.shape[:2]), [0.5], colors="black")
axes[1].plot(sigmas, exact[1.6].gap, color="black")
axes[1].axvline(middle, ls="--", color=plots.NEUTRAL)
draw.gap_axes(axes[1])
title = fig.suptitle(rf"$\sigma = {middle}$, $\delta = 1.6$")

# %% [markdown]
# In the next figure, everything moves. Drag a training point away from its neighbours and watch the region tear there.
# Lower $\delta$ until it breaks into islands; move $\sigma$ to either end and see the gap vanish. Add points, and see
# how little is left of the bump. (It runs in your browser and needs no kernel; with one, `explorer.delta = 1.2` moves
# the slider, and `explorer.gap(sigmas)` is the curve.)

# %%
explorer = FieldExplorer(data, sigma=middle, delta=1.6)
explorer

# %% [markdown]
# (sec:toy-density)=
# ## What sets the place, and what the height
#
# If copying is a matter of telling neighbours apart, then the distance of neighbours should matter. Keep
# $\delta = 1.6$ and put more points on the circle, $N$ in all, every second one for training. Denser data should be
# harder to recall: a lower bump. And where does it go? These are the paper's values of $N$ and $\delta$.

# %%
counts, at_error = list(range(16, 31, 2)), 1.6
fine = dg.log_sigmas(24 if smoke else 72, 0.2, 5, dtype=torch.float64)
dense = {n: toy.even_gap(n // 2, at_error, fine) for n in counts}
heights = {n: toy.toy_peak(curve) for n, curve in dense.items()}
from_noise = {}  # of the authors
for n in counts:
    split = circle(n)
    case = dg.ErrorProne(split.train.x, at_error), split.train.x, split.val.x
    from_noise[n] = toy.drawn_gap(*case, sigmas[(sigmas > 0.6) & (sigmas < 2)], toy.paper_noise(50, n)).peak

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), width_ratios=[1.3, 1])
draw.curve_family(fine, [c.gap for c in dense.values()], counts, "points $N$", left, cmap=draw.COUNT, ticks=counts[::2])
right.plot(counts, [top.height for top in heights.values()], color="black", label="exact")
right.plot(counts, list(from_noise.values()), "o", mfc="none", color="black", label="50 draws, the authors' noise")
right.set(xlabel="points $N$, half of them for training", ylabel="height of the peak", xticks=counts)
right.legend()
for n in (16, 30):
    glue(f"height_{n}", heights[n].height, display=False)
    glue(f"sigma_{n}", heights[n].sigma, display=False)
    glue(f"from_noise_{n}", float(from_noise[n]), display=False)

# %% [markdown]
# From 16 to 30 points the peak falls from {glue:text}`height_16:.2f` to {glue:text}`height_30:.2f` and moves from
# $\sigma =$ {glue:text}`sigma_16:.2f` to {glue:text}`sigma_30:.2f`. With the authors' 50 draws it falls from
# {glue:text}`from_noise_16:.3f` to {glue:text}`from_noise_30:.3f` (*right*, circles): chance, but the same law. A dense
# support suppresses recall.
#
# The model has three lengths: the noise $\sigma$, the error $\delta$, and the distance $a$ of neighbouring training
# points (the radius hardly matters once the circle looks straight from one neighbour to the next). A relative gap has
# no unit, so it can depend on their ratios only, $G = g(\sigma / a, \delta / a)$. Plot the place of the peak in units
# of $a$, and its height, for many pairs of density and error:

# %%
ratios = [0.15, 0.2, 0.25, 0.3, 0.35]
tried = [8, 12] if smoke else [8, 10, 12, 15, 20]
spacing = {n: 20 * math.sin(math.pi / n) for n in tried}
by_count = {n: [toy.toy_peak(toy.even_gap(n, ratio * spacing[n], fine)) for ratio in ratios] for n in tried}
at_sigma = [[top.sigma / spacing[n] for top in by_count[n]] for n in tried]
high = [[top.height for top in by_count[n]] for n in tried]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, values, label in zip(axes, (at_sigma, high), (r"place of the peak, $\sigma / a$", "height of the peak")):
    draw.collapse([ratios] * len(tried), values, [f"N = {2 * n}" for n in tried], ax)
    ax.set_ylabel(label)
axes[0].set_ylim(0, 0.3)
axes[0].get_legend().set(loc="lower left")
axes[1].set_yscale("log")
draw.plain_log(axes[1].yaxis)

# %% tags=["remove-cell"]
glue("sigma_ratio_low", min(map(min, at_sigma)), display=False)
glue("sigma_ratio_high", max(map(max, at_sigma)), display=False)
spread = max(max(row) / min(row) - 1 for row in zip(*high))
glue("height_spread", f"{spread:.0%}", display=False)
glue("height_range", max(map(max, high)) / min(map(min, high)), display=False)
typical = sum(map(sum, at_sigma)) / (len(tried) * len(ratios))
glue("noise_per_spacing", f"1/{1 / typical:.0f}", display=False)

# %% [markdown]
# All densities fall on the same two curves. The left one is flat: whatever the error, the bump sits at $\sigma =$
# {glue:text}`sigma_ratio_low:.3f`–{glue:text}`sigma_ratio_high:.3f` $a$, about {glue:text}`noise_per_spacing` of the
# spacing. The right one falls {glue:text}`height_range:.0f`-fold, and at one $\delta / a$ the densities differ by at
# most {glue:text}`height_spread`. So **the spacing of the points sets the place of the gap, and the model error,
# measured in spacings, its height**. Dense data and a bad model are the same thing seen from two sides.
#
# ## Points at random
#
# Nobody's data are equidistant. Draw the points at random instead, on the manifold that the parameter `shape` names,
# and do it many times, since one draw of twenty points is an anecdote. Some draws leave holes in the training data, and
# their validation points will be far from everything. What will that do to the average?

# %%
draws = 4 if smoke else 40
coarse = dg.log_sigmas(12 if smoke else 32, 0.05, 80, dtype=torch.float64)
random_data = [manifold(shape, 20, placement="random", seed=1000 * seed + k) for k in range(draws)]
random_gap = torch.stack([
    toy.expected_gap(dg.ErrorProne(p.train.x, 1.6), p.train.x, p.val.x, coarse).gap for p in random_data
])  # fmt: skip
regular = manifold(shape, 20)
regular_gap = toy.expected_gap(dg.ErrorProne(regular.train.x, 1.6), regular.train.x, regular.val.x, coarse).gap
mean, error = random_gap.mean(0), random_gap.std(0) / draws**0.5
fig, (left, ax) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=[1, 1.6])
draw.frame(12, draw.show_points(random_data[0], left)).set_title(f"one draw of {draws}")
ax.plot(coarse, random_gap.T, color=plots.NEUTRAL, lw=0.4, alpha=0.4)
ax.fill_between(coarse, mean - 2 * error, mean + 2 * error, color=draw.RANDOM, alpha=0.4, lw=0)
ax.plot(coarse, mean, color=draw.RANDOM, label="random, mean ± 2 standard errors")
ax.plot(coarse, regular_gap, "--", color="black", label="equidistant")
legend = draw.gap_axes(ax).legend(loc="upper left")

# %% tags=["remove-cell"]
top = int(mean.argmax())
glue("random_peak", float(mean[top]), display=False)
glue("random_error", 2 * float(error[top]), display=False)
glue("random_spread", float(random_gap[:, top].std()), display=False)
glue("random_sigma", float(coarse[top]), display=False)
glue("regular_peak", float(regular_gap.max()), display=False)
glue("regular_sigma", float(coarse[regular_gap.argmax()]), display=False)
glue("shape", shape, display=False)
glue("tail", float(mean[-1]), display=False)
glue("tail_error", 2 * float(error[-1]), display=False)
glue("tail_spread", float(random_gap[:, -1].std()), display=False)
glue("tail_theory", math.sqrt((1 + 1 / 10) / (1 - 1 / 10)) - 1, display=False)

# %% [markdown]
# On the {glue:text}`shape`, the mean over draws peaks at {glue:text}`random_peak:.2f` ± {glue:text}`random_error:.2f`
# near $\sigma =$ {glue:text}`random_sigma:.1f`; equidistant points of the same number give
# {glue:text}`regular_peak:.2f` at {glue:text}`regular_sigma:.1f`. The holes decide: they are wide, and a wide spacing
# means a high bump at large $\sigma$.
#
# Now look at the right end. $G$ should vanish there, and it doesn't: {glue:text}`tail:.2f` ±
# {glue:text}`tail_error:.2f`. At large $\sigma$ the denoiser returns the mean of the *training points*, and ten points
# are nearer to their own mean than to that of ten others, by a factor of about $\sqrt{(1 + 1/N) / (1 - 1/N)}$, which
# makes a gap of {glue:text}`tail_theory:.2f`. This, too, is memory, of the least interesting kind, and equidistant
# points hide it. Single draws, the thin lines, scatter around it with a standard deviation of
# {glue:text}`tail_spread:.2f`
# ({glue:text}`random_spread:.2f` at the peak): a curve from one random draw shows chance as much as law.
#
# (sec:toy-samples)=
# ## What is sampled
#
# Sampling follows the probability-flow equation $dx / d\sigma = (x - D(x; \sigma)) / \sigma$ from $\sigma = 80$ down to
# 0 {cite:p}`song2021`. Since $y_\delta$ is the best denoiser of the blurred training set, we know what must come out:
# not the training points, but the training points blurred by $\delta$. In two dimensions the length of a Gaussian of
# width $\delta$ has the mean $\delta \sqrt{\pi / 2}$, so that should be the mean distance of a sample to its training
# point, as long as no other point comes nearer.

# %%
steps = dg.edm_sigmas(24 if smoke else 64, dtype=torch.float64)
count = 10 * settings.toy.n_noise
start = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
home = train[torch.arange(count) % len(train)]
errors = [0.1, 0.3, 0.6, 0.9, 1.2, 1.6, 2.2, 3.0]


def fall(d: float):  # from the exact distribution at σ = 80, so that all later ones are exact, too
    return list(dg.trajectory(dg.ErrorProne(train, d), home + math.hypot(80, d) * start, steps))


paths = {d: fall(d) for d in errors}
ends_at = {d: states[-1].x for d, states in paths.items()}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
distance = [float(nearest(end, train, 1).distance.mean()) for end in ends_at.values()]
draw.against_theory(errors, distance, [d * math.sqrt(math.pi / 2) for d in errors], axes[0])
axes[0].set(xlabel=r"model error $\delta$", ylabel="mean distance to the nearest point")
copied = [dg.memorized_fraction(end, train) for end in ends_at.values()]
axes[1].errorbar(errors, copied, [2 * c.stderr for c in copied], fmt="o-", color=plots.GENERATED)
null = dg.memorized_fraction(circle(400, split=None).train.x.double(), train)
axes[1].axhline(null, ls=":", color=plots.NEUTRAL, label="points all over the circle")
axes[1].set(xlabel=r"model error $\delta$", ylabel="memorized fraction", ylim=(0, 1.05))
legend = axes[1].legend(loc="upper right")

# %% tags=["remove-cell"]
glue("distance_ratio", distance[1] / (errors[1] * math.sqrt(math.pi / 2)), display=False)
glue("copied_small", float(copied[0]), display=False)
glue("copied_large", float(copied[-1]), display=False)
glue("null", float(null), display=False)
glue("error_small", errors[0], display=False)
glue("error_checked", errors[1], display=False)
glue("error_large", errors[-1], display=False)

# %% [markdown]
# *Left*, the law holds for small $\delta$ (at {glue:text}`error_checked:.1f`, measured over predicted is
# {glue:text}`distance_ratio:.3f`), then neighbours interfere. *Right*, the share of samples that count as copies, being
# at most a third as far from the nearest training point as from the second: {glue:text}`copied_small:.2f` at $\delta =$
# {glue:text}`error_small:.1f`, down to {glue:text}`copied_large:.2f` at {glue:text}`error_large:.0f`. Mind the dotted
# line. Points spread evenly over the circle, by a perfect generator so to speak, would be called copies in
# {glue:text}`null:.2f` of all cases: in one dimension much of the data lies near some training point. A memorized
# fraction says something only beside its null, and it can also fall below: at large $\delta$ samples leave the circle,
# away from all points.
#
# (sec:toy-frechet)=
# ## What a Fréchet distance sees of it
#
# Large models are judged by the Fréchet distance of their samples to data, and the paper by its difference between
# validation and training data. Try that where all is known: 1,000 random points, half of them for training, and as
# many samples, for seven errors. Neighbours are about 0.13 apart, and no error is much smaller. So hardly anything can
# be copied. What difference do you expect?

# %%
crowd, tested = 200 if smoke else 1000, [3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.1]
split = manifold("circle", crowd, placement="random", seed=seed)
known, unseen = split.train.x.double(), split.val.x.double()
first = torch.randn(crowd, 2, generator=torch.Generator().manual_seed(seed + 2), dtype=torch.float64)
few_steps = dg.edm_sigmas(12 if smoke else 24, dtype=torch.float64)
sampled = {d: dg.sample(dg.ErrorProne(known, d), 80 * first, few_steps) for d in tested}
reached = torch.tensor([[dg.frechet_distance(end, to) for to in (known, unseen)] for end in sampled.values()])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4))
for ax, d in zip(axes, (3.0, 1.0, 0.1)):
    ax.scatter(*sampled[d].T, s=4, color=plots.GENERATED, alpha=0.5, lw=0)
    draw.frame(17, ax).set_title(rf"samples, $\delta = {d:g}$")

# %% [markdown]
# Now the distances. How much of them is luck? The ends of sampling are blurred training points, so other splits cost
# nothing: draw the points anew, blur the training half, and measure again.

# %%
others = [
    manifold("circle", crowd, placement="random", seed=10_000 + 1000 * seed + k) for k in range(20 if smoke else 100)
]
luck = torch.stack([blurred_distances(other, tested, seed=k) for k, other in enumerate(others)])
excess = luck[:, :, 1] - luck[:, :, 0]  # to validation less to training points, (splits, errors)
halves = torch.tensor([dg.frechet_distance(other.train.x, other.val.x) for other in others], dtype=torch.float64)

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
draw.frechet_by_error(tested, reached, luck, left)
left.legend(loc="upper center")
for d, marker in ((3.0, "s"), (0.1, "o")):
    colour = draw.shades([0.1, 3.0], draw.ERROR).to_rgba(d)
    label = rf"$\delta = {d:g}$"
    right.plot(halves, excess[:, tested.index(d)], marker, ms=4, mfc="none", color=colour, label=label)
right.plot([0, halves.max()], [0, halves.max()], color=plots.NEUTRAL, lw=0.8, label="equal")
right.set(xlabel="distance of the two halves of the data", ylabel="to validation less to training")
right.legend(loc="upper left")

# %% tags=["remove-cell"]
alike = torch.corrcoef(torch.cat([excess.T, halves[None]]))[-1]
for k, name in ((0, "large"), (-1, "small")):
    glue(f"frechet_gap_{name}", float(reached[k, 1] - reached[k, 0]), display=False)
    glue(f"frechet_alike_{name}", float(alike[:-1][k]), display=False)
glue("frechet_splits", len(others), display=False)
glue("frechet_change", Estimate.mean(excess[:, -1] - excess[:, 0]).format("+.3f"), display=False)
low, high = halves.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
glue("frechet_luck", f"{low:.2f} to {high:.2f}", display=False)
fresh = manifold("circle", crowd, placement="random", seed=10_000_000 + seed).train.x.double()
glue("frechet_copied", dg.memorized_fraction(sampled[0.1], known).format(".2f"), display=False)
glue("frechet_null", dg.memorized_fraction(fresh, known).format(".2f"), display=False)

# %% [markdown]
# *Left*, the distances of the one split as points. Of {glue:text}`frechet_splits` other splits there are bands (95 %)
# and dotted means. Samples are nearer to the training points at every error. Is that memory? The difference is
# {glue:text}`frechet_gap_large:.2f` at $\delta = 3$, where nothing can be copied, and
# {glue:text}`frechet_gap_small:.2f` at 0.1. Over other splits it changes between the two by
# {glue:text}`frechet_change` (mean ± standard error).
#
# *Right* is where it comes from: the distance between the two halves of the data, with no model in it. Over splits the
# two correlate by {glue:text}`frechet_alike_large:.2f` at $\delta = 3$ and by {glue:text}`frechet_alike_small:.2f` at
# 0.1. And that distance is luck, anything from {glue:text}`frechet_luck` (95 % of splits). Samples inherit the mean and
# the covariance of the training points, and a Fréchet distance sees nothing else. It can't say whether single points
# are copied. By the rule above, {glue:text}`frechet_copied` of the samples at $\delta = 0.1$ are copies, and so are
# {glue:text}`frechet_null` of fresh points (± one standard error). The paper's figure is one split, so one draw of that
# luck. {doc}`03_trajectories` corrects its Fréchet gaps by that of the split.
#
# (sec:toy-trajectories)=
# ## Where sampling goes, and training doesn't
#
# Now the paper's main point, in the plane. In training, a denoiser sees $y_i + \sigma n$: points at a typical distance
# $\sigma$ from a training point. On a sampling trajectory of the error-prone denoiser, the states at noise level
# $\sigma$ are distributed as the *blurred* points plus noise: they lie $\sqrt{\sigma^2 + \delta^2}$ away. At large
# $\sigma$ nobody notices. At $\sigma \ll \delta$ these are different places. The shell ratio, distance over $\sigma$
# (and over $\sqrt 2$, for the two dimensions), is 1 in training; along trajectories it should be
# $\sqrt{1 + \delta^2 / \sigma^2}$.

# %%
shells = {d: [(float(s.sigma), s.x) for s in paths[d][:-1] if 0.2 < s.sigma < 40] for d in (0.6, 1.6)}
fig, ax = plt.subplots(figsize=(6.5, 3.6))
worst = 0
for (d, states), marker in zip(shells.items(), "so"):
    level = torch.tensor([s for s, _ in states])
    rms = [toy.rms_distance(x, train, math.hypot(s, d)).square().mean().sqrt() / math.sqrt(2) for s, x in states]
    ratio, theory = torch.stack(rms) / level, (1 + d**2 / level**2).sqrt()
    ax.plot(level, theory, color=plots.NEUTRAL, lw=1)
    ax.plot(level, ratio, marker, ms=4, color=plots.GENERATED, label=rf"trajectories, $\delta = {d}$")
    worst = max(worst, float((ratio / theory - 1).abs().max()))
ax.axhline(1, color=plots.TRAIN, label="training inputs")
ax.set(xscale="log", yscale="log", xlabel=r"noise level $\sigma$", ylabel="shell ratio")
draw.plain_log(ax.xaxis, ax.yaxis)
ax.legend()
glue("shell_worst", f"{worst:.1%}", display=False)
glue("shell_middle", math.sqrt(1 + 1.6**2 / 1.1**2), display=False)

# %% [markdown]
# The dots follow the thin line to {glue:text}`shell_worst`. At $\sigma = 1.1$, where the gap of a denoiser with
# $\delta = 1.6$ is largest, its trajectories run {glue:text}`shell_middle:.2f` times as far from the training points as
# its training inputs did. *That is why a gap need not show in samples*: memory sits in shells around the training
# points, and the trajectories pass outside of them. In the plane the two distributions still overlap. In a thousand
# dimensions, where the noise is on a thin shell, they would not {cite:p}`song2025`.
#
# There is a shorter way to say all this. Put {eq}`eq:toy-prone` into the equation of the flow and write it in terms of
# $s = \sqrt{\sigma^2 + \delta^2}$: it becomes $dx / ds = (x - y^*(x, s)) / s$, the flow of the *optimal* denoiser, with
# $s$ in the place of $\sigma$. Sampling with an error $\delta$ is sampling without error and stopping early, at
# $s = \delta$, before the last and sharpest part of the field.

# %%
d = 1.6
stretched = (steps.square() + d**2).sqrt()
stopped = dg.sample(dg.OptimalDenoiser(train), home + math.hypot(80, d) * start, stretched)
early_stop = (stopped - ends_at[d]).norm(dim=1).median()
glue("early_stop", f"{early_stop:.1e}", display=False)
print(f"median distance of the two end points: {early_stop:.1e}")

# %% [markdown]
# The two samplers, each in its own steps, end {glue:text}`early_stop` apart. Drop your own start points below, let them
# fall, and compare: left the optimal denoiser, right one with errors. The pale circles show where training inputs are.
# Watch the last third of the way.

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.8))
few = {0.0: dg.trajectory(dg.OptimalDenoiser(train), home[:40] + 80 * start[:40], steps), d: paths[d]}
for ax, (error, states) in zip(axes, few.items()):
    lines = torch.stack([state.x[:40] for state in states])
    ax.plot(*lines.permute(2, 0, 1), color=plots.GENERATED, lw=0.7)
    ax.plot(*lines[-1].T, "o", ms=4, color=plots.GENERATED, mec="white", zorder=5)
    draw.frame(15, draw.show_points(data, ax)).set_title(rf"$\delta = {error}$")

# %%
TrajectoryPlayer(data, delta=d)

# %% [markdown]
# (sec:toy-guidance)=
# ## Guidance by a worse model
#
# Autoguidance {cite:p}`karras2024guiding` pushes a denoiser away from a worse version of itself,
# $D + w\,(D - D_\text{guide})$. Take $\delta = 1.8$ and let $\delta = 2.2$ guide it. The difference of the two points
# towards the training points. So guidance should act like a smaller error, and the gap should grow with $w$.

# %%
amounts = [round(0.2 * k, 1) for k in range(11)]  # the paper's, and so are the two errors
good, bad = dg.ErrorProne(train, 1.8), dg.ErrorProne(train, 2.2)
guided = [toy.expected_gap(dg.Guided(good, bad, w), train, val, fine) for w in amounts]
fig, ax = plt.subplots(figsize=(6.5, 3.4))
draw.curve_family(fine, [c.gap for c in guided], amounts, "guidance weight $w$", ax, cmap=draw.WEIGHT)
glue("guided_0", float(guided[0].gap.max()), display=False)
glue("guided_2", float(guided[-1].gap.max()), display=False)
glue("guided_0_sigma", toy.toy_peak(guided[0]).sigma, display=False)
glue("guided_2_sigma", toy.toy_peak(guided[-1]).sigma, display=False)

# %% [markdown]
# The peak goes from {glue:text}`guided_0:.3f` at $\sigma =$ {glue:text}`guided_0_sigma:.2f` to
# {glue:text}`guided_2:.3f` at {glue:text}`guided_2_sigma:.2f`. {doc}`05_guidance` asks the same of networks and of
# their samples.
#
# (sec:toy-random)=
# ## All three again, on random points
#
# Error, density, guidance: are these laws of the circle with equidistant points, or of data? The paper repeats them on
# one draw of 40 random points. One draw is an anecdote, so here are many, with the error of their mean. The order
# should stay. The differences should become smaller, since a random set has wide gaps and narrow ones at once, and a
# denoiser that tells the wide ones apart needn't tell the narrow ones.


# %%
def erring(d: float):  # makes a denoiser from training points
    return lambda points: dg.ErrorProne(points, d)


def guided_by(w: float):
    return lambda points: dg.Guided(dg.ErrorProne(points, 1.8), dg.ErrorProne(points, 2.2), w)


# %%
repeats, every = min(40, settings.toy.n_noise // 4), 5 if smoke else 1
medium = dg.log_sigmas(12 if smoke else 20, 0.3, 20, dtype=torch.float64)
drawn = {"sigmas": medium, "draws": repeats, "seed": seed, "name": shape}
varied = {  # a parameter: its values, and how each makes a denoiser of how many points
    r"model error $\delta$": {d: (erring(d), 40) for d in sorted(deltas)[::every]},
    "guidance weight $w$": {w: (guided_by(w), 40) for w in amounts[::every]},
    "points $N$": {n: (erring(1.6), n) for n in range(20, 61, 4 * every)},
}
at_random = {name: [random_gaps(*of, **drawn) for of in values.values()] for name, values in varied.items()}
random_tops = {name: [mean_top(gaps) for gaps in rows] for name, rows in at_random.items()}


# %% tags=["hide-input"]
def evenly(make, n):  # the height of the peak on equidistant points
    points = manifold(shape, n)
    return float(toy.expected_gap(make(points.train.x), points.train.x, points.val.x, medium).gap.max())


fig, axes = plt.subplots(2, 3, figsize=(11, 6.4))
for column, (name, values), cmap in zip(axes.T, varied.items(), (draw.ERROR, draw.WEIGHT, draw.COUNT)):
    rows, known = at_random[name], list(values)
    some = range(0, len(known), len(known) // 2)
    curves, bars = [rows[k].mean(0) for k in some], [2 * rows[k].std(0) / repeats**0.5 for k in some]
    draw.curve_family(medium, curves, [known[k] for k in some], name, column[0], cmap=cmap, errors=bars)
    regular = {"equidistant, same number": [evenly(*of) for of in values.values()]}
    if name != "points $N$":
        regular["equidistant, N = 20"] = [evenly(make, 20) for make, _ in values.values()]
    draw.peaks(known, regular, random_tops[name], name, column[1])
fig.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)

# %% tags=["remove-cell"]
for name, tops_of in zip(("error", "weight", "count"), random_tops.values()):
    glue(f"random_{name}_first", tops_of[0].format(".3f"), display=False)
    glue(f"random_{name}_last", tops_of[-1].format(".3f"), display=False)
    rising = [float(b) > float(a) for a, b in pairwise(tops_of)]
    glue(f"random_{name}_rises", sum(rising), display=False)
    glue(f"random_{name}_steps", len(rising), display=False)
one = at_random["guidance weight $w$"]
for k, name in ((0, "first"), (-1, "last")):
    glue(f"random_one_{name}", float(one[k][:, one[k].mean(0).argmax()].std()), display=False)
glue("repeats", repeats, display=False)

# %% [markdown]
# *Above*, means over {glue:text}`repeats` draws, with bands of ± 2 standard errors for three values of each parameter.
# *Below*, the heights of these means. The order is the same. With the error the peak falls from
# {glue:text}`random_error_first` to {glue:text}`random_error_last` (± one standard error), with the number of points
# from {glue:text}`random_count_first` to {glue:text}`random_count_last`, and with the guidance weight it rises from
# {glue:text}`random_weight_first` to {glue:text}`random_weight_last`. It never turns: of
# {glue:text}`random_error_steps`, {glue:text}`random_count_steps` and {glue:text}`random_weight_steps` steps,
# {glue:text}`random_error_rises`, {glue:text}`random_count_rises` and {glue:text}`random_weight_rises` go up.
#
# And the laws are weaker. With 40 equidistant points (squares) there is hardly a gap, and it falls by orders of
# magnitude. With 40 random ones it is of the order that 20 equidistant ones have (triangles), and it falls slowly: the
# wide holes decide, and more points or a worse model close them late. A single draw tells little. Its peak scatters by
# {glue:text}`random_one_first:.2f` without guidance and by {glue:text}`random_one_last:.2f` at $w = 2$ (standard
# deviation).
#
# (sec:toy-network)=
# ## Is a network like this?
#
# The error $\delta$ was put in by hand. So train a network, a small perceptron with the preconditioning of
# {cite:t}`karras2022`, on the same ten points, stop it at several moments, and measure its gap with the same grid. If
# the toy model is a model of training, then a network trained for longer should look like a smaller $\delta$.

# %%
config = toy_config(40 if smoke else 4_000, width=16 if smoke else 64, n_snapshots=2 if smoke else 8, seed=seed)
networks = dict(train_toy(config))
learned = {step: toy.expected_gap(net, train, val, coarse) for step, net in networks.items()}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
ages = {"cmap": draw.WEIGHT, "log": True, "ticks": list(learned)[:: 1 if smoke else 2]}
draw.curve_family(coarse, [c.gap for c in learned.values()], list(learned), "training steps", axes[0], **ages)
family = [1.6, 1.2, 0.8, 0.4]
curves = [toy.expected_gap(dg.ErrorProne(train, d), train, val, coarse).gap for d in family]
draw.curve_family(coarse, curves, family, r"model error $\delta$", axes[1])
for ax, name in zip(axes, ("trained network", "error-prone denoiser")):
    ax.set(title=name, yscale="symlog", ylim=(-0.5, 30))

# %% [markdown]
# The same bump, growing from nothing, and moving to smaller $\sigma$ when it is high. To put a number on the likeness,
# fit $\delta$ to the errors that the network makes on all twenty points, at noise levels around the bump. The interval
# comes from drawing the points anew; the misfit, a root mean square of $\ln E$, says how good the best $\delta$ is.

# %%
window, twenty = dg.log_sigmas(10, 0.4, 3, dtype=torch.float64), torch.cat([train, val])
trial = torch.linspace(0.1, 3, 12 if smoke else 59, dtype=torch.float64)
errors_of = torch.stack([toy.expected_error(dg.ErrorProne(train, float(d)), twenty, window) for d in trial])
made = {step: toy.expected_error(network, twenty, window) for step, network in networks.items()}
fits = {step: toy.fit_delta(errors, errors_of, trial, seed=seed) for step, errors in made.items()}
like = {step: toy.expected_gap(dg.ErrorProne(train, f.delta), train, val, coarse) for step, f in fits.items()}
pd.DataFrame({
    "fitted δ": {step: f"{f.delta:.2f} [{f.low:.2f}, {f.high:.2f}]" for step, f in fits.items()},
    "misfit": {step: f"{f.misfit:.2f}" for step, f in fits.items()},
    "largest G": {step: f"{float(curve.gap.max()):.2f}" for step, curve in learned.items()},
    "largest G of that δ": {step: f"{float(curve.gap.max()):.2f}" for step, curve in like.items()},
}).rename_axis("steps")  # fmt: skip

# %% tags=["remove-cell"]
early, *_, late = fits
glue("fit_early", fits[early].delta, display=False)
glue("fit_late", fits[late].delta, display=False)
glue("misfit_early", f"{math.expm1(fits[early].misfit):.0%}", display=False)
glue("misfit_late", f"{math.expm1(fits[late].misfit):.0%}", display=False)
glue("gap_early", float(learned[early].gap.max()), display=False)
glue("gap_early_like", float(like[early].gap.max()), display=False)
glue("gap_late", float(learned[late].gap.max()), display=False)
glue("late_steps", late, display=False)
glue("early_steps", early, display=False)

# %% [markdown]
# Yes and no. The fitted $\delta$ falls with training, from {glue:text}`fit_early:.2f` after {glue:text}`early_steps`
# steps to {glue:text}`fit_late:.2f` after {glue:text}`late_steps`, and the gap grows, to {glue:text}`gap_late:.0f`.
# That is what the toy model says. But the errors are no blur: they differ from those of the best $\delta$ by typically
# {glue:text}`misfit_early` early and {glue:text}`misfit_late` late. And the early network is *better* than its
# $\delta$. It errs as much as the error-prone denoiser, whose gap is then {glue:text}`gap_early_like:.2f`, and has none
# itself, {glue:text}`gap_early:.3f`. It knows the circle already and the points on it not yet, so its error lies
# *along* the manifold, where the data are, while the toy model blurs in all directions alike. First the manifold, then
# the points: an error can be large where it helps and small where it doesn't matter, and a single length cannot say so.
#
# ## What we found
#
# Each claim is decided by one number. Beside it stand the same number where the claim is known to be false, which must
# fail (the control), and where nothing can be true, which must stay undecided (the null).
#
# For the flow field the number is the spread of the weights. It is an integral, so there is no chance in it, no
# interval and no null. The paper describes a picture and gives no number: the thresholds are ours, a tenth of the scale
# from either end. For the gap it is the fall of the peak, with noise drawn for either case, so that there is something
# to be uncertain about. When the error *of a guide* grows, the gap must grow. When points are added but *crowded* on
# half of the circle, it must grow, too. And a case less itself, with other noise, must give nothing. Its interval
# misses 0 by chance in one case of a thousand: the confidence is 99.9 % in these two rows, since a null that fails by
# bad luck would undo its claim.

# %%
by_error, by_density = error_comparisons(), density_comparisons()
budget = {"draws": 10 * settings.toy.n_noise, "seed": seed, "confidence": 0.999}
drops = {
    name: {kind: peak_drop(*pair, **budget) for kind, pair in pairs.items()}
    for name, pairs in (("error", by_error), ("density", by_density))
}


def exactly(value: float):  # an interval without width
    return value, value, value


# %% tags=["hide-input"]
to_end = {level: min(value, 1 - value) for level, value in having_say.items()}
rule_of = {"origin": "ours: a tenth of the scale", "why": "the paper shows a picture; no chance on either side"}
number, at_middle = "spread of the weights, 0: one point decides, 1: all count alike", r"at $\sigma = 2.8$"
flow = (
    book.Claim("C7 (global)", r"At $\sigma = 28$ the optimal flow field is global.", number, *exactly(having_say[28]),
               above=0.9, paper="“global” (Fig. 3)", **rule_of,
               control=book.Beside(at_middle, exactly(having_say[2.8]))),
    book.Claim("C7 (moderate)", r"At $\sigma = 2.8$ it is moderately localized.",
               "distance of the spread to the nearer end of its scale", *exactly(to_end[2.8]), above=0.1,
               paper="“moderately localized” (Fig. 3)", **rule_of,
               control=book.Beside(r"at $\sigma = 28$", exactly(to_end[28]))),
    book.Claim("C7 (sharp)", r"At $\sigma = 0.63$ it is sharply localized on training points.", number,
               *exactly(having_say[0.63]), below=0.1, paper="“sharply localized” (Fig. 3)", **rule_of,
               control=book.Beside(at_middle, exactly(having_say[2.8]))),
)  # fmt: skip

# %% tags=["hide-input"]
falls = {
    "above": 0,
    "origin": "no change",
    "why": f"the paper: 50 noises; here {budget['draws']:,} others for each case",
}
theirs = table.iloc[:, 1]
paper = [(theirs[1.2], theirs[2.2], "Fig. 4"), (float(from_noise[16]), float(from_noise[30]), r"$\delta = 1.6$")]
paper = [f"{a:.2f} − {b:.2f} = {a - b:.2f} ({where}; from the authors' noise)" for a, b, where in paper]
book.ledger(
    *flow,
    book.Claim("C8 (model error)", r"The gap at intermediate $\sigma$ shrinks as the model error $\delta$ grows.",
               r"peak of $G$ at $\delta = 1.2$ less that at 2.2 (99.9 %)", *drops["error"]["claim"], paper=paper[0],
               **falls, null=book.Beside(r"$\delta = 1.2$ twice, other noise", drops["error"]["null"]),
               control=book.Beside("the error of a guide grows, 1.7 to 2.2", drops["error"]["control"])),
    book.Claim("C8 (density)", "It shrinks as the support of the data becomes denser.",
               r"peak of $G$ with 16 points less that with 30, $\delta = 1.6$ (99.9 %)", *drops["density"]["claim"],
               paper=paper[1], **falls, null=book.Beside("16 points twice, other noise", drops["density"]["null"]),
               control=book.Beside("30 points, those for training on half of the circle", drops["density"]["control"])),
)  # fmt: skip

# %% [markdown]
# The toy model explains a bump, its place and its height, and why samples need not show it. It has one length for
# everything that a network does wrong. Real networks on real images are next: {doc}`02_generalization_gap`.
