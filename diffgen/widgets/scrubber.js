// Sliders over precomputed images and curves. Joined behind ui.js and plot.js by diffgen/widgets/scrubber.py.

const GAP = 2, LABEL = 96, LARGEST = 112, PHONE = 84; // CSS pixels: between images, of labels, of an image's side at most
const BESIDE = 620, NARROW = 460; // widths from which plots stand beside images, and below which labels stand above them
const PLOT = 250; // the least width of plots beside images

/** A row of images on a canvas, of which each pixel is `k` by `k` pixels of the screen. */
function imageRow(spec) {
  const canvas = h("canvas", { role: "img", width: 1, height: 1 }), context = canvas.getContext("2d");
  const el = h("div", { class: "dg-images", style: spec.colour ? `border-left-color:${spec.colour}` : null },
    h("span", { "aria-hidden": "true" }, spec.label), canvas);
  let sheet = null;
  const load = async () => { // decoded once; the colours are numbers here, not to be adapted to a screen
    const bytes = Uint8Array.from(atob(spec.png), (c) => c.charCodeAt(0)), [down] = spec.dims;
    const mixed = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
    sheet = new OffscreenCanvas(mixed.width, mixed.height);
    const context = sheet.getContext("2d");
    for (let y = 0; y < spec.height; y++) { // the rows of the places of the first slider alternate, see Images.state()
      for (let d = 0; d < down; d++) context.drawImage(mixed, 0, y * down + d, mixed.width, 1, 0, d * spec.height + y, mixed.width, 1);
    }
    mixed.close();
  };
  const side = (k, dense) => spec.columns * spec.width * k + (spec.columns - 1) * Math.round(GAP * dense);
  const draw = (k, dense, places) => {
    const { dims, width, height, columns } = spec, gap = Math.round(GAP * dense);
    if (canvas.width !== side(k, dense) || canvas.height !== height * k) {
      canvas.width = side(k, dense); canvas.height = height * k;
      canvas.style.width = `${canvas.width / dense}px`;
      el.style.setProperty("--side", canvas.style.width);
    }
    context.imageSmoothingEnabled = false; // a new size forgets it
    const x = offset(dims.slice(1), places.slice(1)) * columns * width, y = offset(dims.slice(0, 1), places) * height;
    for (let j = 0; j < columns; j++) {
      context.drawImage(sheet, x + j * width, y, width, height, j * (width * k + gap), 0, width * k, height * k);
    }
  };
  return { el, canvas, spec, side, load, draw };
}

