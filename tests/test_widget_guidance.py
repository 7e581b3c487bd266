"""The toy model under guidance in the browser: equal to torch, and driven by keyboard; the slider over weights."""

import json

import pytest
import torch
from host import empty_page, mount
from test_widgets import close, run, settled, show

import diffgen as dg
from diffgen.data.toy import manifold
from diffgen.metrics.toy import expected_error, expected_gap, gap_map
from diffgen.widgets import Curves, FieldExplorer, Images, Scrubber, Slider

pytestmark = pytest.mark.browser

SIGMAS = torch.tensor([0.05, 0.3, 0.8, 1.18, 2.8, 10, 80], dtype=torch.float64)


@pytest.fixture
def page(chromium):
    with empty_page(chromium) as page:
        yield page


@pytest.fixture(params=["circle", "moons"])
def points(request):
    data = manifold(request.param, 20)
    return data.train.x.double(), data.val.x.double()


def guided(train, delta, other, w):
    return dg.Guided(dg.ErrorProne(train, delta), dg.ErrorProne(train, other), w)


@pytest.mark.parametrize(("delta", "other", "w"), [(1.8, 2.2, 1.0), (2.2, 0.4, 0.5), (0.4, 1.6, 2.0), (1.2, 1.2, 2.0)])
def test_guided_denoisers_equal_torch(page, points, delta, other, w):
    train, val = points
    denoiser, by = guided(train, delta, other, w), {"delta": other, "weight": w}
    x = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 8
    for sigma in (0.1, 1.1, 20.0):
        at_each = "v[1].map(([x, y]) => { const d = [0, 0]; guided(v[0], x, y, v[2], v[3], v[4], d); return d; })"
        in_browser = run(page, at_each, train.flatten(), x, sigma, delta, by)
        close(in_browser, denoiser(x, torch.tensor(sigma)), scale=10)
    axis = torch.linspace(-15, 15, 16, dtype=torch.float64)
    field = run(page, "Array.from(guidedOnGrid(v[0], v[1], v[1], 1.1, v[2], v[3]))", train.flatten(), axis, delta, by)
    close(field, denoiser(torch.cartesian_prod(axis, axis).flip(1), torch.tensor(1.1)).flatten(), scale=10)
    means = run(page, "v[2].map((s) => [v[0], v[1]].map((y) => meanError(v[0], y, s, v[3], normalRule(), v[4])))",
                train.flatten(), val.flatten(), SIGMAS, delta, by)  # fmt: skip
    close(means, torch.stack([expected_error(denoiser, y, SIGMAS).mean(1) for y in (train, val)], 1))
    gaps = run(page, "gapCurve(v[0], v[1], v[2], v[3], normalRule(), v[4])",
               train.flatten(), val.flatten(), SIGMAS, delta, by)  # fmt: skip
    close(gaps, expected_gap(denoiser, train, val, SIGMAS).gap, scale=1)


def test_guided_gap_map_equals_torch(page, points):
    train, _ = points
    axis = torch.linspace(-15, 15, 7, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis).flip(1)
    rule = "Array.from(gapMap(v[0], v[1], v[1], 1.1, 1.8, normalRule(0.9, 4.05), { delta: 2.2, weight: 1 }))"
    in_browser = run(page, rule, train.flatten(), axis)
    close(in_browser, gap_map(guided(train, 1.8, 2.2, 1.0), train, places, 1.1, spacing=0.9, reach=4.05))


def test_weight_zero_is_the_explorer_of_chapter_1(page):
    plain = FieldExplorer(delta=1.8, sigma=1.18)
    show(page, plain)
    shown = float(settled(page)["peakGap"])
    assert page.get_by_label("guidance weight w").count() == 0
    page.evaluate("undo()")
    page.evaluate("document.body.replaceChildren()")
    show(page, FieldExplorer(delta=1.8, sigma=1.18, guidance=True))
    assert float(settled(page)["peakGap"]) == shown


def test_guidance_by_keyboard_and_by_python(page):
    widget = FieldExplorer(delta=1.8, delta_guide=2.2, weight=1, sigma=1.18, guidance=True)
    show(page, widget)
    first = settled(page)
    assert float(first["gap"]) == pytest.approx(float(widget.gap([1.18]).gap[0]), rel=1e-6)
    page.get_by_label("guidance weight w").focus()
    page.keyboard.press("ArrowRight")
    widget.weight = page.evaluate("state.weight")
    assert widget.weight == pytest.approx(1.05)
    moved = settled(page)
    assert float(moved["gap"]) == pytest.approx(float(widget.gap([1.18]).gap[0]), rel=1e-6)
    assert float(moved["peakGap"]) > float(first["peakGap"])
    page.get_by_label("model error of the guide").focus()
    page.keyboard.press("End")
    widget.delta_guide = 4.0
    assert float(settled(page)["gap"]) == pytest.approx(float(widget.gap([1.18]).gap[0]), rel=1e-6)


def test_a_slider_over_weights(page):
    """What chapter 5 shows: a menu of guides, a slider of weights, samples and curves that follow both."""
    x = torch.rand(2, 4, 3, 1, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gaps = torch.rand(2, 4, 1, 6, generator=torch.Generator().manual_seed(1))
    curve = Curves(x=dg.log_sigmas(6, 0.1, 10), y=gaps, x_label="noise level σ", log_x=True, y_label="gap",
                   behind="weight w")  # fmt: skip
    sliders = [
        Slider("guidance", ["classifier-free", "autoguidance"]),
        Slider("weight w", [0, 0.5, 1, 2], 2, format="g"),
    ]
    mount(page, Scrubber(sliders, [Images("sample", x)], [curve], play="weight w"))
    page.wait_for_function("document.querySelector('.dg-root')?.dataset.places === '[0,2]'")
    pixels = "document.querySelector('.dg-images canvas').toDataURL()"
    before, line = page.evaluate(pixels), page.locator(".dg-line").last.get_attribute("d")
    page.get_by_role("slider", name="weight w").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.dg-root').dataset.places === '[0,3]'")
    assert page.evaluate(pixels) != before
    assert page.locator(".dg-line").last.get_attribute("d") != line
    page.get_by_label("guidance", exact=True).select_option("autoguidance")
    page.wait_for_function("document.querySelector('.dg-root').dataset.places === '[1,3]'")
    assert json.loads(page.evaluate("JSON.stringify(state.places)")) == [1, 3]
