"""The scrubber in headless Chromium: what is drawn is what was given, and every slider can be moved by anyone."""

import json
import re

import pytest
import torch
from host import empty_page, mount
from traitlets import TraitError

import diffgen as dg
from diffgen import plots
from diffgen.widgets import Curves, Images, Scrubber, Slider

pytestmark = pytest.mark.browser

SIGMAS = dg.log_sigmas(5, 0.0123456, 43.21347)  # the ends are rounded on their way to the browser, up and down
SEEN = [1000, 4000, 16000]
GUIDES = ["none", "same", "other"]
NOISE = torch.Generator().manual_seed(0)


def random(*shape):
    return torch.randn(shape, generator=NOISE) * 0.7


GAPS = torch.rand(3, 1, 1, 2, 5, generator=NOISE) + 0.1
ROWS = {  # by label: for no slider, one in the middle, all of them, colour images in uint8
    "clean": random(4, 1, 7, 6),
    "noisy": random(5, 1, 4, 1, 7, 6),
    "denoised": random(3, 5, 3, 4, 1, 7, 6),
    "colour": (random(3, 1, 3, 4, 3, 5, 5).clamp(-1, 1) * 127 + 128).to(torch.uint8),
}


def scrubber(**options):
    sliders = [Slider("images seen", SEEN, -1), Slider("noise level σ", SIGMAS, 2), Slider("guide", GUIDES)]
    images = [Images(label, x, plots.TRAIN) for label, x in ROWS.items()]
    curves = Curves(
        x=SIGMAS, y=GAPS, low=GAPS - 0.1, high=GAPS + 0.1, labels=["training", "validation"], x_label="noise level σ",
        y_label="gap", log_x=True, marker="noise level σ", behind=["images seen"],
    )  # fmt: skip
    return Scrubber(sliders, images, [curves], title="Test", **options)


@pytest.fixture(params=["light", "dark"])
def page(chromium, request):
    with empty_page(chromium, color_scheme=request.param) as page:
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", request.param)
        yield page


def show(page, widget):
    mount(page, widget)
    drawn(page, widget.places)


def drawn(page, places):
    """Wait until these places are drawn."""
    page.wait_for_function(
        "p => document.querySelector('.dg-root').dataset.places === p", arg=json.dumps(places).replace(" ", "")
    )


def slider(page, name):
    return page.get_by_role("slider", name=name)


def pixels(page, label):
    """The pixels of a row, (columns, H, W, 3), each read from all screen pixels that show it."""
    scale, dense = (
        float(page.evaluate(f"document.querySelector('.dg-root').dataset.{name}")) for name in ("scale", "dense")
    )
    width, height, data = page.evaluate(
        """label => {
          const rows = [...document.querySelectorAll('.dg-images')];
          const canvas = rows.find((row) => row.innerText.trim() === label).querySelector('canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.width, canvas.height, [...data]];
        }""",
        label,
    )
    k, gap, side = int(scale), round(2 * dense), ROWS[label].shape[-1]
    shown = torch.tensor(data).reshape(height, width, 4)
    images = [shown[:, j * (side * k + gap) : j * (side * k + gap) + side * k] for j in range(ROWS[label].shape[-4])]
    squares = torch.stack([image.reshape(-1, k, side, k, 4) for image in images])
    assert (squares == squares[:, :, :1, :, :1]).all(), "a pixel is not drawn as a square of one colour"
    assert (squares[..., 3] == 255).all()
    return squares[:, :, 0, :, 0, :3]


def expected(label, places):
    x = ROWS[label]
    x = x[(None,) * (3 - (x.ndim - 4))]
    x = x[tuple(place if n > 1 else 0 for place, n in zip(places, x.shape))]
    x = x if x.dtype == torch.uint8 else ((x.clamp(-1, 1) + 1) * 127.5).round()
    return x.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).long()


@pytest.mark.parametrize("places", [[2, 2, 0], [0, 4, 2], [1, 0, 1]])
def test_images_are_those_given(page, places):
    widget = scrubber()
    widget.places = places
    show(page, widget)
    for label in ROWS:
        assert torch.equal(pixels(page, label), expected(label, places)), label


@pytest.mark.parametrize("dense", [1, 1.5, 3])
def test_pixels_are_sharp_on_dense_screens(chromium, dense):
    with empty_page(chromium, device_scale_factor=dense) as page:
        show(page, scrubber())
        assert float(page.evaluate("document.querySelector('.dg-root').dataset.dense")) == dense
        assert torch.equal(pixels(page, "denoised"), expected("denoised", [2, 2, 0]))
        box = page.locator(".dg-images canvas").first.evaluate("c => [c.width, c.getBoundingClientRect().width]")
        assert box[0] == pytest.approx(box[1] * dense, abs=0.5 * dense)  # one canvas pixel a screen pixel


