"""The widgets in headless Chromium: equal to torch, and driven by mouse, keyboard and finger.

One file, longer than most, so that one browser serves all of it.
"""

import json
from importlib.resources import files

import pytest
import torch
from host import empty_page, mount
from traitlets import TraitError

from diffgen.data.toy import manifold
from diffgen.metrics.toy import expected_error, expected_gap, gap_map
from diffgen.optimal import ErrorProne, OptimalDenoiser
from diffgen.sampling import trajectory
from diffgen.schedule import edm_sigmas
from diffgen.widgets import FieldExplorer, TrajectoryPlayer

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium):
    with empty_page(chromium) as page:
        yield page


def show(page, widget, **state):
    """Render a widget in the page and wait until it has computed."""
    shown = mount(page, widget, **state)
    page.wait_for_function("document.querySelector('.dg-root').dataset." + ("peakGap" if "val" in shown else "ends"))


def settled(page):
    """Wait for the slower half of a redraw."""
    page.wait_for_timeout(400)
    return page.evaluate("({...document.querySelector('.dg-root').dataset})")


def run(page, expression, *values):
    """Evaluate an expression in which toy.js is at hand and the values are v[0], v[1], …"""
    source = (files("diffgen.widgets") / "toy.js").read_text(encoding="utf-8")
    plain = [value.tolist() if isinstance(value, torch.Tensor) else value for value in values]
    return page.evaluate(f"(v) => {{ {source}\nreturn {expression}; }}", plain)


# --- the same numbers as torch -------------------------------------------------------------------------------------


@pytest.fixture(params=["circle", "moons", "grid"])
def data(request):
    return manifold(request.param, 20)


def close(measured, expected, scale=None):
    """Equal to 1e-6, relative to each number or, for coordinates, to the extent of the data."""
    measured = torch.tensor(measured, dtype=torch.float64)
    torch.testing.assert_close(measured, expected.double(), rtol=1e-6, atol=1e-6 * scale if scale else 1e-12)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.1, 6.0, 80.0])
@pytest.mark.parametrize("delta", [0.0, 0.4, 2.2])
def test_denoisers_equal_torch(page, data, sigma, delta):
    x = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 8
    points = data.train.x.double()
    at_each = "v[1].map(([x, y]) => { const d = [0, 0]; %s; return d; })"
    optimal = run(page, at_each % "optimal(v[0], x, y, v[2], d)", points.flatten(), x, sigma)
    close(optimal, OptimalDenoiser(points)(x, torch.tensor(sigma)), scale=10)
    prone = run(page, at_each % "errorProne(v[0], x, y, v[2], v[3], d)", points.flatten(), x, sigma, delta)
    close(prone, ErrorProne(points, delta)(x, torch.tensor(sigma)), scale=10)
    axis = torch.linspace(-15, 15, 24, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis).flip(1)
    field = run(
        page, "Array.from(errorProneOnGrid(v[0], v[1], v[1], v[2], v[3]))", points.flatten(), axis, sigma, delta
    )
    close(field, ErrorProne(points, delta)(grid, torch.tensor(sigma)).flatten(), scale=10)


@pytest.mark.parametrize("delta", [0.0, 0.4, 1.2, 2.2])
def test_gap_equals_torch(page, data, delta):
    train, val = data.train.x.double(), data.val.x.double()
    sigmas = torch.tensor([0.002, 0.05, 0.3, 0.8, 1.18, 2.8, 10, 80], dtype=torch.float64)
    denoiser = ErrorProne(train, delta)
    means = run(page, "v[2].map((s) => [v[0], v[1]].map((y) => meanError(v[0], y, s, v[3], normalRule())))",
                train.flatten(), val.flatten(), sigmas, delta)  # fmt: skip
    expected = torch.stack([expected_error(denoiser, y, sigmas).mean(1) for y in (train, val)], 1)
    close(means, expected)
    gaps = torch.tensor(run(page, "gapCurve(v[0], v[1], v[2], v[3])", train.flatten(), val.flatten(), sigmas, delta))
    relative = (gaps + 1) / (expected_gap(denoiser, train, val, sigmas).gap + 1) - 1
    visible = expected[:, 0] > 1e-9  # below, an optimal denoiser's training error is rounding: 0 / 0
    assert relative[visible].abs().max() < 1e-6


