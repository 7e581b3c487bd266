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
# **Question: if a denoiser is pushed away from a worse one, or sees less of the image, what happens to its memory?**
#
# Nearly every diffusion model in use is *guided*. Instead of the denoiser $D$ itself one follows
#
# $$
# D_w(x; \sigma) = D(x; \sigma) + w\,\bigl(D(x; \sigma) - D_\text{guide}(x; \sigma)\bigr),
# $$ (eq:guidance)
#
# away from a guide that does the same task less well. In *classifier-free* guidance {cite:p}`ho2022` the guide does not
# know the class of the image; in *autoguidance* {cite:p}`karras2024guiding` it is an earlier snapshot or a smaller
# network. If the guide's fault is that it is too blurred, $D_w$ is sharper than $D$. Sharper how? Closer to the truth, or
# closer to the optimal denoiser of the training set, which is sharp because it copies?
#
# The paper's finding {cite:p}`kaiser2026`: the gap of the denoiser changes little with $w$, that of the samples a lot. We
# ask the toy model first, in which everything is exact, then networks. The chapter ends with the opposite treatment, a
# denoiser that may not see the whole image, and with what one can do about memorization in practice.

# %% tags=["parameters", "published"]
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
from diffgen import book, experiments, plots
from diffgen.book import verbally
from diffgen.features import classifier_features
from diffgen.metrics.bootstrap import peak, peak_change
from diffgen.metrics.gap import paired_difference_at, relative_error_change
from diffgen.metrics.neighbours import NeighbourTerms, nearest, neighbour_terms
from diffgen.metrics.quality import class_entropies, class_probabilities, paired_frechet
from diffgen.metrics.split_variance import paired_gaps
from diffgen.metrics.toy import expected_gap
from diffgen.metrics.trajectory import peak_window, relative_position, relative_position_change
from diffgen.plots import guidance as draw
from diffgen.plots.images import image_rows
from diffgen.widgets import Curves, FieldExplorer, Images, Scrubber, Slider, spread_normal

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)
plan, weights, sampler = settings.guidance, settings.guidance.weights, settings.guidance.sigmas
measure = dg.Measure(seed=seed, device=device, n_images=plan.n_eval)


def judged(change: dg.Estimate, spec: str = "+.3f") -> str:
    return f"{change.format(spec)}, {verbally(change, 'more', 'less', 'no measurable change')}"


# %% [markdown]
# ## Guidance by hand
#
# {eq}`eq:guidance` is one line. Four identities are worth a check before the library's version of it is trusted: it is the
# formula; at $w = 0$ it is the main denoiser; a denoiser that is guided by its equal stays what it is, at every $w$; and
# where main denoiser and guide are one network, with and without labels, both fit into one call on a batch twice as
# large, with the result of two.

# %%
circle = dg.circle()
main, guide = dg.ErrorProne(circle.train.x, delta), dg.ErrorProne(circle.train.x, delta_guide)
x, sigma = circle.val.x + 1.2 * torch.randn(circle.val.x.shape, generator=torch.Generator().manual_seed(seed)), 1.2
by_hand = main(x, sigma) + 0.7 * (main(x, sigma) - guide(x, sigma))
halves = torch.arange(len(circle.train)) % 2  # two classes
labelled = dg.OptimalDenoiser(circle.train.x, halves)
two_calls = 1.7 * labelled(x, sigma, halves) - 0.7 * labelled(x, sigma)
checks = {
    "by hand": (by_hand, dg.Guided(main, guide, 0.7)(x, sigma)),
    "w = 0 is the main denoiser": (main(x, sigma), dg.Guided(main, guide, 0)(x, sigma)),
    "guided by its equal": (main(x, sigma), dg.Guided(main, dg.ErrorProne(circle.train.x, delta), 2)(x, sigma)),
    "in one call": (two_calls, dg.Guided(labelled, dg.Unconditional(labelled), 0.7)(x, sigma, halves)),
}
for name, (ours, library) in checks.items():
    torch.testing.assert_close(ours, library)
    print(f"{name}: largest difference {float((ours - library).abs().max()):.0e}")

# %% [markdown]
# ## In the toy model
#
# Twenty points on a circle, every other one a training point ({ref}`sec:toy`). The main denoiser has the model error
# $\delta =$ {glue:text}`delta:.1f`, its guide {glue:text}`delta_guide:.1f`. A smaller error means a larger
# gap, and guidance extrapolates from the guide's error through that of the main denoiser and beyond. So, where the guide's
# is the larger one, we expect the gap to grow with $w$. And the samples? Their gap, {eq}`eq:sample-gap`, is read off a
# thousand trajectories for each weight, here of distances, not of their squares, because errors of the toy model are
# distances, too. There is no sampling variability to take out of it: the two sets are equal but for a rotation.

