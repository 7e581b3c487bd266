// The toy model in the reader's browser: the numbers of diffgen.optimal and diffgen.metrics.toy, in float64.
// Points are flat arrays [x0, y0, x1, y1, …]. No DOM here; tests/test_widgets.py holds every function equal to torch.

const NEGLIGIBLE = 37; // a weight exp(−37) is lost beside 1 in float64
const UNDERFLOW = 1e-150; // below it a product of two axis weights may have lost digits

/** y*(x, s) at one place, into out[0], out[1]: the mean of the points, weighted by softmax(−‖x − y_i‖² / 2s²). */
function optimal(points, x, y, s, out) {
  let nearest = Infinity;
  for (let i = 0; i < points.length; i += 2) {
    const d = (x - points[i]) ** 2 + (y - points[i + 1]) ** 2;
    if (d < nearest) nearest = d;
  }
  let total = 0, mx = 0, my = 0;
  for (let i = 0; i < points.length; i += 2) {
    const e = ((x - points[i]) ** 2 + (y - points[i + 1]) ** 2 - nearest) / (2 * s * s);
    if (e > NEGLIGIBLE) continue;
    const w = Math.exp(-e);
    total += w; mx += w * points[i]; my += w * points[i + 1];
  }
  out[0] = mx / total; out[1] = my / total;
}

/** y_δ(x, σ) = (σ² y*(x, √(σ²+δ²)) + δ² x) / (σ² + δ²) at one place, into out. */
function errorProne(points, x, y, sigma, delta, out) {
  const s2 = sigma * sigma + delta * delta, recall = sigma * sigma / s2;
  optimal(points, x, y, Math.sqrt(s2), out);
  out[0] = recall * out[0] + (1 - recall) * x;
  out[1] = recall * out[1] + (1 - recall) * y;
}

/**
 * D_w = y_δ + w (y_δ − y_δ') at one place, into out. `guide` is { delta, weight } of δ' and w here and below; without it,
 * or at weight 0, this is y_δ.
 */
function guided(points, x, y, sigma, delta, guide, out) {
  errorProne(points, x, y, sigma, delta, out);
  if (!guide?.weight) return;
  const [a, b] = out;
  errorProne(points, x, y, sigma, guide.delta, out);
  out[0] = a + guide.weight * (a - out[0]);
  out[1] = b + guide.weight * (b - out[1]);
}

// exp(−(X_a − y_i)² / 2s²) for every place of one axis and every point, relative to the largest of each place
function axisWeights(points, axis, places, s) {
  const n = points.length / 2, weights = new Float64Array(places.length * n);
  for (let a = 0; a < places.length; a++) {
    let nearest = Infinity;
    for (let i = 0; i < n; i++) nearest = Math.min(nearest, Math.abs(places[a] - points[2 * i + axis]));
    for (let i = 0; i < n; i++) {
      weights[a * n + i] = Math.exp((nearest ** 2 - (places[a] - points[2 * i + axis]) ** 2) / (2 * s * s));
    }
  }
  return weights;
}

/**
 * y*(x, s) on the grid X × Y, as [x, y] pairs, row after row. A Gaussian is a product over the axes, so a grid takes
 * n (|X| + |Y|) exponentials and not n |X| |Y|. Where the product underflows, the place is computed by itself.
 */
function optimalOnGrid(points, X, Y, s) {
  const n = points.length / 2, out = new Float64Array(2 * X.length * Y.length), one = [0, 0];
  const A = axisWeights(points, 0, X, s), B = axisWeights(points, 1, Y, s);
  const px = Float64Array.from({ length: n }, (_, i) => points[2 * i]);
  const py = Float64Array.from({ length: n }, (_, i) => points[2 * i + 1]);
  for (let b = 0, k = 0; b < Y.length; b++) {
    for (let a = 0; a < X.length; a++, k += 2) {
      let total = 0, mx = 0, my = 0;
      for (let i = 0, p = a * n, q = b * n; i < n; i++) {
        const w = A[p + i] * B[q + i];
        total += w; mx += w * px[i]; my += w * py[i];
      }
      if (total > UNDERFLOW) { out[k] = mx / total; out[k + 1] = my / total; continue; }
      optimal(points, X[a], Y[b], s, one);
      out[k] = one[0]; out[k + 1] = one[1];
    }
  }
  return out;
}

/** y_δ(x, σ) on the grid X × Y, as [x, y] pairs, row after row. */
function errorProneOnGrid(points, X, Y, sigma, delta) {
  const s2 = sigma * sigma + delta * delta, recall = sigma * sigma / s2;
  const out = optimalOnGrid(points, X, Y, Math.sqrt(s2));
  for (let b = 0, k = 0; b < Y.length; b++) {
    for (let a = 0; a < X.length; a++, k += 2) {
      out[k] = recall * out[k] + (1 - recall) * X[a];
      out[k + 1] = recall * out[k + 1] + (1 - recall) * Y[b];
    }
  }
  return out;
}

