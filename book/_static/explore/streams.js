/* Chapter 10: the residual stream without a normalisation, with pre-norm and with post-norm, forward and backward. */
"use strict";

explore.add((() => {
  const { say, shown, line, text, path, log, linear, multiples, step, decades, apart, range } = explore;
  const NORMS = { none: "no norm", pre: "pre-norm", post: "post-norm" }, GAIN = 2;

  /** What the ends stay below at any depth if ζ² is 1/d, over the mean square at the start. */
  function bounds(input) {
    const M0 = explore.sum([...input].map((v) => v * v)) / input.length;
    return { none: Math.exp(GAIN), pre: 1 + GAIN / M0 };
  }

  function compute({ kinds, rule, depth, zeta, seed }) {
    const state = { depth, scale: zeta, seed }, names = kinds === "all" ? ["none", "pre", "post"] : ["pre", "post"];
    const measured = residual.measure(state, names.map((norm) => ({ norm })), true), found = names.map((norm, k) => {
      const { M, delta } = measured[k], theory = residual.predict(state, norm, GAIN, M[0]);
      return [norm, { M, delta, theory, back: theory.map((m) => theory[depth] / m) }];
    });
    return { depth, zeta, bounds: rule === "root" ? bounds(residual.net(seed, 0).input) : null, curves: Object.fromEntries(found) };
  }

  const SERIES = { none: 3, pre: 1, post: 2 };
  /** One panel: its place, and the curves with theory over them. Names stand at the end that the signal arrives at, the axis at the other. */
  function panel({ left, right, top, bottom, down }, title, curves, depth, straight) {
    const all = curves.flatMap(({ values, theory, bound }) => [...values, ...theory, bound ?? values[0]]), x = linear([0, depth], [left, right]);
    const begin = left - (down ? 88 : 38), end = (from) => (down ? left - from : right + from), anchor = down ? "end" : "start";
    let out = text(begin, top - 28, title, { anchor: "start", kind: "strong" }) + text(begin, top - 12, say(straight ? "linear scale" : "log scale"), { anchor: "start" }), y;
    if (straight) {
      const most = Math.max(2, ...all), by = step(most / 5);
      y = linear([0, most], [bottom, top]);
      out += multiples(0, most, by).map((v) => line(left, y(v), right, y(v)) + text(down ? right + 6 : left - 6, y(v) + 4, shown(v), { anchor: down ? "start" : "end" })).join("");
    } else {
      const powers = all.map(Math.log10), ends = [Math.min(-0.5, ...powers), Math.max(1.5, ...powers)];
      y = log(ends.map((k) => 10 ** k), [bottom, top]);
      out += decades(y, ends, left, right, 24, down);
    }
    for (const t of multiples(0, depth, Math.max(1, step(depth / 4)))) out += text(x(t), bottom + 16, t);
    out += text((left + right) / 2, bottom + 32, say("block *t*"));
    const at = apart(curves.map(({ values, low }) => y(values[low ? 0 : depth]) + 4), 15, top + 4, bottom);
    curves.forEach(({ name, values, theory, bound, low }, k) => {
      if (bound) out += line(left, y(bound), right, y(bound), "bound") + text(low ? right : left + 4, y(bound) + (y(bound) < top + 12 ? 14 : -5), say("bound of theory"), { anchor: low ? "end" : "start" });
      out += path(values.map((v, t) => [x(t), y(v)]), `series-${SERIES[name]}`) + path(theory.map((v, t) => [x(t), y(v)]), "theory");
      out += line(end(4), at[k] - 4, end(12), at[k] - 4, `series-${SERIES[name]}`) + text(end(15), at[k], say(NORMS[name]), { anchor, kind: "strong" });
    });
    return out;
  }

  function draw({ depth, bounds, curves }, { width, height }) {
    const wide = width >= 560, names = Object.keys(curves), straight = !curves.none;
    const of = (values, theory, low) => names.map((name) => ({
      name, values: curves[name][values], theory: curves[name][theory], low, bound: bounds?.[name] && bounds[name] * (low ? 1 : curves[name].M[0]),
    }));
    const places = wide
      ? [{ left: 44, right: width / 2 - 96 }, { left: width / 2 + 92, right: width - 46, down: true }].map((p) => ({ ...p, top: 48, bottom: height - 42 }))
      : [{ left: 44, right: width - 90 }, { left: 94, right: width - 44, down: true }].map((p, k) => ({ ...p, top: 48 + (k * height) / 2, bottom: (height / 2) * (k + 1) - 42 }));
    return panel(places[0], say("Forward: mean square of the stream"), of("M", "theory"), depth, straight) +
      panel(places[1], say("Backward: that of the gradient, top = 1"), of("delta", "back", true), depth, straight);
  }

  function words({ depth, zeta, bounds, curves }) {
    const names = { none: "without a norm by %1 and %2 (theory %3)", pre: "with pre-norm by %1 and %2 (theory %3)", post: "with post-norm by %1 and %2 (theory %3)" };
    const each = Object.entries(curves).map(([norm, { M, delta, theory }]) =>
      say(names[norm], shown(M[depth] / M[0]), shown(delta[0]), shown(theory[depth] / M[0])));
    return say("One network of %1 blocks, each branch times %2. The stream's mean square is multiplied on its way up, and the gradient's on its way down, %3.", depth, shown(zeta), each.join(say("; "))) +
      (!bounds ? "" : curves.none ? say(" At any depth theory stays below e² = %1 without a norm and is %2 with pre-norm.", shown(bounds.none), shown(bounds.pre)) : say(" At any depth theory is %1 with pre-norm.", shown(bounds.pre)));
  }

  const root = (depth) => Number((1 / Math.sqrt(depth)).toPrecision(4));
  const DEPTH = 48, he = { rule: "free", zeta: 1 };
  return {
    name: "streams", title: "residual streams", height: [320, 560],
    controls: [
      { name: "kinds", kind: "choice", label: "Show", value: "all", options: { all: "all three", normed: "those with a norm" } },
      { name: "rule", kind: "choice", label: "Branch factor", value: "root", options: { free: "*ζ* as set", root: "*ζ* = 1/√*d*" } },
      { name: "depth", kind: "slider", label: "Blocks *d*", low: 2, high: 48, step: 1, whole: true, value: DEPTH },
      { name: "zeta", kind: "slider", label: "Branch factor *ζ*", low: 0, high: 1.5, step: 0.01, value: root(DEPTH), resets: { rule: "free" } },
      { name: "seed", kind: "seed", label: "Seed", value: 0 },
    ],
    presets: [
      ["small branches, *ζ* = 1/√*d*", {}], ["the same at *d* = 10", { depth: 10, zeta: root(10) }],
      ["He’s weights, *ζ* = 1", he], ["of these, pre-norm: a sum", { ...he, kinds: "normed" }], ["LayerScale 0.1", { rule: "free", zeta: 0.1 }],
    ],
    lines: [4, 9], compute, draw, words,
    follow: ({ rule, depth }) => (rule === "root" ? { zeta: root(depth) } : {}),
    table: ({ depth, curves }) => ({
      caption: "Mean squares of the stream M and of the gradient δ² (top = 1), and theory",
      head: ["block", ...Object.keys(curves).flatMap((norm) => ["M", "theory", "δ²", "theory"].map((what) => say("%1: %2", say(NORMS[norm]), say(what))))],
      rows: range(depth + 1).map((t) => [t, ...Object.values(curves).flatMap(({ M, theory, delta, back }) => [M[t], theory[t], delta[t], back[t]])]),
    }),
  };
})());
