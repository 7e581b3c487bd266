// What the widgets share: elements, labelled sliders, colours, a camera, draggable points. Needs toy.js before it.

const INK = "#1a1a1a", SOFT = "#767676", TRAIN = "#0072b2", VAL = "#d55e00", GENERATED = "#009e73";
const SVG = "http://www.w3.org/2000/svg";
let widgetCount = 0; // ids must be unique on a page with several widgets
// JupyterLab must not take arrows, Delete or letters for commands on cells. Its shortcuts match the focused element before
// it looks further up, so every control needs this itself: on the widget's outermost element it comes too late.
const KEEPS_KEYS = "data-lm-suppress-shortcuts";

/** An HTML element with attributes and children; "on…" attributes are listeners. */
function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, likewise. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(el, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (value !== null) el.setAttribute(name, value);
  }
  el.append(...children);
  return el;
}

/**
 * A labelled slider bound to a trait. `scale` turns the slider's number into the trait's and back (log for σ), `show`
 * formats it for eyes and, through aria-valuetext, for screen readers.
 */
function slider(model, trait, label, { min, max, step, show, log = false }) {
  const id = `dg-${trait}-${++widgetCount}`;
  const to = log ? Math.exp : Number, from = log ? Math.log : Number;
  const input = h("input", { type: "range", id, min: from(min), max: from(max), step: log ? (from(max) - from(min)) / 200 : step });
  const output = h("span", { class: "dg-value", "aria-hidden": "true" }); // the slider itself says it to screen readers
  const update = () => {
    const value = model.get(trait);
    input.value = from(value);
    output.textContent = show(value);
    input.setAttribute("aria-valuetext", show(value));
  };
  input.addEventListener("input", () => assign(model, { [trait]: to(Number(input.value)) }));
  update();
  return { el: h("div", { class: "dg-slider" }, h("label", { for: id }, label), input, output), update };
}

/** A labelled menu bound to a trait. */
function menu(model, trait, label, options) {
  const id = `dg-${trait}-${++widgetCount}`;
  const select = h("select", { id, oninput: () => assign(model, { [trait]: select.value }) },
    ...options.map(([value, text]) => h("option", { value }, text)));
  const update = () => { select.value = model.get(trait); };
  update();
  return { el: h("div", { class: "dg-menu" }, h("label", { for: id }, label), select), update };
}

/** A labelled box to tick, bound to a trait. */
function tick(model, trait, label) {
  const input = h("input", { type: "checkbox", onchange: () => assign(model, { [trait]: input.checked }) });
  const update = () => { input.checked = model.get(trait); };
  update();
  return { el: h("label", { class: "dg-tick" }, input, label), update };
}

/** The widget's outermost element. */
function card(label, ...children) {
  const root = h("section", { class: "dg-root", "aria-label": label }, ...children);
  for (const control of root.querySelectorAll("input, select, button")) control.setAttribute(KEEPS_KEYS, "true");
  return root;
}

function button(label, onclick) {
  return h("button", { type: "button", onclick }, label);
}

/** Set traits, here and, where there is a kernel, there. */
function assign(model, traits) {
  for (const [name, value] of Object.entries(traits)) model.set(name, value);
  model.save_changes();
}

/** Call `work` once before the next frame, however often it is asked for. */
function atNextFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; work(); });
  };
}

/** Listen to traits; returns what undoes it. */
function listen(model, handlers) {
  const pairs = Object.entries(handlers).flatMap(([names, f]) => names.split(" ").map((name) => [`change:${name}`, f]));
  for (const [event, f] of pairs) model.on(event, f);
  return () => { for (const [event, f] of pairs) model.off(event, f); };
}

/** A square canvas of `size` CSS pixels, sharp on dense screens, with a layer of SVG on it in the same coordinates. */
function plane(size, label) {
  const dense = Math.min(2, window.devicePixelRatio || 1);
  const canvas = h("canvas", { width: size * dense, height: size * dense, "aria-hidden": "true" });
  const layer = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": label });
  const context = canvas.getContext("2d");
  context.scale(dense, dense);
  return { el: h("div", { class: "dg-plane" }, canvas, layer), canvas, layer, context };
}

/** Where in the viewBox of an SVG element a pointer is. */
function pointerPlace(layer, event, size) {
  const box = layer.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * size, (event.clientY - box.top) / box.height * size];
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * A point that can be dragged with a pointer and moved with the arrow keys (Shift: finely); PageUp and PageDown go to
 * the next point, Delete removes it. It is a button to screen readers, and has a halo wide enough for a finger.
 */
function handle(shape, { size, name, toData, at, step, move, remove, cycle }) {
  const halo = svg("circle", { r: 15, fill: "transparent" });
  const el = svg("g", { class: "dg-handle", role: "button", "aria-roledescription": "movable point", tabindex: -1 }, halo, shape);
  el.setAttribute(KEEPS_KEYS, "true");
  let dragging = false;
  el.addEventListener("pointerdown", (event) => {
    el.setPointerCapture(event.pointerId);
    dragging = true;
    el.focus();
    event.preventDefault();
  });
  el.addEventListener("pointermove", (event) => {
    if (dragging) move(toData(pointerPlace(el.ownerSVGElement, event, size)));
  });
  for (const end of ["pointerup", "pointercancel"]) el.addEventListener(end, () => { dragging = false; });
  el.addEventListener("click", (event) => event.stopPropagation()); // not a click on the plane, which adds a point
  el.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key], [x, y] = at();
    if (arrow) move([x + arrow[0] * step() * (event.shiftKey ? 0.1 : 1), y + arrow[1] * step() * (event.shiftKey ? 0.1 : 1)]);
    else if (event.key === "Delete" || event.key === "Backspace") remove();
    else if (event.key === "PageDown") cycle(1);
    else if (event.key === "PageUp") cycle(-1);
    else return;
    event.preventDefault();
  });
  el.describe = (text) => el.setAttribute("aria-label", `${name} ${text}`);
  return el;
}
