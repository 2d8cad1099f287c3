/* Chapter 4: a gradient over the contours of a loss, and the steps that four treatments of it make. */
"use strict";

explore.add((() => {
  const { say, shown, tag, line, dot, text, arrow, clamp } = explore;
  const METHODS = { value: "by value", norm: "by norm", standardised: "standardised", unit: "unit norm" };

  /** As torch does it, Inf and NaN included; the loss is (a w₁² + w₂²)/2. labs.stabilisers refuses what is not finite. */
  function compute({ a, w1, w2, threshold, entry }) {
    const g = [entry === "inf" ? Infinity : a * w1, w2], norm = Math.hypot(...g), [mean, half] = [(g[0] + g[1]) / 2, (g[0] - g[1]) / 2];
    const scaled = (factor) => g.map((x) => x * factor);
    const steps = {
      value: g.map((x) => clamp(x, -threshold, threshold)),
      norm: scaled(Math.min(threshold / (norm + 1e-6), 1)),
      standardised: half === 0 ? [NaN, NaN] : g.map((x) => (x - mean) / Math.abs(half)),
      unit: scaled(1 / norm),
    };
    const angle = ([x, y]) => Math.abs(Math.atan2(g[0] * y - g[1] * x, g[0] * x + g[1] * y)) * (180 / Math.PI);
    const found = Object.fromEntries(Object.entries(steps).map(([name, v]) => [name, { v, length: Math.hypot(...v), angle: angle(v) }]));
    return { a, w: [w1, w2], threshold, entry, g, norm, steps: found };
  }

  const REACH = 3;
  function frame({ width, height }) {
    const wide = width >= 480, side = wide ? Math.min(height - 8, width - 244) : Math.min(width - 8, 310), scale = side / 2 / REACH;
    return { wide, side, scale, cx: side / 2 + 4, cy: side / 2 + 4, left: wide ? side + 26 : 4, top: wide ? 70 : side + 34 };
  }

  function draw({ a, w, g, norm, steps }, size) {
    const { side, scale, cx, cy, left, top } = frame(size), at = ([x, y]) => [cx + scale * x, cy - scale * y];
    const id = "ex-clipping-frame", box = { x: 4, y: 4, width: side, height: side };
    let inside = "", outside = false;
    for (const level of [0.25, 1, 2.25, 4, 6.25, 9, 16, 36, 64, 121, 225, 400]) { // half of it is the loss
      inside += tag("ellipse", { cx, cy, rx: scale * Math.sqrt(level / a), ry: scale * Math.sqrt(level), class: "ex-contour" });
    }
    const from = at(w), step = (v) => at([w[0] - v[0], w[1] - v[1]]), unit = norm > 0 && norm < Infinity ? g.map((x) => (8 * x) / norm) : [8 * Math.sign(g[0]), 0];
    inside += line(...from, ...step(unit), "mark");
    for (const name of ["unit", "standardised", "value", "norm"]) { // where two are the same, the narrower lies in the wider
      const { v } = steps[name], k = Object.keys(steps).indexOf(name);
      if (!v.every(Number.isFinite)) continue;
      const to = step(v), part = clamp(Math.min(...[0, 1].map((i) => (to[i] === from[i] ? 1 : ((to[i] > from[i] ? side : 8) - from[i]) / (to[i] - from[i])))), 0, 1);
      const end = from.map((at, i) => at + part * (to[i] - at)), kind = `series-${k + 1}${{ unit: " ex-wide", standardised: " ex-broad" }[name] ?? ""}`;
      inside += arrow(...from, ...end, kind, { unit: 18, standardised: 14 }[name] ?? 10, part < 1);
      outside ||= part < 1;
    }
    let rows = "";
    Object.entries(steps).forEach(([name, { v, length, angle }], k) => {
      const fine = v.every(Number.isFinite), y = top + 44 + 30 * k;
      rows += tag("rect", { x: left, y: y - 9, width: 10, height: 10, class: `ex-fill-${k + 1}` });
      rows += text(left + 16, y, `${say(METHODS[name])}: (${shown(v[0], 3)}, ${shown(v[1], 3)})`, { anchor: "start", kind: "strong" });
      if (fine) rows += text(left + 16, y + 14, !length ? say("length 0") : say("length %1, turned %2°", shown(length, 3), shown(angle < 1e-5 ? 0 : angle, 3)), { anchor: "start" });
    });
    rows = text(left, top, say("gradient (%1, %2)", shown(g[0], 3), shown(g[1], 3)), { anchor: "start", kind: "strong" }) +
      text(left, top + 16, say("treated (each arrow is minus that):"), { anchor: "start" }) + rows;
    return tag("clipPath", { id }, tag("rect", box)) + tag("rect", { ...box, class: "ex-ring" }) +
      line(4, cy, 4 + side, cy) + line(cx, 4, cx, 4 + side) + tag("g", { "clip-path": `url(#${id})` }, inside) +
      dot(cx, cy, 3, "forward-dot") + text(cx + 6, cy + 16, say("minimum"), { anchor: "start" }) +
      text(side, cy - 5, "*w*_1_", { anchor: "end" }) + text(cx + 6, 20, "*w*_2_", { anchor: "start" }) + (outside ? text(10, w[1] < 0 ? 20 : side - 4, say("open head: goes on outside"), { anchor: "start" }) : "") + rows;
  }

  function words({ g, norm, steps, threshold, entry }) {
    const turned = ({ v, angle }) => (v.every(Number.isFinite) && !norm ? say("left at 0") : v.every(Number.isFinite) ? say("turned by %1°", shown(angle < 1e-5 ? 0 : angle, 3)) : say("made NaN"));
    if (entry === "inf") return say("By value the Inf becomes %1 and is hidden; by norm the gradient becomes (%2).", shown(threshold), steps.norm.v.map((x) => shown(x)).join(", "));
    return say("The gradient (%1, %2), clipped at %3 by value, is %4, by norm %5; standardised it is %6.", shown(g[0]), shown(g[1]), shown(threshold), turned(steps.value), turned(steps.norm), turned(steps.standardised)) +
      say(g[0] === g[1] ? " Standardising leaves 0/0 of equal entries." : " Standardising (red) leaves (1, −1) or (−1, 1) of any two entries that differ: only which is larger.");
  }

  const slider = (name, label, low, high, value, step) => ({ name, kind: "slider", label, low, high, value, step });
  return {
    name: "clipping", title: "clipping", height: [416, 500],
    controls: [
      { name: "entry", kind: "choice", label: "First entry of the gradient", value: "finite", options: { finite: "as the loss has it", inf: "Inf" } },
      { ...slider("a", "Steepness *a*", 1, 100, 100), log: true }, { ...slider("threshold", "Threshold *θ*", 0.1, 10, 1), log: true },
      slider("w1", "Weight *w*_1_", -3, 3, 1, 0.01), slider("w2", "Weight *w*_2_", -3, 3, 1, 0.01),
    ],
    presets: [
      ["(100, 1)", {}], ["a gentle slope", { a: 4, w1: 1.5, w2: 1.2 }], ["below the threshold", { a: 4, w1: 0.12, w2: 0.6 }], ["one Inf", { entry: "inf" }],
    ],
    lines: [3, 5], compute, draw, words,
    table: ({ g, norm, steps }) => ({
      caption: "The gradient and what becomes of it", head: ["treatment", "first entry", "second entry", "length", "turned by, °"],
      rows: [[say("none"), ...g, norm, 0], ...Object.entries(steps).map(([name, { v, length, angle }]) => [say(METHODS[name]), ...v, length, angle])],
    }),
    handles({ w }, size) {
      const { scale, cx, cy } = frame(size), inside = (x) => Number(clamp(x, -REACH, REACH).toFixed(2));
      return [{ x: cx + scale * w[0], y: cy - scale * w[1], drag: (px, py) => ({ w1: inside((px - cx) / scale), w2: inside((cy - py) / scale) }) }];
    },
  };
})());
