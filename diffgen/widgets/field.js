// The field explorer: the toy model's flow, its predictions, the 0.5 region and G(σ), recomputed as the reader moves things.
// Joined behind toy.js and ui.js by diffgen/widgets/__init__.py.

const SIZE = 400, HALF = 15, GRID = 64; // canvas in CSS pixels; half the plane's side in data units; places a side
const CURVE = { width: 400, height: 300, left: 46, right: 10, top: 12, bottom: 40, low: 0.05, high: 80, levels: 60 };
const SIGMAS = logSigmas(CURVE.levels, CURVE.low, CURVE.high);
const MAP = { n: 40, rule: normalRule(0.9, 4.05), level: 0.5 }; // the region wants a line, not digits: a coarser rule
const FINE = normalRule();

const axis = (n) => Array.from({ length: n }, (_, i) => HALF * (2 * i / (n - 1) - 1));
const px = (x) => (x + HALF) / (2 * HALF) * SIZE, py = (y) => SIZE - px(y);
const show = (v) => (!Number.isFinite(v) || v > 999 ? "more than 999" : v.toFixed(v < 0.0995 ? 3 : 2));

/** Segments [x0, y0, x1, y1] of the line map = level on the grid X × Y, by marching squares. */
function contour(map, X, Y, level) {
  const segments = [], n = X.length;
  for (let b = 0; b + 1 < Y.length; b++) {
    for (let a = 0; a + 1 < n; a++) {
      const corners = [[a, b], [a + 1, b], [a + 1, b + 1], [a, b + 1]].map(([i, j]) => [X[i], Y[j], map[j * n + i] - level]);
      const cuts = [];
      for (let c = 0; c < 4; c++) {
        const [p, q] = [corners[c], corners[(c + 1) % 4]];
        if (p[2] < 0 === q[2] < 0) continue;
        const t = p[2] / (p[2] - q[2]);
        cuts.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
      }
      for (let c = 0; c + 1 < cuts.length; c += 2) segments.push([...cuts[c], ...cuts[c + 1]]);
    }
  }
  return segments;
}

// ‖D − x‖ as a tint from white to blue, a pixel a place, which the canvas then smooths
function tint(context, field, X) {
  const lengths = new Float64Array(GRID * GRID), image = new ImageData(GRID, GRID);
  for (let k = 0; k < lengths.length; k++) {
    lengths[k] = Math.hypot(field[2 * k] - X[k % GRID], field[2 * k + 1] - X[Math.floor(k / GRID)]);
  }
  const most = lengths.reduce((a, b) => Math.max(a, b), 1e-9);
  for (let k = 0; k < lengths.length; k++) {
    const pixel = 4 * ((GRID - 1 - Math.floor(k / GRID)) * GRID + k % GRID), t = lengths[k] / most;
    image.data.set([255 - 95 * t, 255 - 55 * t, 255 - 15 * t, 255], pixel);
  }
  const small = new OffscreenCanvas(GRID, GRID);
  small.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(small, 0, 0, SIZE, SIZE);
}

function arrowHead(context, x, y, dx, dy) {
  const r = 3.2 / Math.max(1e-9, Math.hypot(dx, dy));
  context.moveTo(x - r * (dx + 0.6 * dy), y - r * (dy - 0.6 * dx));
  context.lineTo(x, y);
  context.lineTo(x - r * (dx - 0.6 * dy), y - r * (dy + 0.6 * dx));
}

