"""How fast the field explorer redraws in headless Chromium: `python benchmarks/widgets.py`.

Targets for 40 points: a redraw on a 64×64 grid in 16 ms, the gap curve of 60 noise levels in 100 ms. Redraws by
the clock, the best of several; the curve, which other work on the machine would interrupt, by the time its thread had a
core.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from diffgen.data.toy import manifold
from diffgen.widgets import FieldExplorer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from test_widgets import run, show  # the stand-in for the widget manager


def measure(page: Page) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of redraws, of gap curves by core time, and of gap curves by the clock."""
    show(page, FieldExplorer(manifold("circle", 40), n=20))
    redraws, clock = [], []
    for k in range(10):
        page.evaluate("(k) => model.set('sigma', 0.5 + k / 30)", k)
        page.wait_for_timeout(200)
        times = page.evaluate("({...document.querySelector('.dg-root').dataset})")
        redraws.append(float(times["fieldMs"]))
        clock.append(float(times["curveMs"]))
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        return {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}["ThreadTime"]

    curves, data = [], manifold("circle", 40)
    script = "Array.from({ length: 5 }, () => gapCurve(v[0], v[1], logSigmas(60, 0.05, 80), 1.6)).length"
    for _ in range(5):
        before = busy()
        run(page, script, data.train.x.double().flatten(), data.val.x.double().flatten())
        curves.append((busy() - before) / 5 * 1000)
    return redraws, curves, clock


if __name__ == "__main__":
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.set_content("<!doctype html><html lang=en><title>widget</title><body></body></html>")
        redraws, curves, clock = measure(page)
        browser.close()
    print("                       best of several   target")
    print(f"redraw                  {min(redraws):9.1f} ms     16 ms")
    print(f"gap curve, core time    {min(curves):9.1f} ms    100 ms")
    print(f"gap curve, by the clock {min(clock):9.1f} ms")