def test_gap_map_equals_torch(page):
    data = manifold("circle", 20)
    axis = torch.linspace(-15, 15, 7, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis).flip(1)
    flat = data.train.x.double().flatten()
    measured = run(page, "Array.from(gapMap(v[0], v[1], v[1], 1.1, 1.6, normalRule(0.9, 4.05)))", flat, axis)
    expected = gap_map(ErrorProne(data.train.x, 1.6), data.train.x, places, 1.1, spacing=0.9, reach=4.05)
    close(measured, expected)


@pytest.mark.parametrize("delta", [0.0, 1.6])
def test_trajectories_equal_torch(page, delta):
    points, sigmas = manifold("circle", 20).train.x.double(), edm_sigmas(64, dtype=torch.float64)
    starts = 80 * torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    levels = run(page, "edmSigmas(64)")
    close(levels, sigmas)
    paths = run(
        page, "v[1].map(([x, y]) => Array.from(fall(v[0], x, y, edmSigmas(64), v[2])))", points.flatten(), starts, delta
    )
    states = torch.stack([state.x for state in trajectory(ErrorProne(points, delta), starts, sigmas)], 1)
    close(paths, states.flatten(1), scale=10)


@pytest.mark.parametrize("name", ["circle", "line", "moons", "spiral", "grid"])
@pytest.mark.parametrize("n", [5, 20, 36])
def test_manifolds_equal_torch(page, name, n):
    measured, expected = run(page, "manifold(v[0], v[1])", name, n), manifold(name, n)
    for part in ("train", "val"):
        close(measured[part], getattr(expected, part).x, scale=10)


# --- driven by mouse, keyboard and finger --------------------------------------------------------------------------


def test_field_explorer_by_mouse(page):
    show(page, FieldExplorer())
    first = settled(page)
    point = page.get_by_role("button", name="training point 1 ").first
    box = point.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y + 40, steps=5)
    page.mouse.up()
    moved = settled(page)
    assert moved["gap"] != first["gap"]
    assert page.evaluate("state.train[0]") != pytest.approx(manifold("circle", 20).train.x[0].tolist(), abs=1)
    plane = page.locator(".dg-plane svg").bounding_box()
    page.mouse.click(plane["x"] + plane["width"] / 2, plane["y"] + plane["height"] / 2)
    assert page.evaluate("state.train.length") == 11
    assert page.evaluate("state.train[10]") == pytest.approx([0, 0], abs=0.2)
    curve = page.locator(".dg-curve").bounding_box()
    page.mouse.click(curve["x"] + curve["width"] * 0.75, curve["y"] + curve["height"] / 2)
    assert page.evaluate("state.sigma") > 5
    page.get_by_label("manifold").select_option("spiral")
    assert len(page.evaluate("state.train")) == 10
    assert settled(page)["gap"] != moved["gap"]