# %%
train, val, toy_sigmas = circle.train.x.double(), circle.val.x.double(), dg.edm_sigmas(60)[:-1]
start, toy_grid = 80 * spread_normal(1000), dg.edm_sigmas(40, dtype=torch.float64)
models = [dg.Guided(dg.ErrorProne(train, delta), dg.ErrorProne(train, delta_guide), w) for w in weights]
toy = [expected_gap(model, train, val, toy_sigmas) for model in models]
toy_peaks = [dg.Estimate(curve.gap.max(), 0, len(train)) for curve in toy]  # exact, by quadrature
squares = [neighbour_terms(dg.sample(model, start, toy_grid), train, val) for model in models]
toy_gaps = [dg.Estimate(NeighbourTerms(*(x.sqrt() for x in terms)).gap, 0, len(start)) for terms in squares]  # even starts
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(1.25, 1))
draw.gaps_of_weights(weights, toy, axes[0]).set(title="gap of the denoiser")
draw.denoiser_and_samples(weights, toy_peaks, toy_gaps, axes[1]).legend()
for name, value in {"delta": delta, "delta_guide": delta_guide, "w_max": weights[-1], "toy_0": toy_peaks[0],
                    "toy_w": toy_peaks[-1], "toy_samples_0": toy_gaps[0], "toy_samples_w": toy_gaps[-1]}.items():  # fmt: skip
    glue(name, float(value), display=False)

# %% [markdown]
# The peak goes from {glue:text}`toy_0:.3f` without guidance to {glue:text}`toy_w:.3f` at $w =$ {glue:text}`w_max:g`, and
# the gap of the samples from {glue:text}`toy_samples_0:.3f` to {glue:text}`toy_samples_w:.3f`. In this model guidance
# towards less error *is* guidance towards the training points: there is nothing else to be less wrong about. Turn the
# weight yourself, and the error of the guide; where the guide is the better one, the gap should shrink.

# %%
FieldExplorer(circle, delta=delta, delta_guide=delta_guide, weight=1, sigma=1.2, guidance=True)

# %% [markdown]
# ## Five guides
#
# A network is wrong in more ways than one. An early snapshot is worse than the last because it has not yet learned what
# clothes look like, and also because it has not yet memorized; guidance extrapolates both. Two of our guides are
# classifier-free: a network that was trained with the classes of the images, {glue:text}`label_dropout` of the rows
# without their label, is guided by itself without labels (*one network*), or by the main run of
# {doc}`02_generalization_gap`, which never saw a label (*two networks*). Three are autoguidance of the main run: by an
# *earlier snapshot*, by the *smaller* network of chapter 2, and by a snapshot that is both.
#
# The error of $D_w$ on an image is quadratic in $w$, so two evaluations of each noisy image give the gap for all weights.
# If guidance only sharpened what the network knows, gaps would grow as in the toy model. The paper expects little
# change.

# %%
split = settings.train.data.load()
runs = {"plain": settings.train, "classes": plan.conditional, "small": settings.gap.networks["small U-Net"]}
runs = {name: list(dg.train(config, root=results, device=device)) for name, config in runs.items()}
plain, small, known = runs["plain"], runs["small"], runs["classes"][-1]
last, middle, same = plain[-1], len(plain) // 2, next(s for s in plain if s.images_seen == known.images_seen)
guides = {  # main denoiser, its guide
    "one network": (known, known),
    "two networks": (known, same),
    "earlier snapshot": (last, plain[middle]),
    "smaller width": (last, small[-1]),
    "earlier and smaller": (last, small[middle]),
}
bare = {name: name in ("one network", "two networks") for name in guides}  # guides that are not told the class
sigmas = plan.levels.sigmas
reference = dg.trained(settings.reference, root=results, device=device) if settings.reference else None
raw = {
    name: experiments.guided_gap_curves(*pair, (*weights, -1), split, sigmas, measure, unconditional=bare[name])
    for name, pair in guides.items()
}
curves = {name: experiments.adjusted_curves(of_guide, split, reference, measure) for name, of_guide in raw.items()}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 1.2))
for ax, name, title in zip(axes, ("one network", "earlier snapshot"), ("classifier-free", "autoguidance")):
    draw.gaps_of_weights(weights, curves[name], ax, bar=ax is axes[1]).set(title=f"{title}: {name}")
axes[1].set(ylabel="");

# %% tags=["hide-input"]
kinds = {"classifier-free": "one network", "autoguidance": "earlier snapshot"}
one = min(range(len(weights)), key=lambda k: abs(weights[k] - 1))
peaks = {name: peak(of_guide[0], seed=seed) for name, of_guide in curves.items()}
higher = {name: peak_change(curves[name][one], curves[name][0], seed=seed)[0] for name in kinds.values()}
for kind, name in kinds.items():
    words = ("a measurable growth", "a measurable fall", "no measurable change")
    change = higher[name]
    glue(f"change_{kind}", f"{change.format('+.3f')}, {verbally(change, *words)}", display=False)
    glue(f"peak_{kind}", str(peaks[name].height), display=False)
    glue(f"sigma_{kind}", float(peaks[name].sigma.value), display=False)
    worse = relative_error_change(raw[name][len(weights) - 1], raw[name][0], peaks[name].sigma.value)
    glue(f"worse_{kind}", worse.format("+.0%"), display=False)
glue("w_one", weights[one], display=False)
glue("label_dropout", f"{plan.conditional.label_dropout:.0%}", display=False)
glue("last_images", f"{last.images_seen:,}", display=False)
glue("early_images", f"{plain[middle].images_seen:,}", display=False)

