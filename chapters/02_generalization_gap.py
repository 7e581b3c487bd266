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
from diffgen.features import classifier_features
from diffgen.metrics.bootstrap import area, bootstrap_interval, overfit_onset, peak
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.gap import paired_difference_at
from diffgen.plots.gap import errors_over_training, gap_over_sigma, gaps_beside, onset_over_sigma
from diffgen.plots.images import image_rows
from diffgen.widgets import Curves, Images, Scrubber, Slider

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)
plan = settings.gap
measure = dg.Measure(seed=seed, device=device, n_images=plan.n_eval)

# %% [markdown]
# ## The images
#
# The data are small pictures of clothes, Fashion-MNIST {cite:p}`xiao2017`, which two processor cores can learn while you
# wait. One pool of images is split at random: a *training* set, a *validation* set that no network of this book ever
# sees, and the *rest*. The first two come from the same distribution, so whatever differs between them after training
# was put there by training.

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
# Three networks are trained: a U-Net, a narrower U-Net, and a transformer {cite:p}`peebles2023` of about as many
# parameters as the first. Each is wrapped in the preconditioning of {cite:t}`karras2022`, which makes inputs and targets
# unit-sized at every noise level, sees noise levels drawn from $\ln \sigma \sim N(-1.2, 1.2^2)$, and is scored by the
# squared error of {eq}`eq:error`, weighted so that every noise level counts the same at the start. What is kept at each
# stop is not the current weights but a running average of them, which is also what one would sample from.
#
# Time is counted in *images seen*, with repetition, so that it means the same for every batch size and machine. A run is
# kept in a folder and found again by its settings: executing this chapter twice trains once, and a run that was
# interrupted goes on where it stopped.

