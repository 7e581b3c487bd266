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

# %% tags=["parameters"]
from diffgen.presets import PresetName

preset: PresetName = "quick"  # how much to compute
seed: int = 0  # of the data split, the initial weights and the noise
device: str = "cpu"  # where to compute: "cpu", "cuda", "cuda:1"
results: str = "runs"  # folder in which trained runs are kept and found again
delta: float = 1.8  # model error of the main denoiser in the toy model
delta_guide: float = 2.2  # model error of its guide

# %% tags=["hide-input"]
from dataclasses import replace
import matplotlib.pyplot as plt
import torch
from myst_nb import glue

import diffgen as dg
from diffgen import along, book, evaluate, plots, probes
from diffgen.claims import verbally
from diffgen.evaluate import Guide
from diffgen.metrics.bootstrap import peak, peak_change
from diffgen.metrics.features import features
from diffgen.metrics.gap import difference_at
from diffgen.metrics.neighbours import gap_terms, nearest, neighbour_gap
from diffgen.metrics.passage import Place, peak_window, place
from diffgen.metrics.quality import class_entropies, class_probabilities, paired_frechet
from diffgen.metrics.toy import expected_gap
from diffgen.plots import guidance as draw
from diffgen.plots.images import image_rows
from diffgen.widgets import Curves, FieldExplorer, Images, Scrubber, Slider, spread_normal

book.check_parameters()
plots.use_style()
settings = dg.presets.named(preset, seed)
weights, place_of = settings.weights, {"seed": seed, "device": device}

# %% [markdown]
# ## Guidance by hand
#
# {eq}`eq:guidance` is one line. Its limits are worth a check before it is trusted: at $w = 0$ it is the main denoiser; a
# denoiser that guides itself stays what it is, at every $w$; and where main denoiser and guide are one network, with and
# without labels, both fit into one call on a batch twice as large, with the result of two.

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
    "guided by itself": (main(x, sigma), dg.Guided(main, main, 2)(x, sigma)),
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
# is the larger one, we expect the gap to grow with $w$. And the samples? Their gap, {eq}`eq:sample-gap`, is read off a thousand trajectories for each weight.

# %%
train, val, toy_sigmas = circle.train.x.double(), circle.val.x.double(), dg.edm_sigmas(60)[:-1]
start, steps = 80 * spread_normal(1000), dg.edm_sigmas(40, dtype=torch.float64)
models = [dg.Guided(dg.ErrorProne(train, delta), dg.ErrorProne(train, delta_guide), w) for w in weights]
toy = [expected_gap(model, train, val, toy_sigmas) for model in models]
toy_peaks = [dg.Estimate(curve.gap.max(), 0, len(train)) for curve in toy]  # exact, by quadrature
toy_samples = [gap_terms(dg.sample(model, start, steps), train, val) for model in models]
toy_gaps = [terms.gap for terms in toy_samples]
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
runs = {"plain": settings.train, "classes": settings.conditional, "small": settings.networks["small U-Net"]}
runs = {name: list(dg.train(config, root=results, device=device)) for name, config in runs.items()}
plain, small, known = runs["plain"], runs["small"], runs["classes"][-1]
last, middle, same = plain[-1], len(plain) // 2, next(s for s in plain if s.images == known.images)
guides = {
    "one network": (known, Guide(known, 1, unconditional=True)),
    "two networks": (known, Guide(same, 1, unconditional=True)),
    "earlier snapshot": (last, Guide(plain[middle], 1)),
    "smaller width": (last, Guide(small[-1], 1)),
    "earlier and smaller": (last, Guide(small[middle], 1)),
}
sigmas, options = dg.log_sigmas(settings.guidance_sigmas, 0.1, 10), {"images": settings.evaluate, **place_of}
raw = {name: probes.guided_curves(*pair, (*weights, -1), split, sigmas, **options) for name, pair in guides.items()}
held = {"split": split, "reference": settings.reference, "root": results, "progress": False}
curves = {name: evaluate.without_luck(found, **held, **options) for name, found in raw.items()}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, width_ratios=(1, 1.2))
for ax, name, title in zip(axes, ("one network", "earlier snapshot"), ("classifier-free", "autoguidance")):
    draw.gaps_of_weights(weights, curves[name], ax, bar=ax is axes[1]).set(title=f"{title}: {name}")