# %% [markdown]
# Bands are 95 % intervals of the gap without guidance. It peaks at $\sigma =$ {glue:text}`sigma_classifier-free:.2f` for
# the network with classes, with a height of {glue:text}`peak_classifier-free`, and at {glue:text}`sigma_autoguidance:.2f`
# for the main one, {glue:text}`peak_autoguidance`. From $w = 0$ to {glue:text}`w_one:g` the peak under classifier-free
# guidance changes by {glue:text}`change_classifier-free`; under autoguidance (last snapshot at {glue:text}`last_images`
# images seen, guide at {glue:text}`early_images`) by {glue:text}`change_autoguidance`. $G$ is a ratio, and both of
# its errors move: at these noise levels the error on validation images at $w =$ {glue:text}`w_max:g` is
# {glue:text}`worse_classifier-free` and {glue:text}`worse_autoguidance` against that without guidance. Where these are
# positive a guided denoiser is a worse denoiser; it is made for something else.
#
# ## What guided samples look like
#
# Every row of a block starts from the same noise, and with classes from the same class; only the weight differs. Look for
# two things: whether images get clearer, and whether they get *alike*.

# %%
n = plan.n_samples


def at(name: str, w: float, interval: tuple[float, float] | None = None) -> dg.Subject:
    return experiments.guided(*guides[name], w, unconditional=bare[name], interval=interval)


def classes(name: str, count: int) -> torch.Tensor | None:
    return split.val.labels[:count] if guides[name][0] == known else None


def samples(name: str, w: float, interval: tuple[float, float] | None = None) -> torch.Tensor:
    return experiments.samples(at(name, w, interval), n, sampler, measure, labels=classes(name, n))


drawn = {name: [samples(name, w) for w in weights] for name in kinds.values()}
fig, axes = plt.subplots(2, 1, figsize=(8, 0.92 * len(weights) + 0.7))
for ax, (kind, name) in zip(axes, kinds.items()):
    image_rows([x[:16] for x in drawn[name]], ax, [f"w = {w:g}" for w in weights])
    ax.set_title(f"{kind}: {name}")

# %% [markdown]
# ## What it costs
#
# Now against $w$, first the denoiser. Left, the peak in pixels for all five guides, adjusted, wherever it lies. Middle and
# right, at the noise level at which the *unguided* gap peaks, and not adjusted, so read their
# change with $w$ and not their height: the gap in features of a small classifier of clothes, and the gap of the Fréchet
# distance between reconstructions and originals (*rFD*), that of validation over that of training images, less 1. If the
# paper's finding holds here, these panels are nearly flat.

# %%
top = {name: torch.tensor([peaks[name].sigma.value]) for name in kinds.values()}
in_features, rebuilt = {}, {}
for name, sigma in top.items():
    steered = [at(name, w) for w in weights]
    in_features[name] = experiments.gap_curves(steered, split, sigma, measure, features=classifier_features)
    rebuilt[name] = [experiments.reconstruction_curve(subject, split, sigma, measure) for subject in steered]
of_denoiser = {
    "peak of $G$": {k: [peak(c, seed=seed).height for c in cs[: len(weights)]] for k, cs in curves.items()},
    "$G$ in features": {name: [curve.peak for curve in of_guide] for name, of_guide in in_features.items()},
    "gap of rFD": {name: [dg.Estimate(r.gap[0], r.stderr[0], r.n) for r in of_guide] for name, of_guide in rebuilt.items()},
}
fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.3))
for ax, (label, by_guide) in zip(axes, of_denoiser.items()):
    draw.over_weights(weights, by_guide, ax).axhline(0, color=plots.NEUTRAL, lw=0.8)
    ax.set(ylabel=label)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5);

# %% tags=["hide-input"]
for kind, name in kinds.items():
    change = paired_difference_at(in_features[name][one], in_features[name][0], float(top[name]))
    glue(f"features_{kind}", judged(change, "+.2f"), display=False)
    (change,) = rebuilt[name][one].minus(rebuilt[name][0])
    glue(f"rfd_{kind}", judged(change, "+.2f"), display=False)

# %% [markdown]
# From $w = 0$ to {glue:text}`w_one:g` the gap in features changes by {glue:text}`features_classifier-free` under
# classifier-free guidance, and by {glue:text}`features_autoguidance` under autoguidance; the gap of rFD by
# {glue:text}`rfd_classifier-free`, and by {glue:text}`rfd_autoguidance`. rFD is blind to changes that leave the
# distribution of images the same, the error in pixels is not. So they may disagree.
#
# Now the samples. In the upper row their gap, corrected for the split as in {doc}`03_trajectories`, beside the
# peak of $G$: once more in the toy model, then for both kinds of guidance of a network. By the paper the samples' gap
# should rise, and by more than $G$. The two are ratios of different distances, of a sample to its nearest image and of a
# denoised image to its original. Setting a change of the one against a change of the other, as the paper does with its
# Fréchet gap, therefore compares relative changes, not amounts of memory.
#
# In the lower row the share of copies; the Fréchet distance to the validation images {cite:p}`heusel2017`, smaller is
# better; and the entropy of the classifier's opinion, which is low where a sample looks like one thing. Dotted lines are
# what other real images have.
#
# Chance is at work twice in a gap of samples: in the noise that they start from, and in which images are training images.
# Pairs from the same noise cancel the first. They do not cancel the second, for guided samples lie elsewhere, and other
# images are near them. All errors below know of both; for the second, splits are drawn anew from images of neither set.

