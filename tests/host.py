"""A stand-in for the front end of a notebook: shows one widget on an empty page, from its traits, without a kernel."""

import contextlib

from anywidget import AnyWidget

# The model of anywidget's interface, as on a static page. What a kernel would set is set with `model.set`.
HOST = """
async ([source, css, state]) => {
  document.body.replaceChildren(Object.assign(document.createElement("style"), { textContent: css }));
  const heard = {};
  const model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; (heard[`change:${name}`] ?? []).forEach((f) => f()); },
    save_changes: () => { window.saved = (window.saved ?? 0) + 1; },
    on: (event, f) => { (heard[event] ??= []).push(f); },
    off: (event, f) => { heard[event] = (heard[event] ?? []).filter((g) => g !== f); },
  };
  window.state = state; window.model = model;
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const el = document.createElement("main");
  document.body.append(el);
  window.undo = module.default.render({ model, el });
}
"""
EMPTY = """<!doctype html><html lang=en><title>widget</title>
<meta name=viewport content="width=device-width"><body></body></html>"""


@contextlib.contextmanager
def empty_page(chromium, **view):
    """An empty page that fails the test if a script on it raises or asks for anything from the network."""
    context = chromium.new_context(**{"viewport": {"width": 1000, "height": 900}, "has_touch": True, **view})
    context.set_default_timeout(120_000)  # a machine that trains on the side is slow, not wrong
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("blob:", "about:")) or wrong.append(request.url))
    page.set_content(EMPTY)
    yield page
    context.close()
    assert not wrong


def mount(page, widget, **state):
    """Render a widget in the page from its own traits, as a static page does, other values in their place."""
    own = set(widget.trait_names(sync=True)) - set(AnyWidget.class_trait_names()) - {"_esm", "_css", "_anywidget_id"}
    keep = {name: getattr(widget, name) for name in own} | state
    page.evaluate(HOST, [widget._esm, widget._css, keep])
    return keep
