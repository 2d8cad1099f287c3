/* Chapter 2: the number line of five formats, where a number lands on it, and a product of equal factors. */
"use strict";

explore.add((() => {
  const { say, shown, tag, line, rect, dot, text, path, arrow, linear, log, step, multiples, power, decades, crossed, clear, clamp, range } = explore;
  const { FORMATS, roundAll, remember } = liveSignal;
  const NAMES = ["fp32", "bf16", "fp16", "e5m2", "e4m3"], WHOLE = [1e-48, 1e41], cell = new Float64Array(1);

  function round(value, format) {
    cell[0] = value;
    return roundAll(cell, format)[0];
  }
  /** As torch casts a float64: to the narrower formats through fp32. */
  const cast = (value, format) => round(round(value, FORMATS.fp32), format);

  const classify = (value, rounded, f) => (value > f.max ? "beyond max" : rounded === 0 ? "zero" : rounded < f.smallestNormal ? "subnormal" : "normal");

  /** The running product until it no longer changes: where it first does what. labs: overflow_depth, underflow_depth, sticking_point. */
  function follow(factor, f) {
    let value = 1, previous = -1, at = 0;
    const r = cast(factor, f);
    while (value !== previous && at < 2 ** 17) [previous, value, at] = [value, cast(value * r, f), at + 1];
    return { last: value, from: at - 1 };
  }

  const multiplied = remember((format, factor, steps) => {
    const f = FORMATS[format], r = cast(factor, f), product = [1], once = [1], exact = [1];
    for (const k of range(steps)) {
      product.push(cast(product[k] * r, f));
      exact.push(factor ** (k + 1));
      once.push(cast(factor ** (k + 1), f));
    }
    return { product, once, exact, end: follow(factor, f) };
  });

  function compute({ number, decades, format, factor, steps }) {
    const landed = Object.fromEntries(NAMES.map((name) => {
      const f = FORMATS[name], value = cast(number, f);
      return [name, { value, error: value / number - 1, kind: classify(number, value, f) }];
    }));
    return { number, decades, format, factor, steps, landed, ...multiplied(format, factor, steps) };
  }

  const frame = ({ width, height }) => ({ left: 44, right: width - 12, rows: 26, row: 38, axis: 26 + 5 * 38, top: 286, bottom: height - 34 });
  const place = ({ number, decades }, size) => {
    const { left, right } = frame(size), half = decades / 2;
    return log(decades > 60 ? WHOLE : [number * 10 ** -half, number * 10 ** half], [left, right]);
  };

  /** The numbers of a format from low to high, or null where they are too many to be seen. */
  function numbers(f, low, high) {
    low = Math.max(low, f.smallestSubnormal);
    high = Math.min(high, f.max);
    const ulp = (v) => 2 ** (Math.max(Math.floor(Math.log2(v)), f.minExponent) - f.digits + 1);
    const octaves = Math.max(0, Math.log2(high / Math.max(low, f.smallestNormal)));
    if (!(low <= high)) return [];
    if (octaves * 2 ** (f.digits - 1) > 130 || (low < f.smallestNormal && (Math.min(high, f.smallestNormal) - low) / f.smallestSubnormal > 130)) return null;
    const found = [];
    for (let v = Math.ceil(low / ulp(low)) * ulp(low); v <= high; v += ulp(v)) found.push(v);
    return found;
  }

  function drawLine(result, size) {
    const { left, right, rows, row, axis } = frame(size), x = place(result, size), [low, high] = [x.back(left), x.back(right)];
    let out = line(x(result.number), rows - 4, x(result.number), axis, "mark"); // under the texts
    NAMES.forEach((name, k) => {
      const f = FORMATS[name], y = rows + row * k + 14, height = 15, chosen = name === result.format;
      const piece = (from, to, kind) => (to > from ? rect(x(from), y, x(to) - x(from), height, kind) : "");
      const each = numbers(f, low, high), { value, error, kind } = result.landed[name];
      if (each) {
        const start = Math.max(low, f.smallestSubnormal), end = Math.min(high, f.max);
        out += end > start ? line(x(start), y + height, x(end), y + height, "axis") : "";
        const ticks = (values, kind) => path(values.flatMap((v) => [[x(v), y], [x(v), y + height], null]), kind);
        out += ticks(each.filter((v) => v < f.smallestNormal), "tick ex-pale") + ticks(each.filter((v) => v >= f.smallestNormal), "tick");
      } else {
        out += piece(Math.max(low, f.smallestSubnormal), Math.min(high, f.smallestNormal), "bar ex-pale");
        out += piece(Math.max(low, f.smallestNormal), Math.min(high, f.max), "bar");
      }
      const lost = kind === "zero" ? say("0, all is lost") : value === Infinity ? "Inf" : Math.abs(error) < 1e-12 ? say("%1, exactly", shown(value, 4))
        : `${shown(value, 4)}, ${error > 0 ? "+" : ""}${shown(100 * error, 2)}\u202f%`;
      out += text(4, y - 4, name, { anchor: "start", kind: chosen ? "strong" : "label" });
      out += text(right, y - 4, `→ ${lost}${kind === "subnormal" && size.width > 480 ? say(" (subnormal)") : ""}`, { anchor: "end", kind: chosen ? "strong" : "label" });
      if (value >= low && value <= high && value > 0) out += dot(x(value), y + height / 2, 4, "backward-dot");
      else if (value === 0) out += arrow(left - 4, y + height / 2, left - 24, y + height / 2, "backward-line");
      else if (value === Infinity) out += text(right + 1, y + height / 2 + 4, "∞", { anchor: "start", kind: "backward-text" });
    });
    if (x.back(right) / x.back(left) > 30) {
      const ends = [Math.log10(low), Math.log10(high)], by = Math.max(1, step((46 * (ends[1] - ends[0])) / (right - left)));
      for (const k of multiples(...ends, by)) out += line(x(10 ** k), axis, x(10 ** k), axis + 4, "axis") + text(x(10 ** k), axis + 17, power(Math.round(k)));
    } else {
      const by = step((high / result.number - low / result.number) / (right - left) * 90);
      for (const d of multiples(low / result.number - 1, high / result.number - 1, by)) {
        const at = x(result.number * (1 + d)), words = Math.abs(d) < by / 2 ? say("your number") : `${d > 0 ? "+" : ""}${shown(100 * Number(d.toPrecision(6)), 3)}\u202f%`;
        out += line(at, axis, at, axis + 4, "axis") + text(clamp(at, 24, size.width - 24), axis + 17, words);
      }
    }
    return out + line(left, axis, right, axis, "axis");
  }

  function drawProduct({ format, factor, steps, product, once, exact }, size) {
    const { left, right, top, bottom } = frame(size), f = FORMATS[format];
    const ends = [Math.floor(Math.log10(f.smallestSubnormal)) - 2, Math.ceil(Math.log10(f.max)) + 1];
    const x = linear([0, steps], [left, right]), y = log(ends.map((k) => 10 ** k), [bottom, top]);
    const inside = (v, k) => (v > 0 && v < Infinity && v >= 10 ** ends[0] && v <= 10 ** ends[1] ? [x(k), y(v)] : null);
    const lines = [exact, product, once].map((values) => values.map(inside));
    /** What a grey band means, where it has room for that: at the left, or at the right if a line is but there. */
    const band = (from, to, kind, words) => {
      const base = (from + to) / 2 + 4, long = 12 + 7 * words.length, there = crossed([left, left + long], base, lines) && !crossed([right - long, right], base, lines);
      return rect(left, from, right - left, to - from, kind) + (to - from < 11 ? "" : text(there ? right - 6 : left + 6, base, words, { anchor: there ? "end" : "start" }));
    };
    let out = text(4, top - 12, say("product of factors %1 in %2 (log scale)", shown(factor), format), { anchor: "start" });
    out += decades(y, ends, left, right, 30) + band(y(f.smallestNormal), y(f.smallestSubnormal), "wash", say("subnormal"));
    out += band(top, y(f.max), "hatch", say("beyond the largest number")) + band(y(f.smallestSubnormal / 2), bottom, "hatch", say("rounds to 0"));
    for (const k of multiples(0, steps, Math.max(1, step((50 * steps) / (right - left))))) out += text(x(k), bottom + 16, k);
    out += text(right, bottom + 31, say("number of factors *k*"), { anchor: "end" });
    out += path(lines[0], "theory") + path(lines[1], "backward-line");
    const each = Math.ceil(steps / 120);
    out += path(once.flatMap((v, k) => {
      const at = k % each === 0 && inside(v, k);
      return at ? [at, at, null] : [];
    }), "forward-dots");
    const broke = product.findIndex((v) => v === Infinity || v === 0);
    if (broke > 0) { // beside its line, and clear of the bands
      const room = x(broke) + 110 < right;
      out += line(x(broke), top, x(broke), bottom, "mark");
      const said = say("%1 at step %2", product[broke] ? "Inf" : "0", broke), at = x(broke) + (room ? 6 : -6), long = 7.2 * said.length;
      out += text(at, clear(room ? [at, at + long] : [at - long, at], top + 48, lines, [top + 48, bottom - 48]), said, { anchor: room ? "start" : "end", kind: "backward-text" });
    }
    return out;
  }

  function words({ number, format, factor, landed, end, once, steps }) {
    const { value, error, kind } = landed[format], off = Math.abs(100 * error);
    const first = say("%1 becomes %2 in %3", shown(number), shown(value, 4), format) + (kind === "zero" || value === Infinity ? "" : off < 1e-10 ? say(", exactly") : say(", off by %1", `${shown(off, 2)}\u202f%`)) +
      (kind === "subnormal" ? say(": it is subnormal") : kind === "beyond max" && value < Infinity ? say(": it has no Inf and keeps its largest number") : "") + say(".");
    const then = end.last === Infinity || end.last === 0 ? say("is %1 from step %2", shown(end.last), end.from)
      : end.last === FORMATS[format].max ? say("stays at %1 from step %2: the format has no Inf", shown(end.last, 4), end.from)
        : say("stays at %1 from step %2, for times %3 it rounds back to itself", shown(end.last, 4), end.from, shown(factor));
    const gone = once.findIndex((v) => v === 0 || v === Infinity);
    const alone = gone > 0 ? say("is %1 from step %2", once[gone] ? "Inf" : "0", gone) : say("is still %1 at step %2", shown(once[steps], 4), steps);
    return first + say(" The product of factors %1, rounded at every step, %2; rounded once it %3.", shown(factor), then, alone);
  }

  const slider = (name, label, low, high, value, more = {}) => ({ name, kind: "slider", label, low, high, value, log: true, ...more });
  return {
    name: "formats", title: "number line of formats", height: 480,
    controls: [
      { name: "format", kind: "choice", label: "Format", value: "fp16", options: Object.fromEntries(NAMES.map((name) => [name, name])) },
      slider("number", "Your number", 1e-46, 1e40, 1e-6),
      slider("decades", "Decades in sight", 1e-6, 90, 90),
      slider("factor", "Factor", 0.1, 10, 1.5),
      { name: "steps", kind: "slider", label: "Steps", low: 5, high: 450, step: 1, whole: true, value: 40 },
    ],
    presets: [
      [say("%1 in %2", "×\u20091.5", "fp16"), {}], [say("%1 in %2", "×\u20090.8", "fp16"), { factor: 0.8, steps: 120 }], [say("the same in %1", "bf16"), { factor: 0.8, steps: 450, format: "bf16" }],
      [say("%1 from close by", "10⁻⁶"), { decades: 0.2 }], ["fp8: e4m3", { format: "e4m3", number: 0.3, decades: 2, steps: 20 }],
    ],
    lines: [3, 6], compute, words,
    draw: (result, size) => drawLine(result, size) + drawProduct(result, size),
    table: ({ number, format, landed, product, once, exact }) => ({
      caption: say("First where %1 lands in each format; then the product after k factors in %2", shown(number, 4), format),
      head: ["format, or k", "rounded, or running product", "relative error, or rounded once", "exact"],
      rows: [...NAMES.map((name) => [name, landed[name].value, landed[name].error, number]), ...product.map((v, k) => [k, v, once[k], exact[k]])],
    }),
    handles(result, size) {
      const x = place(result, size), { rows } = frame(size);
      return [{ x: x(result.number), y: rows - 10, drag: (px) => ({ number: Number(clamp(x.back(px), 1e-46, 1e40).toPrecision(4)) }) }];
    },
    /** A press on the line drops the number there. */
    press(result, size, px, py, set) {
      const { left, right, axis } = frame(size);
      if (py < axis + 20 && px >= left && px <= right) set({ number: Number(place(result, size).back(px).toPrecision(4)) });
    },
  };
})());