# %%
followed, follows = {}, {}
for name, sets in drawn.items():
    followed[name], follows[name] = paired_gaps(sets, split, seed=seed)
copied = {name: [dg.memorized_fraction(x, split.train.x) for x in sets] for name, sets in drawn.items()}
of_samples = {name: [classifier_features(x) for x in sets] for name, sets in drawn.items()}
of_val = classifier_features(split.val.x)
quality = {name: paired_frechet(sets, of_val, seed=seed) for name, sets in of_samples.items()}
entropy = {name: [class_entropies(class_probabilities(x)) for x in sets] for name, sets in drawn.items()}
real_entropy = dg.Estimate.mean(class_entropies(class_probabilities(split.val.x)))
panels = {
    "memorized fraction": (copied, dg.memorized_fraction(split.val.x, split.train.x)),
    "Fréchet distance": (
        {k: q[0] for k, q in quality.items()}, dg.frechet_distance(classifier_features(split.holdout.x[:n]), of_val)
    ),
    "class entropy (nats)": (
        {k: [dg.Estimate.mean(e) for e in of_sets] for k, of_sets in entropy.items()}, real_entropy
    ),
}

# %%
fig, axes = plt.subplots(2, 3, figsize=(9.5, 5.8))
draw.denoiser_and_samples(weights, toy_peaks, toy_gaps, axes[0, 0]).set_title("toy model")
for ax, (kind, name) in zip(axes[0, 1:], kinds.items()):
    draw.denoiser_and_samples(weights, of_denoiser["peak of $G$"][name], followed[name], ax).set_title(kind)
for ax, (label, (by_guide, null)) in zip(axes[1], panels.items()):
    draw.over_weights(weights, by_guide, ax, float(null)).set(ylabel=label)
axes[1, 0].set(ylim=(-0.02, max(0.1, *(1.5 * float(share) for shares in copied.values() for share in shares))))
axes[0, 0].legend(loc="upper left")
axes[1, 2].legend(fontsize=8);

# %% tags=["hide-input"]
best, widened = {}, 1 - 0.05 / (len(weights) - 1)  # Bonferroni
glue("copied_null", f"{float(panels['memorized fraction'][1]):.1%}", display=False)
for kind, name in kinds.items():
    best[name] = b = min(range(len(weights)), key=lambda k: quality[name][0][k])
    glue(f"samples_{kind}", follows[name][one].format("+.3f"), display=False)
    says = verbally(follows[name][one], "grows", "shrinks", "does not change measurably")
    glue(f"says_{kind}", says, display=False)
    contrast = follows[name][one].minus(higher[name])
    words = ("more than the peak, as in the paper", "less than the peak, against the paper")
    glue(f"order_{kind}", verbally(contrast, *words, "not measurably more or less than the peak"), display=False)
    glue(f"copied_{kind}", f"{copied[name][0].format('.1%')} and {copied[name][-1].format('.1%')}", display=False)
    glue(f"advice_{kind}", judged(follows[name][-1]), display=False)
    ends = [quality[name][0][k].format(".2f") for k in (0, -1)]
    glue(f"quality_{kind}", " and ".join(ends), display=False)
    far = verbally(quality[name][1][-1], "further from", "nearer to", "neither measurably nearer to nor further from")
    glue(f"far_{kind}", far, display=False)
    surer = dg.Estimate.mean(entropy[name][-1] - entropy[name][0])
    beyond = dg.Estimate.mean(entropy[name][-1]).minus(real_entropy)
    words = ("above that of real images", "below that of real images: beyond clear, a caricature", "that of real images")
    glue(f"entropy_{kind}", f"{surer.format('+.2f')} nats, and ends {verbally(beyond, *words)}", display=False)
    sure = verbally(quality[name][1][b].with_interval(widened), "", "measurably better", "not measurably better")
    cost = f"the samples' gap then differs from that without guidance by {follows[name][b].format('+.3f')}"
    glue(f"best_{kind}", f"w = {weights[b]:g}, {sure} than none; {cost}" if b else "no guidance at all", display=False)

