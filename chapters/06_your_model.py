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
# (sec:your-model)=
# # Your own model
#
# **Question: does my model copy its training images?**
#
# So far we asked this of our own networks. Here we ask it of two models that were made with other tools: a DDPM from
# diffusers, and a rectified flow. They stand for yours. It takes three steps. An *adapter* turns the model into a
# denoiser. A *check* tells whether that denoiser can be believed. An *audit* asks five questions and answers each with an
# interval. You need the model's weights, the images that it was trained on, and some images that it never saw.

# %% tags=["parameters"]
from diffgen.presets import PresetName

preset: PresetName = "quick"  # how much to compute
seed: int = 0  # of the data split, of weights and noise
device: str = "cpu"  # where to measure: "cpu", "cuda", "cuda:1"
results: str = "runs"  # not used: nothing of this chapter is kept

# %% tags=["hide-input"]
import html
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from myst_nb import glue

import diffgen as dg
from diffgen import book, plots
from diffgen.book import strangers
from diffgen.data.arrays import to_bytes
from diffgen.plots.images import image_rows

book.check_parameters()
plots.use_style()
plan = dg.presets.named(preset, seed).your_model
split = dg.load_data("fashion_mnist", size=plan.size, n_train=plan.n_train, n_val=plan.n_val, seed=seed)
effort = dg.Effort(**plan.effort)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Your images
#
# `dg.data` reads arrays, folders of images (a folder a class), zip files with EDM's `dataset.json`, torch data sets and
# those of Hugging Face. Here the images come from two files, as yours might. Bytes are taken for 0 to 255 and scaled to
# $[-1, 1]$. Floats must be in $[-1, 1]$ already, and images that look like $[0, 1]$ are refused: in the wrong range even a
# good model looks bad.

# %%
for name, part in (("train", split.train), ("val", split.val)):
    images = to_bytes(part.x).numpy()
    np.savez(folder / f"{name}.npz", images=images, labels=part.labels.numpy())
train = dg.data.open_data(folder / "train.npz")
val = dg.data.open_data(folder / "val.npz")
train

# %% [markdown]
# (sec:your-adapter)=
# ## A diffusers model
#
# This is diffusers' `UNet2DModel`, trained with diffusers' own scheduler on {glue:text}`n_train` images to predict the
# noise. It knows time steps from 0 to 999, where this book has noise levels $\sigma$, and it wants its input scaled to
# unit variance. The adapter translates: it finds the time of a noise level, scales the input, and turns predicted noise
# into a predicted image.

# %%
unet, scheduler = strangers.ddpm(train, plan.ddpm_images, seed=seed)
denoiser = dg.adapters.from_diffusers(unet.to(device), scheduler)

# %% tags=["hide-input"]
glue("n_train", f"{plan.n_train:,}", display=False)
glue("few", plan.few, display=False)
glue("times", f"{plan.flow_images // plan.few:,}", display=False)

# %% [markdown]
# There are adapters for flow matching (`from_velocity`), EDM and EDM2 (`from_edm`), azula (`from_azula`) and k-diffusion
# (`from_k_diffusion`). Anything else is a function of your own: `D(x, sigma, labels)`, which returns the clean image that
# it expects behind `x`.
#
# (sec:your-check)=
# ## Can it be believed?
#
# Nearly every mistake in such a translation gives a smooth and plausible gap. So the first thing to do is to ask the
# denoiser things whose answer is known. The same call must give the same result twice. The result for one image must not
# depend on the others in the batch. At little noise it must return what it is given. It should beat the best linear
# denoiser. A right label should help more than a wrong one.

# %%
some = val[: effort.n_images]
others = split.holdout.x  # for the linear denoiser
check = dg.check_denoiser(denoiser, some.x, some.labels, reference=others)
print(check)

# %% [markdown]
# Now a mistake that is easily made. The model predicts the noise, and we read its output as a *velocity*. Nothing fails:

# %%
misread = "v_prediction"
broken = dg.adapters.from_diffusers(unet, scheduler, prediction=misread)
sigmas = dg.log_sigmas(effort.n_levels, 0.05, 10)
known = train[: effort.n_images]
curves = {
    "right": dg.generalization_gap(denoiser, known, some, sigmas),
    "misread": dg.generalization_gap(broken, known, some, sigmas),
}

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3))
for (name, curve), style in zip(curves.items(), plots.LINES):
    ax.errorbar(sigmas, curve.gap, 1.96 * curve.stderr, capsize=2, label=name, **style)