axes[1].set(ylabel="");

# %% tags=["hide-input"]
kinds = {"classifier-free": "one network", "autoguidance": "earlier snapshot"}
one = min(range(len(weights)), key=lambda k: abs(weights[k] - 1))
peaks = {name: peak(found[0], seed=seed) for name, found in curves.items()}
higher = {name: peak_change(curves[name][one], curves[name][0], seed=seed)[0] for name in kinds.values()}
for kind, name in kinds.items():
    words = ("a measurable growth", "a measurable fall", "no measurable change")
    change = higher[name]
    told_change = f"{change.shown('+.3f')}, {verbally(change, *words)}"
    glue(f"change_{kind}", told_change, display=False)
    glue(f"peak_{kind}", str(peaks[name].height), display=False)
    glue(f"place_{kind}", float(peaks[name].sigma.value), display=False)
    error = [c.val[c.index(peaks[name].sigma.value)] for c in raw[name]]
    glue(f"worse_{kind}", f"{float(error[len(weights) - 1] / error[0] - 1):+.0%}", display=False)
glue("w_one", weights[one], display=False)
glue("label_dropout", f"{settings.conditional.label_dropout:.0%}", display=False)
glue("last_images", f"{last.images:,}", display=False)
glue("early_images", f"{plain[middle].images:,}", display=False)

# %% [markdown]
# Bands are 95 % intervals of the gap without guidance. It peaks at $\sigma =$ {glue:text}`place_classifier-free:.2f` for
# the network with classes, with a height of {glue:text}`peak_classifier-free`, and at {glue:text}`place_autoguidance:.2f`
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
n, labels = settings.guidance_samples, split.val.labels[: settings.guidance_samples]


def at(name: str, w: float, interval: tuple[float, float] | None = None) -> dict:
    snapshot, guide = guides[name]
    return {"snapshot": snapshot, "guide": replace(guide, weight=w, interval=interval),
            "labels": labels if snapshot == known else None, "steps": settings.steps, **place_of}  # fmt: skip


drawn = {name: [evaluate.samples(n=n, **at(name, w)) for w in weights] for name in kinds.values()}
fig, axes = plt.subplots(2, 1, figsize=(8, 1.15 * len(weights) + 0.4))
for ax, (kind, name) in zip(axes, kinds.items()):
    image_rows([x[:16] for x in drawn[name]], ax, [f"w = {w:g}" for w in weights])
    ax.set_title(f"{kind}: {name}")

# %% [markdown]
# ## What it costs
#
# Now against $w$, first the denoiser: its peak in pixels, for all five guides; at the noise level of the peak, the same
# gap measured in features of a small classifier of clothes; and the Fréchet distance between reconstructions and
# originals (*rFD*), of validation over training images, less 1. If the paper's finding holds here, these panels are
# nearly flat.

# %%
top = {name: torch.tensor([peaks[name].sigma.value]) for name in kinds.values()}
in_features, rebuilt = {}, {}
for name, sigma in top.items():
    asked = [{"guide": at(name, w)["guide"], **options} for w in weights]
    snapshot, of_features = guides[name][0], {"features": features, "progress": False}
    in_features[name] = [evaluate.gap_curves([snapshot], split, sigma, **of_features, **a)[0] for a in asked]
    rebuilt[name] = [probes.reconstructions(snapshot, split, sigma, **a) for a in asked]
panels = {
    "peak of $G$": {name: [peak(c, seed=seed).height for c in found[: len(weights)]] for name, found in curves.items()},
    "$G$ in features": {name: [curve.peak for curve in found] for name, found in in_features.items()},
    "gap of rFD": {name: [dg.Estimate(r.gap[0], r.stderr[0], r.n) for r in found] for name, found in rebuilt.items()},
}
fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.3))
for ax, (label, found) in zip(axes, panels.items()):
    draw.over_weights(weights, found, ax).axhline(0, color=plots.NEUTRAL, lw=0.8)
    ax.set(ylabel=label)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5);