# %% [markdown]
# From $w = 0$ to {glue:text}`w_one:g`, sample by sample, the samples' gap changes by {glue:text}`samples_classifier-free`
# under classifier-free guidance: it {glue:text}`says_classifier-free`. Under autoguidance it changes by
# {glue:text}`samples_autoguidance`: it {glue:text}`says_autoguidance`. Copies, without guidance and at $w =$
# {glue:text}`w_max:g`, are {glue:text}`copied_classifier-free` of the samples in the first case,
# {glue:text}`copied_autoguidance` in the second, beside {glue:text}`copied_null` of validation images.
#
# And the benefit? From no guidance to the largest weight the entropy changes, under classifier-free guidance, by
# {glue:text}`entropy_classifier-free`; under autoguidance by {glue:text}`entropy_autoguidance`. The lower it is, the more
# each sample looks like one thing.
#
# As distributions, samples get {glue:text}`far_classifier-free` the validation images under classifier-free guidance,
# and {glue:text}`far_autoguidance` them under autoguidance: without guidance and at the largest weight the Fréchet
# distance is {glue:text}`quality_classifier-free` in the one case, {glue:text}`quality_autoguidance` in the other. By that
# distance the best weight for classifier-free guidance is {glue:text}`best_classifier-free`; for autoguidance it is
# {glue:text}`best_autoguidance`. The best of several is flattered by chance; the interval behind these words is
# widened for the choice. Fréchet distances of so few samples are biased upwards, all alike; their differences, sample by
# sample from the same noise, are what counts.
#
# ## Guidance in an interval
#
# Guidance need not act at all noise levels; restricted to the middle it is said to keep the gain and lose the harm
# {cite:p}`kynkaanniemi2024`. Three intervals divide the noise: above, within and below the levels at which the gap is at
# least half its peak. If the samples' gap comes from where the denoiser's is, the middle one should account for it, with
# either kind of guide. Guidance is at its largest weight, and changes are from no guidance.

# %%
grid, window, intervals, parts, far, middle_less = sampler[:-1], {}, {}, {}, {}, {}
for name in kinds.values():
    window[name] = peak_window(curves[name][0], grid)
    low, high = float(grid[window[name]].min()) * 0.99, float(grid[window[name]].max()) * 1.01
    intervals[name] = {"below": (0, low), "within": (low, high), "above": (high, 100), "everywhere": None}
    within = [samples(name, weights[-1], ends) for ends in intervals[name].values() if ends]
    inside = [*within, drawn[name][-1]]
    _, (_, *rises) = paired_gaps([drawn[name][0], *inside], split, seed=seed)
    _, (_, middle_less[name]) = paired_gaps([inside[-1], inside[1]], split, seed=seed)
    _, (_, *moves) = paired_frechet([of_samples[name][0], *map(classifier_features, inside)], of_val, seed=seed)
    parts[name], far[name] = dict(zip(intervals[name], rises)), dict(zip(intervals[name], moves))
fig, axes = plt.subplots(2, 2, figsize=(8, 4), sharey=True, sharex="col")
for row, (kind, name) in zip(axes, kinds.items()):
    for ax, by_interval, label in zip(row, (parts[name], far[name]), ("samples' gap", "Fréchet distance")):
        draw.changes(by_interval, ax).set(xlabel=f"change of the {label}" if ax in axes[1] else "")
    row[0].set_title(kind, loc="left")

# %% tags=["hide-input"]
for kind, name in kinds.items():
    low, high = intervals[name]["within"]
    steps_in = [int((grid <= low).sum()), int(((grid > low) & (grid <= high)).sum()), int((grid > high).sum())]
    glue(f"interval_{kind}", f"{low:.2g} to {high:.2g}", display=False)
    glue(f"interval_steps_{kind}", "{}, {} and {}".format(*steps_in), display=False)
    glue(f"interval_middle_{kind}", parts[name]["within"].format("+.3f"), display=False)
    glue(f"interval_all_{kind}", parts[name]["everywhere"].format("+.3f"), display=False)
    words = ("more", "less", "not told apart")
    glue(f"interval_less_{kind}", f"{verbally(middle_less[name], *words)}, {middle_less[name].format('+.3f')}", display=False)
    lesser = min(("below", "within", "above"), key=far[name].get)
    gain = far[name][lesser].with_interval(1 - 0.05 / 3)
    helps = verbally(gain, "worse than no guidance", "better than no guidance", "not measurably better than no guidance")
    glue(f"interval_best_{kind}", f"“{lesser}”: {far[name][lesser].format('+.2f')}, {helps}", display=False)
    glue(f"interval_cost_{kind}", f"{lesser}, Fréchet distance {far[name][lesser].format('+.2f')} ({helps}), samples' gap "
         f"{judged(parts[name][lesser])}", display=False)  # fmt: skip

# %% [markdown]
# | | the middle, $\sigma$ from | steps below, within, above | samples' gap, guided in the middle | everywhere | middle against everywhere | smallest Fréchet distance, by |
# | --- | --- | --- | --- | --- | --- | --- |
# | classifier-free | {glue:text}`interval_classifier-free` | {glue:text}`interval_steps_classifier-free` | {glue:text}`interval_middle_classifier-free` | {glue:text}`interval_all_classifier-free` | {glue:text}`interval_less_classifier-free` | {glue:text}`interval_best_classifier-free` |
# | autoguidance | {glue:text}`interval_autoguidance` | {glue:text}`interval_steps_autoguidance` | {glue:text}`interval_middle_autoguidance` | {glue:text}`interval_all_autoguidance` | {glue:text}`interval_less_autoguidance` | {glue:text}`interval_best_autoguidance` |
#
# The three intervals do not hold equally many of the sampler's steps, so not equally much guidance. The last column names
# the one of them with the smallest Fréchet distance, and by how much that differs from the distance without guidance; as
# before, the words about the best of three rest on an interval that is widened for the choice.
#
# ## Onto the training data or off it?
#
# Chapter 3 put trajectories between noisy validation images ($p = 0$) and noisy training images ($p = 1$),
# {eq}`eq:position`. A guided trajectory goes elsewhere; towards the training data? The network's opinion is read from its
# predictions, where noisy images are shown to the same guided denoiser. Guidance makes predictions clearer, and what is
# clearer is more similar to any real image; so the answer is taken from their *similarity difference*, the similarity to
# training images less that to as many validation images, in which this cancels. Similarity alone is drawn beside it. The states are judged
# without a network: by the shell ratio and by the concentration of the optimal denoiser's weights. All are taken over the
# noise levels around the peak of the gap.