ax.axhline(0, color=plots.NEUTRAL, lw=0.8)
ax.set(xscale="log", xlabel="noise level $\\sigma$", ylabel="relative gap $G(\\sigma)$")
ax.legend();

# %% [markdown]
# Nobody would suspect the second curve. The check does, and it says what the likely mistake is:

# %%
wrong = dg.check_denoiser(broken, some.x, some.labels, reference=others)
for finding in wrong.warnings:
    print(textwrap.fill(f"- {finding.name}: {finding.cause}", 72))

# %% [markdown]
# (sec:your-audit)=
# ## The audit
#
# One call asks five questions. To know what chance alone would give, the training and validation images are mixed and
# dealt to two new sets, many times, and everything is measured again. So a model that knows nothing of its training
# images is accused in at most one audit in twenty, all five questions together.

# %%
of_ddpm = dg.audit(denoiser, train, val, effort=effort, out=folder / "ddpm",
                   name="a DDPM of diffusers", seed=seed)  # fmt: skip
of_ddpm.table().style.hide().format(precision=3)

# %% [markdown]
# "memorizes" means that the whole interval lies above the value for a model without memory. "does not" means that it lies
# below the smallest difference that we care about. Everything else is "undecided", mostly for want of images. The report
# adds the figures, the controls, and the most suspicious samples beside their nearest training images. It is a single
# file that you can send to somebody.

# %% tags=["hide-input"]
def framed(path: Path) -> HTML:
    page = html.escape((path / "report.html").read_text(), quote=True)
    style = "width:100%;height:34rem;border:1px solid #8884"
    return HTML(f'<iframe title="Report of an audit" srcdoc="{page}" loading="lazy" style="{style}"></iframe>')


framed(folder / "ddpm")

# %% [markdown]
# ## A flow that copies
#
# An audit that never finds anything would be worth nothing. So here is a rectified flow that saw only
# {glue:text}`few` images, each of them {glue:text}`times` times. It knows no classes, and it predicts a velocity.

# %%
few = dg.Points(train.x[: plan.few])
flow = strangers.rectified_flow(few, plan.flow_images, seed=seed)
follower = dg.adapters.from_velocity(flow.to(device), n_labels=0)
of_flow = dg.audit(follower, few, dg.Points(val.x), effort=effort,
                   out=folder / "flow", name="a flow", seed=seed)  # fmt: skip
of_flow.table().style.hide().format(precision=3)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 1.5))
samples = of_flow.samples
image_rows([samples.suspicious[:16], samples.originals[:16]], ax, ["samples", "nearest training"])
for name, audit in (("ddpm", of_ddpm), ("flow", of_flow)):
    verdicts = list(audit.verdicts.values())
    glue(f"{name}_yes", verdicts.count("memorizes"), display=False)
    glue(f"{name}_no", verdicts.count("does not"), display=False)
    glue(f"{name}_open", verdicts.count("undecided"), display=False)
    share, low, high = audit.samples.memorized
    glue(f"{name}_copies", f"{share:.1%} [{low:.1%}, {high:.1%}] of {audit.samples.n:,}", display=False)

# %% [markdown]
# | | copies among samples | questions: memorizes | does not | undecided |
# | --- | --- | --- | --- | --- |
# | DDPM, {glue:text}`n_train` images | {glue:text}`ddpm_copies` | {glue:text}`ddpm_yes` | {glue:text}`ddpm_no` | {glue:text}`ddpm_open` |
# | flow, {glue:text}`few` images | {glue:text}`flow_copies` | {glue:text}`flow_yes` | {glue:text}`flow_no` | {glue:text}`flow_open` |
#
# ## From the command line
#
# ```sh
# # a diffusers folder, and folders of images
# diffgen audit my-pipeline/ --train images/train --val images/val
# # a function that returns a denoiser
# diffgen audit model.py:denoiser --train train.npz --val val.npz
# # a snapshot of EDM or EDM2
# diffgen audit network.pkl --trust-code --train a.zip --val b.zip
# ```
#
# `--dry-run` says how long it would take, `--budget 20m` makes it fit, and the same command goes on where it was
# interrupted. The exit code is 0 if nothing was found, 3 if something was, and 1 if the model cannot be believed. Opening
# a `.pkl` runs whatever program is in it, so `--trust-code` is for files whose maker you trust.
#
# ## What an audit cannot say
#
# That a model is safe. It asks five questions about the images that it is given. A model may remember others, and may show
# them under guidance or prompts that were not tried. And it needs images that the model never saw, from the same source,
# prepared in the same way. Where the two sets are told apart without the model, the audit says so and decides nothing but
# whether samples are copies.
