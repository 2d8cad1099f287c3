/* The forward and the backward signal of a deep net, layer by layer: what labs.nets, labs.init, labs.formats and
   labs.propagation compute, for one net and one input, in the browser. No page is touched here; live.js draws.

   Rounding: every weight, pre-activation, activation and gradient is rounded to the number format once it is complete.
   Sums are carried in float64 and rounded once, for two reasons: the order of a sum then does not matter, and hardware
   too sums products of 16-bit numbers in a wider register. */
"use strict";

const liveSignal = (() => {
  // ---- Number formats ------------------------------------------------------------------------------------------

  /** A binary format: significant digits, the exponents of its smallest and largest normal numbers, and, where they are not
      the usual ones, its largest number and what lies beyond it. */
  function format(digits, minExponent, maxExponent, largest, beyond = Infinity) {
    // Adding and subtracting 1.5 · 2^52 units in the last place leaves a float64 rounded to that place. The unit
    // depends on the exponent, and stays that of the smallest normal number below it: there lie the subnormals.
    const shift = Float64Array.from({ length: 2048 }, (_, biased) => {
      const exponent = Math.min(Math.max(biased - 1023, minExponent), maxExponent + 1);
      return 1.5 * 2 ** (52 + exponent - digits + 1);
    });
    const smallestNormal = 2 ** minExponent, unit = 2 ** (1 - digits);
    const max = largest ?? (2 - unit) * 2 ** maxExponent;
    return { shift, digits, minExponent, max, beyond, smallestNormal, smallestSubnormal: smallestNormal * unit };
  }

  const FORMATS = {
    fp32: format(24, -126, 127), fp16: format(11, -14, 15), bf16: format(8, -126, 127),
    e5m2: format(3, -14, 15), e4m3: format(4, -6, 8, 448, 448), // e4m3 has no Inf: torch's cast saturates
  };

  const float = new Float64Array(1);
  const words = new Uint32Array(float.buffer); // words[1] holds the exponent: every browser's machine is little-endian

  /** Rounds an array to a format in place, half to even; beyond its largest number, to Inf or where the format saturates. */
  function roundAll(values, { shift, max, beyond }) {
    const bits = float, exponents = words; // local names are faster
    for (let k = 0; k < values.length; k++) {
      const x = values[k];
      bits[0] = x;
      const s = shift[(exponents[1] >>> 20) & 0x7ff];
      const rounded = x + s - s;
      values[k] = Math.abs(rounded) > max ? Math.sign(rounded) * beyond : rounded; // NaN stays NaN
    }
    return values;
  }

  // ---- Activations ---------------------------------------------------------------------------------------------

  /** The distribution function of the standard normal, by a series whose terms are all of one sign. */
  function normalCdf(z) {
    if (Math.abs(z) > 8.5) return z > 0 ? 1 : 0;
    let term = z, sum = z;
    for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) sum += term *= (z * z) / k;
    return 0.5 + normalDensity(z) * sum;
  }

  const normalDensity = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);

  // Each is [value at z, slope]. The slope may use the stored output h, as frameworks do: their tanh' is 1 - h². Where the value
  // is NaN so is the slope, unlike frameworks' ReLU, which passes a gradient there as if the unit were active.
  const ACTIVATIONS = {
    identity: [(z) => z, () => 1],
    sigmoid: [(z) => 1 / (1 + Math.exp(-z)), (z, h) => h * (1 - h)],
    tanh: [Math.tanh, (z, h) => 1 - h * h],
    relu: [(z) => (z < 0 ? 0 : z), (z, h) => (h > 0 ? 1 : 0 * h)],
    scaled_sigmoid: [(z) => 2 * Math.tanh(z / 2), (z, h) => 1 - (h * h) / 4],
    leaky_relu: [(z) => (z > 0 ? z : 0.01 * z), (z) => (z > 0 ? 1 : z <= 0 ? 0.01 : NaN)],
    softsign: [(z) => z / (1 + Math.abs(z)), (z) => 1 / (1 + Math.abs(z)) ** 2],
    gelu: [(z) => z * normalCdf(z), (z) => normalCdf(z) + z * normalDensity(z)],
  };

  // ---- Weights -------------------------------------------------------------------------------------------------

  /** Uniform numbers in [0, 1), by mulberry32; equal arguments give equal numbers. */
  function uniforms(seed, stream) {
    let state = Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** Standard normal numbers, two at a time (Box and Muller 1958). */
  function normals(count, random) {
    const drawn = new Float32Array(count);
    for (let k = 0; k < count; k += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - random()));
      const angle = 2 * Math.PI * random();
      drawn[k] = radius * Math.cos(angle);
      drawn[k + 1] = radius * Math.sin(angle); // past the end of an odd count, this is dropped
    }
    return drawn;
  }

  /** √n times a random orthogonal matrix: Gram-Schmidt on Gaussian rows, each projected twice against rounding. */
  function orthogonal(n, random) {
    const Q = Float64Array.from(normals(n * n, random));
    for (let i = 0; i < n; i++) {
      const row = Q.subarray(i * n, i * n + n);
      for (let k = 0; k < 2 * i; k++) {
        const other = Q.subarray((k % i) * n, (k % i) * n + n);
        let dot = 0;
        for (let j = 0; j < n; j++) dot += row[j] * other[j];
        for (let j = 0; j < n; j++) row[j] -= dot * other[j];
      }
      const length = Math.hypot(...row);
      for (let j = 0; j < n; j++) row[j] /= length;
    }
    return Float32Array.from(Q, (q) => q * Math.sqrt(n));
  }

  // A layer's weights before scaling: n × n numbers whose mean square is 1.
  const SHAPES = {
    normal: (n, random) => normals(n * n, random),
    uniform: (n, random) => Float32Array.from({ length: n * n }, () => Math.sqrt(3) * (2 * random() - 1)),
    orthogonal,
    ones: (n) => new Float32Array(n * n).fill(1),
  };

  // Each is [shape, root mean square of a weight at width n], as in labs.init; `equal` is labs.init.constant_.
  const INITIALISERS = {
    lecture_normal: ["normal", () => 0.01],
    lecun_normal: ["normal", (n) => Math.sqrt(1 / n)],
    xavier_normal: ["normal", (n) => Math.sqrt(2 / (n + n))],
    xavier_uniform: ["uniform", (n) => Math.sqrt(2 / (n + n))],
    he_normal: ["normal", (n) => Math.sqrt(2 / n)],
    he_uniform: ["uniform", (n) => Math.sqrt(2 / n)],
    pytorch_linear: ["uniform", (n) => Math.sqrt(1 / (3 * n))],
    orthogonal: ["orthogonal", (n) => Math.sqrt(1 / n)],
    equal: ["ones", (n) => 1 / n],
  };

  /** Calls `compute` only when the key differs from the last call's. */
  function remember(compute) {
    let lastKey, last;
    return (...key) => {
      if (String(key) !== lastKey) [last, lastKey] = [compute(...key), String(key)];
      return last;
    };
  }

  /** Makes the nets of one figure. Drawing dominates, so what is drawn stays: only scaling follows a slider. */
  function netMaker() {
    const layersFor = remember(() => []); // of one shape, width and seed, as many as were asked for so far
    const scaledLayers = remember((shape, width, seed, depth, std, formatName) => {
      const layers = layersFor(shape, width, seed);
      while (layers.length < depth) {
        const drawn = SHAPES[shape](width, uniforms(seed, layers.length + 2));
        layers.push({ drawn, W: new Float32Array(drawn.length) });
      }
      return layers.slice(0, depth).map(({ drawn, W }) => {
        for (let k = 0; k < W.length; k++) W[k] = std * drawn[k]; // a Float32Array rounds to fp32 by itself
        return formatName === "fp32" ? W : roundAll(W, FORMATS[formatName]);
      });
    });
    /** `weights[t - 1]` is W^t, row by row, until the next call; `input` is h^0 and `top` is δ^d, both all ones if the weights are equal. */
    return ({ depth, width, scale, activation, initialiser, format, seed }) => {
      const [shape, rms] = INITIALISERS[initialiser];
      const std = scale * rms(width);
      const vector = (stream) =>
        shape === "ones" ? new Float32Array(width).fill(1) : normals(width, uniforms(seed, stream));
      return {
        weights: scaledLayers(shape, width, seed, depth, std, format),
        input: roundAll(vector(0), FORMATS[format]),
        top: roundAll(vector(1), FORMATS[format]),
        activation, format, std, equal: shape === "ones",
      };
    };
  }

  // ---- Both passes ---------------------------------------------------------------------------------------------

  function rootMeanSquare(v) {
    let sum = 0;
    for (const x of v) sum += x * x;
    return Math.sqrt(sum / v.length);
  }

  /** Root mean square of h^t and δ^t for t = 0 … d, and the first layer, as the signal travels, where it broke; and from where
      up the forward signal is NaN, so that there is no gradient. */
  function propagate({ weights, input, top, activation, format: formatName }) {
    const depth = weights.length, n = input.length;
    const [value, slope] = ACTIVATIONS[activation];
    const format = FORMATS[formatName];
    const pre = [null], h = [Float64Array.from(input)];
    for (const W of weights) {
      const z = new Float64Array(n), below = h[h.length - 1];
      for (let i = 0, k = 0; i < n; i++) {
        let sum = 0;
        for (let j = 0; j < n; j++, k++) sum += W[k] * below[j];
        z[i] = sum;
      }
      pre.push(roundAll(z, format));
      h.push(roundAll(z.map(value), format));
    }
    const delta = [Float64Array.from(top)];
    for (let t = depth; t > 0; t--) {
      const W = weights[t - 1], z = pre[t];
      const g = roundAll(delta[0].map((x, i) => x * slope(z[i], h[t][i])), format);
      const below = new Float64Array(n);
      for (let i = 0, k = 0; i < n; i++) {
        for (let j = 0; j < n; j++, k++) below[j] += W[k] * g[i];
      }
      delta.unshift(roundAll(below, format));
    }
    const firstLayer = (broken) => ({
      forward: h.findIndex(broken),
      backward: delta.findLastIndex(broken),
    });
    const nan = h.findIndex((v) => v.some(Number.isNaN)); // from here up no slope is known, but a line's
    const undone = nan >= 0 && activation !== "identity";
    const overflow = firstLayer((v) => !v.every(Number.isFinite)); // -1 where there is none
    if (undone) overflow.backward = -1;
    return {
      forward: h.map(rootMeanSquare),
      backward: delta.map(rootMeanSquare),
      overflow,
      zero: firstLayer((v) => v.every((x) => x === 0)),
      nan, undone,
    };
  }

  // ---- Many rows at once ---------------------------------------------------------------------------------------
  // Four rows of a matrix with three vectors at a time: what is read is used often, and no sum waits for its last addition. A move
  // of a slider has one frame. Where fewer than three vectors are left, the last one is taken again.

  /** The products of A's rows, a multiple of four, with B's, all of n numbers: a row for each of B, into `out`. */
  function products(A, B, n, scale = 1, out = new Float64Array((A.length / n) * (B.length / n))) {
    const rows = A.length / n, last = B.length / n - 1;
    for (let i = 0; i < rows; i += 4) {
      for (let r = 0; r <= last; r += 3) {
        const r1 = Math.min(r + 1, last), r2 = Math.min(r + 2, last);
        let a0 = 0, b0 = 0, c0 = 0, d0 = 0, a1 = 0, b1 = 0, c1 = 0, d1 = 0, a2 = 0, b2 = 0, c2 = 0, d2 = 0;
        for (let j = 0, k = i * n; j < n; j++, k++) {
          const a = A[k], b = A[k + n], c = A[k + 2 * n], d = A[k + 3 * n], x0 = B[r * n + j], x1 = B[r1 * n + j], x2 = B[r2 * n + j];
          a0 += a * x0; b0 += b * x0; c0 += c * x0; d0 += d * x0;
          a1 += a * x1; b1 += b * x1; c1 += c * x1; d1 += d * x1;
          a2 += a * x2; b2 += b * x2; c2 += c * x2; d2 += d * x2;
        }
        const at = r * rows + i, at1 = r1 * rows + i, at2 = r2 * rows + i;
        out[at] = scale * a0; out[at + 1] = scale * b0; out[at + 2] = scale * c0; out[at + 3] = scale * d0;
        out[at1] = scale * a1; out[at1 + 1] = scale * b1; out[at1 + 2] = scale * c1; out[at1 + 3] = scale * d1;
        out[at2] = scale * a2; out[at2 + 1] = scale * b2; out[at2 + 2] = scale * c2; out[at2 + 3] = scale * d2;
      }
    }
    return out;
  }

  /** The same with the columns of A, which is n × n, in place of its rows. */
  function backProducts(A, B, n, out = new Float64Array(B.length)) {
    const last = B.length / n - 1;
    out.fill(0);
    for (let i = 0; i < n; i += 4) {
      for (let r = 0; r <= last; r += 3) {
        const q0 = r * n, q1 = Math.min(r + 1, last) * n, q2 = Math.min(r + 2, last) * n;
        const a0 = B[q0 + i], b0 = B[q0 + i + 1], c0 = B[q0 + i + 2], d0 = B[q0 + i + 3];
        const a1 = B[q1 + i], b1 = B[q1 + i + 1], c1 = B[q1 + i + 2], d1 = B[q1 + i + 3];
        const a2 = B[q2 + i], b2 = B[q2 + i + 1], c2 = B[q2 + i + 2], d2 = B[q2 + i + 3];
        for (let j = 0, k = i * n; j < n; j++, k++) {
          const a = A[k], b = A[k + n], c = A[k + 2 * n], d = A[k + 3 * n];
          const s0 = out[q0 + j] + (a * a0 + b * b0 + (c * c0 + d * d0)), s1 = out[q1 + j] + (a * a1 + b * b1 + (c * c1 + d * d1)), s2 = out[q2 + j] + (a * a2 + b * b2 + (c * c2 + d * d2));
          out[q0 + j] = s0;
          out[q1 + j] = s1;
          out[q2 + j] = s2;
        }
      }
    }
    return out;
  }

  // ---- Theory --------------------------------------------------------------------------------------------------

  /** The integration rule of labs.propagation: Gauss-Legendre, 100 nodes on each side of 0, times the normal density. */
  const gaussRule = remember(() => {
    const order = 100, z = [], weight = [];
    for (let k = 1; k <= order; k++) {
      let x = Math.cos((Math.PI * (k - 0.25)) / (order + 0.5)), slope;
      for (let step = 0; step < 6; step++) { // Newton's method on the Legendre polynomial
        let p = 1, previous = 0;
        for (let m = 1; m <= order; m++) [p, previous] = [((2 * m - 1) * x * p - (m - 1) * previous) / m, p];
        slope = (order * (x * p - previous)) / (x * x - 1);
        x -= p / slope;
      }
      const node = 5 * (x + 1);
      z.push(node, -node);
      weight.push(...Array(2).fill((Math.exp((-node * node) / 2)) / ((1 - x * x) * slope * slope)));
    }
    const total = weight.reduce((a, b) => a + b);
    return { z: Float64Array.from(z), weight: Float64Array.from(weight, (w) => w / total) };
  });

  /** E[σ(√q u)²] and E[σ'(√q u)²] for a standard normal u. */
  function gaussMeanSquares(activation, q) {
    const [value, slope] = ACTIVATIONS[activation], { z, weight } = gaussRule(), root = Math.sqrt(q);
    let squares = 0, slopes = 0;
    for (let k = 0; k < z.length; k++) {
      const x = root * z[k], h = value(x);
      squares += weight[k] * h ** 2;
      slopes += weight[k] * slope(x, h) ** 2;
    }
    return [squares, slopes];
  }

  /** What theory says of the same root mean squares, before any rounding; it starts from the input and from the top.
      Mean field for weights of mean 0 (predict_forward, predict_backward); equal weights make every unit the same. */
  function predict({ weights, input, top, activation, std, equal }) {
    const n = input.length, [value, slope] = ACTIVATIONS[activation];
    const forward = [rootMeanSquare(input)], factors = [];
    for (let t = 0; t < weights.length; t++) {
      const q = n * (std * forward[t]) ** 2;
      if (equal) {
        const z = n * std * forward[t], h = value(z);
        forward.push(Math.abs(h));
        factors.push(n * std * Math.abs(slope(z, h)));
      } else {
        const [squares, slopes] = gaussMeanSquares(activation, q);
        forward.push(Math.sqrt(squares));
        factors.push(Math.sqrt(n * slopes) * std);
      }
    }
    const backward = [rootMeanSquare(top)];
    for (const factor of factors.reverse()) backward.unshift(backward[0] * factor);
    return { forward, backward };
  }

  return { FORMATS, roundAll, ACTIVATIONS, INITIALISERS, uniforms, normals, gaussRule, remember, netMaker, propagate, products, backProducts, predict };
})();