/** D_w on the grid X × Y, likewise. */
function guidedOnGrid(points, X, Y, sigma, delta, guide) {
  const out = errorProneOnGrid(points, X, Y, sigma, delta);
  if (!guide?.weight) return out;
  const other = errorProneOnGrid(points, X, Y, sigma, guide.delta);
  return out.map((v, k) => v + guide.weight * (v - other[k]));
}

/**
 * The midpoint rule for N(0, I) on a disc, as diffgen.metrics.toy.normal_rule: `nodes` and `weights` of either axis, and
 * for the row b the nodes skip[b] … nodes.length − 1 − skip[b] that lie in the disc. `total` is the sum of all weights.
 */
function normalRule(spacing = 0.6, reach = 4.5) {
  const half = Math.floor(reach / spacing + 0.5), size = 2 * half, edge = (reach / spacing) ** 2 + 1e-9;
  const nodes = Float64Array.from({ length: size }, (_, k) => (k - half + 0.5) * spacing);
  const weights = nodes.map((t) => Math.exp(-t * t / 2));
  const skip = Array.from({ length: size }, (_, b) => {
    let a = 0;
    while (a < half && (a - half + 0.5) ** 2 + (b - half + 0.5) ** 2 > edge) a++;
    return a;
  });
  let total = 0;
  for (let b = 0; b < size; b++) for (let a = skip[b]; a < size - skip[b]; a++) total += weights[a] * weights[b];
  return { nodes, weights, skip, total, reach };
}

/** The points that weigh something anywhere within `reach` of the place (x, y), as a flat array. */
function relevant(points, x, y, s, reach) {
  let c = 0, nearest = Infinity;
  const squared = (i) => (x - points[i]) ** 2 + (y - points[i + 1]) ** 2;
  for (let i = 0; i < points.length; i += 2) if (squared(i) < nearest) { nearest = squared(i); c = i; }
  const kept = [];
  for (let i = 0; i < points.length; i += 2) {
    const apart = Math.hypot(points[i] - points[c], points[i + 1] - points[c + 1]);
    if (squared(i) - nearest - 2 * reach * apart < NEGLIGIBLE * 2 * s * s) kept.push(points[i], points[i + 1]);
  }
  return kept;
}

/** E_n ‖y_δ(y + σ n; σ) − y‖ of one point y by quadrature. */
function expectedError(points, yx, yy, sigma, delta, rule) {
  const { nodes, weights, skip, reach } = rule, size = nodes.length, one = [0, 0];
  const s2 = sigma * sigma + delta * delta, s = Math.sqrt(s2);
  const recall = sigma * sigma / s2, drift = (1 - recall) * sigma;
  const near = relevant(points, yx, yy, s, sigma * reach), n = near.length / 2;
  const X = nodes.map((t) => yx + sigma * t), Y = nodes.map((t) => yy + sigma * t);
  const A = axisWeights(near, 0, X, s), B = axisWeights(near, 1, Y, s);
  const px = Float64Array.from({ length: n }, (_, i) => near[2 * i] - yx);
  const py = Float64Array.from({ length: n }, (_, i) => near[2 * i + 1] - yy);
  let error = 0;
  for (let b = 0; b < size; b++) {
    let row = 0;
    for (let a = skip[b]; a < size - skip[b]; a++) {
      let total = 0, mx = 0, my = 0;
      for (let i = 0, p = a * n, q = b * n; i < n; i++) {
        const w = A[p + i] * B[q + i];
        total += w; mx += w * px[i]; my += w * py[i];
      }
      if (total > UNDERFLOW) { mx /= total; my /= total; }
      else { optimal(near, X[a], Y[b], s, one); mx = one[0] - yx; my = one[1] - yy; }
      const ex = recall * mx + drift * nodes[a], ey = recall * my + drift * nodes[b];
      row += weights[a] * Math.sqrt(ex * ex + ey * ey);
    }
    error += weights[b] * row;
  }
  return error / rule.total;
}

/** The same of D_w, whose two predictions have to meet before the norm is taken. */
function guidedError(points, yx, yy, sigma, delta, rule, guide) {
  if (!guide?.weight) return expectedError(points, yx, yy, sigma, delta, rule);
  const { nodes, weights, skip, reach } = rule, size = nodes.length;
  const near = relevant(points, yx, yy, Math.hypot(sigma, Math.max(delta, guide.delta)), sigma * reach);
  const X = nodes.map((t) => yx + sigma * t), Y = nodes.map((t) => yy + sigma * t);
  const field = guidedOnGrid(near, X, Y, sigma, delta, guide);
  let error = 0;
  for (let b = 0; b < size; b++) {
    for (let a = skip[b]; a < size - skip[b]; a++) {
      const k = 2 * (b * size + a);
      error += weights[a] * weights[b] * Math.hypot(field[k] - yx, field[k + 1] - yy);
    }
  }
  return error / rule.total;
}