# %% [markdown]
# From $w = 0$ to {glue:text}`w_one:g` the gap in features changes by {glue:text}`features_classifier-free` under
# classifier-free guidance and {glue:text}`features_autoguidance` under autoguidance, the gap of rFD by
# {glue:text}`rfd_classifier-free`, and {glue:text}`rfd_autoguidance`. The three need not agree: rFD forgives what leaves
# the distribution of images as it is, pixels do not.
#
# Now the samples. In the upper row their gap, corrected for the luck of the split as in {doc}`03_trajectories`, beside the
# peak of $G$: once more in the toy model, then for both kinds of guidance of a network. By the paper the samples' gap
# should rise, and by more than $G$. In the lower row the share of copies; the Fréchet distance to the validation images
# {cite:p}`heusel2017`, smaller is better; and the entropy of the classifier's opinion, which is low where a sample looks
# like one thing. Dotted lines are what other real images have.

# %%
luck = neighbour_gap(split.rest.x, split.train.x, split.val.x)
terms = {name: [gap_terms(x, split.train.x, split.val.x) for x in found] for name, found in drawn.items()}
followed = {name: [t.gap.minus(luck) for t in found] for name, found in terms.items()}
copied = {name: [dg.memorized_fraction(x, split.train.x) for x in found] for name, found in drawn.items()}
seen, of_val = {name: [features(x) for x in found] for name, found in drawn.items()}, features(split.val.x)
quality = {name: paired_frechet(found, of_val, seed=seed) for name, found in seen.items()}
entropy = {name: [class_entropies(class_probabilities(x)) for x in found] for name, found in drawn.items()}
heights, panels = panels["peak of $G$"], {
    "memorized fraction": (copied, dg.memorized_fraction(split.val.x, split.train.x)),
    "Fréchet distance": ({k: q[0] for k, q in quality.items()}, dg.frechet_distance(features(split.rest.x[:n]), of_val)),
    "class entropy (nats)": (
        {k: [dg.Estimate.mean(e) for e in found] for k, found in entropy.items()},
        class_entropies(class_probabilities(split.val.x)).mean(),
    ),
}
fig, axes = plt.subplots(2, 3, figsize=(9.5, 5.8))
draw.denoiser_and_samples(weights, toy_peaks, toy_gaps, axes[0, 0]).set_title("toy model")
for ax, (kind, name) in zip(axes[0, 1:], kinds.items()):
    draw.denoiser_and_samples(weights, heights[name], followed[name], ax).set_title(kind)
for ax, (label, (found, null)) in zip(axes[1], panels.items()):
    draw.over_weights(weights, found, ax, float(null)).set(ylabel=label)
axes[1, 0].set(ylim=(-0.02, max(0.1, *(1.5 * share for found in copied.values() for share in found))))
axes[0, 0].legend(loc="upper left")
axes[1, 2].legend(fontsize=8);

# %% tags=["hide-input"]
follows, best = {}, {}
glue("copied_null", f"{float(panels['memorized fraction'][1]):.1%}", display=False)
for kind, name in kinds.items():
    follows[name] = [t.minus(terms[name][0]) for t in terms[name]]  # from the same noise: pairs
    best[name] = min(range(len(weights)), key=lambda k: quality[name][0][k])
    change, b = quality[name][1][-1], best[name]
    glue(f"samples_{kind}", follows[name][one].shown(), display=False)
    glue(f"says_{kind}", verbally(follows[name][one], "grows", "shrinks", "does not change measurably"), display=False)
    glue(f"copied_{kind}", f"{float(copied[name][0]):.1%} and {float(copied[name][-1]):.1%}", display=False)
    glue(f"advice_{kind}", follows[name][-1].shown(), display=False)
    glue(f"quality_{kind}", f"{quality[name][0][0].shown('.2f')} and {quality[name][0][-1].shown('.2f')}", display=False)
    glue(f"far_{kind}", verbally(change, "further from", "nearer to", "not measurably further from"), display=False)
    surer = dg.Estimate.mean(entropy[name][-1] - entropy[name][0])
    glue(f"entropy_{kind}", surer.shown("+.2f"), display=False)
    cost = f"the samples' gap then differs from that without guidance by {follows[name][b].shown()}"
    gain = quality[name][1][b]
    sure = verbally(gain, "", "measurably better than without guidance", "not measurably better than without guidance")
    found = f"w = {weights[b]:g}, {sure}; {cost}" if b else "no guidance at all"
    glue(f"best_{kind}", found, display=False)

