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
# (sec:gap)=
# # The generalization gap
#
# **Question: what does a denoiser remember of the images it was trained on, and at which noise levels?**
#
# The best denoiser of a finite training set is known in closed form, and it is a copying machine ({ref}`sec:toy`). A
# trained network is not that denoiser. How far it has gone towards it can be measured without sampling a single image:
# add noise to images that the network was trained on, and to images of the same kind that it never saw, and compare how
# well it removes the noise. This chapter trains a network from its random start, stops it at several moments, and takes
# that measurement at each of them.
#
# The quantities are those of {cite:t}`kaiser2026`. With a clean image $y$, noise $n \sim N(0, I)$ and a noise level
# $\sigma$, the error of a denoiser $D$ on a set of images $S$ is
#
# $$
# E_S(\sigma) = \frac1{|S|} \sum_{y \in S} \frac1d \left\| D(y + \sigma n_y; \sigma) - y \right\|^2,
# $$ (eq:error)
#
# with one fixed noise $n_y$ an image, the same at every noise level and for every network. The relative generalization
# gap compares two such errors:
#
# $$
# G(\sigma) = \frac{E_\text{val}(\sigma) - E_\text{train}(\sigma)}{E_\text{train}(\sigma)} .
# $$ (eq:gap)
#
# A network that treats both sets alike has $G = 0$. The optimal denoiser, for which $E_\text{train} \to 0$ at small
# $\sigma$, has $G \to \infty$.

# %% [markdown]
# The next cell holds what can be changed when this chapter is executed again, see {doc}`reproduce`.

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
from diffgen import book, evaluate, plots
from diffgen.metrics.adjust import adjusted
from diffgen.metrics.bootstrap import bootstrap, peak, tails
from diffgen.plots.gap import errors_over_training, gap_over_sigma
from diffgen.plots.images import image_rows

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)

# %% [markdown]
# ## The images
#
# The data are small pictures of clothes, Fashion-MNIST {cite:p}`xiao2017`, averaged down to a size at which two
# processor cores can train a network while you wait. One pool of images is split at random: a *training* set, a
# *validation* set that no network of this book ever sees, and the *rest*. The first two come from the same distribution,
# so whatever differs between them after training was put there by training.

# %%
split = settings.train.data.load()
fig, ax = plt.subplots(figsize=(8, 1.6))
image_rows([split.train.x[:16], split.val.x[:16]], ax, ["training", "validation"])
glue("n_train", len(split.train), display=False)
glue("n_val", len(split.val), display=False)
glue("sigma_data", split.sigma_data, display=False)
glue("side", split.train.x.shape[-1], display=False)

# %% [markdown]
# There are {glue:text}`n_train` images to train on and {glue:text}`n_val` to validate with, of
# {glue:text}`side` × {glue:text}`side` pixels scaled to $[-1, 1]$. Their standard deviation over all pixels is
# $\sigma_d =$ {glue:text}`sigma_data:.2f`. That number is the yardstick for every noise level below: at
# $\sigma = \sigma_d$ there is as much noise as signal.

# %% [markdown]
# ## Training, and stopping to look
#
# The network is a small U-Net, wrapped in the preconditioning of {cite:t}`karras2022`, which makes its inputs and its
# targets unit-sized at every noise level. It sees noise levels drawn from $\ln \sigma \sim N(-1.2, 1.2^2)$ and is
# scored by the squared error of {eq}`eq:error`, weighted so that every noise level counts the same at the start. What is
# kept at each stop is not the current weights but a running average of them, which is also what one would sample from.
#
# Time is counted in *images seen*, with repetition, so that it means the same for every batch size and machine. A run is
# kept in a folder and found again by its settings: executing this chapter twice trains once, and a run that was
# interrupted goes on where it stopped.

# %%
snapshots = list(dg.train(settings.train, root=results, device=device))
run = snapshots[-1].run
images = [snapshot.images for snapshot in snapshots]
glue("images_last", f"{images[-1]:,}", display=False)
glue("epochs", images[-1] / len(split.train), display=False)
glue("parameters", f"{sum(p.numel() for p in snapshots[-1].denoiser().parameters()):,}", display=False)
fig, ax = plt.subplots(figsize=(6, 2.6))
ax.plot(run.log.images, run.log.loss, color=plots.TRAIN)
plots.images_seen(ax).set(ylabel="training loss")
for seen in images:
    ax.axvline(seen, color=plots.NEUTRAL, lw=0.7, ls=":")

# %% [markdown]
# The network has {glue:text}`parameters` parameters and has seen {glue:text}`images_last` images, each training image
# {glue:text}`epochs:.0f` times. Dotted lines are the stops. From the loss alone one would say that all is well: it falls
# and goes on falling. It says nothing of images that the network was not trained on.

