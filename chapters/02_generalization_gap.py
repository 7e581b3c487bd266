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
from diffgen.metrics.bootstrap import area, overfit_onset, peak
from diffgen.metrics.control_variate import control_variate_adjusted
from diffgen.metrics.overfitting import ends_over_peak, exchanged, growth, onset_lead
from diffgen.metrics.position import over_seeds
from diffgen.plots.gap import (
    errors_over_training, gap_of_lengths, gap_over_sigma, gaps_beside, gaps_over_training, intervals_over_n,
    onset_over_sigma, reconstruction_over_sigma,
)
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
# sees, and the *rest*. All three come from the same distribution. Two finite sets are never equal, though, and we shall
# have to tell what training put between them from what the draw did.

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
# Two networks are trained, a U-Net and a narrower one. Both are told the class of each image, as the paper's are. Each
# is wrapped in the preconditioning of {cite:t}`karras2022`, which makes inputs and targets unit-sized at every noise
# level. Training draws noise levels from $\ln \sigma \sim N(-1.2, 1.2^2)$ and minimizes the squared error of
# {eq}`eq:error`, weighted so that every noise level counts the same at the start. What is kept at each stop is not the
# current weights but a running average of them, which is also what one would sample from.
#
# How long should one train? All of the paper's networks have a gap between 0.02 and 0.35, and none of them copies. At
# the scale of our published results the main network is stopped in the same regime. What happens far beyond is a
# question of its own, for {doc}`03_trajectories`.
#
# Time is counted in *images seen*, with repetition, so that it means the same for every batch size and machine. A run is
# kept in a folder and found again by its settings: executing this chapter twice trains once, and a run that was
# interrupted goes on where it stopped.

