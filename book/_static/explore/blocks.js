/* Chapter 4: how four ways to write a residual block, and a norm inside the branch, make the signal grow with depth. */
"use strict";

explore.add((() => {
  const { say, shown, line, rect, text, path, log, linear, multiples, step, decades, range } = explore;
  // Each: its formula, its shape, and what its branch makes of mean square 1 where theory knows it.
  const BLOCKS = {
    one: ["h + W relu(h)", { single: true, early: true }, 1], two: ["h + W₂ relu(W₁ h)", {}, 2],
    inside: ["h + W₂ relu(W₁ relu(h))", { early: true }, 1], outside: ["relu(h + W₂ relu(W₁ h))", { late: true }, null],
    pre: ["h + W₂ relu(W₁ norm(h))", { norm: "pre" }, 2],
  };
  const LARGEST = 65504 ** 2, SERIES = ["series-1", "series-3", "series-2", "series-4", "strong-line"];

  function compute({ depth, scale, seed }) {
    const measured = residual.measure({ depth, scale, seed }, Object.values(BLOCKS).map(([, kind]) => kind));
    const curves = Object.fromEntries(Object.entries(BLOCKS).map(([name, [, kind, gain]], k) => {
      const { M } = measured[k];
      const theory = gain && residual.predict({ depth, scale }, kind.norm ?? "none", gain, M[0]);
      return [name, { M, theory, factor: (M[depth] / M[0]) ** (1 / depth), expected: gain && 1 + scale ** 2 * gain }];
    }));
    return { depth, scale, curves };
  }

  function draw({ depth, scale, curves }, { width, height }) {
    const left = 44, right = width - 12, top = 128, bottom = height - 36, x = linear([0, depth], [left, right]), all = Object.values(curves);
    const powers = all.flatMap(({ M, theory }) => [...M, ...(theory ?? [])]).map(Math.log10), ends = [Math.min(-0.6, ...powers), Math.max(2.4, ...powers)];
    const y = log(ends.map((k) => 10 ** k), [bottom, top]);
    let out = "";
    if (y(LARGEST) > top + 4) out += rect(left, top, right - left, y(LARGEST) - top, "hatch") + text(left + 6, y(LARGEST) - 5, say(width < 480 ? "beyond %1" : "its root beyond %1", "fp16"), { anchor: "start" });
    out += text(4, top - 10, say(width < 480 ? "mean square (log scale; dashed: theory)" : "mean square of the signal (log scale; dashed: theory)"), { anchor: "start" }) + decades(y, ends, left, right);
    for (const t of multiples(0, depth, Math.max(1, step(depth / 6)))) out += text(x(t), bottom + 16, t);
    out += text((left + right) / 2, bottom + 32, say("block *t*"));
    Object.entries(curves).forEach(([name, { M, theory, factor, expected }], k) => {
      const at = 12 + 19 * k;
      out += line(4, at - 4, 26, at - 4, SERIES[k]) + text(32, at, BLOCKS[name][0], { anchor: "start", kind: "strong" });
      const grows = width < 480 ? `×${shown(factor)}` : say("×%1 a block on average", shown(factor)), beside = expected ? say(", theory %1", shown(expected)) : "";
      out += text(right, at, name === "pre" ? say(!scale ? "level" : width < 480 ? "linear" : "grows linearly") : grows + beside, { anchor: "end" });
      out += path(M.map((v, t) => [x(t), y(v)]), SERIES[k]);
      if (theory) out += path(theory.map((v, t) => [x(t), y(v)]), "theory");
    });
    return out;
  }

  function words({ depth, scale, curves }) {
    const [one, two, inside, outside] = ["one", "two", "inside", "outside"].map((name) => shown(curves[name].factor)), { M } = curves.pre;
    const last = curves.two.M.findIndex((v) => v > LARGEST);
    return say("With branches times %1 a block multiplies the mean square by %2, %3, %4 and %5 in this network; with a norm in the branch it reaches %6.", shown(scale), one, two, inside, outside, shown(M[depth])) +
      (last < 0 ? "" : say(" The root of that of %1 passes the largest number of fp16 at block %2; single entries pass it earlier.", BLOCKS.two[0], last));
  }

  return {
    name: "blocks", title: "residual blocks", height: 430,
    controls: [
      { name: "depth", kind: "slider", label: "Blocks *d*", low: 2, high: 48, step: 1, whole: true, value: 24 },
      { name: "scale", kind: "slider", label: "Factor of the branch", low: 0, high: 1, step: 0.01, value: 1 },
      { name: "seed", kind: "seed", label: "Seed", value: 0 },
    ],
    presets: [["24 blocks", {}], ["depth 4", { depth: 4 }], ["a factor of 1/√24", { scale: 0.204 }]],
    lines: [3, 6], compute, draw, words,
    table: ({ depth, curves }) => ({
      caption: "Mean squares after each block, and theory", head: ["block", ...Object.entries(curves).flatMap(([name, { theory }]) => [BLOCKS[name][0], ...(theory ? ["theory"] : [])])],
      rows: range(depth + 1).map((t) => [t, ...Object.values(curves).flatMap(({ M, theory }) => [M[t], ...(theory ? [theory[t]] : [])])]),
    }),
  };
})());
