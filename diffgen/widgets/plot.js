// Lines over an axis, as SVG at the size it is shown in, so that text keeps its size on a phone. Needs ui.js before it.

const MARGIN = { left: 44, right: 12, top: 8, bottom: 38 };
const LINES = [TRAIN, VAL, GENERATED, SOFT];

/** A number for eyes: three digits, without an exponent where that's short. */
function brief(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** Places of the ticks between low and high: decades and what divides them, or steps of 1, 2 or 5. */
function tickPlaces(low, high, log, wanted) {
  const inside = (values) => values.filter((v) => v >= low * (low > 0 ? 0.999999 : 1.000001) && v <= high * 1.000001);
  if (log) {
    const decades = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) decades.push(e);
    for (const parts of [[1, 2, 5], [1, 3], [1]]) {
      const found = inside(decades.flatMap((e) => parts.map((p) => p * 10 ** e)));
      if (found.length <= wanted) return found;
    }
    const every = Math.ceil(decades.length / wanted);
    return inside(decades.filter((e) => e % every === 0).map((e) => 10 ** e));
  }
  const raw = (high - low) / wanted, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

const tickLabel = (v) => (v >= 1e6 ? `${brief(v / 1e6)}M` : v >= 1e4 ? `${brief(v / 1e3)}k` : brief(Math.abs(v) < 1e-12 ? 0 : v));

/** Least and greatest of the numbers given, widened where there is none or one. */
function extent(values, log) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (v !== null && (!log || v > 0)) { low = Math.min(low, v); high = Math.max(high, v); }
  if (low > high) return log ? [1, 10] : [0, 1];
  if (low === high) return log ? [low / 2, high * 2] : [low - 1, high + 1];
  return [low, high];
}

/** y limits that hold everything, with room at the ends; 0 is in where it's near. */
function roomy(values, log) {
  let [low, high] = extent(values, log);
  if (log) return [low / (high / low) ** 0.05, high * (high / low) ** 0.05];
  if (low > 0 && low < high / 2) low = 0;
  const room = 0.05 * (high - low);
  return [low === 0 ? 0 : low - room, high + room];
}

/** The value at `at` of the line through (x, y), as it is drawn: straight between its points in axis coordinates. */
function valueAt(x, y, at, logX, logY) {
  const same = x.findIndex((v) => Math.abs(v - at) <= 1e-4 * Math.abs(v)); // x has been rounded
  if (same >= 0) return y[same];
  const i = x.findIndex((v) => v > at);
  if (i <= 0 || y[i] === null || y[i - 1] === null) return null;
  const fx = logX ? Math.log : Number, [fy, back] = logY ? [Math.log, Math.exp] : [Number, Number];
  const t = (fx(at) - fx(x[i - 1])) / (fx(x[i]) - fx(x[i - 1]));
  return back((1 - t) * fy(y[i - 1]) + t * fy(y[i]));
}

/**
 * One plot. `spec` is what Curves.state() gives; `others` are the names of the sliders behind; `marks` are the numbers that
 * the marker can be at, or null; `choose` moves the marker to one of them. `draw(width, height, places, at)` draws the lines
 * of these places and returns their values at marker number `at`.
 */