# %%
runs = {name: list(dg.train(config, root=results, device=device)) for name, config in plan.networks.items()}
snapshots = runs["U-Net"]
images_seen = [snapshot.images_seen for snapshot in snapshots]
fig, ax = plt.subplots(figsize=(6.5, 2.8))
for (name, of_run), style in zip(runs.items(), ("-", "--", "-.")):
    log = of_run[-1].run.log
    label = f"{name}, {of_run[-1].run.metadata['parameters']:,} parameters"
    ax.plot(log.images_seen, log.loss.rolling(max(1, len(log) // 100)).mean(), color=plots.TRAIN, ls=style, label=label)
for seen in images_seen:
    ax.axvline(seen, color=plots.NEUTRAL, lw=0.7, ls=":")
plots.training_axis(ax).set(ylabel="training loss", yscale="log")
ax.legend()
glue("images_last", f"{images_seen[-1]:,}", display=False)
glue("epochs", images_seen[-1] / len(split.train), display=False)

# %% [markdown]
# Each has seen {glue:text}`images_last` images, that is each training image {glue:text}`epochs:.0f` times. Dotted lines
# are the stops. As long as the loss falls one would say from it alone that all is well. It says nothing of images that
# the network was not trained on.

# %% [markdown]
# ## What it sees
#
# Before measuring, look. Below, the same noise has been added to two training images and two validation images, more of
# it from left to right, and the U-Net's estimate of the clean image is shown for the first and for the last stop. Try to
# tell which rows are which: at low noise nobody could, at high noise there is nothing to tell, as the network returns a
# blurred average whatever it is given. If there is a difference, it is in between.

# %%
levels = torch.tensor([0.1, 0.4, 1.0, 2.5, 8.0])
rows, names = [], []
for part, points in (("training", split.train[2:4]), ("validation", split.val[2:4])):
    clean = points.x.expand(len(levels), *points.x.shape)
    noisy, early = experiments.denoised_images(snapshots[0], points, levels, measure)
    late = experiments.denoised_images(snapshots[-1], points, levels, measure)[1]
    rows += [x.flatten(0, 1) for x in (clean, noisy, early, late)]
    names += [part, "with noise", f"after {images_seen[0]:,}", f"after {images_seen[-1]:,}"]
fig, ax = plt.subplots(figsize=(7.5, 6))
image_rows(rows, ax, names)
side = rows[0].shape[-1] + 1
ax.set_xticks([side * (2 * j + 1) for j in range(len(levels))], [f"σ = {level:g}" for level in levels]);

# %% [markdown]
# ## The gap over the noise level
#
# Now the measurement. {eq}`eq:error` is evaluated on a grid of noise levels, for each snapshot, with the same images and
# the same noise. We expect {cite:p}`kaiser2026` a bump: next to nothing at small $\sigma$, where the noisy image itself
# is the best estimate for training and validation images alike; next to nothing at large $\sigma$, where the image
# cannot be told from any other; and in between, where a network that has *seen* the image can do better than one that
# has to guess, a gap that grows with training. It should be smaller for the small network, which has fewer places to
# keep images in.

# %%
sigmas = plan.levels.sigmas
raw = {name: experiments.gap_curves(of_run, split, sigmas, measure) for name, of_run in runs.items()}
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True, width_ratios=(1, 1.2))
for ax, name in zip(axes, ("small U-Net", "U-Net")):
    gap_over_sigma(images_seen, raw[name], overfit_onset(raw[name]), ax, bar=ax is axes[-1])
    ax.set(title=f"{name}, raw")
axes[1].set(ylabel="")
glue("n_evaluated", raw["U-Net"][-1].n, display=False)

# %% [markdown]
# Each line is a snapshot, each band a 95 % interval from the {glue:text}`n_evaluated` images a split that were
# evaluated. (The axis is to scale up to 0.2 and logarithmic above.) The bands are wide because images differ in how hard they are: with other images the whole curve would lie
# higher or lower. That is not a property of the network, and it can be taken out.
#
# The black line, where there is one, joins the *overfit onsets*: for each noise level, the gap at the moment of training
# at which the validation error was smallest. Above it the network still gets better at images that it knows, and worse
# at those that it does not.
#
# ### Taking out the sampling variability
#
# Two finite sets of images are never equally hard. Even a denoiser that knows neither of them has a small $G$, positive
# or negative, at noise levels where the two sets happen to differ. So we measure it: a *reference denoiser* that saw
# neither set, {glue:text}`reference_kind`, gets the same images with the same noise. Where it finds an image hard, so
# does the network, and what the two have in common can be subtracted:
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
like_it = dg.trained(settings.reference, root=results, device=device) if settings.reference else None
reference = experiments.reference_curve(like_it, split, sigmas, measure)
curves = {name: [control_variate_adjusted(curve, reference) for curve in of_run] for name, of_run in raw.items()}
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True, width_ratios=(1, 1.2))
for ax, name in zip(axes, ("small U-Net", "U-Net")):
    gap_over_sigma(images_seen, curves[name], overfit_onset(curves[name]), ax, bar=ax is axes[-1])
    ax.plot(sigmas, reference.gap, color=plots.NEUTRAL, ls="--", lw=1.2, label="reference: the draw alone")
    ax.legend(loc="upper right")
    ax.set(title=f"{name}, adjusted")
axes[1].set(ylabel="");

# %% tags=["hide-input"]
last = curves["U-Net"][-1]
i_peak = int(last.gap.argmax())
kind = "a network like it, trained on the rest of the pool" if settings.reference else \
    "the best linear one (a Wiener filter) of the rest of the pool"
glue("reference_kind", kind, display=False)
glue("narrower", float((raw["U-Net"][-1].stderr / last.stderr).median()), display=False)
glue("fewer", float((raw["U-Net"][-1].stderr / last.stderr).square().median()), display=False)
glue("peak_level", float(sigmas[i_peak]), display=False)
glue("peak_gap", last.peak.format(), display=False)
glue("chance", float(reference.gap[i_peak]), display=False)
small = curves["small U-Net"][-1]
glue("peak_small", small.peak.format(), display=False)

# %% [markdown]
# The dashed line is the reference: at the peak its gap is {glue:text}`chance:+.3f`, and it has seen no image of either
# set. Without it we would have booked this difference to the network. The intervals are now narrower by a factor of
# {glue:text}`narrower:.1f` (median over the noise levels), which would otherwise take {glue:text}`fewer:.1f` times as
# many images. At the last stop the gap of the U-Net is largest at $\sigma =$ {glue:text}`peak_level:.2f`, where it is
# {glue:text}`peak_gap`; the largest of the small network is {glue:text}`peak_small`.

# %% [markdown]
# ## Overfitting, at the peak and elsewhere
#
# The same at one noise level, over time, as in the paper's Figure 1. Both errors fall at first, and together: the
# network learns what clothes look like. Then they part. On the right, the moment at which the validation error was
# smallest, for every noise level, with the interval in which it may lie.

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
best = min(range(len(images_seen)), key=lambda k: curves["U-Net"][k].val[i_peak])
begun = best < len(images_seen) - 1
errors_over_training(images_seen, curves["U-Net"], i_peak, axes[0], images_seen[best] if begun else None)
axes[0].set(title=f"U-Net at σ = {sigmas[i_peak]:.2f}", yscale="log")
onset_over_sigma(images_seen, sigmas, overfit_onset(curves["U-Net"]), axes[1])
onset = f"lies at {images_seen[best]:,} images" if begun else "has not yet been reached at the last stop"
glue("onset", onset, display=False)
at_onset = curves["U-Net"][best].at(float(sigmas[i_peak]))
glue("gap_at_onset", at_onset.format(), display=False)

# %% [markdown]
# At the peak, the minimum of the validation error, the overfit onset, {glue:text}`onset`. At that stop the gap is already
# {glue:text}`gap_at_onset`: until there the network improves on both sets, if more on one of them.

# %% [markdown]
# ## Scrub through the training
#
# The same as a widget: move through training and noise levels, and watch what the U-Net makes of six training images
# and six validation images, while the marker shows where on the curve one is. It works without a kernel, on the page.

# %%
shown = slice(0, plan.levels.n, max(1, plan.levels.n // 9))
parts = []
for name, points, colour in (("training", split.train[:6], plots.TRAIN), ("validation", split.val[:6], plots.VAL)):
    pairs = [experiments.denoised_images(snapshot, points, sigmas[shown], measure) for snapshot in snapshots]
    parts += [
        Images(f"{name}", points.x, colour),
        Images("with noise", pairs[0][0][None], colour),
        Images("denoised", torch.stack([x for _, x in pairs]), colour),
    ]
line = {part: torch.stack([getattr(curve, part) for curve in curves["U-Net"]])[:, None, None] for part in ("gap", "stderr")}
sliders = [Slider("images seen", images_seen, start=-1), Slider("noise level σ", sigmas[shown], start=4)]
gap_curve = Curves(
    x=sigmas, y=line["gap"], x_label="noise level σ", y_label="adjusted gap G(σ)", log_x=True, marker="noise level σ",
    behind="images seen", low=line["gap"] - 1.96 * line["stderr"], high=line["gap"] + 1.96 * line["stderr"],
)
Scrubber(sliders, parts, [gap_curve], title="What the U-Net makes of noisy images", play="images seen")

# %% [markdown]
# ## Does it need convolutions?
#
# A U-Net looks at neighbourhoods, a transformer at everything at once, and one might think that only one of them keeps
# images. The paper says that the finding holds for both. Here are the adjusted gaps of all three networks after equally
# many images seen.

# %%
fig, ax = plt.subplots(figsize=(7, 3.8))
gaps_beside({name: of_run[-1] for name, of_run in curves.items()}, ax)
for key, name in (("unet", "U-Net"), ("transformer", "transformer")):
    glue(f"beside_{key}", curves[name][-1].peak.format(), display=False)
    glue(f"loss_{key}", float(runs[name][-1].run.log.loss.iloc[-10:].mean()), display=False)

# %% [markdown]
# The largest gap of the U-Net is {glue:text}`beside_unet`, that of the transformer {glue:text}`beside_transformer`. They
# have about as many parameters and saw equally many images in the same order; but the training loss of the one ended at
# {glue:text}`loss_unet:.2f` and that of the other at {glue:text}`loss_transformer:.2f`. A network that fits less has less
# to show a gap with, so the comparison says whether both have one, and not which kind keeps more.
#
# ## How sure can we be?
#
# A peak is picked because it is high, so its height has to be judged with care: the interval of a maximum is not the
# interval of a fixed point. We therefore resample the images, both splits with replacement and the same ones for every
# snapshot and noise level, and repeat the reading of the figure each time: where the peak is, how high, how far it stands
# above both ends. How much the gap grew is read at one noise level, that of the last peak. Between the noise levels of the grid, a parabola through the highest three
# points puts the peak. The area under the curve, $\int G \, d \ln \sigma$, sums up all noise levels in one number.

# %%
tops = {name: peak(of_run[-1], seed=seed) for name, of_run in curves.items()}
areas = {name: area(of_run[-1]) for name, of_run in curves.items()}


def written(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


pd.DataFrame(
    {
        "parameters": f"{runs[name][-1].run.metadata['parameters']:,}", "largest gap": written(*top.height),
        "at σ": written(*top.sigma), "area": written(*areas[name].with_interval()),
    }
    for name, top in tops.items()
).set_index(pd.Index(tops, name="95 % intervals"))

# %% tags=["hide-input"]
for name, interval in (("sigma", tops["U-Net"].sigma), ("height", tops["U-Net"].height)):
    glue(f"peak_{name}", f"{interval.value:.2f} (95 % interval {interval.low:.2f} to {interval.high:.2f})", display=False)
(in_features,) = experiments.gap_curves(
    snapshots[-1:], split, sigmas[[i_peak]], measure, features=classifier_features
)
glue("feature_gap", in_features.peak.format(), display=False)

# %% [markdown]
# The U-Net's peak lies at $\sigma =$ {glue:text}`peak_sigma`, with the height {glue:text}`peak_height`. For comparison,
# the paper finds it at 0.72 for CIFAR-10 and between 1.2 and 2.0 for ImageNet-64, on data with $\sigma_d = 0.5$; here
# $\sigma_d =$ {glue:text}`sigma_data:.2f`. Pixels are one way to measure an error. In the features of a small classifier
# of these images, which forgives what does not change what an image shows, the same network's gap at the same noise
# level is {glue:text}`feature_gap` (not adjusted).
#
# ## What we found
#
# Each claim is decided by one number and its interval, computed above.

# %% tags=["hide-input"]
def growth(name: str) -> dg.Estimate:
    first, *_, final = curves[name]
    return paired_difference_at(final, first, final.peak_sigma)


def over_the_peak(train: torch.Tensor, val: torch.Tensor) -> torch.Tensor:
    gap = (val / train - 1)[:, -1]
    return gap[:, [0, -1]].abs().amax(1) / gap.amax(1)


def risen(train: torch.Tensor, val: torch.Tensor) -> torch.Tensor:
    ratio = (val[:, -1] / val[:, best])[:, i_peak] - 1
    return ratio if begun else torch.full_like(ratio, torch.nan)  # training ended before the onset


span = f"growth of $G$ at its peak from {images_seen[0]:,} to {images_seen[-1]:,} images seen"
ends, rise = (bootstrap_interval(of, curves["U-Net"], seed=seed) for of in (over_the_peak, risen))

# %% tags=["hide-input"]
book.ledger(
    book.Claim(
        "C1", "A large enough denoiser memorizes more of the training set the longer it trains.", span,
        *growth("U-Net").with_interval(), above=0,
    ),
    book.Claim(
        "C2", r"The gap is a bump at intermediate $\sigma$, near 0 at both ends.",
        rf"larger $|G|$ of both ends ($\sigma$ = {sigmas[0]:.2f}, {sigmas[-1]:.0f}) over the peak's", *ends, below=0.5,
    ),
    book.Claim(
        "C3", r"Overfitting, a validation error that rises, starts at intermediate $\sigma$.",
        rf"rise of $E_\mathrm{{val}}$ at $\sigma$ = {sigmas[i_peak]:.2f} after {images_seen[best]:,} images seen",
        *rise, above=0,
    ),
    book.Claim(
        "C12", "It holds for U-Nets and for transformers.", f"transformer: {span}",
        *growth("transformer").with_interval(), above=0,
    ),
)  # fmt: skip

# %% [markdown]
# What remains is the question that gives the paper its title. The network of the last stop knows its training images:
# the gap says so. Do the images that it *generates* know them, too? That is {doc}`03_trajectories`.
