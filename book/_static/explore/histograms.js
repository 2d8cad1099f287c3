/* Chapter 3: what a sigmoid network holds, layer by layer, as histograms over its units and inputs, for a scale of the weights. */
"use strict";

explore.add((() => {
  const { say, shown, superscript, text, tag, tenth, range, clamp, sum } = explore, { normals, uniforms, products, backProducts } = liveSignal;
  const WIDTH = 64, INPUTS = 32, DEPTH = 11, LAYERS = [1, 3, 5, 7, 9, 11], BINS = 30, POWERS = [-16, 4];
  let kept = { seed: NaN };

  /** Inputs and a gradient at the top for each of them, both N(0, 1), and the weights before their scale. */
  function net(seed) {
    const matrix = (stream, rows) => Float64Array.from(normals(rows * WIDTH, uniforms(seed, stream)));
    if (kept.seed !== seed) kept = { seed, x: matrix(0, INPUTS), top: matrix(1, INPUTS), W: range(DEPTH).map((t) => matrix(2 + t, WIDTH)) };
    return kept;
  }

  /** How many values lie in each bin; what lies beyond is in the last one. */
  function counts(values, low, high) {
    const found = new Array(BINS).fill(0), scale = BINS / (high - low);
    for (let k = 0; k < values.length; k++) found[clamp(Math.floor((values[k] - low) * scale), 0, BINS - 1)]++;
    return found;
  }
  // Bins of magnitudes: a factor of 2 crosses one edge at most, so the exponent of a float64 says the bin, or the one below it.
  const EDGES = range(BINS).map((k) => (k ? 10 ** (POWERS[0] + ((POWERS[1] - POWERS[0]) * k) / BINS) : 0)), BIN = Uint8Array.from(range(2048), (e) => EDGES.findLastIndex((edge) => edge <= 2 ** (e - 1023)));
  function magnitudes(values) {
    const found = new Array(BINS).fill(0), halves = new Uint32Array(values.buffer);
    for (let k = 0; k < values.length; k++) {
      const bin = BIN[(halves[2 * k + 1] >>> 20) & 0x7ff];
      found[Math.abs(values[k]) >= EDGES[bin + 1] ? bin + 1 : bin]++;
    }
    return found;
  }
  const root = (values) => { let total = 0; for (let k = 0; k < values.length; k++) total += values[k] * values[k]; return Math.sqrt(total / values.length); };

  /** Of the variance of h over units and inputs, the share that is between inputs; it is 0 where all inputs give the same h. */
  function between(h) {
    const means = new Float64Array(WIDTH);
    for (let k = 0; k < h.length; k++) means[k % WIDTH] += h[k] / INPUTS;
    const mean = sum([...means]) / WIDTH;
    let within = 0, total = 0;
    for (let k = 0; k < h.length; k++) {
      within += (h[k] - means[k % WIDTH]) ** 2;
      total += (h[k] - mean) ** 2;
    }
    return within / total;
  }

  // To make arrays takes time: these serve each move.
  const array = (size = INPUTS * WIDTH) => new Float64Array(size), zs = range(DEPTH).map(() => array()), hs = range(DEPTH).map(() => array());
  const delta = array(), passed = array(), below = array(), above = array(), gradient = array(WIDTH * WIDTH);
  /** A row for each unit, in place of one for each input. */
  function turned(values, out) {
    for (let r = 0; r < INPUTS; r++) for (let i = 0; i < WIDTH; i++) out[i * INPUTS + r] = values[r * WIDTH + i];
    return out;
  }

  function compute({ sigma, seed }) {
    const { x, top, W } = net(seed), scale = sigma / Math.sqrt(WIDTH);
    W.forEach((weights, t) => {
      const z = products(weights, t ? hs[t - 1] : x, WIDTH, scale, zs[t]), h = hs[t];
      for (let k = 0; k < h.length; k++) h[k] = 1 / (1 + Math.exp(-z[k]));
    });
    delta.set(top);
    const layers = {};
    for (let t = DEPTH; t > 0; t--) {
      const h = hs[t - 1], z = zs[t - 1];
      for (let k = 0; k < h.length; k++) passed[k] = delta[k] * h[k] * (1 - h[k]);
      if (LAYERS.includes(t)) {
        products(turned(t > 1 ? hs[t - 2] : x, below), turned(passed, above), INPUTS, 1, gradient);
        let saturated = 0;
        for (let k = 0; k < z.length; k++) if (Math.abs(z[k]) > 6) saturated++;
        layers[t] = {
          z: counts(z, -30, 30), h: counts(h, 0, 1), delta: magnitudes(delta), gradient: magnitudes(gradient),
          saturated: saturated / z.length, between: between(h), rmsDelta: root(delta), rmsGradient: root(gradient),
        };
      }
      for (let k = 0; k < passed.length; k++) passed[k] *= scale;
      backProducts(W[t - 1], passed, WIDTH, delta);
    }
    return { sigma, net: () => net(seed), shares: LAYERS.map((t) => ({ t, ...layers[t] })) };
  }

  const COLUMNS = [
    ["z", "pre-activation *z*", "*z*", "share beyond ±6", "beyond ±6", "≤−30", "≥30"], ["h", "signal *h*", "*h*", "differs between inputs", "differs", "0", "1"],
    ...[["delta", "gradient *δ*, size", "*δ*"], ["gradient", "weight gradient, size", "∂ℓ/∂*W*"]].map((each) => [...each, "root mean square", "rms", ...POWERS.map((k, j) => `${"≤≥"[j]}10${superscript(k)}`)]),
  ];
  const percent = (share) => say("%1 %", share > 0 && share < 0.001 ? "<0.1" : shown(100 * share, 2));

  function draw({ shares }, { width, height }) {
    const wide = width >= 560, left = wide ? 62 : 26, gap = wide ? 16 : 8, column = (width - left - 3 * gap) / 4, top = 40, row = (height - top - 22) / LAYERS.length;
    let out = wide ? "" : text(0, 14, say("layer"), { anchor: "start", "font-size": 11 });
    COLUMNS.forEach(([name, long, short, unit, brief, from, to], c) => {
      const x = left + c * (column + gap), kind = c < 2 ? "forward" : "backward";
      out += text(x + column / 2, 14, wide ? say(long) : short, { kind: "strong" });
      out += text(x + column / 2, 30, say(wide ? unit : brief), { "font-size": 11 });
      let areas = "", axes = "", beyond = "", marks = "", notes = ""; // a path for all layers is drawn sooner than one for each
      shares.forEach((layer, k) => {
        const bottom = top + row * (k + 1) - 4, full = row - 22, by = full / Math.max(...layer[name]), end = x + column;
        const edge = (j) => tenth(x + (column * j) / BINS), bar = (j) => `V${tenth(bottom - by * layer[name][j])}H${edge(j + 1)}`, closed = (from, bars) => `M${edge(from)} ${tenth(bottom)}${bars}V${tenth(bottom)}Z`;
        areas += closed(0, range(BINS).map(bar).join(""));
        axes += `M${tenth(x)} ${tenth(bottom)}H${tenth(end)}`;
        if (name === "z") for (const at of [-6, 6]) marks += `M${edge((BINS * (at + 30)) / 60)} ${tenth(bottom - full)}V${tenth(bottom)}`;
        if (name !== "h") for (const j of [0, BINS - 1]) beyond += closed(j, bar(j)); // what lies beyond the axis is piled up here
        const note = { z: percent(layer.saturated), h: percent(layer.between), delta: shown(layer.rmsDelta, 2), gradient: shown(layer.rmsGradient, 2) }[name];
        notes += text(end, bottom - full - 4, note, { anchor: "end", "font-size": 11 });
        if (!c) notes += text(0, bottom - 4, wide ? say("layer %1", layer.t) : layer.t, { anchor: "start" });
      });
      for (const [d, each] of [[areas, `area-${kind}`], [axes, "axis"], [marks, "mark"], [beyond, "area-quiet"]]) if (d) out += tag("path", { d, class: `ex-${each}` });
      out += notes;
      out += text(x - 2, height - 6, from, { anchor: "start", "font-size": 11 }) + text(x + column + 2, height - 6, to, { anchor: "end", "font-size": 11 });
    });
    return out;
  }

  function words({ sigma, shares }) {
    const [low, high] = [shares[0], shares.at(-1)], middle = shares[Math.floor(shares.length / 2)];
    return say("Weights of scale %1: on the way down to layer 1 the gradient is multiplied by %2. In layer %3, %4 of the units are saturated; in layer %5, %6 of the variance of the signal is between inputs.",
      shown(sigma), shown(low.rmsDelta / high.rmsDelta), middle.t, percent(middle.saturated), high.t, percent(high.between));
  }

  return {
    name: "histograms", title: "histograms through depth", height: [440, 480],
    controls: [
      { name: "sigma", kind: "slider", label: "Scale *σ*_w_", low: 0.3, high: 30, log: true, value: 1 },
      { name: "seed", kind: "seed", label: "Seed", value: 0 },
    ],
    presets: [["looks healthy, vanishes: 1", {}], ["nearly holds: 6.4", { sigma: 6.4 }], ["looks saturated, explodes: 20", { sigma: 20 }]],
    lines: [3, 5], compute, draw, words,
    table: ({ shares }) => ({
      caption: "Of each layer: units beyond ±6, the share of the variance of h that is between inputs, and root mean squares",
      head: ["layer", "saturated", "between inputs", "δ", "weight gradient"],
      rows: shares.map(({ t, saturated, between, rmsDelta, rmsGradient }) => [t, percent(saturated), percent(between), rmsDelta, rmsGradient]),
    }),
  };
})());
