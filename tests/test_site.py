"""The built site in headless Chromium, the network blocked: no error, no failed request, nothing from elsewhere."""

import contextlib
import functools
import http.server
import re
import threading

import pytest
from conftest import ROOT

from diffgen import book

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("smoke book")]  # executed once, in one process
VIEWS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def watched(chromium, address, **view):
    """A page, and the list of what goes wrong on it."""
    context, wrong = chromium.new_context(**view), []
    page = context.new_page()

    def route(request_route):
        if request_route.request.url.startswith((address, "data:", "blob:")):
            request_route.continue_()
        else:
            wrong.append(f"asks for {request_route.request.url}")
            request_route.abort()

    page.route("**/*", route)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("response", lambda response: wrong.append(f"{response.status} {response.url}") if not response.ok else None)
    yield page, wrong
    context.close()


def visit(page, url):
    """Open a page and wait until its widgets are there."""
    page.goto(url, wait_until="networkidle")
    if page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count():
        page.wait_for_selector(".cell_output :is(canvas, svg, input)", timeout=60_000)
    page.wait_for_timeout(200)


def test_second_build_does_nothing(site, smoke_book):
    shown = smoke_book.build().stdout
    assert shown.count("up to date") == len(book.chapters(ROOT)) + 1, shown


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_without_an_error_and_fits(site, address, chromium, view):
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if "_static" not in path.parts)
    assert len(pages) >= len(book.chapters(ROOT)) + 4
    problems = []
    with watched(chromium, address, **VIEWS[view]) as (page, wrong):
        for name in pages:
            wrong.clear()
            visit(page, address + name)
            width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            wrong += [f"{width} pixels wider than the screen"] if width > 0 else []
            wrong += ["a formula was not set"] * page.locator("mjx-merror").count()
            broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 99))"
            wrong += [f"broken image {source}" for source in page.evaluate(broken)]
            problems += [f"{name}: {text}" for text in wrong]
    assert problems == []


def test_dark_mode_is_dark(address, chromium):
    with watched(chromium, address, **VIEWS["dark"]) as (page, _):
        visit(page, address + "chapters/index.html")
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", color)[:3])) < 60


def test_landing_page_shows_the_main_figure_and_all_claims(address, chromium, smoke_book):
    with watched(chromium, address, **VIEWS["desktop"]) as (page, _):
        visit(page, address + "chapters/index.html")
        shown = page.locator("table.claims tbody tr td:first-child").all_inner_texts()
        assert sorted(shown) == sorted(claim.id for claim in smoke_book.claims())
        assert shown
        figure = page.locator("figure img").first
        assert figure.evaluate("image => image.naturalWidth") > 300
        assert figure.get_attribute("alt")


def test_sliders_move_and_their_numbers_change(site, address, chromium):
    """Without a kernel: every slider on every chapter changes what its widget says."""
    moved = 0
    for path in sorted(site.glob("chapters/0*.html")):
        with watched(chromium, address, **VIEWS["desktop"]) as (page, wrong):
            visit(page, address + f"chapters/{path.name}")
            for slider in page.locator(".cell_output input[type=range]:visible").all():
                widget = slider.locator("xpath=ancestor::*[contains(@class, 'cell_output')]")
                before = widget.inner_text()
                slider.focus()
                for _ in range(3):
                    slider.press("ArrowLeft" if slider.input_value() == slider.get_attribute("max") else "ArrowRight")
                page.wait_for_timeout(500)
                assert widget.inner_text() != before, f"{path.name}: a slider changes nothing that can be read"
                moved += 1
            assert wrong == []
    assert moved, "the toy model's chapter has a live widget"


def redrawn(page, widget, before, seconds=5):
    """Whether the widget comes to look otherwise; a busy machine takes its time."""
    for _ in range(10 * seconds):
        if widget.evaluate(DRAWN) != before:
            return True
        page.wait_for_timeout(100)
    return False


DRAWN = "w => w.innerHTML + [...w.querySelectorAll('canvas')].map(canvas => canvas.toDataURL()).join()"


def test_menus_choose_what_is_drawn(site, address, chromium):
    """Without a kernel: every other choice of every menu redraws its widget."""
    chosen = {}
    for path in sorted(site.glob("chapters/0*.html")):
        with watched(chromium, address, **VIEWS["desktop"]) as (page, wrong):
            visit(page, address + f"chapters/{path.name}")
            for menu in page.locator(".cell_output select:visible").all():
                widget = menu.locator("xpath=ancestor::*[contains(@class, 'cell_output')]")
                options = [option.get_attribute("value") for option in menu.locator("option").all()]
                for k, value in enumerate(options):
                    if value == menu.input_value():
                        continue
                    before = widget.evaluate(DRAWN)
                    menu.select_option(index=k)  # a value may be another's label
                    assert redrawn(page, widget, before), f"{path.name}: {value} looks like what was there"
                chosen[path.stem] = chosen.get(path.stem, 0) + (len(options) > 1)
            assert wrong == []
    assert chosen.get("04_scaling_factors", 0) >= 3, "training images, width, network"


def test_weights_of_guidance_change_samples_and_gap(site, address, chromium):
    """Chapter 5, without a kernel: a weight and a kind of guidance for fixed noise; and the toy model, live."""
    with watched(chromium, address, **VIEWS["desktop"]) as (page, wrong):
        visit(page, address + "chapters/05_guidance.html")
        scrubber = page.locator(".dg-root[aria-label='Samples and gap against the guidance weight']")
        scrubber.scroll_into_view_if_needed()
        pixels = "root => [...root.querySelectorAll('canvas')].map((c) => c.toDataURL()).join()"
        lines = "root => [...root.querySelectorAll('.dg-line')].map((p) => p.getAttribute('d')).join()"
        slider = scrubber.get_by_role("slider", name="weight w")
        slider.focus()
        slider.press("Home")
        page.wait_for_timeout(300)
        start = scrubber.evaluate(pixels), scrubber.evaluate(lines)
        slider.press("End")
        page.wait_for_timeout(300)
        end = scrubber.evaluate(pixels), scrubber.evaluate(lines)
        assert end[0] != start[0]
        scrubber.get_by_label("guidance", exact=True).select_option("classifier-free")
        page.wait_for_timeout(300)
        other = scrubber.evaluate(pixels), scrubber.evaluate(lines)
        assert other[0] != end[0]
        assert other[1] != end[1]
        toy = page.locator(".dg-root[aria-label='Field explorer of the toy model']")
        before = toy.get_by_role("status").inner_text()
        toy.get_by_label("guidance weight w").focus()
        page.keyboard.press("End")
        page.wait_for_timeout(600)
        assert toy.get_by_role("status").inner_text() != before
        assert wrong == []
