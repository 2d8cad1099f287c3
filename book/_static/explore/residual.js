/* Residual nets, and what chapters 4 and 10 measure of them: mean squares of the stream and of the gradient, block by block. One net of
   width 96 with He's weights (uniform ones, which are drawn faster) and one input; in float64, from weights in float32. */
"use strict";

const residual = (() => {
  const WIDTH = 96, { normals, uniforms } = liveSignal;
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

  // Loops, and four rows of a matrix at a time, are faster than the same said shortly: a move of a slider has one frame.
  function times(W, v) {
    const out = new Float64Array(WIDTH);
    for (let i = 0; i < WIDTH; i += 4) {
      let a = 0, b = 0, c = 0, d = 0;
      for (let j = 0, k = i * WIDTH; j < WIDTH; j++, k++) {
        a += W[k] * v[j];
        b += W[k + WIDTH] * v[j];
        c += W[k + 2 * WIDTH] * v[j];
        d += W[k + 3 * WIDTH] * v[j];
      }
      out.set([a, b, c, d], i);
    }
    return out;
  }
  function back(W, g) {
    const out = new Float64Array(WIDTH);
    for (let i = 0; i < WIDTH; i += 4) {
      const a = g[i], b = g[i + 1], c = g[i + 2], d = g[i + 3];
      for (let j = 0, k = i * WIDTH; j < WIDTH; j++, k++) out[j] += W[k] * a + W[k + WIDTH] * b + W[k + 2 * WIDTH] * c + W[k + 3 * WIDTH] * d;
    }
    return out;
  }
  function mixed(a, u, b, v) {
    const out = new Float64Array(WIDTH);
    for (let i = 0; i < WIDTH; i++) out[i] = a * u[i] + b * v[i];
    return out;
  }
  function passed(g, z) {
    const out = new Float64Array(WIDTH);
    for (let i = 0; i < WIDTH; i++) if (z[i] > 0) out[i] = g[i];
    return out;
  }
  const square = (v) => { let total = 0; for (const x of v) total += x * x; return total / WIDTH; };
  const relu = (v) => passed(v, v), divided = (v, by) => mixed(1 / by, v, 0, v);
  /** The derivative of the division by the root mean square: what y, its result, lets through. */
  function unnormed(g, y, root) {
    let along = 0;
    for (let i = 0; i < WIDTH; i++) along += g[i] * y[i];
    return mixed(1 / root, g, -along / WIDTH / root, y);
  }

  /** One block: its result, and its derivative. `early`: a ReLU before the first matrix; `single`: one matrix; `late`: a ReLU
      after the addition; `norm`: none, pre or post. */
  function block(h, [W1, W2], scale, { norm = "none", early = false, single = false, late = false }) {
    const root = Math.sqrt(square(h)), v = norm === "pre" ? divided(h, root) : h, a = early ? relu(v) : v;
    const z = single ? a : times(W1, a), f = times(W2, single ? a : relu(z)), sum = mixed(1, h, scale, f);
    const over = Math.sqrt(square(sum)), out = norm === "post" ? divided(sum, over) : late ? relu(sum) : sum;
    const derive = (delta) => {
      const g = norm === "post" ? unnormed(delta, out, over) : late ? passed(delta, sum) : delta;
      let b = back(W2, g);
      if (!single) b = back(W1, passed(b, z));
      if (early) b = passed(b, v);
      if (norm === "pre") b = unnormed(b, v, root);
      return mixed(1, g, scale, b);
    };
    return { out, derive };
  }

  /** Mean squares of h^0 … h^d and, if asked for, of δ^0 … δ^d over that at the top. */
  function measure({ seed, depth, scale }, kind, backward = false) {
    const { input, top, blocks } = net(seed, depth), derivatives = [], M = [square(input)], delta = [square(top)];
    for (let t = 0, h = input; t < depth; t++) {
      const { out, derive } = block(h, blocks[t], scale, kind);
      derivatives.push(derive);
      M.push(square(h = out));
    }
    if (backward) for (let t = depth, g = top; t > 0; t--) delta.unshift(square(g = derivatives[t - 1](g)));
    return { M, delta: delta.map((x) => x / square(top)) };
  }

  /** What labs.transformer.residual_stream says, from M_0 on. */
  function predict({ depth, scale }, norm, gain, M0 = 1) {
    const added = scale ** 2 * gain;
    return explore.range(depth + 1).map((t) => (norm === "pre" ? M0 + added * t : norm === "none" ? M0 * (1 + added) ** t : t ? 1 : M0));
  }

  return { net, measure, predict };
})();