# %%
chosen = sorted({0, one, len(weights) - 1})
trips = {
    name: {
        k: experiments.trajectory_stats(at(name, weights[k]), split, plan.n_trajectories, sampler, measure,
                                        labels=classes(name, plan.n_trajectories))
        for k in chosen
    }
    for name in kinds.values()
}  # fmt: skip
measures = {"similarity_gap": "similarity difference", "similarity": "similarity", "shell": "shell ratio",
            "concentration": "concentration"}  # fmt: skip
positions = {
    m: {name: [relative_position(trip, m, levels=window[name], seed=seed) for trip in trips[name].values()] for name in trips}
    for m in measures
}
fig, axes = plt.subplots(1, 4, figsize=(10, 3), sharey=True)
for ax, (m, label) in zip(axes, measures.items()):
    draw.positions_of_weights([weights[k] for k in chosen], positions[m], ax)
    ax.set(title=label, ylabel="relative position $p$ around the peak" if ax is axes[0] else "")
axes[0].legend(fontsize=7);

# %% tags=["hide-input"]
def moved(name: str, by: str) -> str:
    first, *_, final = trips[name].values()
    change = relative_position_change(final, first, by, levels=window[name], seed=seed)
    words = ("towards the training data", "away from the training data", "in neither direction measurably")
    if change.value != change.value:
        return "by an amount that is not defined"
    return f"by {change.value:+.2f} ({change.low:+.2f} to {change.high:+.2f}), {verbally(change, *words)}"


for kind, name in kinds.items():
    for m in measures:
        glue(f"{m}_{kind}", moved(name, m), display=False)

# %% [markdown]
# Changes are from $w = 0$ to {glue:text}`w_max:g`, judged trajectory by trajectory from the same noise, with 95 % intervals
# in parentheses. Under classifier-free guidance the relative position moves, by the similarity difference of the
# predictions, {glue:text}`similarity_gap_classifier-free`; by their similarity, {glue:text}`similarity_classifier-free`; by the shell ratio of
# the states, {glue:text}`shell_classifier-free`; by their concentration, {glue:text}`concentration_classifier-free`.
#
# Under autoguidance it moves, by the similarity difference, {glue:text}`similarity_gap_autoguidance`; by similarity,
# {glue:text}`similarity_autoguidance`; by the shell ratio, {glue:text}`shell_autoguidance`; by the concentration,
# {glue:text}`concentration_autoguidance`. A position is not defined where noisy training and validation images are not told
# apart, and bars that are longer than a panel leave it.
#
# ## Seeing less of the image
#
# What is too little context to recognize an image is too little to recall it. A *windowed* denoiser looks at an image
# through a sliding window, removes the noise in each window on its own, and averages where windows overlap; no pixel
# depends on another further than the window is wide. By the paper its gap should be lower, and peak at lower noise: with
# less to see, one must see it more clearly to recognize it.

# %%
few, side = measure.with_(n_images=plan.window_n_eval), settings.train.data.size
behind = [experiments.windowed(last, size, plan.window_stride) for size in (*plan.windows, side)]
through = experiments.gap_curves(behind, split, sigmas, few)
narrow = dict(zip((*plan.windows, side), experiments.adjusted_curves(through, split, reference, few)))
tops = {size: peak(curve, seed=seed) for size, curve in narrow.items()}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.1), width_ratios=(1.5, 1, 1))
draw.gaps_of_windows(narrow, axes[0])
draw.peaks_of_windows(tops, *axes[1:])

# %% tags=["hide-input"]
half = min(plan.windows, key=lambda size: abs(size - side / 2))
clear = [size for size in plan.windows if tops[size].height.low > 0]  # the interval of the peak excludes 0
lower, _ = peak_change(narrow[half], narrow[side], seed=seed)
shift = dg.Estimate(float("nan"), float("nan"), plan.window_n_eval)  # not compared where there is no top
for narrowest in clear[:1]:
    _, shift = peak_change(narrow[narrowest], narrow[side], seed=seed)
there = narrow[side].index(tops[side].sigma.value)
apart = {size: (narrow[size].val_errors - narrow[size].train_errors)[there] for size in (half, side)}
difference = dg.Estimate.mean(apart[half] - apart[side])  # G without its denominator
words = ("higher", "lower", "not measurably different")
sigma_says = "no window has a peak whose interval excludes 0, so its noise level is not compared" if not clear else (
    f"with the narrowest of these, {clear[0]} pixels, the logarithm of σ at the peak changes by {shift.format('+.2f')}: "
    f"the place is {verbally(shift, *words)}")  # fmt: skip
