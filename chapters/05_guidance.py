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
# (sec:guidance)=
# # Guidance
#
# **Question: if a denoiser is pushed away from a worse one, does it become a better copyist?**
#
# Nearly every diffusion model in use is *guided*. Instead of the denoiser $D$ itself one follows
#
# $$
# D_w(x; \sigma) = D(x; \sigma) + w\,\bigl(D(x; \sigma) - D_\text{guide}(x; \sigma)\bigr),
# $$ (eq:guidance)
#
# away from a guide that does the same task less well. With the same model without its class label as the guide this is
# classifier-free guidance {cite:p}`ho2022`; with an earlier snapshot or a smaller model it is *autoguidance*
# {cite:p}`karras2024guiding`, which this chapter uses. If the guide's fault is that it is too blurred, $D_w$ is sharper
# than $D$. Sharper how? Closer to the truth, or closer to the optimal denoiser of the training set, which is sharp
# because it copies?
#
# The paper's finding {cite:p}`kaiser2026`: the denoising gap changes little with $w$, that of the samples a lot. We ask
# the toy model first, in which everything is exact, and then two snapshots of the network of chapter 2.

# %% tags=["parameters"]
from diffgen.presets import PresetName

preset: PresetName = "quick"  # how much to compute
seed: int = 0  # of the data split, the initial weights and the noise
device: str = "cpu"  # where to compute: "cpu", "cuda", "cuda:1"
results: str = "runs"  # folder in which trained runs are kept and found again
delta: float = 1.8  # model error of the main denoiser in the toy model
delta_guide: float = 2.2  # model error of its guide

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import torch
from myst_nb import glue

import diffgen as dg
from diffgen import book, evaluate, plots
from diffgen.metrics.adjust import adjusted
from diffgen.metrics.gap import difference_at
from diffgen.metrics.neighbours import gap_terms, nearest, sample_gap
from diffgen.plots.factors import gaps_of_weights
from diffgen.plots.images import image_rows
from diffgen.plots.samples import estimates

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)

# %% [markdown]
# ## Guidance by hand
#
# {eq}`eq:guidance` is one line, and its two limits are worth a check before it is trusted: at $w = 0$ it is the main
# denoiser, and a denoiser that guides itself stays what it is, at every $w$.

# %%
circle = dg.circle()
main, guide = dg.ErrorProne(circle.train.x, delta), dg.ErrorProne(circle.train.x, delta_guide)
x, sigma = circle.val.x + 1.2 * torch.randn(circle.val.x.shape, generator=torch.Generator().manual_seed(seed)), 1.2
by_hand = main(x, sigma) + 0.7 * (main(x, sigma) - guide(x, sigma))
torch.testing.assert_close(by_hand, dg.Guided(main, guide, 0.7)(x, sigma))
torch.testing.assert_close(main(x, sigma), dg.Guided(main, guide, 0)(x, sigma))
torch.testing.assert_close(main(x, sigma), dg.Guided(main, main, 2)(x, sigma))

# %% [markdown]
# ## In the toy model
#
# Twenty points on a circle, every other one a training point ({ref}`sec:toy`). The main denoiser has the model error
# $\delta =$ {glue:text}`delta:.1f`, its guide the larger one {glue:text}`delta_guide:.1f`. A smaller error means a larger
# gap, and guidance extrapolates from the larger error through the smaller one and beyond. So we expect the gap to grow
# with $w$.

# %%
toy_sigmas = dg.edm_sigmas(60)[:-1]
toy = [
    dg.generalization_gap(
        dg.Guided(main, guide, w), circle.train, circle.val, toy_sigmas, draws=4 * settings.toy_draws, norm="l2", seed=seed
    )
    for w in settings.weights
]
fig, ax = plt.subplots(figsize=(6.5, 3.4))
gaps_of_weights(settings.weights, toy, ax)
glue("delta", delta, display=False)
glue("delta_guide", delta_guide, display=False)
glue("toy_gap_0", float(toy[0].peak), display=False)
glue("toy_gap_w", float(toy[-1].peak), display=False)
glue("w_max", settings.weights[-1], display=False)

# %% [markdown]
# The peak goes from {glue:text}`toy_gap_0:.3f` without guidance to {glue:text}`toy_gap_w:.3f` at
# $w =$ {glue:text}`w_max:g`. In this model guidance towards less error *is* guidance towards the training points: there
# is nothing else to be less wrong about.
#
# ## With two snapshots
#
# A network is wrong in more ways than one. Its early snapshot is worse than its last because it has not yet learned what
# clothes look like, and also because it has not yet memorized. Guidance extrapolates both. The main denoiser is the last
# snapshot of chapter 2, the guide one from early in its training.