def points(d):
    return torch.tensor([[float(v) for v in pair.split(",")] for pair in re.findall(r"[-\d.]+,[-\d.]+", d)])


def test_curves_are_those_given(page):
    widget = scrubber()
    widget.places = [1, 4, 0]
    show(page, widget)
    low, high = 0, 1.05 * float(GAPS.max() + 0.1)  # 0 is near the lowest value, and there is room above
    paths = page.locator(".dg-line").evaluate_all("paths => paths.map((p) => p.getAttribute('d'))")
    clip = page.locator("clipPath rect").evaluate(
        "r => ['x', 'y', 'width', 'height'].map((n) => Number(r.getAttribute(n)))"
    )
    x, y, width, height = clip
    logs = SIGMAS.log()
    for k, d in enumerate(paths):
        drawn_at = points(d)
        across = x + width * (logs - logs[0]) / (logs[-1] - logs[0])
        up = y + height * (1 - (GAPS[1, 0, 0, k].double() - low) / (high - low))
        torch.testing.assert_close(drawn_at.double(), torch.stack([across.double(), up], 1), atol=0.06, rtol=0)
    assert len(paths) == 2
    faint = page.locator(".dg-curve path:not(.dg-line):not(.dg-band)")
    assert faint.count() == 2 * 2  # two lines of each of the two other snapshots
    assert page.locator(".dg-band").count() == 2
    dots = page.locator(".dg-curve circle").evaluate_all(
        "c => c.map((e) => [Number(e.getAttribute('cx')), Number(e.getAttribute('cy'))])"
    )
    assert dots == [pytest.approx(points(d)[4].tolist(), abs=0.06) for d in paths]
    legend = page.locator(".dg-legend").inner_text()
    for k in (0, 1):
        assert f"{float(f'{GAPS[1, 0, 0, k, 4]:.3g}'):g}" in legend


def test_holes_and_a_logarithmic_axis(page):
    y = torch.tensor([1.0, torch.nan, 10.0, 100.0, torch.inf])
    curves = Curves(x=torch.arange(5), y=y, log_y=True, limits=(1, 100), y_label="E", marker="at")
    show(page, Scrubber([Slider("at", [0, 1, 2.5])], curves=[curves]))
    d = page.locator(".dg-line").get_attribute("d")
    assert d.count("M") == 2
    assert d.count("L") == 1
    rect = page.locator("clipPath rect").evaluate("r => ['y', 'height'].map((n) => Number(r.getAttribute(n)))")
    assert points(d)[:, 1].tolist() == pytest.approx([sum(rect), rect[0] + rect[1] / 2, rect[0]], abs=0.06)
    slider(page, "at").press("End")
    drawn(page, [2])
    assert page.locator(".dg-at").inner_text() == "31.6"  # half-way between 10 and 100, as the line is drawn
    slider(page, "at").press("ArrowLeft")
    drawn(page, [1])
    assert page.locator(".dg-at").inner_text() == "–"


def test_by_keyboard(page):
    show(page, scrubber())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.labels[0].textContent") == "images seen"
    page.keyboard.press("Home")
    drawn(page, [0, 2, 0])
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    drawn(page, [0, 3, 0])
    page.keyboard.press("Tab")
    page.keyboard.press("o")  # a menu goes to the entry that begins so
    drawn(page, [0, 3, 2])
    assert slider(page, "noise level σ").get_attribute("aria-valuetext") == f"{SIGMAS[3]:.3g}"
    heard = page.get_by_role("status").inner_text()
    assert heard.startswith(f"images seen 1,000, noise level σ {SIGMAS[3]:.3g}, guide other; training ")
    assert torch.equal(pixels(page, "denoised"), expected("denoised", [0, 3, 2]))
    name = page.get_by_role("img").first.get_attribute("aria-label")
    assert name == "clean"
    assert page.get_by_role("img", name="noisy").get_attribute("aria-label") == f"noisy, noise level σ {SIGMAS[3]:.3g}"
    assert page.evaluate("window.saved") == 3


def test_by_mouse(page):
    show(page, scrubber())
    box = slider(page, "images seen").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    drawn(page, [1, 2, 0])
    page.get_by_role("combobox", name="guide").select_option("same")
    drawn(page, [1, 2, 1])
    plot = page.locator(".dg-curve").bounding_box()
    page.mouse.move(plot["x"] + plot["width"] * 0.95, plot["y"] + 60)
    page.mouse.down()
    drawn(page, [1, 4, 1])
    page.mouse.move(plot["x"] + plot["width"] * 0.15, plot["y"] + 60, steps=4)
    page.mouse.up()
    drawn(page, [1, 0, 1])
    assert torch.equal(pixels(page, "denoised"), expected("denoised", [1, 0, 1]))