for key, value in {
    "half": half, "side": side, "lower": lower.format("+.3f"), "lower_says": verbally(lower, *words),
    "sigma_says": sigma_says, "clear": f"{len(clear)} of {len(plan.windows)} windows",
    "bare": judged(difference, "+.4f"), "stride": plan.window_stride,
    "blind": f"{float(narrow[half].train[there] / narrow[side].train[there]):.1f}",
}.items():  # fmt: skip
    glue(key, value, display=False)

# %% [markdown]
# At about half the side, {glue:text}`half` of {glue:text}`side` pixels, the peak is {glue:text}`lower_says`: it changes by
# {glue:text}`lower`. The interval of the peak excludes 0 with {glue:text}`clear`; {glue:text}`sigma_says`.
#
# Mind what the comparison is. This network was trained on whole images and never saw a window, nor an image that ends
# where a window does; windows start every {glue:text}`stride` pixels, so a pixel at the border lies in fewer of them. At
# half the side its error on training images, the denominator of $G$, is {glue:text}`blind` times as large where the full
# gap peaks, and a gap may fall for that reason alone. Without the denominator, the difference of both errors changes
# there by {glue:text}`bare`, per pixel.
#
# How far does a denoiser look by itself? The *range score* is the mean distance of the pixels that a pixel of the denoised
# image depends on, weighted by the size of its derivative. Where noise is low, a pixel's neighbours say all there is to
# know; where it is high, only the whole image helps. So it should rise with $\sigma$, for the U-Net and for the
# transformer of chapter 2. The dotted line is the score of a denoiser to which all pixels matter alike. A window of side
# $s$ lets a pixel see others at most $s - 1$ pixels away in each direction; where the network by itself looks further, the
# window takes away what it uses. Scores are of {glue:text}`range_images` images and {glue:text}`range_pixels` pixels of
# each, drawn at random.

# %%
transformer = dg.trained(settings.gap.networks["transformer"], root=results, device=device)
few_images = split.val[: plan.field_images]
fields = {
    name: experiments.receptive_fields(snapshot, few_images, sigmas, measure, pixels=plan.field_pixels)
    for name, snapshot in {"U-Net": last, "transformer": transformer}.items()
}
everywhere = torch.cartesian_prod(*2 * [torch.arange(side, dtype=torch.float64)])
fig, ax = plt.subplots(figsize=(5.5, 3.2))
means = {name: [dg.Estimate.mean(row).t_interval() for row in scores] for name, scores in fields.items()}
draw.fields_over_sigma(sigmas, means, float(torch.cdist(everywhere, everywhere).mean()), ax)
glue("range_images", plan.field_images, display=False)
glue("range_pixels", plan.field_pixels, display=False)
for name, scores in fields.items():
    rise = dg.Estimate.mean(scores[-1] - scores[0])
    ends = [dg.Estimate.mean(scores[k]).format(".1f") for k in (0, -1)]
    glue(f"range_{name}", " to ".join(ends), display=False)
    words = ("it rises", "it falls", "the change is not measurable")
    glue(f"rise_{name}", verbally(rise.t_interval(), *words), display=False)  # few images

# %% [markdown]
# From the lowest to the highest noise the score goes from {glue:text}`range_U-Net` pixels in the U-Net
# ({glue:text}`rise_U-Net`) and from {glue:text}`range_transformer` in the transformer ({glue:text}`rise_transformer`).
#
# ## Scrub through the weights
#
# Choose a kind of guidance and a weight: samples from the same noise, the training image nearest to each, and the gap of
# the denoiser.

# %%
cols = slice(0, 12)
stack = torch.stack([torch.stack([x[cols] for x in drawn[name]]) for name in kinds.values()])
closest = nearest(stack.flatten(0, 2), split.train.x, k=1).index[:, 0]
rows = [
    Images("sample", stack, plots.GENERATED),
    Images("nearest training image", split.train.x[closest].reshape(stack.shape), plots.TRAIN),
]
lines = torch.stack([torch.stack([c.gap for c in curves[name][: len(weights)]]) for name in kinds.values()])[:, :, None]
band = torch.stack([torch.stack([c.stderr for c in curves[name][: len(weights)]]) for name in kinds.values()])[:, :, None]
curve = Curves(x=sigmas, y=lines, low=lines - 1.96 * band, high=lines + 1.96 * band, x_label="noise level σ", log_x=True,
               y_label="relative gap G(σ)", behind="weight w", colours=(plots.TRAIN,))  # fmt: skip
sliders = [Slider("guidance", list(kinds)), Slider("weight w", list(weights), one, format="g")]
Scrubber(sliders, rows, [curve], title="Samples and gap against the guidance weight", play="weight w")

# %% [markdown]
# ## What to do about it
#
# What was measured, here and in the other chapters, as advice. The numbers are those of this run, at the noise level at
# which the gap of the last snapshot peaks, which favours advice that lowers it; and what lowers $G$ may do so by making a
# worse denoiser, so the validation error is there, too.