function render({ model, el }) {
  const sliders = model.get("sliders"), places = () => model.get("places");
  const choose = (i, place) => assign(model, { places: places().map((p, j) => (j === i ? place : p)) });
  // Each slider's place as a trait of its own, which is what the shared controls are bound to.
  const one = (i) => ({ get: () => places()[i], set: (_, place) => choose(i, Number(place)), save_changes: () => {} });
  const controls = sliders.map(({ name, labels, values }, i) => {
    if (labels.length === 1) {
      const only = h("div", { class: "dg-slider" }, h("span", {}, name), h("span"), h("span", { class: "dg-value" }, labels[0]));
      return { el: only, update: () => {} };
    }
    return values === null ? menu(one(i), "place", name, labels.map((label, k) => [k, label]))
      : slider(one(i), "place", name, { min: 0, max: labels.length - 1, step: 1, show: (k) => labels[k] });
  });
  const rows = model.get("images").map(imageRow);
  const plots = model.get("curves").map((spec) => linePlot(spec, spec.behind.map((i) => sliders[i].name),
    spec.marker === null ? null : sliders[spec.marker].values, (place) => { if (place !== places()[spec.marker]) choose(spec.marker, place); }));
  const markers = model.get("curves").map((spec) => spec.marker);
  const status = h("p", { class: "dg-heard", role: "status" }); // to be heard: eyes have the sliders and legends

  const moved = model.get("play"), last = moved === null ? 0 : sliders[moved].labels.length - 1;
  let playing = 0;
  const toggle = button("", play);
  const say = () => { toggle.textContent = `${playing ? "Pause" : "Play"} ${moved === null ? "" : sliders[moved].name}`; };
  function play() { // a place every 400 ms, from the start again if it is at the end; a second press stops
    clearInterval(playing);
    playing = playing ? 0 : setInterval(() => {
      if (places()[moved] < last) choose(moved, places()[moved] + 1);
      if (places()[moved] === last && playing) play();
    }, 400);
    if (playing && places()[moved] === last) choose(moved, 0);
    say();
    status.setAttribute("aria-live", playing ? "off" : "polite"); // nobody can listen that fast
  }

  const imagePane = h("div", { class: "dg-rows" }, ...rows.map((row) => row.el));
  const plotPane = h("div", { class: "dg-plots" }, ...plots.map((plot) => plot.el));
  if (!rows.length) imagePane.hidden = true;
  if (!plots.length) plotPane.hidden = true;
  const root = card(model.get("title"),
    h("div", { class: "dg-controls dg-first" }, ...controls.map((control) => control.el)),
    ...(last > 0 ? [toggle] : []),
    h("div", { class: "dg-results" }, imagePane, plotPane), status);
  root.classList.add("dg-scrubber");
  el.append(root);
  say();

  let scale = 0, dense = 1, plotWidth = 0, plotHeight = 0, loaded = false;
  function measure() { // the largest whole number of screen pixels a pixel of the images that there is room for
    const style = getComputedStyle(root);
    let inner = root.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (inner <= 0) return false; // not shown yet
    const narrow = inner < NARROW;
    // Room for a scrollbar even where there is none: else larger images could bring it, it smaller images, and so on.
    if (!narrow) inner -= Math.max(0, 17 - (window.innerWidth - document.documentElement.clientWidth));
    dense = window.devicePixelRatio || 1;
    const frame = 12 + (narrow ? 0 : LABEL + 8), most = dense * (narrow ? PHONE : LARGEST); // bar, label and what is between
    const fits = (k, room) => rows.every((row) => row.side(k, dense) <= (room - frame) * dense && row.spec.width * k <= most);
    const beside = rows.length > 0 && plots.length > 0 && inner >= BESIDE && fits(1, inner - PLOT - 20);
    scale = 1;
    while (rows.length && scale < 64 && fits(scale + 1, beside ? inner - PLOT - 20 : inner)) scale++;
    root.classList.toggle("dg-beside", beside);
    root.classList.toggle("dg-narrow", narrow);
    const side = frame + Math.max(0, ...rows.map((row) => row.side(scale, dense) / dense));
    const high = rows.reduce((sum, row) => sum + row.spec.height * scale / dense + 5, 0); // plots may be as high as images
    plotWidth = Math.floor(beside ? inner - side - 20 : Math.min(inner, 560));
    plotHeight = Math.round(Math.max(190, Math.min(300, Math.max(0.68 * plotWidth, beside ? high / plots.length - 64 : 0))));
    plotPane.style.width = `${plotWidth}px`;
    return true;
  }

  function draw() {
    const began = performance.now();
    if (!loaded || !measure()) return;
    const now = places();
    for (const control of controls) control.update();
    const at = (dims) => sliders.flatMap(({ name, labels }, i) => (dims[i] > 1 ? [`${name} ${labels[now[i]]}`] : []));
    for (const row of rows) {
      row.draw(scale, dense, now);
      row.canvas.setAttribute("aria-label", [row.spec.label, ...at(row.spec.dims)].join(", "));
    }
    const values = plots.map((plot, i) => plot.draw(plotWidth, plotHeight, now, markers[i] === null ? 0 : now[markers[i]]));
    const chosen = sliders.map(({ name, labels }, i) => `${name} ${labels[now[i]]}`).join(", ");
    plots.forEach((plot, i) => plot.svg.setAttribute("aria-label", [plot.label, chosen, ...values[i]].join(", ")));
    const text = [chosen, ...values.filter((v) => v.length).map((v) => v.join(", "))].join("; ");
    if (status.textContent !== text) status.textContent = text; // writing it again would have it read again
    const drawMs = (performance.now() - began).toFixed(2);
    Object.assign(root.dataset, { places: JSON.stringify(now), scale, dense, drawMs });
  }

  const redraw = atNextFrame(draw);
  const watch = new ResizeObserver(redraw);
  const quiet = listen(model, { places: redraw });
  watch.observe(root);
  Promise.all(rows.map((row) => row.load())).then(() => { loaded = true; redraw(); });
  return () => { clearInterval(playing); watch.disconnect(); quiet(); };
}

export default { render };