# %% [markdown]
# ## What it sees
#
# Before measuring, look. Below, the same noise has been added to training images and to validation images, more of it
# from left to right, and the network's estimate of the clean image is shown for the first and for the last stop. Try to
# tell which rows are which: at low noise nobody could, at high noise there is nothing to tell, as the network returns a
# blurred average whatever it is given. If there is a difference, it is in between.

# %%
sigmas_shown = torch.tensor([0.1, 0.3, 0.7, 1.5, 4.0])
place = 3  # of the image shown in both splits
noise = evaluate.initial_noise(1, tuple(split.train.x.shape[1:]), seed)
rows, names = [], []
for part, points in (("training", split.train), ("validation", split.val)):
    noisy = points.x[place] + sigmas_shown.reshape(-1, 1, 1, 1) * noise
    rows.append(torch.cat([noisy, points.x[place : place + 1]]))
    names.append(f"{part}: noisy, clean")
    for snapshot in (snapshots[0], snapshots[-1]):
        rows.append(torch.cat([snapshot.denoiser()(noisy, sigmas_shown), points.x[place : place + 1]]))
        names.append(f"denoised after {snapshot.images:,}")
fig, ax = plt.subplots(figsize=(6.5, 4.6))
image_rows(rows, ax, names)
columns = [(rows[0].shape[-1] + 1) * (j + 0.5) for j in range(6)]
ax.set_xticks(columns, [f"σ = {s:g}" for s in sigmas_shown] + ["clean"]);

# %% [markdown]
# ## The gap over the noise level
#
# Now the measurement. {eq}`eq:error` is evaluated on a grid of noise levels, for each snapshot, with the same images and
# the same noise. We expect {cite:p}`kaiser2026` a bump: next to nothing at small $\sigma$, where the noisy image itself
# is the best estimate for training and validation images alike; next to nothing at large $\sigma$, where the image
# cannot be told from any other; and in between, where a network that has *seen* the image can do better than one that
# has to guess, a gap that grows with training.

# %%
sigmas = dg.log_sigmas(settings.sigmas, settings.sigma_min, settings.sigma_max)
curves = evaluate.gap_curves(snapshots, split, sigmas, images=settings.evaluate, seed=seed, device=device)
fig, ax = plt.subplots(figsize=(7, 3.8))
gap_over_sigma(images, curves, ax)
glue("n_evaluated", curves[-1].n, display=False)

# %% [markdown]
# Each line is a snapshot, each band a 95 % interval from the {glue:text}`n_evaluated` images a split that were
# evaluated. The bands are wide because images differ in how hard they are: with other images the whole curve would lie
# higher or lower. That is not a property of the network, and it can be taken out.
#
# ### Taking out the luck of the draw
#
# Two finite sets of images are never equally hard. Even a denoiser that knows neither of them has a small $G$, positive
# or negative, at noise levels where the two sets happen to differ. So we measure it: a *reference denoiser* that saw
# neither set, here the best linear one (a Wiener filter fitted to the rest of the pool), gets the same images with the
# same noise. Where it finds an image hard, so does the network, and what the two have in common can be subtracted:
#
# $$
# e_y'(\sigma) = e_y(\sigma) - \beta(\sigma)\,\bigl(r_y(\sigma) - \bar r(\sigma)\bigr),
# $$ (eq:adjusted)
#
# with $e_y$ the error of the network on image $y$, $r_y$ that of the reference, $\bar r$ its mean over both sets, and
# $\beta$ the slope of a regression of the one on the other. The gap computed from $e'$ has the same expectation and less
# noise. Statisticians call $r$ a control variate {cite:p}`deng2013`. It must not have seen the training images, or it
# would subtract its own memory of them.

# %%
reference = evaluate.reference_curve(
    settings.reference, split, sigmas, images=settings.evaluate, seed=seed, root=results, device=device
)
adjusted_curves = [adjusted(curve, reference) for curve in curves]
fig, ax = plt.subplots(figsize=(7, 3.8))
gap_over_sigma(images, adjusted_curves, ax)
ax.plot(sigmas, reference.gap, color=plots.NEUTRAL, ls="--", lw=1.2, label="reference: the draw alone")
ax.legend(loc="upper left")
i_peak = int(adjusted_curves[-1].gap.argmax())
glue("narrower", float((curves[-1].stderr / adjusted_curves[-1].stderr).median()), display=False)
glue("peak_sigma", float(sigmas[i_peak]), display=False)
glue("peak_gap", float(adjusted_curves[-1].gap[i_peak]), display=False)
glue("peak_stderr", float(adjusted_curves[-1].stderr[i_peak]), display=False)
glue("chance", float(reference.gap[i_peak]), display=False)