// lines along D − x from a grid of starts, or one arrow a start that shows where a ninth of the way leads
function drawFlow(context, points, sigma, delta, guide, asArrows) {
  const starts = axis(asArrows ? 19 : 15), d = [0, 0];
  context.beginPath();
  for (const y0 of starts) {
    for (const x0 of starts) {
      let x = x0, y = y0, dx = 0, dy = 0;
      context.moveTo(px(x), py(y));
      for (let step = 0; step < (asArrows ? 1 : 7); step++) {
        guided(points, x, y, sigma, delta, guide, d);
        dx = d[0] - x; dy = d[1] - y;
        const length = Math.hypot(dx, dy);
        const stride = asArrows ? Math.min(1.4 / Math.max(length, 1e-9), 0.11) : Math.min(0.22 / Math.max(length, 1e-9), 0.5);
        x += stride * dx; y += stride * dy;
        context.lineTo(px(x), py(y));
      }
      arrowHead(context, px(x), py(y), dx, -dy);
    }
  }
  context.strokeStyle = "#3c4a57"; context.lineWidth = 0.9; context.stroke();
}

function drawPredictions(context, field) {
  context.beginPath();
  for (let b = 2; b < GRID; b += 4) {
    for (let a = 2; a < GRID; a += 4) {
      const k = 2 * (b * GRID + a), x = px(field[k]), y = py(field[k + 1]);
      context.moveTo(x - 3, y - 3); context.lineTo(x + 3, y + 3);
      context.moveTo(x - 3, y + 3); context.lineTo(x + 3, y - 3);
    }
  }
  context.strokeStyle = GENERATED; context.lineWidth = 1.2; context.stroke();
}

/** The gap curve as SVG: `draw(gaps, sigma, gap)` after each computation. A pointer on it sets σ. */
function curvePlot(setSigma) {
  const { width, height, left, right, top, bottom, low, high } = CURVE, id = `dg-clip-${++widgetCount}`;
  const cx = (s) => left + Math.log(s / low) / Math.log(high / low) * (width - left - right);
  const line = svg("path", { fill: "none", stroke: TRAIN, "stroke-width": 2.2, "clip-path": `url(#${id})` });
  const mark = svg("line", { y1: top, y2: height - bottom, stroke: VAL, "stroke-width": 1.5, "stroke-dasharray": "4 3" });
  const dot = svg("circle", { r: 5, fill: VAL, stroke: "#fff" }), ticks = svg("g");
  const el = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "dg-curve", role: "img" },
    svg("clipPath", { id }, svg("rect", { x: left, y: top - 3, width: width - left - right, height: height - top - bottom + 6 })),
    ticks, line, mark, dot);
  for (const s of [0.1, 1, 10]) {
    el.append(svg("line", { x1: cx(s), x2: cx(s), y1: top, y2: height - bottom, stroke: "#e5e5e5" }),
      svg("text", { x: cx(s), y: height - bottom + 15, "text-anchor": "middle" }, String(s)));
  }
  el.append(line, mark, dot, svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "noise level σ"));
  const pick = (event) => {
    if (event.type === "pointermove" && event.buttons !== 1) return;
    const box = el.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * width;
    setSigma(low * (high / low) ** Math.min(1, Math.max(0, (x - left) / (width - left - right))));
  };
  for (const type of ["pointerdown", "pointermove"]) el.addEventListener(type, pick);
  const draw = (gaps, sigma, gap) => {
    const peak = Math.max(...gaps.filter((g) => g < 10), 0.1);
    const ceiling = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((t) => t >= peak) ?? 10;
    const cy = (g) => height - bottom - Math.min(g, 2 * ceiling) / ceiling * (height - top - bottom);
    const points = gaps.map((g, i) => `${cx(SIGMAS[i]).toFixed(1)},${cy(Number.isFinite(g) ? g : 2 * ceiling).toFixed(1)}`);
    line.setAttribute("d", `M${points.join("L")}`);
    for (const x of ["x1", "x2"]) mark.setAttribute(x, cx(sigma));
    dot.setAttribute("cx", cx(sigma)); dot.setAttribute("cy", Math.max(top, cy(Number.isFinite(gap) ? gap : 2 * ceiling)));
    ticks.replaceChildren(...[0, 0.5, 1].flatMap((t) => [
      svg("line", { x1: left, x2: width - right, y1: cy(t * ceiling), y2: cy(t * ceiling), stroke: t ? "#e5e5e5" : SOFT }),
      svg("text", { x: left - 6, y: cy(t * ceiling) + 4, "text-anchor": "end" }, String(t * ceiling))]));
  };
  return { el, draw };
}