def test_field_explorer_by_keyboard(page):
    show(page, FieldExplorer())
    before = settled(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("training point 1 of 20")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    x, y = manifold("circle", 20).train.x[0].tolist()
    assert page.evaluate("state.train[0]") == pytest.approx([x - 0.5, y + 0.05], abs=1e-5)
    page.keyboard.press("PageDown")
    page.keyboard.press("Delete")
    assert page.evaluate("state.train.length") == 9
    page.get_by_label("noise level σ").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("state.sigma") > 1.1
    assert settled(page)["gap"] != before["gap"]
    page.get_by_role("button", name="Add a training point").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("training point 10 of 20")
    for name in ("sigma", "delta", "n"):  # each slider says its value in words
        assert page.locator(f"input[id^=dg-{name}]").get_attribute("aria-valuetext")
    status = page.get_by_role("status").inner_text()
    assert status.startswith("G = ")


def test_field_explorer_follows_python(page):
    """What a kernel sets arrives, and the view's listeners end with it."""
    widget = FieldExplorer(delta=2.2, sigma=1.18)
    show(page, widget)
    gap = float(settled(page)["gap"])
    assert gap == pytest.approx(float(widget.gap([1.18]).gap[0]), rel=1e-6)
    page.evaluate("model.set('delta', 1.2)")
    widget.delta = 1.2
    assert float(settled(page)["gap"]) == pytest.approx(float(widget.gap([1.18]).gap[0]), rel=1e-6)
    assert page.get_by_label("model error δ").input_value() == "1.2"
    page.evaluate("model.set('n', 5)")  # moves the slider, but keeps the points, which Python may have set with it
    assert page.get_by_label("points of each kind").input_value() == "5"
    assert page.evaluate("state.train") == widget.train
    shown = settled(page)
    page.evaluate("undo()")
    page.evaluate("model.set('delta', 3)")
    assert settled(page) == shown


def test_python_follows_the_browser():
    """What a front end sends (ipywidgets' own protocol) arrives in the traits, and only what they allow."""
    widget = FieldExplorer()
    heard = []
    widget.observe(lambda change: heard.append(change.new), "sigma")
    widget.set_state({"sigma": 2.0, "train": [[1.0, 2.0], [3.0, 4.0]]})
    assert heard == [2.0]
    assert widget.denoiser().optimal.points.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(TraitError, match="manifold"):
        widget.manifold = "torus"


def test_trajectory_player_by_mouse(page):
    player = TrajectoryPlayer()
    show(page, player, starts=[])
    plane = page.locator(".dg-plane").first.bounding_box()
    page.mouse.click(plane["x"] + plane["width"] * 0.8, plane["y"] + plane["height"] * 0.5)
    assert len(page.evaluate("state.starts")) == 1
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('.dg-root').dataset.step === '64'", timeout=20_000)
    ends = json.loads(settled(page)["ends"])
    points = torch.tensor(player.train, dtype=torch.float64)
    distances = [float((points - torch.tensor(end[0], dtype=torch.float64)).norm(dim=1).min()) for end in ends]
    assert distances[0] < 0.05 < distances[1]  # the optimal denoiser copies, the error-prone one does not
    page.wait_for_function("[...document.querySelectorAll('button')].some((b) => b.textContent === 'Play')")


def test_trajectory_player_by_keyboard(page):
    show(page, TrajectoryPlayer())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("start point 1 of 20")
    start = page.evaluate("state.starts[0]")
    ends = settled(page)["ends"]
    page.keyboard.press("ArrowRight")
    assert page.evaluate("state.starts[0][0]") > start[0] + 5
    assert settled(page)["ends"] != ends
    page.get_by_label("time (noise to data)").focus()
    page.keyboard.press("End")
    assert settled(page)["step"] == "64"
    page.get_by_role("button", name="Remove the selected start").focus()
    page.keyboard.press("Enter")
    assert len(page.evaluate("state.starts")) == 19


def test_trajectory_player_follows_python(page):
    """More steps lengthen the time slider before it is set: it would cut a step above its old length."""
    show(page, TrajectoryPlayer(steps=16))
    page.evaluate("model.set('steps', 128)")
    page.evaluate("model.set('step', 120)")
    assert settled(page)["step"] == page.get_by_label("time (noise to data)").input_value() == "120"


@pytest.mark.parametrize("widget", [FieldExplorer, TrajectoryPlayer])
def test_on_a_phone_by_finger(page, widget):
    page.set_viewport_size({"width": 390, "height": 844})
    show(page, widget())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    plane = page.locator(".dg-plane").first.bounding_box()
    name = "train" if widget is FieldExplorer else "starts"
    before = page.evaluate(f"state.{name}.length")
    page.touchscreen.tap(plane["x"] + plane["width"] * 0.9, plane["y"] + plane["height"] * 0.1)
    assert page.evaluate(f"state.{name}.length") == before + 1
    smallest = page.evaluate("Math.min(...[...document.querySelectorAll('button')].map((b) => b.offsetHeight))")
    assert smallest >= 32


@pytest.mark.parametrize("widget", [FieldExplorer, TrajectoryPlayer])
def test_everything_has_a_name(page, widget):
    """Every control has an accessible name, and text keeps a contrast of at least 4.5 on the widget's ground."""
    show(page, widget())
    nameless = page.evaluate("""[...document.querySelectorAll('button, input, select, [role=button], [role=img]')]
        .filter((e) => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).length""")
    assert nameless == 0
    assert page.evaluate("getComputedStyle(document.querySelector('.dg-root')).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="print")
    assert not page.locator(".dg-root").is_visible()


@pytest.mark.parametrize("widget", [FieldExplorer, TrajectoryPlayer])
def test_jupyterlab_leaves_the_keys(page, widget):
    """JupyterLab's shortcuts (arrows, D D, B) skip a control only if it bears this mark itself, not its ancestor."""
    show(page, widget())
    unmarked = "[...document.querySelectorAll('%s')].filter((e) => !e.dataset.lmSuppressShortcuts).length"
    assert page.evaluate(unmarked % "button, input, select, a, [tabindex]") == 0