# %% [markdown]
# From $w = 0$ to {glue:text}`w_one:g`, sample by sample, the samples' gap changes by {glue:text}`samples_classifier-free`
# under classifier-free guidance: it {glue:text}`says_classifier-free`. Under autoguidance it changes by
# {glue:text}`samples_autoguidance`: it {glue:text}`says_autoguidance`. Copies, without guidance and at $w =$
# {glue:text}`w_max:g`, are {glue:text}`copied_classifier-free` of the samples in the first case,
# {glue:text}`copied_autoguidance` in the second, beside {glue:text}`copied_null` of validation images.
#
# And the benefit? From no guidance to the largest weight the entropy changes by {glue:text}`entropy_classifier-free` and
# {glue:text}`entropy_autoguidance` nats; the lower it is, the more each sample looks like one thing. As distributions,
# samples get {glue:text}`far_classifier-free` the validation images under classifier-free guidance,
# {glue:text}`far_autoguidance` them under autoguidance: without guidance and at the largest weight the Fréchet distance is
# {glue:text}`quality_classifier-free` in the one case, {glue:text}`quality_autoguidance` in the other. By that distance
# the best weight for classifier-free guidance is {glue:text}`best_classifier-free`; for autoguidance it is
# {glue:text}`best_autoguidance`. Fréchet distances of so few samples are biased upwards, all alike; their differences,
# sample by sample from the same noise, are what counts.
#
# ## Guidance in an interval
#
# Guidance need not act at all noise levels; restricted to the middle it is said to keep the gain and lose the harm
# {cite:p}`kynkaanniemi2024`. Three intervals divide the noise: above, within and below the levels at which the gap is at
# least half its peak. If the samples' gap comes from where the denoiser's is, the middle one should account for it, with
# either kind of guide.

# %%
grid, window, intervals, parts, far = dg.edm_sigmas(settings.steps)[:-1], {}, {}, {}, {}
for name in kinds.values():
    window[name] = peak_window(curves[name][0], grid)
    low, high = float(grid[window[name]].min()) * 0.99, float(grid[window[name]].max()) * 1.01
    intervals[name] = {"below": (0, low), "within": (low, high), "above": (high, 100), "everywhere": None}
    inside = [evaluate.samples(n=n, **at(name, weights[-1], ends)) for ends in intervals[name].values()]
    rises = [gap_terms(x, split.train.x, split.val.x).minus(terms[name][0]) for x in inside]
    _, (_, *moves) = paired_frechet([seen[name][0], *map(features, inside)], of_val, seed=seed)
    parts[name], far[name] = dict(zip(intervals[name], rises)), dict(zip(intervals[name], moves))
fig, axes = plt.subplots(2, 2, figsize=(8, 4), sharey=True, sharex="col")
for row, (kind, name) in zip(axes, kinds.items()):
    for ax, found, label in zip(row, (parts[name], far[name]), ("samples' gap", "Fréchet distance")):
        draw.changes(found, ax).set(xlabel=f"change of the {label}" if ax in axes[1] else "")
    row[0].set_title(kind, loc="left")