function render({ model, el }) {
  const view = plane(SIZE, "points in the plane");
  const X = axis(GRID), M = axis(MAP.n);
  let segments = [], handles = [], focus = 0, later = 0;
  const flat = (set) => model.get(set).flat();
  const guide = () => ({ delta: model.get("delta_guide"), weight: model.get("weight") });
  const all = () => [...model.get("train").map((p, i) => ["train", i, p]), ...model.get("val").map((p, i) => ["val", i, p])];
  const toData = ([u, v]) => [u, SIZE - v].map((c) => Math.min(HALF, Math.max(-HALF, c / SIZE * 2 * HALF - HALF)));

  const put = (set, i, place) => assign(model, { [set]: model.get(set).map((p, j) => (j === i ? place : p)) });
  const add = (place) => {
    if (model.get("train").length >= 40) return;
    assign(model, { train: [...model.get("train"), place] });
    choose(model.get("train").length - 1);
  };
  const removeFocused = () => {
    const [set, i] = all()[focus];
    if (model.get(set).length > 1) assign(model, { [set]: model.get(set).filter((_, j) => j !== i) });
    choose(Math.min(focus, all().length - 1));
  };
  const choose = (k) => { focus = k; build(); handles[k]?.focus(); };
  const regenerate = () => {
    const { train, val } = manifold(model.get("manifold"), 2 * model.get("n"));
    focus = 0;
    assign(model, { train, val });
  };

  function build() { // new handles only when there are more or fewer points, so that a drag keeps the element it holds
    const points = all();
    if (handles.length !== points.length || handles.some((e, k) => e.set !== points[k][0])) {
      handles = points.map(([set, i], k) => {
        const shape = set === "train" ? svg("circle", { r: 6, fill: TRAIN, stroke: "#fff", "stroke-width": 1.5 })
          : svg("path", { d: "M0-7L7 0L0 7L-7 0Z", fill: VAL, stroke: "#fff", "stroke-width": 1.5 });
        const made = handle(shape, {
          size: SIZE, name: `${set === "train" ? "training" : "validation"} point ${i + 1}`, toData,
          at: () => model.get(set)[i], step: () => 0.5, move: (place) => put(set, i, place.map((c) => Math.min(HALF, Math.max(-HALF, c)))),
          remove: removeFocused, cycle: (by) => choose((k + by + handles.length) % handles.length),
        });
        made.set = set;
        made.addEventListener("focus", () => { focus = k; build(); });
        return made;
      });
      view.layer.replaceChildren(...handles);
    }
    points.forEach(([, , [x, y]], k) => {
      handles[k].setAttribute("transform", `translate(${px(x)} ${py(y)})`);
      handles[k].setAttribute("tabindex", k === focus ? 0 : -1);
      handles[k].describe(`of ${points.length} points, x ${x.toFixed(1)}, y ${y.toFixed(1)}`);
    });
  }

  function drawField() {
    const began = performance.now(), points = flat("train"), sigma = model.get("sigma"), delta = model.get("delta");
    const field = guidedOnGrid(points, X, X, sigma, delta, guide()), { context } = view;
    tint(context, field, X);
    drawFlow(context, points, sigma, delta, guide(), model.get("flow") === "arrows");
    if (model.get("predictions")) drawPredictions(context, field);
    if (model.get("region")) {
      context.beginPath();
      for (const [x0, y0, x1, y1] of segments) { context.moveTo(px(x0), py(y0)); context.lineTo(px(x1), py(y1)); }
      context.strokeStyle = INK; context.lineWidth = 2.4; context.stroke();
    }
    root.dataset.fieldMs = (performance.now() - began).toFixed(2);
  }

  function computeGap() { // the slower half: G(σ) and the region, right after the field has been drawn
    const began = performance.now(), train = flat("train"), val = flat("val");
    const sigma = model.get("sigma"), delta = model.get("delta");
    const of = (levels) => gapCurve(train, val, levels, delta, FINE, guide());
    const gaps = of(SIGMAS), [gap] = of([sigma]);
    root.dataset.curveMs = (performance.now() - began).toFixed(2);
    segments = model.get("region") ? contour(gapMap(train, M, M, sigma, delta, MAP.rule, guide()), M, M, MAP.level) : [];
    const top = gaps.reduce((best, g, i) => (g > gaps[best] ? i : best), 0);
    curve.draw(gaps, sigma, gap);
    Object.assign(root.dataset, { gap, peakGap: gaps[top], peakSigma: SIGMAS[top], segments: segments.length });
    const text = `G = ${show(gap)} at σ = ${show(sigma)}, with ${train.length / 2} training and ${val.length / 2} validation points`
      + `; largest G on the curve: ${show(gaps[top])} at σ = ${show(SIGMAS[top])}.`;
    status.textContent = text;
    curve.el.setAttribute("aria-label", `The gap against the noise level. ${text}`);
    redraw();
  }

  const redraw = atNextFrame(drawField);
  const changed = () => {
    build();
    for (const control of [...controls, ...steering]) control.update();
    redraw();
    clearTimeout(later);
    later = setTimeout(computeGap, 20);
  };

  const curve = curvePlot((sigma) => assign(model, { sigma }));
  const status = h("p", { class: "dg-status", role: "status" });
  const controls = [
    slider(model, "sigma", "noise level σ", { min: 0.05, max: 80, log: true, show }),
    slider(model, "delta", "model error δ", { min: 0, max: 4, step: 0.05, show: (v) => v.toFixed(2) }),
    slider(model, "n", "points of each kind", { min: 2, max: 20, step: 1, show: String }),
    menu(model, "manifold", "manifold", ["circle", "line", "moons", "spiral", "grid"].map((name) => [name, name])),
    menu(model, "flow", "flow", [["lines", "lines"], ["arrows", "arrows"]]),
    tick(model, "predictions", "predictions (crosses)"),
    tick(model, "region", "region where the gap is below 0.5"),
  ];
  const steering = model.get("guidance") ? [
    slider(model, "weight", "guidance weight w", { min: 0, max: 2, step: 0.05, show: (v) => v.toFixed(2) }),
    slider(model, "delta_guide", "model error of the guide", { min: 0, max: 4, step: 0.05, show: (v) => v.toFixed(2) }),
  ] : [];
  const root = card("Field explorer of the toy model",
    h("div", { class: "dg-panes" },
      h("figure", { class: "dg-pane" }, h("figcaption", {}, "Flow D − x: darker is faster. Circles train, diamonds validate."), view.el),
      h("figure", { class: "dg-pane" }, h("figcaption", {}, "Relative gap G(σ); drag here to set σ."), curve.el)),
    status,
    h("div", { class: "dg-controls" }, ...steering.map((c) => c.el), ...controls.slice(0, 5).map((c) => c.el),
      h("div", { class: "dg-row" }, ...controls.slice(5).map((c) => c.el))),
    h("div", { class: "dg-row", style: "margin-top:.5rem" }, button("Add a training point", () => add([0, 0])),
      button("Remove the selected point", removeFocused), button("Reset", regenerate)),
    h("p", { class: "dg-help" }, "Drag a point, or select one and use the arrow keys (Shift: finely), Page Up and Page Down for the ",
      "next, Delete to remove it. A click on the plane adds a training point there."));
  view.layer.addEventListener("click", (event) => add(toData(pointerPlace(view.layer, event, SIZE))));
  el.append(root);
  for (const { el: control } of controls.slice(2, 4)) control.addEventListener("input", regenerate); // n, manifold: by the reader
  const quiet = listen(model, { "train val sigma delta weight delta_guide n manifold flow predictions region": changed });
  changed();
  return () => { clearTimeout(later); quiet(); };
}

export default { render };