def test_on_a_phone_by_finger(chromium):
    with empty_page(chromium, viewport={"width": 360, "height": 740}, is_mobile=True, device_scale_factor=3) as page:
        show(page, scrubber(play="noise level σ"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        box = slider(page, "images seen").bounding_box()
        assert box["width"] > 250
        page.touchscreen.tap(box["x"] + 4, box["y"] + box["height"] / 2)
        drawn(page, [0, 2, 0])
        page.locator(".dg-curve").scroll_into_view_if_needed()
        box = page.locator(".dg-curve").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] - 20, box["y"] + 50)
        drawn(page, [0, 4, 0])
        sizes = "[...document.querySelectorAll('button, select, input')].map((e) => e.offsetHeight)"
        assert min(page.evaluate(sizes)) >= 28
        assert torch.equal(pixels(page, "colour"), expected("colour", [0, 4, 0]))


def test_a_row_wider_than_a_phone_still_fits(chromium):
    with empty_page(chromium, viewport={"width": 360, "height": 740}) as page:
        show(page, Scrubber([Slider("w", [0, 1])], [Images("many", random(2, 14, 1, 28, 28))]))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_play(page):
    show(page, scrubber(play="noise level σ"))
    page.evaluate("window.seen = []; model.on('change:places', () => seen.push(state.places[1]));")
    page.get_by_role("button", name="Play noise level σ").click()
    page.wait_for_function("seen.length === 2")
    page.get_by_role("button", name="Play noise level σ").wait_for()  # it has stopped at the end
    assert page.evaluate("seen") == [3, 4]
    says = "(() => { const b = document.querySelector('button'); b.click(); return [b.textContent, %s]; })()"
    how = "b.nextElementSibling.nextElementSibling.getAttribute('aria-live')"
    twice = page.evaluate(f"[{says % how}, {says % how}]")  # starts again, stops: at once, or it would move in between
    assert twice == [["Pause noise level σ", "off"], ["Play noise level σ", "polite"]]
    page.wait_for_timeout(500)
    assert page.evaluate("seen") == [3, 4, 0]


def test_a_redraw_takes_less_than_a_frame(page):
    rows = [Images(f"row {i}", random(8, 16, 8, 1, 28, 28)) for i in range(2)]
    rows += [Images(f"row {i}", random(16, 8, 1, 28, 28)) for i in range(4)]
    curves = Curves(x=torch.arange(1, 17), y=random(8, 1, 1, 16), marker="at", behind="seen")
    show(page, Scrubber([Slider("seen", range(8)), Slider("at", range(1, 17))], rows, [curves], limit=10_000_000))
    slider(page, "at").focus()
    times = []
    for place in range(1, 12):
        page.keyboard.press("ArrowRight")
        drawn(page, [0, place])
        times.append(float(page.evaluate("document.querySelector('.dg-root').dataset.drawMs")))
    assert min(times) < 16, times  # the rest may have had to wait for other processes


def test_python_and_the_browser_follow_each_other(page):
    widget = scrubber()
    show(page, widget)
    page.evaluate("model.set('places', [0, 1, 2])")  # as a kernel does
    drawn(page, [0, 1, 2])
    assert page.get_by_role("combobox", name="guide").evaluate("menu => menu.selectedOptions[0].textContent") == "other"
    assert torch.equal(pixels(page, "denoised"), expected("denoised", [0, 1, 2]))
    heard = []
    widget.observe(lambda change: heard.append(change.new), "places")
    widget.set_state({"places": [0, 1, 2]})  # as a front end does
    assert heard == [[0, 1, 2]]
    for wrong in ([0, 1], [0, 5, 0], [-1, 0, 0]):
        with pytest.raises(TraitError, match="places"):
            widget.places = wrong
    page.evaluate("undo()")
    page.evaluate("model.set('places', [2, 2, 2])")
    page.wait_for_timeout(100)
    assert page.evaluate("document.querySelector('.dg-root').dataset.places") == "[0,1,2]"


def test_a_slider_of_one_place_is_only_shown(page):
    show(page, Scrubber([Slider("seen", [2048]), Slider("w", [0, 0.5])], [Images("x", random(1, 2, 3, 1, 5, 5))]))
    assert page.locator("input").count() == 1
    assert "2,048" in page.locator(".dg-root").inner_text()


def test_it_keeps_its_colours_and_its_keys(page):
    show(page, scrubber(play="guide"))
    for name, value in (("backgroundColor", "rgb(255, 255, 255)"), ("color", "rgb(26, 26, 26)")):
        assert page.evaluate(f"getComputedStyle(document.querySelector('.dg-root')).{name}") == value
    assert page.locator(".dg-images canvas").first.evaluate("c => getComputedStyle(c).filter") == "none"
    unmarked = (
        "[...document.querySelectorAll('button, input, select')].filter((e) => !e.dataset.lmSuppressShortcuts).length"
    )
    assert page.evaluate(unmarked) == 0
    page.emulate_media(media="print")
    assert not page.locator(".dg-root").is_visible()