# %%
runs = {name: list(dg.train(config, root=results, device=device)) for name, config in plan.networks.items()}
snapshots = runs["U-Net"]
seen = {name: [snapshot.images_seen for snapshot in of_run] for name, of_run in runs.items()}
images_seen = seen["U-Net"]
fig, ax = plt.subplots(figsize=(6.5, 2.8))
for (name, of_run), style in zip(runs.items(), ("-", "--", "-.")):
    log = of_run[-1].run.log
    label = f"{name}, {of_run[-1].run.metadata['parameters']:,} parameters"
    ax.plot(log.images_seen, log.loss.rolling(max(1, len(log) // 100)).mean(), color=plots.TRAIN, ls=style, label=label)
for stop in images_seen:
    ax.axvline(stop, color=plots.NEUTRAL, lw=0.7, ls=":")
plots.training_axis(ax).set(ylabel="training loss", yscale="log")
ax.legend(loc="upper right")
glue("images_last", f"{images_seen[-1]:,}", display=False)
glue("epochs", images_seen[-1] / len(split.train), display=False)

# %% [markdown]
# The U-Net has seen {glue:text}`images_last` images, that is each training image {glue:text}`epochs:.0f` times. Dotted
# lines are the stops. As long as the loss falls one would say from it alone that all is well. It says nothing of images that
# the network was not trained on.

# %% [markdown]
# (sec:gap-images)=
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
# (sec:gap-over-sigma)=
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
    gap_over_sigma(seen[name], raw[name], overfit_onset(raw[name]), ax, bar=ax is axes[-1], until=images_seen[-1])
    ax.set(title=f"{name}, raw")
axes[1].set(ylabel="")
glue("n_evaluated", raw["U-Net"][-1].n, display=False)

# %% [markdown]
# Each line is a snapshot, each band a 95 % interval from the {glue:text}`n_evaluated` images a split that were
# evaluated. (The axis is to scale up to 0.2 and logarithmic above.) The bands are wide because
# images differ in how hard they are: with other images the whole curve would lie higher or lower. That is not a property
# of the network, and it can be taken out.
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
    gap_over_sigma(seen[name], curves[name], overfit_onset(curves[name]), ax, bar=ax is axes[-1], until=images_seen[-1])
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
glue("narrower_peak", float((raw["U-Net"][-1].stderr / last.stderr)[i_peak]), display=False)
glue("peak_level", float(sigmas[i_peak]), display=False)
glue("peak_gap", last.peak.format(), display=False)
glue("chance", float(reference.gap[i_peak]), display=False)
small = curves["small U-Net"][-1]
then = curves["U-Net"][images_seen.index(seen["small U-Net"][-1])]
glue("peak_small", small.peak.format(), display=False)
glue("peak_then", then.peak.format(), display=False)
glue("small_seen", f"{seen['small U-Net'][-1]:,}", display=False)

# %% [markdown]
# The dashed line is the reference: at the peak its gap is {glue:text}`chance:+.3f`, and it has seen no image of either
# set. Without it we would have booked this difference to the network. The intervals are now narrower by a factor of
# {glue:text}`narrower:.1f` (median over the noise levels), which would otherwise take {glue:text}`fewer:.1f` times as
# many images. At the peak the factor is {glue:text}`narrower_peak:.1f`: there networks differ most in what they know of
# an image. At the last stop the gap of the U-Net is largest at $\sigma =$ {glue:text}`peak_level:.2f`, where it is
# {glue:text}`peak_gap`. After {glue:text}`small_seen` images seen the largest gap of the small network is
# {glue:text}`peak_small`, and that of the U-Net was {glue:text}`peak_then`.

# %% [markdown]
# (sec:gap-overfitting)=
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
# (sec:gap-features)=
# ## In other units
#
# Pixels are one way to measure an error. The features of a small classifier of clothes forgive what does not change
# what an image shows. In them one can take the squared error of each reconstruction, or the Fréchet distance of all
# reconstructions to their originals (*rFD*) {cite:p}`heusel2017`; both have a gap between the splits. The paper has these
# measures in the features of DINOv2 and Inception. If memory is more than pixels, the bump should be there as well.

# %%
few = measure.with_(n_images=min(plan.n_eval, 2_048))
some, every_other = slice(None, None, -max(1, len(snapshots) // 3)), slice(None, None, 2)
stops = snapshots[some][::-1]
stops_seen = [snapshot.images_seen for snapshot in stops]
feature_curves = experiments.gap_curves(stops, split, sigmas[every_other], few, features=classifier_features)
rebuilt = [experiments.reconstruction_curve(snapshot, split, sigmas[every_other], few) for snapshot in stops]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(10, 3.3))
gap_over_sigma(stops_seen, feature_curves, overfit_onset(feature_curves), axes[0], bar=False)
axes[0].set(title="feature error", ylabel="gap")
reconstruction_over_sigma(stops_seen, rebuilt, axes[1]).set(title="rFD", ylabel="")
gaps_over_training(
    {"pixels": (images_seen, [curve.at(float(sigmas[i_peak])) for curve in curves["U-Net"]]),
     "features": (stops_seen, [curve.at(float(sigmas[i_peak])) for curve in feature_curves]),
     "rFD": (stops_seen, [r.at(float(sigmas[i_peak])) for r in rebuilt])}, axes[2],
).set(title=f"near σ = {sigmas[i_peak]:.2f}", ylabel="")  # fmt: skip
glue("feature_gap", feature_curves[-1].peak.format(), display=False)
glue("feature_sigma", feature_curves[-1].peak_sigma, display=False)
glue("rfd_gap", rebuilt[-1].peak.format(), display=False)
glue("rfd_sigma", rebuilt[-1].peak_sigma, display=False)
glue("n_features", feature_curves[-1].n, display=False)

# %% [markdown]
# At the last stop the gap in features is largest at $\sigma =$ {glue:text}`feature_sigma:.2f`, where it is
# {glue:text}`feature_gap`. That of rFD is largest at $\sigma =$ {glue:text}`rfd_sigma:.2f`, where it is
# {glue:text}`rfd_gap`. Neither is adjusted, and both are of {glue:text}`n_features` images a split, so the sampling
# variability of the split is in them. The right panel has the three measures over training, pixels adjusted.
#
# (sec:gap-lengths)=
# ## The length of the average
#
# The weights that we evaluate are averages over the last part of training. How long a part is a choice, and a longer
# average is a smoother network. Does it remember less? Training stored two averages at each stop, of relative widths
# 0.05 and 0.1. Any width near these can be put together from them afterwards {cite:p}`karras2024edm2`.

# %%
lengths = (0.04, 0.05, 0.06, 0.08, 0.1, 0.12)
stored = any(hasattr(average, "std") for average in settings.train.ema)
averages = [experiments.averaged_over(snapshots, length) for length in lengths] if stored else []
around = sigmas[max(0, i_peak - 1) : i_peak + 2]
of_lengths = experiments.gap_curves(averages, split, around, few)
fig, ax = plt.subplots(figsize=(5.5, 3))
gap_of_lengths(lengths[: len(of_lengths)], of_lengths, ax);

# %% tags=["hide-input"]
if stored:
    longer = growth([of_lengths[0], of_lengths[-1]], float(sigmas[i_peak]))
    glue("longer", longer.format("+.4f"), display=False)
    glue("longer_says", book.verbally(longer, "more", "less", "neither measurably more nor less"), display=False)
else:
    glue("longer", "not measured, as this preset stores one average only,", display=False)
    glue("longer_says", "not known to be more or less", display=False)

# %% [markdown]
# From the shortest to the longest of these averages the gap at the peak changes by {glue:text}`longer`: a longer average
# remembers {glue:text}`longer_says`.
#
# (sec:gap-transformer)=
# ## Does it need convolutions?
#
# A U-Net looks at neighbourhoods, a transformer {cite:p}`peebles2023` at everything at once, and one might think that
# only one of them keeps images. The paper says that the finding holds for both. A small transformer learns more slowly,
# so the two are compared on {glue:text}`n_few` training images, which both can memorize to some degree in the time that we have.

# %%
others = {
    name: list(dg.train(config, root=results, device=device)) for name, config in plan.architectures.items()
}
few_split = plan.architectures["transformer"].data.load()
coarse = measure.with_(n_images=min(plan.n_eval, len(few_split.train)))
beside = {
    name: experiments.adjusted_curves(experiments.gap_curves(of_run, few_split, sigmas, coarse), few_split, like_it, coarse)
    for name, of_run in others.items()
}
fig, ax = plt.subplots(figsize=(7, 3.8))
gaps_beside({name: of_run[-1] for name, of_run in beside.items()}, ax)
for key, name in (("unet", "U-Net"), ("transformer", "transformer")):
    glue(f"beside_{key}", beside[name][-1].peak.format(), display=False)
    glue(f"loss_{key}", float(others[name][-1].run.log.loss.iloc[-10:].mean()), display=False)
glue("n_few", f"{len(few_split.train):,}", display=False)

# %% [markdown]
# The largest gap of the U-Net is {glue:text}`beside_unet`, that of the transformer {glue:text}`beside_transformer`, after
# equally many images seen. The training loss of the one ended at {glue:text}`loss_unet:.2f` and that of the other at
# {glue:text}`loss_transformer:.2f`. A network that fits less has less to show a gap with. So the comparison says whether
# both have one, and not which kind keeps more.
#
# ## How sure can we be?
#
# A peak is picked because it is high, so its height has to be judged with care: the interval of a maximum is not the
# interval of a fixed point. We therefore resample the images, both splits with replacement and the same ones for every
# snapshot and noise level, and repeat the reading of the figure each time: where the peak is, how high, how far it stands
# above both ends. How much the gap grew is read at one noise level, that of the last peak. Between the noise levels of
# the grid, a parabola through the highest three points puts the peak. The area under the curve, $\int G \, d \ln \sigma$, sums up all noise levels in one number.

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

# %% [markdown]
# The U-Net's peak lies at $\sigma =$ {glue:text}`peak_sigma`, with the height {glue:text}`peak_height`. For comparison,
# the paper finds it at 0.72 for CIFAR-10 and between 1.2 and 2.0 for ImageNet-64, on data with $\sigma_d = 0.5$; here
# $\sigma_d =$ {glue:text}`sigma_data:.2f`.
#
# (sec:gap-n)=
# ### How many images does it take?
#
# The paper evaluates 8,192 images a split. The error of $G$ falls with the root of their number. Here is the half-width
# of its 95 % interval at the peak, for the first so many of the images that we evaluated.

# %%
fig, ax = plt.subplots(figsize=(5.5, 3))
widths = intervals_over_n({"raw": raw["U-Net"][-1], "adjusted": last}, i_peak, ax)
enough = next((n for n, half in widths["adjusted"] if half < float(last.peak) / 2), None)
glue("enough", f"{enough:,}" if enough else f"more than {last.n:,}", display=False)

# %% [markdown]
# To know this gap to half of itself, adjusted, takes {glue:text}`enough` images a split.
#
# (sec:gap-seeds)=
# ## Other splits, other weights, other noise
#
# All of these intervals are for one network. Would another one, trained on other images from other random weights, have
# done the same? The main run is trained {glue:text}`n_seeds` times, each with a split of its own, and each adjusted by a
# reference of its own. Claims are decided by the mean over these seeds and its Student interval. Two more numbers stand
# beside. The *control* is the same number with the two splits in each other's role, so that the claim must fail. In the
# *null*, fresh images take the place of the training images; there is nothing to remember of them, and nothing may be
# decided.

# %%
again = {s: dg.presets.named(preset, s) for s in range(seed, seed + settings.n_seeds)}
level, grown, controls, nulls = sigmas[[i_peak]], {}, {}, {}
for s, of_seed in again.items():
    trained, data = list(dg.train(of_seed.train, root=results, device=device)), of_seed.train.data.load()
    ends, how = [trained[0], trained[-1]], measure.with_(seed=s, n_images=plan.n_peak or plan.n_eval)
    like = dg.trained(of_seed.reference, root=results, device=device) if of_seed.reference else None
    at_peak = experiments.adjusted_curves(experiments.gap_curves(ends, data, level, how), data, like, how)
    grown[s], controls[s] = growth(at_peak, level), growth([exchanged(curve) for curve in at_peak], level)
    nulls[s] = growth(experiments.gap_curves(ends, data.fresh, level, how), level)
written_out = {"growth of G": grown, "splits exchanged": controls, "fresh images": nulls}
pd.DataFrame({name: {s: of[s].format("+.4f") for s in again} for name, of in written_out.items()}).rename_axis("seed")

# %% tags=["hide-input"]
glue("n_seeds", settings.n_seeds, display=False)

# %% [markdown]
# ## What we found
#
# Each claim is decided by one number and its interval, computed above. C3 asks where overfitting *starts*: by how much
# earlier the validation error turns at the noise level of the peak than at both ends of the grid. The main run may end
# before it turns anywhere, so the run on {glue:text}`n_few` images is asked as well.

# %% tags=["hide-input"]
def bump(name: str, curve: dg.GapCurve, fresh: dg.GapCurve, statement: str, **more) -> book.Claim:
    top = min(max(int(curve.gap.argmax()), 1), len(sigmas) - 2)
    return book.Claim(
        name, statement, rf"larger $|G|$ of both ends ($\sigma$ = {sigmas[0]:.2f}, {sigmas[-1]:.0f}) over the peak's",
        *ends_over_peak(curve, seed=seed), below=0.5, origin="half of the peak",
        paper="ImageNet-64: G = .226 at σ = 1.67, near 0 at .002 and 80 (Fig. 2)",
        premise=peak(curve, seed=seed).height,
        control=book.Beside("one level beside the peak", ends_over_peak(curve, (top - 1, top + 1), seed=seed)),
        null=book.Beside("fresh images for training images", ends_over_peak(fresh, seed=seed), peak(fresh, seed=seed).height),
        **more)


def start(name: str, of_run: list[dg.GapCurve], seen: list[int], statement: str, **more) -> book.Claim:
    top, turned = int(of_run[-1].gap.argmax()), beside["U-Net"]  # a run whose errors turn for sure
    top_turned, seen_turned = int(turned[-1].gap.argmax()), [snapshot.images_seen for snapshot in others["U-Net"]]
    return book.Claim(
        name, statement, rf"ln of images seen at the overfit onset, the earlier of both ends less $\sigma$ = {sigmas[top]:.2f}",
        *onset_lead(of_run, seen, top, seed=seed), above=0, origin="equally early",
        paper="EDM2-M, σ = 1.98: E_val .0485, least .0480 near 335M images, then .0496 (Fig. 2)",
        control=book.Beside(f"{len(few_split.train):,} images, peak and ends exchanged",
                            onset_lead(turned, seen_turned, 0, (top_turned, top_turned), seed=seed)),
        null=book.Beside("the first stops alone", onset_lead(of_run[:2], seen[:2], top, seed=seed)), **more)


def memorizes(name: str, interval, control, null, what: str, statement: str, **more) -> book.Claim:
    return book.Claim(
        name, statement, what, *interval, above=0, origin="no growth",
        paper="EDM2-M, σ = 1.67: G = .027, .110, .226 at 134M, 1.0G, 2.15G images (Figs 1, 2)",
        control=book.Beside("splits exchanged", control), null=book.Beside("fresh images for training images", null), **more)


small_data = "a smaller network, fewer images of fewer pixels, fewer epochs"
(fresh_last,) = experiments.gap_curves(snapshots[-1:], split.fresh, sigmas, measure)
fresh_few = experiments.gap_curves([others["transformer"][0], others["transformer"][-1]], few_split.fresh, sigmas, coarse)
transformer, few_seen = beside["transformer"], [snapshot.images_seen for snapshot in others["transformer"]]
top_sigma = transformer[-1].peak_sigma

# %% tags=["hide-input"]
book.ledger(
    memorizes(
        "C1", *(over_seeds(list(of.values())) for of in (grown, controls, nulls)),
        f"growth of $G$ at σ = {float(level):.2f} from {images_seen[0]:,} to {images_seen[-1]:,} images seen, mean of {len(again)} seeds",
        "A large enough denoiser memorizes more of the training set the longer it trains.", why=small_data),
    bump("C2", last, fresh_last, r"The gap is a bump at intermediate $\sigma$, near 0 at both ends.",
         why="the peak lies at lower noise: fewer pixels, other data"),
    start("C3", curves["U-Net"], images_seen, r"Overfitting, a validation error that rises, starts at intermediate $\sigma$.",
          why="where training ends before the error turns, nothing is decided"),
    start("C3 (few images)", beside["U-Net"], [snapshot.images_seen for snapshot in others["U-Net"]],
          f"The same for a training set of {len(few_split.train):,} images.", why="beyond the paper's regime, where it turns for sure"),
    memorizes(
        "C12 (C1)", growth(transformer, top_sigma).with_interval(),
        growth([exchanged(curve) for curve in transformer], top_sigma).with_interval(),
        growth(fresh_few, top_sigma).with_interval(),
        f"transformer: growth of $G$ at σ = {top_sigma:.2f} to {few_seen[-1]:,} images seen, one seed",
        "A transformer memorizes more the longer it trains.", why=small_data),
    bump("C12 (C2)", transformer[-1], fresh_few[-1], "Its gap is a bump, too."),
    start("C12 (C3)", transformer, few_seen, r"Its overfitting starts at intermediate $\sigma$, too."),
)  # fmt: skip

# %% [markdown]
# What remains is the question that gives the paper its title. The network of the last stop knows its training images:
# the gap says so. Do the images that it *generates* know them, too? That is {doc}`03_trajectories`.
