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

  /** A product by one matrix with several vectors at once, for which the matrix is read once; null stands for none. */
  function together(multiply, W, vectors) {
    const some = vectors.filter(Boolean), packed = new Float64Array(some.length * WIDTH);
    some.forEach((v, k) => packed.set(v, k * WIDTH));
    const out = multiply(W, packed, WIDTH);
    let at = 0;
    return vectors.map((v) => v && out.subarray(at, at += WIDTH));
  }

  /** A block of each kind, with the same matrices: what each gives, and its derivatives. `early`: a ReLU before the first matrix;
      `single`: one matrix; `late`: a ReLU after the addition; `norm`: none, pre or post. */
  function block(hs, [W1, W2], scale, kinds) {
    const enters = kinds.map(({ norm, early }, k) => {
      const h = hs[k], root = Math.sqrt(square(h)), v = norm === "pre" ? divided(h, root) : h;
      return { root, v, a: early ? relu(v) : v };
    });
    const zs = together(products, W1, enters.map(({ a }, k) => (kinds[k].single ? null : a)));
    const fs = together(products, W2, enters.map(({ a }, k) => (zs[k] ? relu(zs[k]) : a)));
    const leaves = kinds.map(({ norm, late }, k) => {
      const sum = mixed(1, hs[k], scale, fs[k]), over = Math.sqrt(square(sum));
      return { sum, over, out: norm === "post" ? divided(sum, over) : late ? relu(sum) : sum };
    });
    const derive = (deltas) => {
      const gs = kinds.map(({ norm, late }, k) => (norm === "post" ? unnormed(deltas[k], leaves[k].out, leaves[k].over) : late ? passed(deltas[k], leaves[k].sum) : deltas[k]));
      const seconds = together(backProducts, W2, gs), firsts = together(backProducts, W1, seconds.map((b, k) => zs[k] && passed(b, zs[k])));
      return kinds.map(({ norm, early }, k) => {
        let b = firsts[k] ?? seconds[k];
        if (early) b = passed(b, enters[k].v);
        if (norm === "pre") b = unnormed(b, enters[k].v, enters[k].root);
        return mixed(1, gs[k], scale, b);
      });
    };
    return { outs: leaves.map(({ out }) => out), derive };
  }

  let way = {}; // up through the blocks, as far as it was last gone: a depth below that is part of it
  /** For each kind the mean squares of h^0 … h^d and, if asked for, of δ^0 … δ^d over that at the top. */
  function measure({ seed, depth, scale }, kinds, backward = false) {
    const { input, top, blocks } = net(seed, depth), key = JSON.stringify([seed, scale, kinds]), deltas = kinds.map(() => [square(top)]);
    if (way.key !== key) way = { key, hs: kinds.map(() => input), Ms: kinds.map(() => [square(input)]), derivatives: [] };
    const { Ms, derivatives } = way;
    while (derivatives.length < depth) {
      const { outs, derive } = block(way.hs, blocks[derivatives.length], scale, kinds);
      derivatives.push(derive);
      way.hs = outs;
      outs.forEach((h, k) => Ms[k].push(square(h)));
    }
    if (backward) for (let t = depth, gs = kinds.map(() => top); t > 0; t--) {
      gs = derivatives[t - 1](gs);
      gs.forEach((g, k) => deltas[k].unshift(square(g)));
    }
    return kinds.map((_, k) => ({ M: Ms[k].slice(0, depth + 1), delta: deltas[k].map((x) => x / square(top)) }));
  }

  /** What labs.transformer.residual_stream says, from M_0 on. */
  function predict({ depth, scale }, norm, gain, M0 = 1) {
    const added = scale ** 2 * gain;
    return explore.range(depth + 1).map((t) => (norm === "pre" ? M0 + added * t : norm === "none" ? M0 * (1 + added) ** t : t ? 1 : M0));
  }

  return { net, measure, predict };
})();