/** The mean of guidedError over many points. */
function meanError(points, ys, sigma, delta, rule, guide) {
  let sum = 0;
  for (let j = 0; j < ys.length; j += 2) sum += guidedError(points, ys[j], ys[j + 1], sigma, delta, rule, guide);
  return sum / (ys.length / 2);
}

/** G(σ) = (E_val − E_train) / E_train for each σ. */
function gapCurve(train, val, sigmas, delta, rule = normalRule(), guide = null) {
  return Array.from(sigmas, (sigma) =>
    meanError(train, val, sigma, delta, rule, guide) / meanError(train, train, sigma, delta, rule, guide) - 1);
}

/** (E(y) − E_train) / E_train at each place of the grid X × Y, row after row. */
function gapMap(train, X, Y, sigma, delta, rule, guide = null) {
  const base = meanError(train, train, sigma, delta, rule, guide), map = new Float64Array(X.length * Y.length);
  for (let b = 0, k = 0; b < Y.length; b++) {
    for (let a = 0; a < X.length; a++, k++) {
      map[k] = guidedError(train, X[a], Y[b], sigma, delta, rule, guide) / base - 1;
    }
  }
  return map;
}

/** The sampler's grid, ρ = 7: n noise levels from 80 to 0.002, then 0. */
function edmSigmas(n, low = 0.002, high = 80, rho = 7) {
  const a = high ** (1 / rho), b = low ** (1 / rho);
  return [...Array.from({ length: n }, (_, i) => (a + i / (n - 1) * (b - a)) ** rho), 0];
}

/** n log-spaced noise levels. */
function logSigmas(n, low, high) {
  return Array.from({ length: n }, (_, i) => low * (high / low) ** (i / (n - 1)));
}

/** Heun's method along dx/dσ = (x − D) / σ for one start: the states at all noise levels, as [x, y] pairs. */
function fall(points, x, y, sigmas, delta) {
  const path = new Float64Array(2 * sigmas.length), d = [0, 0];
  path[0] = x; path[1] = y;
  for (let i = 0; i + 1 < sigmas.length; i++) {
    const now = sigmas[i], next = sigmas[i + 1], h = next - now;
    errorProne(points, x, y, now, delta, d);
    const kx = (x - d[0]) / now, ky = (y - d[1]) / now;
    let nx = x + h * kx, ny = y + h * ky;
    if (next > 0) {
      errorProne(points, nx, ny, next, delta, d);
      const lx = (nx - d[0]) / next, ly = (ny - d[1]) / next;
      nx = x + h * (kx + lx) / 2; ny = y + h * (ky + ly) / 2;
    }
    x = nx; y = ny;
    path[2 * i + 2] = x; path[2 * i + 3] = y;
  }
  return path;
}

/** n points on a manifold, equidistant, as diffgen.data.toy.manifold: even ones for training, odd ones for validation. */
function manifold(name, n, radius = 10, offset = 0.01) {
  const turn = 2 * Math.PI, side = Math.ceil(Math.sqrt(n));
  const curves = {
    circle: (t) => [Math.cos(turn * t), Math.sin(turn * t)],
    line: (t) => [2 * t - 1, 0],
    moons: (t) => {
      const sign = t < 0.5 ? 1 : -1, a = turn * (t % 0.5);
      return [sign * (2 * Math.cos(a) - 1) / 3, sign * (2 * Math.sin(a) - 0.5) / 3];
    },
    spiral: (t) => {
      const r = Math.sqrt(0.04 + 0.96 * t);
      return [r * Math.cos(turn * 1.75 * r), r * Math.sin(turn * 1.75 * r)];
    },
  };
  const place = (k) => {
    if (name === "circle") return curves.circle(k / n);
    if (name !== "grid") return curves[name]((k + 0.5) / n);
    const row = Math.floor(k / side), column = row % 2 ? side - 1 - k % side : k % side;
    return [column, row].map((c) => 0.85 * (2 * (c + 0.5) / side - 1));
  };
  const c = Math.cos(turn * offset), s = Math.sin(turn * offset), sets = [[], []];
  for (let k = 0; k < n; k++) {
    const [x, y] = place(k);
    sets[k % 2].push([radius * (c * x - s * y), radius * (s * x + c * y)]);
  }
  return { train: sets[0], val: sets[1] };
}