# %%
split = settings.train.data.load()
snapshots = list(dg.train(settings.train, root=results, device=device))
last, early = snapshots[-1], snapshots[len(snapshots) // 2]
guides = [evaluate.Guide(early, w) for w in settings.weights]
glue("last_images", f"{last.images:,}", display=False)
glue("early_images", f"{early.images:,}", display=False)

# %% [markdown]
# The last has seen {glue:text}`last_images` images, the guide {glue:text}`early_images`. First the denoising gap, at every
# weight, with the same images and noise throughout:

# %%
sigmas = dg.log_sigmas(max(6, settings.sigmas // 2), 0.1, 10)
reference = evaluate.reference_curve(
    settings.reference, split, sigmas, images=settings.evaluate, seed=seed, root=results, device=device
)
curves = []
for guide in guides:
    (curve,) = evaluate.gap_curves(
        [last], split, sigmas, guide=guide, images=settings.evaluate, seed=seed, device=device, progress=False
    )
    curves.append(adjusted(curve, reference))
fig, ax = plt.subplots(figsize=(6.5, 3.4))
gaps_of_weights(settings.weights, curves, ax);

# %% [markdown]
# ## What guided samples look like
#
# Every row below starts from the same noise; only the weight differs. Look for two things: whether the images get
# clearer, and whether they get *alike*.

# %%
generated = [
    evaluate.samples(last, settings.samples, guide=guide, steps=settings.steps, seed=seed, device=device)
    for guide in guides
]
fig, ax = plt.subplots(figsize=(8, 0.55 * len(guides) + 0.3))
image_rows([x[:16] for x in generated], ax, [f"w = {w:g}" for w in settings.weights]);

# %% [markdown]
# ## The gap of guided samples
#
# Now the same comparison as in {doc}`03_trajectories`: the gap of the denoiser at its peak beside that of the samples,
# {eq}`eq:sample-gap`, here against $w$; and how far samples lie from the training set, beside validation images.

# %%
peak_sigma = curves[0].peak_sigma
of_denoiser = [c.at(peak_sigma) for c in curves]
of_samples = [sample_gap(x, split.train.x, split.val.x, split.rest.x) for x in generated]
distance = [dg.Estimate.mean(nearest(x, split.train.x, k=1).distance[:, 0]) for x in generated]
typical = dg.Estimate.mean(nearest(split.val.x, split.train.x, k=1).distance[:, 0])
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.2))
estimates(settings.weights, of_denoiser, axes[0], color=plots.TRAIN, label="denoiser")
estimates(settings.weights, of_samples, axes[0], color=plots.GENERATED, label="samples")
estimates(settings.weights, distance, axes[1], color=plots.GENERATED, label="samples")
axes[1].axhline(typical, color=plots.VAL, ls="--", label="validation images")
axes[0].set(xlabel="guidance weight w", ylabel="relative gap")
axes[1].set(xlabel="guidance weight w", ylabel="distance to training set", ylim=(0, None))
[ax.legend() for ax in axes]
copied = [dg.memorized_fraction(x, split.train.x) for x in (generated[0], generated[-1])]
glue("peak_sigma", peak_sigma, display=False)
glue("copied_0", f"{float(copied[0]):.1%} ± {copied[0].stderr:.1%}", display=False)
glue("copied_w", f"{float(copied[1]):.1%} ± {copied[1].stderr:.1%}", display=False)

# %% [markdown]
# The denoising gap is read at $\sigma =$ {glue:text}`peak_sigma:.2f`. The memorized fraction of the samples is
# {glue:text}`copied_0` without guidance and {glue:text}`copied_w` at $w =$ {glue:text}`w_max:g`.
#
# Distances are to be read with care: guidance also makes images smoother and more contrasted, and an image that is less
# detailed is nearer to everything, training and validation images alike. That is why the gap compares the two.
#
# ## What we found

# The paper finds the denoising gap nearly flat in $w$ with a shallow maximum, and that of the samples multiplied. Two
# numbers decide, both at the weight nearest to 1: how much the gap of the samples changes, and by how much that exceeds
# the change of the denoiser's.

# %% tags=["hide-input"]
one = min(range(len(settings.weights)), key=lambda k: abs(settings.weights[k] - 1))
change = difference_at(curves[one], curves[0], peak_sigma)
terms = [gap_terms(generated[k], split.train.x, split.val.x) for k in (one, 0)]
follows = terms[0].minus(terms[1])  # from the same noise: pairs, and the luck of the split cancels
book.ledger(
    book.Claim(
        "C10 (samples)", "Guidance raises the gap of the samples.",
        f"change of the samples' gap from $w$ = 0 to {settings.weights[one]:g}",
        *follows.with_interval(), above=0,
    ),
    book.Claim(
        "C10 (contrast)", "It raises the gap of the samples by more than that of the denoiser.",
        rf"the same change less that of $G$ at $\sigma$ = {peak_sigma:.2f}",
        *follows.minus(change).with_interval(), above=0,
    ),
)  # fmt: skip
