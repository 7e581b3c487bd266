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

import matplotlib.pyplot as plt
import pandas as pd
import torch
from myst_nb import glue

import diffgen as dg
from diffgen import book, plots
from diffgen.data.toy import circle, manifold, plane
from diffgen.metrics import toy
from diffgen.metrics.estimate import Estimate
from diffgen.metrics.gap import paired_difference_at
from diffgen.metrics.neighbours import nearest
from diffgen.plots import toy as draw
from diffgen.training.toy import toy_config, train_toy
from diffgen.widgets import FieldExplorer, TrajectoryPlayer

book.check_parameters()
torch.set_num_threads(1)  # points in the plane are too little work to share between cores
plots.use_style()
settings = dg.presets.named(preset, seed)
smoke = preset == "smoke"
torch.set_num_threads(1)  # points in the plane are too little work to share between cores

# %% [markdown]
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
# one of the training points, and there is no in between. One number measures this: the largest weight in
# {eq}`eq:toy-optimal`. For noisy training points $y_i + \sigma n$, averaged, it is 1/10 if all points count the same,
# and 1 if only one does.

# %%
noise = torch.randn(20 * settings.toy.n_noise, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
origin = ten.train.x.double()[torch.arange(len(noise)) % 10]
largest = {
    level: Estimate.mean(optimal.posterior(origin + level * noise, torch.tensor(level))[1]) for level in levels
}
for level, name in zip(levels, ("global", "moderate", "sharp")):
    glue(f"weight_{name}", float(largest[level]), display=False)

# %% [markdown]
# It is {glue:text}`weight_global:.2f` at $\sigma = 28$, {glue:text}`weight_moderate:.2f` at 2.8 and
# {glue:text}`weight_sharp:.3f` at 0.63: global, moderately localized, sharply localized. A sampler that uses this field
# ends on a training point, always. The best denoiser is a copying machine.
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
deltas = [2.2, 2.0, 1.8, 1.6, 1.4, 1.2]
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
# draws 50 noises for each point instead, the same at every $\sigma$. The authors' repository documents them: NumPy's
# classic random stream of seed 0. How far from the exact peaks are those of such a draw? Of 50, and of 1,000, which are
# ours?

# %%
table, near = pd.DataFrame({"exact": [tops[d].height for d in deltas]}, index=deltas), sigmas[(sigmas > 0.9) & (sigmas < 1.5)]
for draws in (50, 1000):
    noise = toy.paper_noise(draws)
    drawn = [toy.drawn_gap(dg.ErrorProne(train, d), train, val, near, noise) for d in deltas]
    table[f"{draws} draws"] = [float(curve.peak) for curve in drawn]
    above = table[f"{draws} draws"] / table.exact - 1
    glue(f"above_{draws}", f"{above.min():.0%}–{above.max():.0%}", display=False)
table.round(3).rename_axis("δ")

# %% [markdown]
# The drawn peaks lie {glue:text}`above_50` above the exact ones with 50 draws and {glue:text}`above_1000` with 1,000. All
# deviate in the same direction, because all rows share one noise, and training and validation points have different
# ones. Fifty draws are enough for the picture, and not for the second digit; everything below uses the exact curves.
#
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
ax = draw.gap_along(turn, along, [rf"$\delta = {d}$" for d in shown], data, ax)

# %% [markdown]
# Zero at the training points, and nearly a sine in between: the valleys and hills of what the denoiser knows.
#
# ## Take hold of it
#
# Flow, region and gap belong together; here they are in one picture, and below it again as a thing to play with.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.9))
denoised = dg.ErrorProne(train, 1.6)(x, torch.tensor(middle)).reshape(places.shape)
draw.flow_field(places, denoised, data, axes[0])
axes[0].contour(grid[0, :, 0], grid[0, :, 0], maps[1.6].reshape(grid.shape[:2]), [0.5], colors="black")
axes[1].plot(sigmas, exact[1.6].gap)
axes[1].axvline(middle, ls="--", color=plots.VAL)
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
# ## What sets the place, and what the height
#
# If copying is a matter of telling neighbours apart, then the distance of neighbours should matter. Keep $\delta$ and
# put more points on the circle, $N$ for training and $N$ between them. Denser data should be harder to recall: a lower
# bump. And where does it go?

# %%
fixed, counts = 1.2, range(8, 16)
fine = dg.log_sigmas(24 if smoke else 72, 0.2, 5, dtype=torch.float64)


def even(n: int, d: float):  # on even data each point stands for all
    points = circle(2 * n)
    return toy.expected_gap(dg.ErrorProne(points.train.x, d), points.train.x[:2], points.val.x[:2], fine)


dense = {n: even(n, fixed) for n in counts}
fig, ax = plt.subplots(figsize=(6.5, 3.6))
draw.curve_family(fine, [c.gap for c in dense.values()], list(counts), r"training points $N$", ax)
peaks = {n: toy.toy_peak(c) for n, c in dense.items()}
for n in (8, 15):
    glue(f"height_{n}", peaks[n].height, display=False)
    glue(f"sigma_{n}", peaks[n].sigma, display=False)

# %% [markdown]
# From 8 to 15 points the peak falls from {glue:text}`height_8:.2f` to {glue:text}`height_15:.2f` and moves from
# $\sigma =$ {glue:text}`sigma_8:.2f` to {glue:text}`sigma_15:.2f`. A dense support suppresses recall.
#
# The model has three lengths: the noise $\sigma$, the error $\delta$, and the distance $a$ of neighbouring training
# points (the radius hardly matters once the circle looks straight from one neighbour to the next). A relative gap has
# no unit, so it can depend on their ratios only, $G = g(\sigma / a, \delta / a)$. Plot the place of the peak in units
# of $a$, and its height, for many pairs of density and error:

# %%
ratios = [0.15, 0.2, 0.25, 0.3, 0.35]
tried = [8, 12] if smoke else [8, 10, 12, 15, 20]
spacing = {n: 20 * math.sin(math.pi / n) for n in tried}
by_count = {n: [toy.toy_peak(even(n, ratio * spacing[n])) for ratio in ratios] for n in tried}
at_sigma = [[top.sigma / spacing[n] for top in by_count[n]] for n in tried]
high = [[top.height for top in by_count[n]] for n in tried]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, values, label in zip(axes, (at_sigma, high), (r"place of the peak, $\sigma / a$", "height of the peak")):
    draw.collapse([ratios] * len(tried), values, [f"N = {n}" for n in tried], ax)
    ax.set_ylabel(label)
axes[0].set_ylim(0, 0.3)
axes[1].set_yscale("log")

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
ax.fill_between(coarse, mean - 2 * error, mean + 2 * error, alpha=0.3)
ax.plot(coarse, mean, label="random, mean ± 2 standard errors")
ax.plot(coarse, regular_gap, "--", label="equidistant")
legend = draw.gap_axes(ax).legend()

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
legend = axes[1].legend()

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
for (d, states), color in zip(shells.items(), (plots.GENERATED, plots.VAL)):
    level = torch.tensor([s for s, _ in states])
    rms = [toy.rms_distance(x, train, math.hypot(s, d)).square().mean().sqrt() / math.sqrt(2) for s, x in states]
    ratio, theory = torch.stack(rms) / level, (1 + d**2 / level**2).sqrt()
    ax.plot(level, theory, color=plots.NEUTRAL, lw=1)
    ax.plot(level, ratio, "o", ms=4, color=color, label=rf"trajectories, $\delta = {d}$")
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
# ## Guidance by a worse model
#
# Autoguidance {cite:p}`karras2024guiding` pushes a denoiser away from a worse version of itself,
# $D + w\,(D - D_\text{guide})$. Take $\delta = 1.8$ and let $\delta = 2.2$ guide it. The difference of the two points
# towards the training points. So guidance should act like a smaller error, and the gap should grow with $w$.

# %%
amounts = [0, 0.5, 1, 1.5, 2]
good, bad = dg.ErrorProne(train, 1.8), dg.ErrorProne(train, 2.2)
guided = [toy.expected_gap(dg.Guided(good, bad, w), train, val, fine) for w in amounts]
fig, ax = plt.subplots(figsize=(6.5, 3.4))
draw.curve_family(fine, [c.gap for c in guided], amounts, "guidance weight $w$", ax)
glue("guided_0", float(guided[0].gap.max()), display=False)
glue("guided_2", float(guided[-1].gap.max()), display=False)
glue("guided_0_sigma", toy.toy_peak(guided[0]).sigma, display=False)
glue("guided_2_sigma", toy.toy_peak(guided[-1]).sigma, display=False)

# %% [markdown]
# The peak goes from {glue:text}`guided_0:.3f` at $\sigma =$ {glue:text}`guided_0_sigma:.2f` to
# {glue:text}`guided_2:.3f` at {glue:text}`guided_2_sigma:.2f`. {doc}`05_guidance` asks the same of networks and of
# their samples.
#
# ## Is a network like this?
#
# The error $\delta$ was put in by hand. So train a network, a small perceptron with the preconditioning of
# {cite:t}`karras2022`, on the same ten points, stop it at several moments, and measure its gap with the same grid. If
# the toy model is a model of training, then a network trained for longer should look like a smaller $\delta$.

# %%
config = toy_config(40 if smoke else 1500, width=16 if smoke else 64, n_snapshots=2 if smoke else 8, seed=seed)
networks = dict(train_toy(config))
learned = {step: toy.expected_gap(net, train, val, coarse) for step, net in networks.items()}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
age = [math.log10(step) for step in learned]
draw.curve_family(coarse, [c.gap for c in learned.values()], age, "log10 of steps", axes[0], ticks=[2.6, 2.8, 3, 3.2])
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
# Each claim is decided by one number and its interval, computed above. For the flow field it is the mean largest weight
# of {eq}`eq:toy-optimal` on noisy training points. For the gap it is a difference of peaks, with the noise drawn, so
# that there is something to be uncertain about.

# %% tags=["hide-input"]
noisily = {"draws": settings.toy.n_noise, "norm": "l2", "seed": seed}
large, small = (dg.generalization_gap(dg.ErrorProne(train, d), train, val, near, **noisily) for d in (2.2, 1.2))
fewer, more = (circle(2 * n) for n in (8, 15))
peaks = [
    dg.generalization_gap(dg.ErrorProne(p.train.x, 1.2), p.train, p.val, fine, **noisily).peak for p in (fewer, more)
]
lower, denser = paired_difference_at(small, large, small.peak_sigma), peaks[0].minus(peaks[1])

# %% tags=["hide-input"]
weight, same = "mean largest weight of $y^*$ (1/10: all points alike)", "the same"
book.ledger(
    book.Claim("C7 (global)", r"At $\sigma = 28$ the optimal flow field is global.",
               weight, *largest[28].with_interval(), below=0.2),
    book.Claim("C7 (moderate)", r"At $\sigma = 2.8$ it is moderately localized.",
               same, *largest[2.8].with_interval(), below=0.9),
    book.Claim("C7 (sharp)", r"At $\sigma = 0.63$ it is sharply localized on training points.",
               same, *largest[0.63].with_interval(), above=0.99),
    book.Claim("C8 (model error)", r"The gap at intermediate $\sigma$ shrinks as the model error $\delta$ grows.",
               r"$G(\delta = 1.2) - G(\delta = 2.2)$ at the peak", *lower.with_interval(), above=0),
    book.Claim("C8 (density)", "It shrinks as the support of the data becomes denser.",
               r"peak of $G$ with 8 training points less that with 15, $\delta = 1.2$", *denser.with_interval(), above=0),
)  # fmt: skip

# %% [markdown]
# The toy model explains a bump, its place and its height, and why samples need not show it. It has one length for
# everything that a network does wrong. Real networks on real images are next: {doc}`02_generalization_gap`.
