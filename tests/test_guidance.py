"""Guidance both ways and its identities, how often it calls a network, its samples, and windows with strides."""

import math

import pytest
import torch
from conftest import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import diffgen as dg
from diffgen import experiments
from diffgen.experiments.guidance import at_weight, guided_reports
from diffgen.features import pixels

CLASSES = 3
POINTS = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % CLASSES
MAIN = dg.OptimalDenoiser(POINTS, LABELS)
OTHER = dg.ErrorProne(POINTS, 0.8)

weights, levels = st.floats(-2, 3), st.floats(0.05, 20)
seeds = st.integers(0, 2**31)
batches = st.lists(st.tuples(levels, st.integers(-1, CLASSES - 1)), min_size=1, max_size=9)


def rows(batch, seed) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images, their noise levels and their classes, some of them none."""
    sigma, labels = (torch.tensor(column) for column in zip(*batch))
    n = torch.randn(len(batch), 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return POINTS[torch.arange(len(batch)) % 12] + sigma.reshape(-1, 1, 1, 1) * n, sigma, labels


class Counted:
    """A denoiser that counts its calls, and the rows of each."""

    def __init__(self, base):
        self.base, self.sizes = base, []

    def __call__(self, x, sigma, labels=None):
        self.sizes.append(len(x))
        return self.base(x, sigma, labels)


def network(kind, classes=CLASSES):
    torch.manual_seed(3)
    config = dg.UNetConfig(channels=8, attention=(4,)) if kind == "unet" else dg.DiTConfig(width=16, depth=1, heads=2)
    net = config.build(POINTS.shape[1:], classes).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return dg.Preconditioned(net, 0.5).requires_grad_(False)


# Identities


@settings(max_examples=40, deadline=None)
@given(batches, weights, seeds)
def test_identities_of_guidance(batch, w, seed):
    given = rows(batch, seed)
    main, guide = MAIN(*given), OTHER(*given)
    assert torch.equal(dg.Guided(MAIN, OTHER, 0)(*given), main)
    assert torch.equal(dg.Guided(MAIN, MAIN, w)(*given), main)  # a denoiser that guides itself
    torch.testing.assert_close(dg.Guided(MAIN, dg.Chunked(MAIN), w)(*given), main)  # also if that can't be seen
    torch.testing.assert_close(dg.Guided(MAIN, OTHER, w)(*given), main + w * (main - guide), rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(batches, weights, st.tuples(levels, levels), seeds)
def test_intervals_of_guidance(batch, w, ends, seed):
    given = rows(batch, seed)
    low, high = sorted(ends)
    main, everywhere = MAIN(*given), dg.Guided(MAIN, OTHER, w)(*given)
    confined = dg.Guided(MAIN, OTHER, w, (low, high))(*given)
    inside = ((given[1] > low) & (given[1] <= high)).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(confined, torch.where(inside, everywhere, main), rtol=1e-4, atol=1e-4)
    assert torch.equal(dg.Guided(MAIN, OTHER, w, (0, math.inf))(*given), everywhere)
    assert torch.equal(dg.Guided(MAIN, OTHER, w, (low, low))(*given), main)


@settings(max_examples=40, deadline=None)
@given(batches, weights, st.none() | st.tuples(levels, levels), seeds)
def test_one_pass_equals_two(batch, w, ends, seed):
    """Classifier-free guidance with one network, in one call, against the network and an unrelated copy of it."""
    given = rows(batch, seed)
    interval = ends and tuple(sorted(ends))
    one = dg.Guided(MAIN, dg.Unconditional(MAIN), w, interval)(*given)
    copy = dg.OptimalDenoiser(POINTS, LABELS)
    torch.testing.assert_close(one, dg.Guided(MAIN, dg.Unconditional(copy), w, interval)(*given), rtol=1e-4, atol=1e-4)
    turned = dg.Guided(dg.Unconditional(MAIN), MAIN, w, interval)(*given)
    torch.testing.assert_close(
        turned, dg.Guided(dg.Unconditional(copy), MAIN, w, interval)(*given), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["unet", "dit"])
@pytest.mark.parametrize("sigma", [0.7, torch.tensor([0.1, 0.5, 1.5, 5.0, 1.0])])
def test_networks_in_one_pass(kind, sigma):
    base, x, labels = network(kind), POINTS[:5], torch.tensor([0, 2, -1, 1, 0])
    expected = 2.5 * base(x, sigma, labels) - 1.5 * base(x, sigma)
    one_pass = dg.Guided(base, dg.Unconditional(base), 1.5)(x, sigma, labels)
    torch.testing.assert_close(one_pass, expected, rtol=1e-4, atol=1e-4)


def test_calls_are_as_few_as_can_be():
    x, sigma, labels = POINTS[:4], torch.tensor([0.3, 0.4, 1.0, 1.1]), torch.tensor([0, 1, 2, 0])
    cases = [  # guide of the counted denoiser, weight, interval, labels; the rows of each call
        (dg.Unconditional, 1.0, None, labels, [8]),
        (dg.Unconditional, 1.0, (0.3, 1.0), labels, [6]),
        (dg.Unconditional, 1.0, (5.0, 9.0), labels, [4]),
        (dg.Unconditional, 0.0, None, labels, [4]),
        (dg.Unconditional, 1.0, None, None, [4]),  # without classes the two are one
        (lambda d: d, 1.0, None, labels, [4]),
        (lambda d: dg.Chunked(d), 1.0, (0.3, 1.0), labels, [4, 2]),  # not seen to be the same: two calls
    ]
    for make, w, interval, classes, calls in cases:
        base = Counted(MAIN)
        dg.Guided(base, make(base), w, interval)(x, sigma, classes)
        assert base.sizes == calls


def test_gradients_pass_through_guidance():
    """Of the effective receptive field: the Jacobian of a guided denoiser is the guided Jacobian."""
    base, x = network("unet"), POINTS[:1].clone().requires_grad_()
    wrapped = (dg.Guided(base, dg.Unconditional(base), 2.0), base, dg.Unconditional(base))
    by, main, guide = (torch.autograd.grad(d(x, 1.0, torch.tensor([1])).sum(), x)[0] for d in wrapped)
    torch.testing.assert_close(by, 3 * main - 2 * guide, rtol=1e-3, atol=1e-3)


# Samples


def test_reports_of_weights_are_those_of_guided_subjects(tmp_path):
    config = tiny(total_images=256, conditional=True, n_snapshots=2)
    early, last = dg.train(config, root=tmp_path, progress=False)
    split, grid, how = config.data.load(), dg.edm_sigmas(3), dg.Measure(progress=False)
    plain, guided = guided_reports(last, early, (0, 1), split, 16, grid, how, others={"pixels": pixels})
    alone = experiments.sample_report(last, split, 16, grid, how)
    steered = experiments.sample_report(experiments.guided(last, early, 1), split, 16, grid, how)
    assert torch.equal(plain.nearness, alone.nearness)
    assert torch.equal(guided.shown, steered.shown)
    assert not torch.equal(guided.shown, plain.shown)
    at = at_weight(0.1, guided, 0.02, 7.02)
    assert at.copied == pytest.approx(0.99 * at.near + 0.07)
    assert at.near == pytest.approx(float(guided.near) - 0.02)
    assert at.near == pytest.approx(sum(at.halves) / 2)
    assert at.halves[0] == pytest.approx(float(guided.nearness[::2].mean()) - 0.02)
    assert (at.gap, at.raw, at.corrected) == (0.1, float(guided.frechet.raw), float(guided.frechet.corrected))


# Windows


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), levels, seeds)
def test_a_window_of_the_size_of_the_image_is_the_base_at_any_stride(stride, sigma, seed):
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(dg.Windowed(MAIN, 8, stride)(x, sigma, LABELS[:3]), MAIN(x, sigma, LABELS[:3]))


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (2, 2), (4, 2), (4, 4), (6, 2), (5, 3)])
def test_windows_are_averaged_where_they_overlap(size, stride):
    base, x = dg.OptimalDenoiser(torch.randn(9, 1, size, size)), POINTS[:2]
    total, count = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(0, 9 - size, stride):
        for j in range(0, 9 - size, stride):
            at = (..., slice(i, i + size), slice(j, j + size))
            total[at] += base(x[at], torch.tensor(1.2))
            count[at] += 1
    torch.testing.assert_close(dg.Windowed(base, size, stride)(x, torch.tensor(1.2)), total / count)


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8])
def test_corners_are_four_windows_that_cover_the_image(size):
    """How often each pixel is denoised: 4 times in the middle, once in the corners, by windows of the corners alone."""
    seen = []

    def base(x, sigma, labels=None):
        seen.append(x)
        return x

    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    denoised = dg.Windowed.corners(base, size, 8)(x, torch.tensor(1.0))
    torch.testing.assert_close(denoised, x)
    at = {0, 8 - size}
    expected = torch.cat([x[..., i : i + size, j : j + size] for i in sorted(at) for j in sorted(at)])
    assert torch.equal(seen[0], expected)
    count = seen[0].flatten().long().bincount(minlength=64).reshape(8, 8)
    lines = [sum(start <= place < start + size for start in at) for place in range(8)]
    assert torch.equal(count, torch.tensor(lines)[:, None] * torch.tensor(lines))
    assert count[0, 0] == 1
    assert count[4, 4] == (4 if 4 < size < 8 else 1)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_corners_of_the_size_of_the_image_are_the_network(kind):
    base, x = network(kind), POINTS[:3]
    torch.testing.assert_close(dg.Windowed.corners(base, 8, 8)(x, 0.7, LABELS[:3]), base(x, 0.7, LABELS[:3]))


WRAPPERS = {
    "itself": lambda d: d,
    "in chunks": lambda d: dg.Chunked(d, 2),
    "guided": lambda d: dg.Guided(MAIN, dg.Unconditional(d), 1.0),
    "switched": lambda d: dg.Switched(MAIN, dg.Chunked(d), 0.1, 1.0),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_window_that_a_network_can_not_halve_is_refused_before_it_is_called(wrap):
    base = wrap(network("unet"))
    for size in (1, 5, 7):
        with pytest.raises(ValueError, match=f"size is {size}: .* its U-Net can't halve 1 times: take a multiple of 2"):
            dg.Windowed(base, size)
    for size in (2, 6, 8):
        dg.Windowed(base, size)
    with pytest.raises(ValueError, match=r"size is 7: .* multiple of 2"):
        dg.Windowed.corners(base, 7, 8)
    deep = dg.UNetConfig(channels=8, multipliers=(1, 1, 1)).build((1, 8, 8))
    with pytest.raises(ValueError, match="can't halve 2 times: take a multiple of 4"):
        dg.Windowed(wrap(dg.Preconditioned(deep, 0.5)), 6)
    with pytest.raises(
        ValueError, match=r"size is 4: .* knows the positions in an image of 8 alone: take 8, or a U-Net"
    ):
        dg.Windowed(wrap(network("dit")), 4)


@pytest.mark.parametrize("side", range(1, 9))
@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_a_network_refuses_what_it_fails_on(kind, side):
    base, x = network(kind), torch.zeros(2, 1, side, side)
    if base.network.refusal(side) is None:
        assert base(x, 1.0).shape == x.shape
    else:
        with pytest.raises(RuntimeError):
            base(x, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: dg.Windowed(lambda x, s, c: x @ torch.ones(8, 8), 4)(POINTS, 1.0),
            r"size is 4: the base fails on such",
        ),
        (lambda: dg.Windowed.corners(None, 3, 8), "size is 3: four windows of an image of 8 have from 4 to 8"),
        (lambda: dg.Windowed.corners(None, 3, 7), "from 4 to 7"),
        (lambda: dg.Windowed.corners(None, 9, 8), "size is 9"),
        (lambda: dg.Windowed(None, 4, 5), "stride is 5: windows of 4 pixels that leave no gap are 1 to 4 apart"),
        (lambda: dg.Windowed(None, 4, 0), "stride is 0"),
        (lambda: dg.Windowed(None, 4, 3)(POINTS, 1.0), r"stride is 3: it must divide \[4, 4\]"),
        (lambda: dg.Guided(None, None, 1.0, (-1.0, 1.0)), r"interval is \(-1.0, 1.0\): give \(low, high\)"),
    ],
)
def test_mistakes_are_named_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
