/* Chapter 7: an activation given by a formula, beside its Taylor polynomial at 0, and what depth makes of it. */
"use strict";

explore.add((() => {
  const { say, shown, line, dot, text, path, linear, multiples, step, clamp, range } = explore;

  // ---- A formula in x, read into a tree and from there into functions ---------------------------------------------

  const FUNCTIONS = ["exp", "log", "sqrt", "sin", "cos", "tanh", "erf", "sigmoid", "softplus", "relu", "abs"];

  /** The tree of a formula: a number, "x", or [operation, …]. Throws the reason where it is none. */
  function parse(formula) {
    const tokens = formula.replaceAll("**", "^").replaceAll("−", "-").match(/\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|[a-z]+|\S/gi) ?? [];
    let at = 0;
    const take = (token) => tokens[at] === token && ++at;
    const sum = () => {
      let left = product();
      for (;;) {
        if (take("+")) left = ["+", left, product()];
        else if (take("-")) left = ["-", left, product()];
        else return left;
      }
    };
    const product = () => {
      let left = signed();
      for (;;) {
        if (take("*")) left = ["*", left, signed()];
        else if (take("/")) left = ["/", left, signed()];
        else return left;
      }
    };
    const signed = () => (take("-") ? ["-", 0, signed()] : take("+") ? signed() : raised());
    const raised = () => {
      const base = atom();
      return take("^") ? ["^", base, signed()] : base;
    };
    const bracket = () => {
      const inner = sum();
      if (!take(")")) throw new Error(say("a bracket is not closed"));
      return inner;
    };
    const atom = () => {
      const token = tokens[at++];
      if (token === undefined) throw new Error(say("something is missing at the end"));
      if (/^[.\d]/.test(token)) return Number(token);
      if (token === "x" || token === "z") return "x";
      if (token === "pi") return Math.PI;
      if (token === "(") return bracket();
      if (!FUNCTIONS.includes(token)) throw new Error(say("“%1” is not known; there are x, + − * / ^ and %2", token, FUNCTIONS.join(", ")));
      if (!take("(")) throw new Error(say("%1 needs a bracket", token));
      return [token, bracket()];
    };
    const tree = sum();
    if (at < tokens.length) throw new Error(say("“%1” was not expected", tokens[at]));
    return tree;
  }

  const erf = (x) => { // a series whose terms are of one sign
    if (Math.abs(x) > 6) return Math.sign(x);
    let term = x, total = x;
    for (let k = 1; Math.abs(term) > 1e-17 * Math.abs(total); k++) total += term *= (2 * x * x) / (2 * k + 1);
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
  };
  const VALUES = {
    ...Object.fromEntries(["exp", "log", "sqrt", "sin", "cos", "tanh", "abs"].map((name) => [name, Math[name]])),
    erf, sigmoid: (x) => 1 / (1 + Math.exp(-x)), softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), relu: (x) => (x < 0 ? 0 : x),
  };

  /** The function of a tree. */
  function valueOf(tree) {
    if (typeof tree === "number") return () => tree;
    if (tree === "x") return (x) => x;
    const [name, ...parts] = tree, [f, g] = parts.map(valueOf);
    if (name === "+") return (x) => f(x) + g(x);
    if (name === "-") return (x) => f(x) - g(x);
    if (name === "*") return (x) => f(x) * g(x);
    if (name === "/") return (x) => f(x) / g(x);
    if (name === "^") return (x) => f(x) ** g(x);
    const outer = VALUES[name];
    return (x) => outer(f(x));
  }

  // A series is an array of Taylor coefficients. A function follows from its derivative: f(u)' = f'(u) u'.
  const times = (a, b) => a.map((_, n) => { let s = 0; for (let k = 0; k <= n; k++) s += a[k] * b[n - k]; return s; });
  const over = (a, b) => {
    const c = [];
    a.forEach((x, n) => { let s = x; for (let k = 0; k < n; k++) s -= c[k] * b[n - k]; c.push(s / b[0]); });
    return c;
  };
  /** f(u), given f at the point and, from the coefficients of f so far, those of its derivative. */
  function integrated(u, start, slope) {
    const f = [start];
    for (let n = 1; n < u.length; n++) {
      const g = slope(f);
      let s = 0;
      for (let k = 1; k <= n; k++) s += k * u[k] * g[n - k];
      f.push(s / n);
    }
    return f;
  }
  const less = (a, b) => a.map((x, n) => x - b[n]), cut = (a, like) => a.slice(0, like.length);
  const one = (like) => like.map((_, n) => (n ? 0 : 1));
  const SERIES = {
    exp: (u) => integrated(u, Math.exp(u[0]), (f) => f),
    log: (u) => integrated(u, Math.log(u[0]), (f) => over(one(f), cut(u, f))),
    tanh: (u) => integrated(u, Math.tanh(u[0]), (f) => less(one(f), times(f, f))),
    sigmoid: (u) => integrated(u, VALUES.sigmoid(u[0]), (f) => less(f, times(f, f))),
    erf: (u) => integrated(u, erf(u[0]), (f) => SERIES.exp(times(cut(u, f), cut(u, f)).map((x) => -x)).map((x) => (2 * x) / Math.sqrt(Math.PI))),
    softplus: (u) => integrated(u, VALUES.softplus(u[0]), (f) => SERIES.sigmoid(cut(u, f))),
    sin: (u) => integrated(u, Math.sin(u[0]), (f) => SERIES.cos(cut(u, f))),
    cos: (u) => integrated(u, Math.cos(u[0]), (f) => SERIES.sin(cut(u, f)).map((x) => -x)),
    sqrt: (u) => raised(u, 0.5),
    relu: (u) => (u[0] > 0 ? u : u[0] < 0 ? u.map(() => 0) : u.every((x) => x === 0) ? u : u.map(() => NaN)),
    abs: (u) => (u[0] > 0 ? u : u[0] < 0 ? u.map((x) => -x) : u.every((x) => x === 0) ? u : u.map(() => NaN)),
  };
  function raised(u, p) {
    if (Number.isInteger(p) && p >= 0 && p <= 40) {
      let f = one(u);
      for (let k = 0; k < p; k++) f = times(f, u);
      return f;
    }
    return integrated(u, u[0] ** p, (f) => over(f.map((x) => p * x), cut(u, f)));
  }
  /** The series of a tree whose x is the series u. */
  function seriesOf(tree, u) {
    if (typeof tree === "number") return u.map((_, n) => (n ? 0 : tree));
    if (tree === "x") return u;
    const [name, ...parts] = tree, [f, g] = parts.map((part) => seriesOf(part, u));
    if (name === "+") return f.map((x, n) => x + g[n]);
    if (name === "-") return less(f, g);
    if (name === "*") return times(f, g);
    if (name === "/") return over(f, g);
    if (name === "^") return g.slice(1).every((x) => x === 0) ? raised(f, g[0]) : SERIES.exp(times(g, SERIES.log(f)));
    return SERIES[name](f);
  }

  // ---- Mean field: as labs.propagation computes it -------------------------------------------------------------------

  const meanSquare = (f, q) => {
    const { z, weight } = liveSignal.gaussRule(), root = Math.sqrt(q);
    let total = 0;
    for (let k = 0; k < z.length; k++) total += weight[k] * f(root * z[k]) ** 2;
    return total;
  };
  const ROUNDING = 1e-12;

  function fixedPoint(value, w, b) {
    const growth = (q) => (w * w * meanSquare(value, q) + b * b) / q - 1;
    let q = 1, start = growth(1), sign = start < 0 ? -1 : 1;
    if (Math.abs(start) < ROUNDING) return 1;
    while (sign * growth(q) > -ROUNDING) {
      q *= 2 ** sign;
      if (!(q > 1e-30 && q < 1e30)) return sign < 0 ? 0 : Infinity;
    }
    let [low, high] = [q, q / 2 ** sign].sort((a, b) => a - b);
    const rises = growth(high) > 0;
    for (let k = 0; k < 50; k++) {
      const middle = (low + high) / 2;
      [low, high] = growth(middle) > 0 === rises ? [low, middle] : [middle, high];
    }
    return (low + high) / 2;
  }

  const REACH = 4;
  function compute({ formula, order, w, b }) {
    const found = meanField(formula, w, b);
    if (found.error) return { ...found, order, w, b };
    const { tree, value } = found;
    const coefficients = seriesOf(tree, range(order + 1).map((n) => (n === 1 ? 1 : 0)));
    const polynomial = (x) => coefficients.reduceRight((sum, c) => sum * x + c, 0);
    return { ...found, order, w, b, coefficients, smooth: coefficients.every(Number.isFinite), remainder: [-1, 1].map((x) => value(x) - polynomial(x)), polynomial };
  }
  /** What does not depend on the order of the series. */
  const meanField = liveSignal.remember((formula, w, b) => {
    let tree;
    try { tree = parse(formula); } catch (error) { return { error: error.message }; }
    const value = valueOf(tree), slope = (x) => seriesOf(tree, [x, 1])[1];
    if (!range(17).every((k) => Number.isFinite(value(k - 8)))) return { error: say("it is not finite everywhere between −8 and 8") };
    const q = fixedPoint(value, w, b), inside = clamp(q, 1e-30, 1e30);
    const chi = w * w * meanSquare((x) => (x === 0 ? slope(1e-300) || 0 : slope(x)), inside);
    const depth = Math.abs(chi - 1) < ROUNDING ? Infinity : chi ? -1 / Math.log(chi) : 0;
    const seen = 1.2 * Math.max(q === Infinity ? 0 : q, w * w * meanSquare(value, 1) + b * b), top = seen > 4 && seen < 1e12 ? Math.ceil(seen / step(seen / 5)) * step(seen / 5) : 4;
    const qs = range(41).map((k) => (k * top) / 40), map = qs.map((q) => w * w * meanSquare(value, q) + b * b);
    const after = (q) => w * w * meanSquare(value, q) + b * b, leaves = q > 1e-9 && q < Infinity && after(1.001 * q) - after(0.999 * q) > 0.002001 * q;
    return {
      tree, value, q, chi, depth, keeps: 1 / Math.sqrt(meanSquare(value, 1)), top, qs, map,
      every: qs.every((q, k) => Math.abs(map[k] - q) < 1e-9 * top), leaves,
    };
  });

  // ---- Drawing -------------------------------------------------------------------------------------------------------

  function boxes({ width, height }) {
    const wide = width > 480, each = wide ? (width - 30) / 2 : width, tall = wide ? height : height / 2;
    const box = (x, y) => ({ left: x + 34, right: x + each - 8, top: y + 26, bottom: y + tall - 34 });
    return [box(0, 0), wide ? box(each + 30, 0) : box(0, height / 2)];
  }
  function axes({ left, right, top, bottom }, x, y, [x0, x1], [y0, y1]) {
    let out = "";
    for (const k of multiples(x0, x1, step((x1 - x0) / 5))) out += line(x(k), top, x(k), bottom) + text(x(k), bottom + 15, shown(k, 2));
    for (const k of multiples(y0, y1, step((y1 - y0) / 5))) out += line(left, y(k), right, y(k)) + text(left - 5, y(k) + 4, shown(k, 2), { anchor: "end" });
    return out;
  }

  function draw(result, size) {
    const [first, second] = boxes(size);
    if (result.error) return text(size.width / 2, 60, say("no activation"));
    const { value, polynomial, smooth, order, q, top, map, qs } = result, points = range(161).map((k) => (2 * REACH * k) / 160 - REACH);
    const heights = points.map(value), reach = clamp(1.1 * Math.max(...heights.map(Math.abs), 1), 1.2, 6);
    const x = linear([-REACH, REACH], [first.left, first.right]), y = linear([-reach, reach], [first.bottom, first.top]);
    const seen = (v) => (Math.abs(v) <= reach ? v : NaN);
    let out = text(first.left - 30, first.top - 12, smooth ? say("activation, Taylor polynomial of order %1 (dashed)", order) : say("activation; no Taylor series at 0"), { anchor: "start" });
    out += axes(first, x, y, [-REACH, REACH], [-reach, reach]) + line(x(0), first.top, x(0), first.bottom, "axis") + line(first.left, y(0), first.right, y(0), "axis");
    out += path(points.map((p, k) => [x(p), y(seen(heights[k]))]), "forward-line");
    if (smooth) out += path(points.map((p) => [x(p), y(seen(polynomial(p)))]), "theory");
    out += text(first.right, first.bottom + 30, "*x*", { anchor: "end" });
    const u = linear([0, top], [second.left, second.right]), v = linear([0, top], [second.bottom, second.top]);
    out += text(second.left - 30, second.top - 12, say("variance after a layer, by that before"), { anchor: "start" }) + axes(second, u, v, [0, top], [0, top]);
    out += path([[u(0), v(0)], [u(top), v(top)]], "theory") + path(qs.map((each, k) => [u(each), map[k] <= top ? v(map[k]) : NaN]), "forward-line");
    let at = 1, stairs = [[u(1), v(0)]]; // from variance 1, layer after layer
    for (const k of range(30)) {
      const next = result.w ** 2 * meanSquare(value, at) + result.b ** 2;
      if (!(next <= top)) break;
      stairs.push([u(at), v(next)], [u(next), v(next)]);
      if (Math.abs(next - at) < 2.5e-4 * top) break;
      at = next;
    }
    out += path(stairs, "stairs");
    if (q <= top) out += dot(u(q), v(q), 5, "backward-dot") + text(second.left + 8, second.top + 16, `*q** = ${q < 1e-9 ? 0 : shown(q)}`, { anchor: "start", kind: "backward-text" });
    return out + text(second.right, second.bottom + 30, say("*q* before"), { anchor: "end" });
  }

  const polynomialWords = (c) => c.map((a, n) => [a, n]).filter(([a]) => Math.abs(a) > 1e-12)
    .map(([a, n]) => `${n && Math.abs(Math.abs(a) - 1) < 1e-9 ? (a < 0 ? "−" : "") : `${shown(a)}\u00a0`}${n ? "x" : ""}${n > 1 ? explore.superscript(n) : ""}`).join(" + ").replaceAll("+ −", "− ").replaceAll("\u00a0 ", " ").trim() || "0";
  function words(result) {
    if (result.error) return say("Not understood: %1.", result.error);
    const { value, order, coefficients, smooth, remainder, keeps, q, chi, w, every, leaves } = result;
    const near = 1e-8, [before, after] = [value(0) - value(-near), value(near) - value(0)].map((rise) => rise / near);
    const none = Math.abs(after - before) > 1e-3 ? say("At 0 it has a kink, so no Taylor series.") : say("At 0 it has a slope, %1, but no Taylor series.", shown(Number(((before + after) / 2).toFixed(3))));
    const series = smooth ? say("Up to order %1 it is %2, off by %3 at 1 and %4 at −1.", order, polynomialWords(coefficients), shown(remainder[1], 2), shown(remainder[0], 2)) : none;
    if (every) return series + say(" At the scale %1 any variance is kept, and by χ₁ = 1 the mean square of a gradient too.", shown(w, 4));
    const far = Math.abs(chi - 1) < 1e-9 ? say("χ₁ is 1: gradients change more slowly than exponentially") : chi === 0 ? say("χ₁ is 0: no gradient passes a layer")
      : say("χ₁ = %1, by which each layer multiplies the mean square of a gradient", shown(chi));
    const end = q < 1e-9 ? say("dies out") : q === Infinity ? say("grows without end") : say(leaves ? "stays at %1 only if it starts there" : "settles at %1", shown(q));
    const first = say(" The scale that keeps q = 1 is %1. At the scale %2 the variance %3", shown(keeps, 4), shown(w, 4), end);
    return series + first + (q === Infinity && !(Math.abs(chi - 1) < 1e-9) ? say(".") : say("; there %1.", far));
  }

  const SIGMOID = "1/(1 + exp(-x))", GELU = "x*(1 + erf(x/sqrt(2)))/2", KEEPS_ONE = 1 / Math.sqrt(meanSquare(valueOf(parse(GELU)), 1));
  return {
    name: "activation", title: "design an activation", height: [320, 560],
    controls: [
      { name: "formula", kind: "field", label: "Formula in *x*", value: "4/(1 + exp(-x)) - 2" },
      { name: "order", kind: "slider", label: "Taylor order", low: 0, high: 9, step: 1, whole: true, value: 3 },
      { name: "w", kind: "slider", label: "Scale *σ*_w_", low: 0.1, high: 12, step: 0.01, value: 1 },
      { name: "b", kind: "slider", label: "Bias *σ*_b_", low: 0, high: 1, step: 0.01, value: 0 },
    ],
    presets: [ // but for the last, cells of the chapter's table
      ["scaled sigmoid", {}], ["tanh", { formula: "tanh(x)" }], [say("%1, %2", "tanh", "*σ*_w_ = 5/3"), { formula: "tanh(x)", w: 5 / 3 }], ["softsign", { formula: "x/(1 + abs(x))" }],
      ["ReLU, He’s scale", { formula: "relu(x)", w: Math.SQRT2 }], ["GELU", { formula: GELU }], [say("%1, %2", "GELU", `*σ*_w_ = ${shown(KEEPS_ONE, 4)}`), { formula: GELU, w: KEEPS_ONE }],
      ["sigmoid", { formula: SIGMOID }], [say("%1, %2", "sigmoid", "*σ*_w_ = 10.15"), { formula: SIGMOID, w: 10.15 }],
    ],
    lines: [4, 7], compute, draw, words,
    table: (result) => ({
      caption: "The variance after a layer, by that before it; then the Taylor coefficients", head: ["variance before, or power", "variance after, or coefficient"],
      rows: result.error ? [[say("none"), say("none")]] : [...result.qs.map((q, k) => [shown(q, 2), result.map[k]]), ...result.coefficients.map((c, n) => [`x${explore.superscript(n)}`, c])],
    }),
  };
})());
