/* Chapter 6: what a rule for the variance of the weights makes of five widths. */
"use strict";

explore.add((() => {
  const { say, shown, tag, line, rect, text, path, log, decades, clear, clamp, range } = explore;
  const RULES = {
    forward: (n_in) => 1 / n_in,
    backward: (n_in, n_out) => 1 / n_out,
    xavier: (n_in, n_out) => 2 / (n_in + n_out),
    geometric: (n_in, n_out) => 1 / Math.sqrt(n_in * n_out),
    least: (n_in, n_out) => (n_in + n_out) / (n_in ** 2 + n_out ** 2),
  };
  const LOW = 1, HIGH = 10000;

  /** Factors of each matrix, and the variances of h^t and δ^t that they make from 1. */
  function compute({ rule, ...widths }) {
    const n = range(5).map((t) => widths[`n${t}`]);
    const gamma = range(4).map((t) => RULES[rule](n[t], n[t + 1]));
    const forward = gamma.map((g, t) => n[t] * g), backward = gamma.map((g, t) => n[t + 1] * g);
    const signal = [1], gradient = [1];
    for (const factor of forward) signal.push(signal.at(-1) * factor);
    for (const factor of [...backward].reverse()) gradient.unshift(gradient[0] * factor);
    return { rule, n, gamma, forward, backward, signal, gradient };
  }

  const frame = ({ width, height }) => {
    const left = 46, right = width - 30, x = (t) => left + 14 + ((right - left - 28) * t) / 4;
    return { left, right, x, middle: 78, rows: [172, 192], top: 232, bottom: height - 24 };
  };
  const half = (n) => 8 + 13.5 * Math.log10(n);

  function draw({ n, forward, backward, signal, gradient }, size) {
    const { left, right, x, middle, rows, top, bottom } = frame(size), digits = size.width < 480 ? 2 : 3;
    let out = "";
    for (const t of range(4)) {
      const [a, b] = [half(n[t]), half(n[t + 1])];
      out += tag("path", { class: "ex-wash", d: `M${x(t) + 9} ${middle - a}L${x(t + 1) - 9} ${middle - b}V${middle + b}L${x(t) + 9} ${middle + a}Z` });
      const between = (x(t) + x(t + 1)) / 2;
      out += text(between, middle + 4, `*W*${explore.superscript(t + 1)}`, { kind: "quiet" });
      out += text(between, rows[0], `×${shown(forward[t], digits)}`, { kind: "forward-text" });
      out += text(between, rows[1], `×${shown(backward[t], digits)}`, { kind: "backward-text" });
    }
    out += text(4, 12, say("width (log scale)"), { anchor: "start" });
    n.forEach((width, t) => {
      out += rect(x(t) - 9, middle - half(width), 18, 2 * half(width), "unit");
      out += text(x(t), middle + half(width) + 14, width);
    });
    out += text(4, rows[0], "*n*_in_\u202f*γ*", { anchor: "start", kind: "forward-text" }) + text(4, rows[1], "*n*_out_\u202f*γ*", { anchor: "start", kind: "backward-text" });
    const powers = [...signal, ...gradient].map(Math.log10);
    const span = Math.max(2, Math.ceil(Math.max(...powers.map(Math.abs)) + 0.2)), ends = [-span, span];
    const y = log([10 ** -span, 10 ** span], [bottom, top]);
    out += text(4, top - 12, say("variance at each width (log scale)"), { anchor: "start" });
    out += decades(y, ends, left, right) + line(left, y(1), right, y(1), "axis");
    const points = (values) => values.map((v, t) => [x(t), y(v)]), lines = [points(signal), points(gradient)];
    const curve = (values, kind, r, more = "") => path(points(values), `${kind}-line${more}`) +
      values.map((v, t) => explore.dot(x(t), y(v), r, `${kind}-dot`)).join("");
    out += curve(gradient, "backward", 7, " ex-broad") + curve(signal, "forward", 4); // where both are the same, one lies in the other
    /** A value beside its point, above or below it, and clear of the lines and of the values before it. */
    const value = (name, v, t, upper) => {
      const words = `${name}: ${shown(v, t % 4 ? digits : 3)}`, long = 7.2 * words.length, end = t ? right + 26 : left + 4 + long, to = t % 4 ? x(t) + long / 2 : end, room = [top + 12, bottom - 2];
      const at = clear([to - long, to], clamp(y(v) + (upper || y(v) > bottom - 18 ? -10 : 18), ...room), lines, room), kind = `${name === "h" ? "forward" : "backward"}-text`;
      lines.push([[to - long, at - 4], [to, at - 4]]);
      return text(t % 4 ? x(t) : t ? end : left + 4, at, words, { kind, anchor: t % 4 ? "middle" : t ? "end" : "start" });
    };
    const upper = signal[2] >= gradient[2]; // one above its point, one below
    out += value("h", signal[4], 4) + value("δ", gradient[0], 0) + value("h", signal[2], 2, upper) + value("δ", gradient[2], 2, !upper);
    n.forEach((_, t) => { out += text(x(t), size.height - 6, `*n*_${t}_`); });
    return out;
  }

  const near = (values) => values.filter((v) => Math.abs(v - 1) < 0.005).length;
  function words({ forward, backward, signal, gradient }) {
    const both = forward.filter((f, t) => Math.abs(f - 1) < 0.005 && Math.abs(backward[t] - 1) < 0.005).length;
    const singly = both === 4 ? say(" Each matrix keeps it both ways.") : near(forward) + near(backward) === 0 ? say(" No matrix keeps it either way.")
      : say(" Matrices that keep it, of the four: %1 forward, %2 backward, %3 both ways.", near(forward), near(backward), both);
    return say("The first two matrices, a pair, multiply the variance by %1 forward and by %2 backward, all four by %3 and %4.",
      shown(signal[2]), shown(gradient[0] / gradient[2]), shown(signal[4]), shown(gradient[0])) + singly;
  }

  const slider = (t, value) => ({ name: `n${t}`, kind: "slider", label: say("Width %1", `*n*_${t}_`), low: LOW, high: HIGH, log: true, whole: true, value });
  const all = (...n) => Object.fromEntries(n.map((value, t) => [`n${t}`, value]));
  return {
    name: "widths", title: "unequal widths", height: 410,
    controls: [
      {
        name: "rule", kind: "choice", label: "Variance *γ* of the weights", value: "xavier",
        options: { forward: "1/*n*_in_", backward: "1/*n*_out_", xavier: "Xavier", geometric: "geometric mean", least: "least squares" },
      },
      ...[1000, 10, 1000, 10, 1000].map((value, t) => slider(t, value)),
    ],
    presets: [
      ["1000 and 10 in turn", {}], ["equal widths", all(100, 100, 100, 100, 100)],
      ["a funnel", all(1000, 300, 100, 30, 10)], ["ratio of two", all(200, 100, 200, 100, 200)],
    ],
    lines: [2, 5], compute, draw, words,
    table: ({ n, gamma, forward, backward, signal, gradient }) => ({
      caption: "Widths, the factors of the matrix that leads to each, and the variances",
      head: ["t", "width", "γ", "n_in γ", "n_out γ", "Var h", "Var δ"],
      rows: n.map((width, t) => [t, String(width), ...(t ? [gamma[t - 1], forward[t - 1], backward[t - 1]] : ["", "", ""]), signal[t], gradient[t]]),
    }),
    handles({ n }, size) {
      const { x, middle } = frame(size);
      return n.map((width, t) => ({
        x: x(t), y: middle - half(width),
        drag: (_, y) => ({ [`n${t}`]: clamp(Math.round(10 ** ((middle - y - 8) / 13.5)), LOW, HIGH) }),
      }));
    },
  };
})());
