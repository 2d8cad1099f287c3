/* Chapter 1: what a chain of 2 × 2 Jacobians makes of the unit circle and of one vector. */
"use strict";

explore.add((() => {
  const { say, shown, line, dot, text, path, arrow, linear, log, step, multiples, decades, apart, clamp, range } = explore;
  const { uniforms } = liveSignal;

  /** Sine and cosine of an angle in degrees; those of 0, 45, 90 … agree with each other exactly. */
  function sine(degrees) {
    const turn = ((degrees + 180) % 360 + 360) % 360 - 180, inner = Math.abs(turn) > 90 ? Math.sign(turn) * 180 - turn : turn;
    return Math.abs(inner) === 90 ? Math.sign(inner) : Math.sin((inner * Math.PI) / 180);
  }
  const cosine = (degrees) => sine(90 - degrees);

  /** Row by row the matrix that stretches the direction `from` by s1 onto `to`, and the one at right angles by s2. */
  function matrix(s1, s2, from, to) {
    const [a, b, c, d] = [cosine(to), sine(to), cosine(from), sine(from)];
    return [s1 * a * c + s2 * b * d, s1 * a * d - s2 * b * c, s1 * b * c - s2 * a * d, s1 * b * d + s2 * a * c];
  }
  const times = ([a, b, c, d], [e, f, g, h]) => [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
  const applied = ([a, b, c, d], [x, y]) => [a * x + b * y, c * x + d * y];
  const determinant = ([a, b, c, d]) => a * d - b * c;
  const largest = ([a, b, c, d]) => (Math.hypot(a + d, b - c) + Math.hypot(a - d, b + c)) / 2;

  function eigenvalues(A) {
    const half = (A[0] + A[3]) / 2, inside = half * half - determinant(A), root = Math.sqrt(Math.abs(inside));
    return inside >= 0 ? [half + root, half - root] : [[half, root], [half, -root]];
  }

  function compute({ mode, s1, s2, from, to, vector, factors, seed }) {
    const A = matrix(s1, s2, from, to), random = uniforms(seed, 0), chain = [];
    for (const k of range(factors)) {
      const angles = [360 * random(), 360 * random()];
      const other = mode === "independent" ? matrix(s1, s2, ...angles) : mode === "turns" && k % 2 ? [A[0], A[2], A[1], A[3]] : A;
      chain.push(k ? other : A);
    }
    const products = [[1, 0, 0, 1]], volume = [1];
    for (const J of chain) {
      products.push(times(J, products.at(-1)));
      volume.push(volume.at(-1) * s1 * s2);
    }
    const first = products.map(largest), second = first.map((s, k) => (s ? volume[k] / s : 0));
    const start = [cosine(vector), sine(vector)], images = products.map((P) => applied(P, start));
    const length = images.map(([x, y]) => Math.hypot(x, y));
    const lambda = eigenvalues(A), radius = Math.max(...lambda.map((l) => (Array.isArray(l) ? Math.hypot(...l) : Math.abs(l))));
    return { mode, s1, s2, from, to, factors, A, chain, products, first, second, images, length, lambda, radius, bound: Math.max(s1, s2) };
  }

  const frame = ({ width, height }) => {
    const side = Math.min(width / 2 - 10, 190), small = Math.min((width - 20) / 5, 96);
    return { side, small, centres: [[width / 2 - side / 2 - 8, side / 2 + 20], [width / 2 + side / 2 + 8, side / 2 + 20]], row: side + 76, top: side + small + 116, bottom: height - 34, left: 44, right: width - 60 };
  };
  const UNIT = 40, REACH = 3; // degrees of the circle that are drawn; the longest axis that a panel has room for
  const circle = range(UNIT + 1).map((k) => [cosine((360 * k) / UNIT), sine((360 * k) / UNIT)]);

  function panel([cx, cy], radius, scale, P, image, first) {
    const at = ([x, y]) => [cx + scale * x, cy - scale * y];
    return line(cx - radius, cy, cx + radius, cy) + line(cx, cy - radius, cx, cy + radius) +
      path(circle.map((v) => at(applied(P, v))), first ? "ring" : "ellipse") + arrow(cx, cy, ...at(image), "forward-line", radius > 60 ? 10 : 6);
  }

  const scaleOf = (side) => side / 2 / REACH;
  /** The unit circle is drawn larger than to scale: it has a panel to itself. */
  const ownScale = (side) => side / 2 - 14;

  function draw(result, size) {
    const { mode, products, images, first, second, length, factors, radius, bound, from, A } = result;
    const { side, small, centres, row, top, bottom, left, right } = frame(size);
    let out = text(centres[0][0], 12, say(size.width < 480 ? "unit circle, enlarged" : "unit circle and a vector, enlarged")) + text(centres[1][0], 12, say("after one factor *A*"));
    out += panel(centres[0], side / 2, ownScale(side), products[0], images[0], true);
    const scale = scaleOf(side), [cx, cy] = centres[1], [ox, oy] = centres[0], inner = ownScale(side);
    out += line(ox - inner * cosine(from), oy + inner * sine(from), ox + inner * cosine(from), oy - inner * sine(from), "mark");
    out += path(circle.map(([x, y]) => [cx + scale * x, cy - scale * y]), "ring") + panel(centres[1], side / 2, scale, products[1], images[1], false);
    const words = (x) => shown(Math.abs(x) < 1e-9 ? 0 : x, 2);
    out += text(size.width / 2, side + 38, `*A* = ( ${words(A[0])}  ${words(A[1])} ; ${words(A[2])}  ${words(A[3])} )`, { kind: "strong" });
    out += text(4, side + 62, say("after 2 to 6 factors, each to its own scale:"), { anchor: "start" });
    for (const k of range(5)) {
      const at = k + 2, x = size.width / 2 + (k - 2) * small;
      if (at > factors) break;
      const own = first[at] > 0 ? (small / 2 - 8) / first[at] : 0;
      out += panel([x, row + small / 2], small / 2 - 4, own, products[at], images[at], false);
      out += text(x, row + small + 10, `${small < 66 ? "" : "*s*_1_ = "}${shown(first[at], 2)}`);
    }
    const lows = [...second, ...length].filter((v) => v > 1e-300), high = Math.max(...first, 10), low = Math.min(...lows, 0.1);
    const ends = [Math.max(-2 * Math.ceil(-Math.log10(low) / 2), -24), 2 * Math.ceil(Math.log10(high) / 2)];
    const x = linear([0, factors], [left, right]), y = log(ends.map((k) => 10 ** k), [bottom, top]);
    const curve = (values, kind) => path(values.map((v, k) => (v >= 10 ** ends[0] * 0.99 && v <= 10 ** ends[1] * 1.01 ? [x(k), y(v)] : null)), kind);
    out += text(4, top - 12, say("lengths in the product (log scale)"), { anchor: "start" }) + decades(y, ends, left, right);
    for (const k of multiples(0, factors, Math.max(1, step((44 * factors) / (right - left))))) out += text(x(k), bottom + 16, k);
    out += text(right, bottom + 31, say("factors"), { anchor: "end" });
    out += curve(range(factors + 1).map((k) => bound ** k), "bound");
    if (mode === "repeated") out += curve(range(factors + 1).map((k) => (k ? radius ** k : 1)), "theory");
    out += curve(second, "quiet-line") + curve(first, "strong-line") + curve(length, "forward-line");
    const labels = [["*s*_1_", first, "strong"], ["*s*_2_", second, "label"], [say("vector"), length, "forward-text"]];
    const over = bound ** factors;
    if (over <= 10 ** ends[1] * 1.01 && over >= 10 ** ends[0]) labels.push([say("bound"), [over], "label"]);
    else { // where it leaves the drawing
      const high = over > 1, at = x((high ? ends[1] : ends[0]) / Math.log10(bound));
      out += text(at - 8, high ? top + 12 : bottom - 6, say("bound"), { anchor: high ? "end" : "start" });
    }
    if (mode === "repeated") labels.push(["|*λ*|ᵏ", [radius ** factors], "label"]);
    const labelled = apart(labels.map(([, values]) => (values.at(-1) > 0 ? y(values.at(-1)) : bottom)), 14, top, bottom - 5);
    labels.forEach(([name, values, kind], k) => {
      out += text(right + 6, labelled[k] + 4, `${name}${values.at(-1) > 0 ? "" : ": 0"}`, { anchor: "start", kind });
    });
    return out;
  }

  const both = (lambda) => say("%1 and %2", ...lambda.map((l) => (Array.isArray(l) ? `${shown(l[0])} ${l[1] < 0 ? "−" : "+"} ${shown(Math.abs(l[1]))}i` : shown(Math.abs(l) < 1e-9 ? 0 : l))));
  function words({ s1, s2, lambda, first, second, length, factors, bound }) {
    const zero = first.indexOf(0);
    if (zero > 0) {
      return say("A has the singular values %1 and %2 and the eigenvalues %3. From factor %4 on the product is 0; the bound for %5 factors is %6.",
        shown(Math.max(s1, s2)), shown(Math.min(s1, s2)), both(lambda), zero, factors, shown(bound ** factors));
    }
    return say("A has the singular values %1 and %2 and the eigenvalues %3. The product of %4 factors has %5 and %6, and makes the vector %7 times as long.",
      shown(Math.max(s1, s2)), shown(Math.min(s1, s2)), both(lambda), factors, shown(first.at(-1)), shown(second.at(-1)), shown(length.at(-1)));
  }

  const slider = (name, label, low, high, value, by, more = {}) => ({ name, kind: "slider", label, low, high, step: by, value, ...more });
  return {
    name: "jacobians", title: "chain of Jacobians", height: 600,
    controls: [
      {
        name: "mode", kind: "choice", label: "Factors", value: "turns",
        options: { repeated: "*A* repeated", turns: "*A* and its transpose in turn", independent: "independent, of the same singular values" },
      },
      slider("s1", "Stretch *s*_1_", 0, 3, 2, 0.01), slider("s2", "Stretch *s*_2_", 0, 3, 0, 0.01),
      slider("from", "Direction in, °", -180, 180, 90, 1), slider("to", "Direction out, °", -180, 180, 0, 1),
      slider("vector", "Vector, °", -180, 180, 60, 1), slider("factors", "Factors", 2, 60, 20, 1, { whole: true }),
      { name: "seed", kind: "seed", label: "Seed", value: 0 },
    ],
    presets: [
      ["*A* *A*ᵀ *A* *A*ᵀ …", {}], ["*A* *A* *A* *A* …", { mode: "repeated" }], ["rows (1.5, −1.5)", { mode: "repeated", s1: 3, from: -45, to: 45 }],
      ["complex eigenvalues", { mode: "repeated", s1: 1.5, s2: 0.4, from: 65, to: 20, factors: 40 }], ["independent", { mode: "independent", s1: 1.5, s2: 0.4, from: 65, to: 20, factors: 40 }],
    ],
    lines: [3, 5], compute, draw, words,
    table: ({ first, second, length }) => ({
      caption: "Singular values of the product, and the length of the vector", head: ["factors", "s₁", "s₂", "vector"],
      rows: first.map((s, k) => [k, s, second[k], length[k]]),
    }),
    handles(result, size) {
      const { side, centres } = frame(size), angle = ([cx, cy], px, py) => Math.round((Math.atan2(cy - py, px - cx) * 180) / Math.PI);
      const on = ([cx, cy], r, degrees) => ({ x: cx + r * cosine(degrees), y: cy - r * sine(degrees) });
      const { s1, s2, to, from } = result, scale = scaleOf(side), [left, right] = centres, v = result.images[0];
      const stretch = (px, py) => Number(clamp(Math.hypot(px - right[0], py - right[1]) / scale, 0, 3).toFixed(2));
      return [
        { x: left[0] + ownScale(side) * v[0], y: left[1] - ownScale(side) * v[1], drag: (px, py) => ({ vector: angle(left, px, py) }) },
        { ...on(right, scale * s1, to), drag: (px, py) => ({ s1: stretch(px, py), to: angle(right, px, py) }) },
        { ...on(right, scale * s2, to + 90), drag: (px, py) => ({ s2: stretch(px, py), to: ((angle(right, px, py) - 90 + 540) % 360) - 180 }) },
        { ...on(left, ownScale(side) * 0.55, from), drag: (px, py) => ({ from: angle(left, px, py) }) },
      ];
    },
  };
})());
