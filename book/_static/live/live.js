/* The live figure: its settings, its drawing, its words. The numbers come from signal.js, the rest of a figure from explore/common.js.
   Its page gives the presets, the menus' names, the ends of its sliders, and where the figure stands alone.

   For tests and the curious, `liveFigures` holds an object for each figure of the page:
     state()      the settings           set({depth: 40})   changes some of them
     network()    weights (row by row: W^t[i * n + j]), input h^0, top gradient δ^d, as rounded to the format
     result()     root mean squares of h^t and δ^t for t = 0 … d, and where the signal left the format
     prediction() the same root mean squares by theory */
"use strict";

explore.add({ name: "live", of: ({ preset, presets, menus, ends, alone }) => {
  const { say, shown, tag, line, rect, text, path, linear, log, step, multiples, decades, clamp, range } = explore;
  const BAND = { low: 1e-6, high: 1e3 }; // the lecture's band, in which a signal is safe
  const makeNet = liveSignal.netMaker();

  function compute(state) {
    const net = makeNet(state);
    return { ...liveSignal.propagate(net), state, net, theory: liveSignal.predict(net) };
  }

  // ---- Words -------------------------------------------------------------------------------------------------------

  /** The factor by which a signal changes per layer, over the layers on which it is positive and finite. */
  function growth(sizes) {
    const end = sizes.findIndex((x) => !(x > 0 && x < Infinity)), steps = (end < 0 ? sizes.length : end) - 1;
    return steps > 0 ? (sizes[steps] / sizes[0]) ** (1 / steps) : NaN;
  }

  /** Whether theory has a signal change ever less per layer, the deeper the layer. */
  function fades(predicted, layers) {
    const changes = predicted.slice(1).map((size, k) => Math.log(size / predicted[k])), [near, far] = layers[0] ? [changes.at(-1), changes[0]] : [changes[0], changes.at(-1)];
    return Math.abs(near) > 0.02 && Math.abs(far) < Math.abs(near) / 2 && near * far >= 0;
  }
  const level = (factor) => factor > 0.98 && factor < 1.02;

  /** What becomes of one signal. `sizes` is its size layer by layer as it travels, `layers` the layers' numbers. */
  function fate(sizes, predicted, layers, overflow, zero, format) {
    const times = (values) => `×\u00a0${shown(growth(values))}`, factor = growth(sizes);
    const rate = say("%1 per layer (theory %2)", times(sizes), times(predicted));
    if (overflow >= 0) return say("overflows %1 at layer %2, %3.", format, overflow, rate);
    if (zero >= 0) return say("vanishes, exactly 0 in %1 at layer %2, %3.", format, zero, rate);
    const last = sizes.at(-1), top = layers.at(-1), left = (outside) => layers[sizes.findIndex(outside)];
    if (last > BAND.high) return say("explodes, %1: above 10³ from layer %2, %3 at layer %4.", rate, left((x) => x > BAND.high), shown(last), top);
    if (last < BAND.low) return say("vanishes, %1: below 10⁻⁶ from layer %2, %3 at layer %4.", rate, left((x) => x < BAND.low), shown(last), top);
    const final = predicted.at(-1), rests = predicted.findIndex((_, k) => predicted.slice(k).every((size) => level(size / final)));
    if (rests > 0 && rests <= top / 2) return say("settles within the safe band: level in theory from layer %1 on, %2 at layer %3.", rests, shown(last), top);
    if (level(growth(predicted)) && !level(factor)) return say("level in theory; this one draw strays within the safe band, %1: %2 at layer %3.", rate, shown(last), top);
    if (!level(factor) && fades(predicted, layers)) {
      const mean = say("ever more slowly with depth, %1 per layer on average (theory %2)", times(sizes), times(predicted));
      return say(factor > 1 ? "grows within the safe band, %1: %2 at layer %3." : "shrinks within the safe band, %1: %2 at layer %3.", mean, shown(last), top);
    }
    return say(level(factor) ? "keeps its size within the safe band, %1: %2 at layer %3." : factor > 1 ? "grows within the safe band, %1: %2 at layer %3." : "shrinks within the safe band, %1: %2 at layer %3.", rate, shown(last), top);
  }

  /** A line for each direction. */
  function words({ forward, backward, theory, overflow, zero, nan, undone, state: { format } }) {
    const up = range(forward.length), down = (values) => [...values].reverse();
    const back = undone ? say("there is no gradient, for the forward signal is NaN from layer %1.", nan)
      : fate(down(backward), down(theory.backward), down(up), overflow.backward, zero.backward, format);
    return `${say("Forward: %1", fate(forward, theory.forward, up, overflow.forward, zero.forward, format))}\n${say("Backward: %1", back)}`;
  }

  // ---- Drawing -----------------------------------------------------------------------------------------------------

  /** The powers of ten between which to draw: few choices, so that the axis rests while a slider moves. */
  function powers({ forward, backward, overflow, zero, state: { format } }) {
    if (format === "fp16") return [-9, 6]; // the whole format
    const sizes = [...forward, ...backward].filter((x) => x > 0 && x < Infinity);
    const lowest = Math.log10(Math.min(...sizes)), highest = Math.log10(Math.max(...sizes)), broke = (layers) => layers.forward >= 0 || layers.backward >= 0;
    return [
      broke(zero) ? -48 : [-4, -8, -16, -24].find((low) => low < lowest - 0.3) ?? -48,
      broke(overflow) ? 42 : [4, 8, 16, 24].find((high) => high > highest + 0.3) ?? 42,
    ];
  }

  /** A line that ends where it leaves the drawing. */
  function cut(points, top, bottom) {
    const inside = (p) => p && p[1] >= top && p[1] <= bottom;
    return points.flatMap((p, k) => {
      const q = points[k - 1];
      if (!p || !q || inside(p) === inside(q)) return [inside(p) ? p : null];
      const edge = Math.min(p[1], q[1]) < top ? top : bottom, leaves = [q[0] + ((p[0] - q[0]) * (edge - q[1])) / (p[1] - q[1]), edge];
      return [leaves, inside(p) ? p : null];
    });
  }

  function hatched(left, top, right, bottom) {
    let d = "";
    for (let at = left - (bottom - top) + 5; at < right; at += 9) {
      const [from, to] = [Math.max(at, left), Math.min(at + bottom - top, right)];
      d += `M${from.toFixed(1)} ${(bottom - from + at).toFixed(1)}L${to.toFixed(1)} ${(bottom - to + at).toFixed(1)}`;
    }
    return tag("path", { d, class: "live-hatch" });
  }

  function draw(result, { width, height }) {
    const { theory, overflow, zero, state } = result, { max, smallestSubnormal } = liveSignal.FORMATS[state.format];
    const left = 46, right = width - 12, top = 22, bottom = height - 36, depth = result.forward.length - 1, ends = powers(result), [low, high] = ends.map((k) => 10 ** k);
    const x = linear([0, depth], [left, right]), y = log([low, high], [bottom, top]), inside = (v) => clamp(y(v), top, bottom);
    let out = rect(left, inside(BAND.high), right - left, inside(BAND.low) - inside(BAND.high), "band");
    if (max < high) out += hatched(left, top, right, inside(max));
    if (smallestSubnormal > low) out += hatched(left, inside(smallestSubnormal), right, bottom);
    out += decades(y, ends, left, right, 28);
    for (const t of multiples(0, depth, Math.max(1, step((44 * depth) / (right - left))))) out += text(x(t), bottom + 16, t);
    out += text(4, 13, say("root mean square (log scale)"), { anchor: "start" }) + text(right, bottom + 31, say("layer *t*"), { anchor: "end" });
    const curve = (values, kind) => path(cut([...values].map((v, t) => (v > 0 && v < Infinity ? [x(t), y(v)] : null)), top, bottom), kind, { class: `live-curve live-${kind}` });
    out += curve(result.forward, "forward") + curve(result.backward, "backward") + curve(theory.forward, "theory") + curve(theory.backward, "theory");
    out += text(left + 6, y(BAND.high) + 14, say("safe band"), { anchor: "start", kind: "name" });
    if (max < high) out += text(right - 6, inside(max) - 5, say("beyond %1", state.format), { anchor: "end", kind: "name" });
    if (smallestSubnormal > low) out += text(right - 6, inside(smallestSubnormal) + 14, say("0 in %1", state.format), { anchor: "end", kind: "name" });
    [["forward", 36], ["backward", 54]].forEach(([name, below]) => { // where a signal breaks; two labels do not meet
      const layer = overflow[name] >= 0 ? overflow[name] : zero[name];
      if (layer < 0) return;
      const at = x(layer), end = at > right - 125, said = say(overflow[name] >= 0 ? "overflow, layer %1" : "0, layer %1", layer);
      out += line(at, top, at, bottom, "mark") + text(end ? at - 5 : at + 5, top + below, said, { anchor: end ? "end" : "start", kind: `${name}-text` });
    });
    return out;
  }

  // ---- Settings ----------------------------------------------------------------------------------------------------

  const slider = (name, label, more) => ({ name, kind: "slider", label, low: ends[name][0], high: ends[name][1], value: preset[name], ...more });
  const menu = (name, label, more) => ({ name, kind: "menu", label, options: menus[name], value: more?.whole ? Number(preset[name]) : preset[name], ...more });
  return {
    title: "live figure", classes: ["live-figure", "ex-plot live-plot", "ex-words live-verdict"], height: [304, 256], presets,
    legend: [["forward", "forward: *hᵗ*, bottom to top"], ["backward", "backward: *δᵗ*, top to bottom"], ["theory", "theory"]],
    controls: [
      slider("scale", "Weight scale *c*", { log: true, spoken: "%1 times" }), slider("depth", "Depth *d*", { step: 1, whole: true }),
      menu("activation", "Activation"), menu("initialiser", "Initialiser"), menu("format", "Number format"), menu("width", "Width *n*", { whole: true }),
      { name: "seed", kind: "seed", label: "Seed", value: preset.seed },
    ],
    lines: [4, 6], compute, draw, words,
    table: ({ forward, backward, theory }) => ({
      caption: "Root mean square of each layer", head: ["layer t", "forward h", "theory", "backward δ", "theory"],
      rows: range(forward.length).map((t) => [t, ...[forward, theory.forward, backward, theory.backward].map((sizes) => sizes[t])]),
    }),
    more: (id) => `<details class="live-share"><summary>${say("The figure alone, or on a course site")}</summary>
<p><a class="live-alone" href="${alone}">${say("The figure alone, to fill the screen")}</a></p>
<label for="${id}-embed">${say("For a course site:")}</label>
<textarea id="${id}-embed" class="live-embed" rows="3" readonly></textarea></details>
`,
    settled(figure, state) {
      const { chosen } = document.documentElement.dataset, theme = chosen ? `?theme=${chosen}` : "";
      const url = new URL(`${alone}${theme}#live?${new URLSearchParams(state)}`, location.href).href;
      const tall = "height: clamp(720px, 1285px - 69vw, 1065px)"; // the narrower, the more its controls stand one below another
      figure.querySelector(".live-alone").href = url;
      figure.querySelector(".live-embed").value = `<iframe src="${url}" title="${say("Live figure")}" width="100%" height="720" style="${tall}"></iframe>`;
    },
  };
} });

if (typeof window !== "undefined") {
  window.liveFigures = explore.mounted.filter(({ name }) => name === "live").map(({ state, set, result }) =>
    ({ state, set, result, network: () => result().net, prediction: () => result().theory }));
}
