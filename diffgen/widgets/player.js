// The trajectory player: start points fall along the probability-flow ODE, through the optimal denoiser's field and the
// error-prone one's, side by side. Joined behind toy.js and ui.js by diffgen/widgets/__init__.py.

const SIDE = 320, SPREAD = 2.2, RADIUS = 10; // pane in CSS pixels; half its side in typical distances from the origin
const show = (v) => (v < 0.0995 ? v.toFixed(3) : v < 9.95 ? v.toFixed(2) : v.toFixed(1));

/** Half the side of the plane that is seen at a noise level: the camera follows the data in as the noise falls. */
const half = (sigma) => SPREAD * Math.sqrt(sigma * sigma + (0.68 * RADIUS) ** 2);

function render({ model, el }) {
  const panes = [0, 1].map((k) => plane(SIDE, k ? "paths of the error-prone denoiser" : "start points and paths of the optimal denoiser"));
  let handles = [], focus = 0, paths = [[], []], levels = [], playing = 0;
  const step = () => Math.min(model.get("step"), levels.length - 1);
  const delta = (k) => (k ? model.get("delta") : 0);

  // A start is kept in data units at the first noise level; dropped at a later step, it is where it is seen from there.
  const toStart = ([u, v]) => [u, SIDE - v].map((c) => (c / SIDE * 2 - 1) * half(levels[0]));
  const limit = (place) => place.map((c) => Math.min(half(levels[0]), Math.max(-half(levels[0]), c)));
  const put = (i, place) => assign(model, { starts: model.get("starts").map((p, j) => (j === i ? limit(place) : p)), step: 0 });
  const add = (place) => {
    if (model.get("starts").length >= 60) return;
    assign(model, { starts: [...model.get("starts"), place], step: 0 });
    choose(model.get("starts").length - 1);
  };
  const remove = () => {
    if (!model.get("starts").length) return;
    assign(model, { starts: model.get("starts").filter((_, j) => j !== focus) });
    choose(Math.max(0, focus - 1));
  };
  const choose = (k) => { focus = k; build(); handles[k]?.focus(); };

  function build() {
    const starts = model.get("starts"), h0 = half(levels[0]);
    if (handles.length !== starts.length) {
      handles = starts.map((_, k) => {
        const made = handle(svg("circle", { r: 5, fill: "none", stroke: INK, "stroke-width": 1.5 }), {
          size: SIDE, name: `start point ${k + 1}`, toData: toStart, at: () => model.get("starts")[k], step: () => h0 / 20,
          move: (place) => put(k, place), remove, cycle: (by) => choose((k + by + handles.length) % handles.length),
        });
        made.addEventListener("focus", () => { focus = k; build(); });
        return made;
      });
      panes[0].layer.replaceChildren(...handles);
    }
    starts.forEach(([x, y], k) => {
      handles[k].setAttribute("transform", `translate(${(x / h0 + 1) * SIDE / 2} ${(1 - y / h0) * SIDE / 2})`);
      handles[k].setAttribute("tabindex", k === focus ? 0 : -1);
      handles[k].describe(`of ${starts.length}, x ${x.toFixed(0)}, y ${y.toFixed(0)}`);
    });
    panes[0].layer.classList.toggle("dg-started", step() > 0);
  }

  function compute() {
    const points = model.get("train").flat(), began = performance.now();
    levels = edmSigmas(model.get("steps"));
    paths = [0, 1].map((k) => model.get("starts").map(([x, y]) => fall(points, x, y, levels, delta(k))));
    root.dataset.fallMs = (performance.now() - began).toFixed(2);
    root.dataset.ends = JSON.stringify(paths.map((pane) => pane.map((p) => Array.from(p.slice(-2)))));
  }

  function draw() {
    const now = step(), sigma = levels[now], scale = SIDE / 2 / half(sigma);
    const u = (x) => SIDE / 2 + scale * x, v = (y) => SIDE / 2 - scale * y;
    panes.forEach(({ context }, k) => {
      context.fillStyle = "#fff"; context.fillRect(0, 0, SIDE, SIDE);
      context.beginPath(); // a circle of one σ around each training point: where the noisy training data are
      for (const [x, y] of model.get("train")) {
        context.moveTo(u(x) + scale * sigma, v(y));
        context.arc(u(x), v(y), scale * sigma, 0, 7);
      }
      context.strokeStyle = "#b9d4e5"; context.lineWidth = 1; context.stroke();
      context.beginPath();
      for (const path of paths[k]) {
        for (let i = 0; i <= now; i++) context[i ? "lineTo" : "moveTo"](u(path[2 * i]), v(path[2 * i + 1]));
      }
      context.strokeStyle = "#8fa39b"; context.lineWidth = 0.9; context.stroke();
      dots(context, model.get("train"), u, v, TRAIN, 3.5);
      dots(context, paths[k].map((p) => [p[2 * now], p[2 * now + 1]]), u, v, GENERATED, 4.5);
    });
    const nearest = paths.map((pane) => mean(pane.map((p) => distance(model.get("train"), p[2 * now], p[2 * now + 1]))));
    captions[1].textContent = `error-prone, δ = ${model.get("delta").toFixed(2)}`;
    clock.textContent = `σ = ${show(sigma)}`;
    slide.max = levels.length - 1; slide.value = now; // in this order: a value above max is cut
    slide.setAttribute("aria-valuetext", `sigma ${show(sigma)}, step ${now} of ${levels.length - 1}`);
    status.textContent = paths[0].length ? `Mean distance to the nearest training point: ${show(nearest[0])} with the optimal `
      + `denoiser, ${show(nearest[1])} with the error-prone one.` : "No start points: click into the first pane, or press Add.";
    Object.assign(root.dataset, { step: now, sigma, nearest: JSON.stringify(nearest) });
  }

  function dots(context, places, u, v, color, r) {
    context.beginPath();
    for (const [x, y] of places) { context.moveTo(u(x) + r, v(y)); context.arc(u(x), v(y), r, 0, 7); }
    context.fillStyle = color; context.fill();
    context.strokeStyle = "#fff"; context.lineWidth = 1; context.stroke();
  }

  function play() { // one step every 60 ms, from the start again if it is at the end; a second press stops
    clearInterval(playing);
    if (playing) { playing = 0; toggle.textContent = "Play"; return; }
    if (step() === levels.length - 1) assign(model, { step: 0 });
    toggle.textContent = "Pause";
    playing = setInterval(() => {
      if (step() < levels.length - 1) assign(model, { step: step() + 1 });
      if (step() === levels.length - 1 && playing) play();
    }, 60);
  }

  const id = `dg-step-${++widgetCount}`;
  const slide = h("input", { type: "range", id, min: 0, step: 1, oninput: () => assign(model, { step: Number(slide.value) }) });
  const clock = h("span", { class: "dg-value", "aria-hidden": "true" }), status = h("p", { class: "dg-status", role: "status" });
  const toggle = button("Play", play);
  const captions = ["optimal, δ = 0", ""].map((text) => h("figcaption", {}, text));
  const error = slider(model, "delta", "model error δ", { min: 0, max: 4, step: 0.05, show: (x) => x.toFixed(2) });
  const root = card("Trajectory player of the toy model",
    h("div", { class: "dg-panes" }, ...panes.map((pane, k) => h("figure", { class: "dg-pane" }, captions[k], pane.el))),
    status,
    h("div", { class: "dg-controls" },
      h("div", { class: "dg-slider" }, h("label", { for: id }, "time (noise to data)"), slide, clock), error.el),
    h("div", { class: "dg-row", style: "margin-top:.5rem" }, toggle, button("Add a start point", () => add([half(levels[0]) / 2, 0])),
      button("Remove the selected start", remove), button("Remove all", () => { focus = 0; assign(model, { starts: [], step: 0 }); })),
    h("p", { class: "dg-help" }, "A click into the first pane drops a start point at σ = 80; rewind to drag it, or to select it and use the arrow keys. The pale ",
      "circles have radius σ around each training point: there lie the inputs of training. The view narrows as σ falls."));
  panes[0].layer.addEventListener("click", (event) => add(toStart(pointerPlace(panes[0].layer, event, SIDE))));
  panes[1].layer.setAttribute("aria-hidden", "true");
  el.append(root);
  const redraw = atNextFrame(draw);
  const recompute = () => { compute(); build(); error.update(); redraw(); };
  const quiet = listen(model, { "train starts delta steps": recompute, step: () => { build(); redraw(); } });
  recompute();
  return () => { clearInterval(playing); quiet(); };
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / Math.max(1, values.length);
const distance = (points, x, y) => Math.min(...points.map(([a, b]) => Math.hypot(x - a, y - b)));

export default { render };