function linePlot(spec, others, marks, choose) {
  const { dims, x, y, low, high, logX, logY, labels, behind } = spec, n = x.length;
  const colours = labels.map((_, k) => spec.colours[k] ?? LINES[k % LINES.length]);
  const domain = extent([...x, ...(marks ?? [])], logX);
  const range = spec.limits ?? roomy([...y, ...(low ?? []), ...(high ?? [])], logY);
  const id = `dg-clip-${++widgetCount}`, clip = svg("rect", {}), grid = svg("g"), faint = svg("g"), strong = svg("g");
  const mark = svg("line", { stroke: INK, "stroke-width": 1.2, "stroke-dasharray": "4 3" }), dots = svg("g");
  const el = svg("svg", { class: "dg-curve", role: "img" }, svg("clipPath", { id }, clip), grid,
    svg("g", { "clip-path": `url(#${id})` }, faint, strong), mark, dots);
  if (marks === null) { mark.remove(); el.classList.add("dg-still"); }
  const values = labels.map(() => h("span", { class: "dg-at" }));
  const named = labels.some((label) => label); // one line without a name needs no legend: its value goes to the caption
  const legend = h("ul", { class: "dg-legend", "aria-hidden": "true" }, ...(named ? labels.map((label, k) =>
    h("li", {}, h("span", { class: "dg-swatch", style: `background:${colours[k]}` }), `${label} `, values[k])) : []),
    ...(others.length ? [h("li", { class: "dg-faint" }, `faint: other values of ${others.join(" and ")}`)] : []));
  const caption = h("div", { class: "dg-caption" }, `${spec.yLabel} `, ...(named ? [] : values));

  let width = 0, height = 0;
  const fx = logX ? Math.log : Number, fy = logY ? Math.log : Number;
  const part = (f, v, [a, b]) => (f(v) - f(a)) / (f(b) - f(a));
  const cx = (v) => MARGIN.left + part(fx, v, domain) * (width - MARGIN.left - MARGIN.right);
  const cy = (v) => height - MARGIN.bottom - part(fy, v, range) * (height - MARGIN.top - MARGIN.bottom);
  const drawable = (v) => v !== null && (!logY || v > 0);

  function axes() {
    const bottom = height - MARGIN.bottom, right = width - MARGIN.right;
    const text = (content, where) => svg("text", where, content);
    fill(clip, { x: MARGIN.left, y: MARGIN.top, width: right - MARGIN.left, height: bottom - MARGIN.top }, []);
    el.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const xs = tickPlaces(...domain, logX, width / 55), ys = tickPlaces(...range, logY, height / 45);
    grid.replaceChildren(
      ...xs.flatMap((v) => [svg("line", { x1: cx(v), x2: cx(v), y1: MARGIN.top, y2: bottom, stroke: "#e5e5e5" }),
        text(tickLabel(v), { x: cx(v), y: bottom + 15, "text-anchor": "middle" })]),
      ...ys.flatMap((v) => [
        svg("line", { x1: MARGIN.left, x2: right, y1: cy(v), y2: cy(v), stroke: Math.abs(v) < 1e-12 ? SOFT : "#e5e5e5" }),
        text(tickLabel(v), { x: MARGIN.left - 6, y: cy(v) + 4, "text-anchor": "end" })]),
      text(spec.xLabel, { x: (MARGIN.left + right) / 2, y: height - 6, "text-anchor": "middle" }));
    mark.setAttribute("y1", MARGIN.top); mark.setAttribute("y2", bottom);
  }

  function path(ys) { // a hole where there is no number
    let d = "", pen = "M";
    ys.forEach((v, i) => {
      if (!drawable(v)) { pen = "M"; return; }
      d += `${pen}${cx(x[i]).toFixed(1)},${cy(v).toFixed(1)}`;
      pen = "L";
    });
    return d;
  }
  function area(lows, highs) { // a piece for each run of numbers
    const pieces = [];
    let run = [];
    for (let i = 0; i <= n; i++) {
      if (i < n && drawable(lows[i]) && drawable(highs[i])) { run.push(i); continue; }
      if (run.length > 1) {
        const up = run.map((j) => `${cx(x[j]).toFixed(1)},${cy(highs[j]).toFixed(1)}`);
        const down = run.map((j) => `${cx(x[j]).toFixed(1)},${cy(lows[j]).toFixed(1)}`).reverse();
        pieces.push(`M${[...up, ...down].join("L")}Z`);
      }
      run = [];
    }
    return pieces.join("");
  }

  function draw(newWidth, newHeight, places, at) {
    if (newWidth !== width || newHeight !== height) {
      width = newWidth; height = newHeight;
      axes();
    }
    const start = (p) => offset(dims, p) * labels.length * n;
    const cut = (flat, from, k) => flat.slice(from + k * n, from + (k + 1) * n);
    let around = [places]; // all places of the sliders behind, the others as chosen
    for (const s of behind.filter((s) => dims[s] > 1)) {
      around = around.flatMap((p) => Array.from({ length: dims[s] }, (_, i) => p.map((v, j) => (j === s ? i : v))));
    }
    const here = start(places);
    faint.replaceChildren(...around.map(start).filter((o) => o !== here).flatMap((o) => labels.map((_, k) =>
      svg("path", { d: path(cut(y, o, k)), fill: "none", stroke: colours[k], "stroke-width": 1.2, opacity: 0.28 }))));
    const own = labels.map((_, k) => cut(y, here, k));
    strong.replaceChildren(
      ...(low ? labels.map((_, k) => svg("path", { class: "dg-band", fill: colours[k], opacity: 0.16,
        d: area(cut(low, here, k), cut(high, here, k)) })) : []),
      ...own.map((ys, k) => svg("path", { class: "dg-line", d: path(ys), fill: "none", stroke: colours[k], "stroke-width": 2.2,
        "stroke-linejoin": "round" })));
    if (marks === null) return [];
    const place = marks[at];
    for (const name of ["x1", "x2"]) mark.setAttribute(name, cx(place));
    const found = own.map((ys) => valueAt(x, ys, place, logX, logY));
    dots.replaceChildren(...found.flatMap((v, k) => (drawable(v) && v >= range[0] && v <= range[1]
      ? [svg("circle", { cx: cx(place), cy: cy(v), r: 4.5, fill: colours[k], stroke: "#fff" })] : [])));
    const band = (k) => (low ? [low, high].map((end) => valueAt(x, cut(end, here, k), place, logX, logY)) : [null]);
    const texts = found.map((v, k) => brief(v) + (band(k).includes(null) ? "" : ` (${band(k).map(brief).join(" to ")})`));
    texts.forEach((text, k) => { values[k].textContent = text; });
    return labels.map((label, k) => `${label || spec.yLabel || "value"} ${texts[k]}`);
  }

  const pick = (event) => {
    if (event.type === "pointermove" && event.buttons !== 1) return;
    const [at] = pointerPlace(el, event, width), away = marks.map((v) => Math.abs(cx(v) - at));
    choose(away.indexOf(Math.min(...away)));
  };
  if (marks !== null) for (const type of ["pointerdown", "pointermove"]) el.addEventListener(type, pick);
  return { el: h("div", { class: "dg-plot" }, caption, el, legend), svg: el, label: spec.yLabel, draw };
}

/** Where places lie among the tensors of `dims`, row-major; a dimension of 1 is shared. */
function offset(dims, places) {
  return dims.reduce((k, n, i) => k * n + (n > 1 ? places[i] : 0), 0);
}