# %% [markdown]
# The dashed line is the reference: at the peak its gap is {glue:text}`chance:+.3f`, and it has seen no image of either
# set. Without it we would have booked this difference to the network. The intervals are now narrower by a factor of
# {glue:text}`narrower:.1f` (median over the noise levels), and the bump stands out: at the last stop the gap is largest
# at $\sigma =$ {glue:text}`peak_sigma:.2f`, where it is {glue:text}`peak_gap:.3f` ± {glue:text}`peak_stderr:.3f`.
#
# The black line, where there is one, joins the *overfit onsets*: for each noise level, the gap at the moment of training
# at which the validation error was smallest. Above it the network still gets better at images that it knows, and worse
# at those that it does not.

# %% [markdown]
# ## Overfitting, at the peak
#
# The same at one noise level, over time, as in the paper's Figure 1. Both errors fall at first, and together: the
# network learns what clothes look like. Then they part.

# %%
fig, ax = plt.subplots(figsize=(6.5, 3.4))
errors_over_training(images, adjusted_curves, i_peak, ax)
ax.set(title=f"σ = {sigmas[i_peak]:.2f}", ylim=(0, 3 * float(adjusted_curves[-1].val[i_peak])))
best = min(range(len(images)), key=lambda k: adjusted_curves[k].val[i_peak])
onset = "has not yet been reached at the last stop" if best == len(images) - 1 else f"lies at {images[best]:,} images"
glue("onset", onset, display=False)

# %% [markdown]
# The minimum of the validation error, the overfit onset, {glue:text}`onset`. The gap comes first, overfitting later: for
# a while the network improves on both sets, only more on one of them. A longer training shows the turn.

# %% [markdown]
# ## How sure can we be?
#
# A peak is picked because it is high, so its height has to be judged with care: the interval of a maximum is not the
# interval of a fixed point. We therefore resample the images, both splits with replacement and the same ones for every
# snapshot and noise level, and repeat the whole reading of the figure each time: where the peak is, how high, how much
# it grew, how far it stands above both ends.

# %%
top = peak(adjusted_curves[-1], seed=seed)
train, val = bootstrap(adjusted_curves, seed=seed)
gaps = val / train - 1  # (draws, snapshots, noise levels)
grown = (gaps[:, -1] - gaps[:, 0])[:, i_peak]
ends = gaps[:, -1, [0, -1]].abs().amax(1) / gaps[:, -1].amax(1)
risen = (val[:, -1] / val[:, best] - 1)[:, i_peak] if best < len(images) - 1 else torch.full((2,), torch.nan)
for name, interval in (("place", top.sigma), ("height", top.height)):
    glue(f"peak_{name}", f"{interval.value:.2f} (95 % interval {interval.low:.2f} to {interval.high:.2f})", display=False)

# %% [markdown]
# Between the noise levels of the grid, a parabola through the highest three points puts the peak at $\sigma =$
# {glue:text}`peak_place`, with the height {glue:text}`peak_height`. For comparison, the paper finds it at 0.72 for
# CIFAR-10 and between 1.2 and 2.0 for ImageNet-64, on data with $\sigma_d = 0.5$; here $\sigma_d =$
# {glue:text}`sigma_data:.2f`.
#
# ## What we found
#
# Each claim is decided by one number and its interval, computed above.

# %% tags=["hide-input"]
g_last, g_first = (float(adjusted_curves[k].gap[i_peak]) for k in (-1, 0))
ends_estimate = float(adjusted_curves[-1].gap[[0, -1]].abs().max()) / g_last
risen_estimate = float(risen.median())


def around(estimate: float, draws: torch.Tensor) -> dict[str, float]:
    low, high = map(float, tails(draws))  # not a number where training ended before the onset
    return {"estimate": estimate, "low": min(low, estimate), "high": max(high, estimate)}


book.ledger(
    book.Claim(
        "C1", "A large enough denoiser memorizes more of the training set the longer it trains.",
        f"growth of $G$ at its peak from {images[0]:,} to {images[-1]:,} images seen",
        **around(g_last - g_first, grown), above=0,
    ),
    book.Claim(
        "C2", r"The gap is a bump at intermediate $\sigma$, near 0 at both ends.",
        rf"larger $|G|$ of both ends ($\sigma$ = {sigmas[0]:.2f}, {sigmas[-1]:.0f}) over the peak's",
        **around(ends_estimate, ends), below=0.5,
    ),
    book.Claim(
        "C3", r"Overfitting, a validation error that rises, starts at intermediate $\sigma$.",
        rf"rise of $E_\mathrm{{val}}$ at $\sigma$ = {sigmas[i_peak]:.2f} after {images[best]:,} images seen",
        **around(risen_estimate, risen), above=0,
    ),
)  # fmt: skip

# %% [markdown]
# What remains is the question that gives the paper its title. The network of the last stop knows its training images:
# the gap says so. Do the images that it *generates* know them, too? That is {doc}`03_trajectories`.
