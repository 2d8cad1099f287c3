/* Residual nets, and what chapters 4 and 10 measure of them: mean squares of the stream and of the gradient, block by block. One net of
   width 96 with He's weights (uniform ones, which are drawn faster) and one input; in float64, from weights in float32. */
"use strict";

const residual = (() => {
  const WIDTH = 96, { normals, uniforms, products, backProducts } = liveSignal;
  let kept = { seed: NaN };

  /** Two matrices a block, row by row, and what enters at the bottom and at the top; drawn as far as they are asked for, and kept. */
  function net(seed, depth) {
    const vector = (stream) => Float64Array.from(normals(WIDTH, uniforms(seed, stream)));
    if (kept.seed !== seed) kept = { seed, input: vector(0), top: vector(1), blocks: [] };
    const { blocks } = kept, bound = Math.sqrt(6 / WIDTH);
    const matrix = (stream) => {
      const W = new Float32Array(WIDTH * WIDTH), random = uniforms(seed, stream);
      for (let k = 0; k < W.length; k++) W[k] = bound * (2 * random() - 1);
      return W;
    };
    while (blocks.length < depth) blocks.push([0, 1].map((k) => matrix(2 + 2 * blocks.length + k)));
    return kept;
  }

  // Vectors of several nets lie one after another in one array, for each matrix is then read once for all, and arrays take time to make.
  const each = (kinds, work) => kinds.forEach((kind, k) => work(kind, k * WIDTH, (k + 1) * WIDTH));
  /** The mean square of the vector that begins at `from`. */
  function square(v, from = 0) {
    let total = 0;
    for (let i = from; i < from + WIDTH; i++) total += v[i] * v[i];
    return total / WIDTH;
  }
  /** The derivative of the division by the root mean square, in place: what y, its result, lets through. */
  function unnorm(g, y, root, from, to) {
    let along = 0;
    for (let i = from; i < to; i++) along += g[i] * y[i];
    along /= WIDTH;
    for (let i = from; i < to; i++) g[i] = (g[i] - along * y[i]) / root;
  }
  /** The derivative of a ReLU, in place, or the ReLU itself where g is z. */
  function pass(g, z, from, to) {
    for (let i = from; i < to; i++) if (!(z[i] > 0)) g[i] = 0;
  }

  /** A block of each kind, with the same matrices: what they give, and their derivatives, which use up what they are given. `early`: a
      ReLU before the first matrix; `single`: no first matrix; `late`: a ReLU after the addition; `norm`: none, pre or post. */
  function block(h, [W1, W2], scale, kinds) {
    const v = Float64Array.from(h), roots = [], copied = (array, is) => (kinds.some(is) ? array.slice() : array);
    each(kinds, ({ norm }, from, to) => {
      roots.push(Math.sqrt(square(h, from)));
      if (norm === "pre") for (let i = from; i < to; i++) v[i] /= roots.at(-1);
    });
    const a = copied(v, ({ early }) => early);
    each(kinds, ({ early }, from, to) => { if (early) pass(a, a, from, to); });
    const y = products(W1, a, WIDTH);
    each(kinds, ({ single }, from, to) => {
      if (single) y.set(a.subarray(from, to), from);
      else pass(y, y, from, to);
    });
    const out = products(W2, y, WIDTH, scale);
    for (let i = 0; i < out.length; i++) out[i] += h[i];
    const overs = kinds.map((_, k) => Math.sqrt(square(out, k * WIDTH)));
    each(kinds, ({ norm, late }, from, to) => {
      if (norm === "post") for (let i = from; i < to; i++) out[i] /= overs[from / WIDTH];
      else if (late) pass(out, out, from, to);
    });
    const derive = (g) => {
      each(kinds, ({ norm, late }, from, to) => {
        if (norm === "post") unnorm(g, out, overs[from / WIDTH], from, to);
        else if (late) pass(g, out, from, to);
      });
      const second = backProducts(W2, g, WIDTH), middle = copied(second, ({ single }) => single);
      pass(middle, y, 0, y.length);
      const b = backProducts(W1, middle, WIDTH);
      each(kinds, ({ norm, early, single }, from, to) => {
        if (single) b.set(second.subarray(from, to), from);
        if (early) pass(b, v, from, to);
        if (norm === "pre") unnorm(b, v, roots[from / WIDTH], from, to);
      });
      for (let i = 0; i < b.length; i++) b[i] = g[i] + scale * b[i];
      return b;
    };
    return { out, derive };
  }

  /** A vector for each kind. */
  function repeated(vector, kinds) {
    const out = new Float64Array(kinds.length * WIDTH);
    each(kinds, (_, from) => out.set(vector, from));
    return out;
  }

  let way = {}; // up through the blocks, as far as it was last gone: a depth below that is part of it
  /** For each kind the mean squares of h^0 … h^d and, if asked for, of δ^0 … δ^d over that at the top. */
  function measure({ seed, depth, scale }, kinds, backward = false) {
    const { input, top, blocks } = net(seed, depth), key = JSON.stringify([seed, scale, kinds]), deltas = kinds.map(() => [square(top)]);
    if (way.key !== key) way = { key, h: repeated(input, kinds), Ms: kinds.map(() => [square(input)]), derivatives: [] };
    const { Ms, derivatives } = way;
    while (derivatives.length < depth) {
      const { out, derive } = block(way.h, blocks[derivatives.length], scale, kinds);
      derivatives.push(derive);
      way.h = out;
      Ms.forEach((M, k) => M.push(square(out, k * WIDTH)));
    }
    if (backward) for (let t = depth, g = repeated(top, kinds); t > 0; t--) {
      g = derivatives[t - 1](g);
      deltas.forEach((delta, k) => delta.push(square(g, k * WIDTH)));
    }
    return kinds.map((_, k) => ({ M: Ms[k].slice(0, depth + 1), delta: deltas[k].map((x) => x / square(top)).reverse() }));
  }

  /** What labs.transformer.residual_stream says, from M_0 on. */
  function predict({ depth, scale }, norm, gain, M0 = 1) {
    const added = scale ** 2 * gain;
    return explore.range(depth + 1).map((t) => (norm === "pre" ? M0 + added * t : norm === "none" ? M0 * (1 + added) ** t : t ? 1 : M0));
  }

  return { net, measure, predict };
})();