# %% tags=["hide-input"]
for kind, name in kinds.items():
    change = difference_at(in_features[name][one], in_features[name][0], float(top[name]))
    glue(f"features_{kind}", change.shown(".2f"), display=False)
    gaps = [(r.val_draws / r.train_draws)[:, 0] for r in (rebuilt[name][one], rebuilt[name][0])]  # pairs
    change = dg.Estimate(rebuilt[name][one].gap[0] - rebuilt[name][0].gap[0], (gaps[0] - gaps[1]).std(), len(gaps[0]))
    glue(f"rfd_{kind}", f"{change.shown('.2f')}, {verbally(change, 'up', 'down', 'not told from none')}", display=False)
    middle_one = intervals[name]["within"]
    glue(f"interval_{kind}", f"{middle_one[0]:.2g} to {middle_one[1]:.2g}", display=False)
    up, worse, better = (
        ", ".join(f"{where} ({e.shown(spec)})" for where, e in found.items() if sign * e.interval()[k] > 0)
        for found, sign, k, spec in ((parts[name], 1, 0, ".3f"), (far[name], 1, 0, ".2f"), (far[name], -1, 1, ".2f"))
    )
    glue(f"interval_gap_{kind}", up or "nowhere", display=False)
    glue(f"interval_worse_{kind}", worse or "nowhere", display=False)
    glue(f"interval_better_{kind}", better or "nowhere", display=False)
    lesser = min(("below", "within", "above"), key=far[name].get)
    glue(f"interval_best_{kind}", lesser, display=False)
    cost = f"{parts[name][lesser].shown()}, against {parts[name]['everywhere'].shown()} everywhere"
    glue(f"interval_cost_{kind}", cost, display=False)

# %% [markdown]
# Guidance is at its largest weight, and changes are from no guidance. Under classifier-free guidance the middle interval
# is $\sigma$ from {glue:text}`interval_classifier-free`. The samples' gap rises measurably when guidance acts:
# {glue:text}`interval_gap_classifier-free`. Quality, by the Fréchet distance, gets measurably worse:
# {glue:text}`interval_worse_classifier-free`; measurably better: {glue:text}`interval_better_classifier-free`. Under
# autoguidance, with $\sigma$ from {glue:text}`interval_autoguidance` in the middle, the gap rises:
# {glue:text}`interval_gap_autoguidance`; quality gets worse: {glue:text}`interval_worse_autoguidance`; better:
# {glue:text}`interval_better_autoguidance`. The interval of the three with the smallest distance is
# *{glue:text}`interval_best_classifier-free`* in the first case, where the samples' gap changes by
# {glue:text}`interval_cost_classifier-free`, and *{glue:text}`interval_best_autoguidance`* in the second, where it changes
# by {glue:text}`interval_cost_autoguidance`.
#
# ## Onto the training data or off it?
#
# Chapter 3 placed trajectories between noisy validation images ($p = 0$) and noisy training images ($p = 1$),
# {eq}`eq:place`. A guided trajectory goes elsewhere; towards the training data? The question has two sides. The network's
# opinion is the similarity of its predictions to training images, where noisy images are shown to the same guided
# denoiser. The states themselves are judged without a network: by the shell ratio and by the concentration of the
# optimal denoiser's weights, over the noise levels around the peak of the gap.

# %%
chosen = sorted({0, one, len(weights) - 1})
trips = {name: {k: along.passages(split=split, n=settings.guidance_trajectories, **{**at(name, weights[k]),
                "labels": labels[: settings.guidance_trajectories] if guides[name][0] == known else None})
                for k in chosen} for name in kinds.values()}  # fmt: skip
measures = {"similarity": "predictions", "shell": "shell ratio", "concentration": "concentration"}
placed = {
    m: {name: [place(trip, m, levels=window[name], seed=seed) for trip in trips[name].values()] for name in trips}
    for m in measures
}
fig, axes = plt.subplots(1, 3, figsize=(9.5, 3), sharey=True)
for ax, (m, label) in zip(axes, measures.items()):
    draw.places_of_weights([weights[k] for k in chosen], placed[m], ax)
    ax.set(title=label, ylabel="place $p$ around the peak" if ax is axes[0] else "")
axes[0].legend(fontsize=7);

# %% tags=["hide-input"]
def put(at: Place) -> str:
    value, low, high = at.interval()
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if value == value else "not defined"


for kind, name in kinds.items():
    for m in measures:
        found = placed[m][name]
        glue(f"{m}_{kind}", f"{put(found[0])} to {put(found[-1])}", display=False)
    apart = [placed["similarity"][name][0], placed["similarity"][name][-1]]
    rises, falls = apart[1].low > apart[0].high, apart[1].high < apart[0].low
    words = "towards the noisy training data" if rises else "away from the noisy training data" if falls else None
    glue(f"moves_{kind}", words or "measurably in neither direction", display=False)