# %% tags=["hide-input"]
pairs = {"stop": ("earlier snapshot", -1, 0), "thin": ("smaller width", -1, 0), "classes": ("two networks", 0, -1)}
for key, (name, k, base) in pairs.items():  # w = -1 is the guide itself
    noise = peaks[name].sigma.value
    change = paired_difference_at(curves[name][k], curves[name][base], noise)
    error = relative_error_change(raw[name][k], raw[name][base], noise)
    glue(f"advice_{key}", f"G {judged(change)}; validation error {judged(error, '+.0%')}", display=False)
noise = peaks["earlier snapshot"].sigma.value
sharper = [of_all["earlier snapshot"][0].at(noise).stderr for of_all in (raw, curves)]
glue("advice_alarm", f"{sharper[0] / sharper[1]:.1f}", display=False)

# %% [markdown]
# | If you see this | do that | measured here |
# | --- | --- | --- |
# | $G$ at its peak grows, and validation error no longer falls | stop, or keep the snapshot at which it was lowest | an earlier snapshot against the last: {glue:text}`advice_stop`; where validation error turns: {ref}`sec:gap` |
# | you cannot tell a gap from the sampling variability of the split | watch the *adjusted* gap, and alarm on its interval | its error bar is {glue:text}`advice_alarm` times shorter at the peak; {ref}`sec:gap` |
# | the gap grows fast for the size of your data | a smaller network, or dropout | the smaller width against the main one: {glue:text}`advice_thin`; sizes and dropout in {ref}`sec:scaling` |
# | few images a class | fewer, coarser classes | the network with classes against the one that never saw any, after as many images: {glue:text}`advice_classes`; granularity in {ref}`sec:scaling` |
# | samples come nearer to the training set once they are guided | a smaller weight; another guide | change of the samples' gap at the largest weight: {glue:text}`advice_autoguidance` (autoguidance); {glue:text}`advice_classifier-free` (classifier-free) |
# | guidance is needed for quality | try it in an interval, and measure | the interval of the smallest distance, against no guidance: {glue:text}`interval_cost_autoguidance` (autoguidance); {glue:text}`interval_cost_classifier-free` (classifier-free) |
# | $G$ is high, samples show nothing | look at trajectories, not at $G$ alone | {ref}`sec:trajectories`, where they run |
#
# ## What we found
#
# What happens to the memory of a denoiser that is pushed away from a worse one? From $w = 0$ to {glue:text}`w_one:g`, and,
# for trajectories, to {glue:text}`w_max:g`:
#
# | guidance | peak of $G$ | gap of the samples | which | and changes | position of trajectories, by the similarity difference |
# | --- | --- | --- | --- | --- | --- |
# | classifier-free | {glue:text}`change_classifier-free` | {glue:text}`samples_classifier-free` | {glue:text}`says_classifier-free` | {glue:text}`order_classifier-free` | {glue:text}`similarity_gap_classifier-free` |
# | autoguidance | {glue:text}`change_autoguidance` | {glue:text}`samples_autoguidance` | {glue:text}`says_autoguidance` | {glue:text}`order_autoguidance` | {glue:text}`similarity_gap_autoguidance` |
#
# And if the denoiser sees half of the image, its peak is {glue:text}`lower_says`.
#
# The paper's networks were trained on many more images and have memorized little; ours, at the largest scale that we ran,
# have memorized so much that guidance has a large gap to raise. That may be why the order differs where it does.
#
# Two numbers decide C10, for each kind of guidance, both at the weight nearest to 1: how much the gap of the samples
# changes, and by how much that exceeds the change of the denoiser's peak. C11 is decided by the window of half the side,
# once as the claim has it and once without the denominator of $G$; for the place by the narrowest window with a peak
# whose interval excludes 0, if there is one.

# %% tags=["hide-input"]
claims = []
for kind, name in kinds.items():
    step = f"from $w$ = 0 to {weights[one]:g}, {kind}"
    claims.append(book.Claim(
        f"C10 ({kind}, samples)", "Guidance raises the gap of the samples.", f"change of the samples' gap {step}",
        *follows[name][one].with_interval(), above=0))  # fmt: skip
    claims.append(book.Claim(
        f"C10 ({kind}, contrast)", "It raises the gap of the samples by more than that of the denoiser.",
        f"the same change less that of the peak of $G$, {kind}",
        *follows[name][one].minus(higher[name]).with_interval(), above=0))  # fmt: skip
book.ledger(
    *claims,
    book.Claim("C11 (height)", "A restricted receptive field lowers the gap.",
               f"peak of $G$ with a window of {half} pixels less that with all {side}", *lower.with_interval(), below=0),
    book.Claim("C11 (difference)", "It lowers the difference of validation and training error, too.",
               f"change of the difference where the full gap peaks, with a window of {half} pixels, per pixel",
               *difference.with_interval(), below=0),
    book.Claim("C11 (place)", "It lowers the noise level of the peak.",
               rf"$\ln\sigma$ of the peak with a window of {min(clear, default=half)} pixels less that with all {side}",
               *shift.with_interval(), below=0),
)  # fmt: skip