# %% [markdown]
# From $w = 0$ to {glue:text}`w_max:g` the place of the predictions goes, under classifier-free guidance, from
# {glue:text}`similarity_classifier-free`, which is {glue:text}`moves_classifier-free`; under autoguidance from
# {glue:text}`similarity_autoguidance`, {glue:text}`moves_autoguidance`. By the shell ratio it goes from
# {glue:text}`shell_classifier-free` and from {glue:text}`shell_autoguidance`; by the concentration from
# {glue:text}`concentration_classifier-free` and from {glue:text}`concentration_autoguidance`. In parentheses are 95 %
# intervals, and a move is called one only where those of both ends are apart. A place is not defined where noisy training
# and validation images are not told apart.
#
# ## Seeing less of the image
#
# What is too little context to recognize an image is too little to recall it. A *windowed* denoiser looks at an image
# through a sliding window, removes the noise in each window on its own, and averages where windows overlap; no pixel
# depends on another further than the window is wide. By the paper its gap should be lower, and peak at lower noise: with
# less to see, one must see it more clearly to recognize it.

# %%
few = {"images": settings.window_images, **place_of}
side = settings.train.data.size
narrow = {}
for size in (*settings.windows, side):
    through = {"window": size, "stride": settings.window_stride, "progress": False}
    (narrow[size],) = evaluate.without_luck(evaluate.gap_curves([last], split, sigmas, **through, **few), **held, **few)
tops = {size: peak(curve, seed=seed) for size, curve in narrow.items()}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.1), width_ratios=(1.5, 1, 1))
draw.gaps_of_windows(narrow, axes[0])
draw.peaks_of_windows(tops, *axes[1:])

# %% tags=["hide-input"]
half = min(settings.windows, key=lambda size: abs(size - side / 2))
clear = [size for size in settings.windows if tops[size].height.low > 0]  # narrowest whose gap has a top for sure
narrowest = min(clear, default=max(settings.windows))
lower, _ = peak_change(narrow[half], narrow[side], seed=seed)
_, shift = peak_change(narrow[narrowest], narrow[side], seed=seed)
words = ("higher", "lower", "not measurably different")
there = narrow[side].index(tops[side].sigma.value)
for key, value in {
    "half": half, "side": side, "narrowest": narrowest, "lower": lower.shown(), "lower_says": verbally(lower, *words),
    "shift": shift.shown(".2f"), "shift_says": verbally(shift, *words), "clear": f"{len(clear)} of {len(settings.windows)} windows",
    "apart": " to ".join(f"{float(narrow[k].val[there] - narrow[k].train[there]):.4f}" for k in (side, half)),
    "blind": f"{float(narrow[half].train[there] / narrow[side].train[there]):.1f}",
}.items():  # fmt: skip
    glue(key, value, display=False)
noise = peaks["earlier snapshot"].sigma.value  # w = -1 is the guide itself
pairs = {"stop": ("earlier snapshot", -1, 0), "thin": ("smaller width", -1, 0), "classes": ("one network", 0, -1)}
for key, (name, k, base) in pairs.items():
    glue(f"advice_{key}", difference_at(curves[name][k], curves[name][base], noise).shown(), display=False)
sharper = [found["earlier snapshot"][0].at(noise).stderr for found in (raw, curves)]
glue("advice_alarm", f"{sharper[0] / sharper[1]:.1f}", display=False)

# %% [markdown]
# At about half the side, {glue:text}`half` of {glue:text}`side` pixels, the peak is {glue:text}`lower_says`: it changes by
# {glue:text}`lower`. The gap has a top for sure with {glue:text}`clear`; with a window of {glue:text}`narrowest` pixels
# $\ln\sigma$ of the peak changes by {glue:text}`shift`, the place is {glue:text}`shift_says`. Mind what the
# comparison is: this network was trained on whole images and never saw a window. At half the side its error on training
# images, the denominator of $G$, is {glue:text}`blind` times as large where the full gap peaks, and part of any change of
# the gap may come from there. Without the denominator, the difference of both errors goes from {glue:text}`apart` per pixel.
#
# How far does a denoiser look by itself? The *range score* is the mean distance of the pixels that a pixel of the denoised
# image depends on, weighted by the size of its derivative. Where noise is low, a pixel's neighbours say all there is to
# know; where it is high, only the whole image helps. So it should rise with $\sigma$, for the U-Net and for the
# transformer of chapter 2. A receptive field restricted below this range takes away what the network uses.

# %%
*_, transformer = dg.train(settings.networks["transformer"], root=results, device=device)
asked = split.val[: settings.range_images]
look = {
    name: probes.ranges(snapshot, asked, sigmas, pixels=settings.range_pixels, **place_of)
    for name, snapshot in {"U-Net": last, "transformer": transformer}.items()
}
everywhere = torch.cartesian_prod(*2 * [torch.arange(side, dtype=torch.float64)])
fig, ax = plt.subplots(figsize=(5.5, 3.2))
draw.ranges_over_sigma(sigmas, look, float(torch.cdist(everywhere, everywhere).mean()), ax)
rise = {name: dg.Estimate.mean(scores[-1] - scores[0]) for name, scores in look.items()}
for name, scores in look.items():
    glue(f"range_{name}", f"{float(scores[0].mean()):.1f} to {float(scores[-1].mean()):.1f}", display=False)
    glue(f"rise_{name}", verbally(rise[name], "it rises", "it falls", "the change is not measurable"), display=False)

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
# What was measured, here and in the other chapters, as advice. The numbers are those of this run; where an interval
# covers no change, the table says so.
#
# | If you see this | do that | measured here |
# | --- | --- | --- |
# | $G$ at its peak grows, validation error no longer falls | stop, or keep an earlier snapshot | $G$ of the earlier snapshot against the last: {glue:text}`advice_stop`; onset in {ref}`sec:gap` |
# | you cannot tell a gap from the luck of the split | watch the *adjusted* gap, and alarm on its interval | its error bar is {glue:text}`advice_alarm` times shorter at the peak; {ref}`sec:gap` |
# | the gap grows fast for the size of your data | a smaller network, or dropout | $G$ of the smaller width against the main one: {glue:text}`advice_thin`; sizes and dropout in {ref}`sec:scaling` |
# | few images a class | fewer, coarser classes | $G$ with classes against the same network without: {glue:text}`advice_classes`; granularity in {ref}`sec:scaling` |
# | samples lean to the training set once they are guided | a smaller weight; another guide | change of the samples' gap at the largest weight: {glue:text}`advice_autoguidance` (autoguidance), {glue:text}`advice_classifier-free` (classifier-free) |
# | guidance is needed for quality | try an interval instead | change of the samples' gap in the interval of the best distance: {glue:text}`interval_cost_autoguidance` (autoguidance); {glue:text}`interval_cost_classifier-free` (classifier-free) |
# | $G$ is high, samples show nothing | look at trajectories, not at $G$ alone | {ref}`sec:trajectories`, where they run |
#
# ## What we found
#
# Two numbers decide C10, for each kind of guidance, both at the weight nearest to 1: how much the gap of the samples
# changes, and by how much that exceeds the change of the denoiser's peak. C11 is decided by the window of half the side,
# and for the place by the narrowest window whose gap has a top.

# %% tags=["hide-input"]
found = []
for kind, name in kinds.items():
    step = f"from $w$ = 0 to {weights[one]:g}, {kind}"
    found.append(book.Claim(
        f"C10 ({kind}, samples)", "Guidance raises the gap of the samples.", f"change of the samples' gap {step}",
        *follows[name][one].with_interval(), above=0))  # fmt: skip
    found.append(book.Claim(
        f"C10 ({kind}, contrast)", "It raises the gap of the samples by more than that of the denoiser.",
        f"the same change less that of the peak of $G$, {kind}",
        *follows[name][one].minus(higher[name]).with_interval(), above=0))  # fmt: skip
book.ledger(
    *found,
    book.Claim("C11 (height)", "A restricted receptive field lowers the gap.",
               f"peak of $G$ with a window of {half} pixels less that with all {side}", *lower.with_interval(), below=0),
    book.Claim("C11 (place)", "It lowers the noise level of the peak.",
               rf"$\ln\sigma$ of the peak with a window of {narrowest} pixels less that with all {side}",
               *shift.with_interval(), below=0),
)  # fmt: skip
