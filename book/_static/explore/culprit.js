/* Chapter 8: the broken nets at the step that fails, as labs.monitor.flow.examined sees it. The reader names the operation that he
   suspects, and sees the finder's chain once that is right, or on demand. What is drawn was computed by the chapter. */
"use strict";

explore.add({ name: "culprit", of: (data) => {
  const { say, shown, tag, line, text, superscript, ...ex } = explore;
  const names = Object.keys(data).sort((a, b) => parseInt(a, 10) - parseInt(b, 10)), ROW = 33, TOP = 46; // a notebook sorts them by their letters

  /** What the chapter calls its nets, which are programs, in the reader's words. */
  const ABOUT = Object.fromEntries(["entropy", "normalise", "attention", "softmax", "where", "distance", "angle", "data", "checkpoint", "half", "rate", "signals"].map((name) => [name, say(name)]));
  /** Number and name of a net. */
  const called = (patient) => { const [number, ...name] = patient.split(" "); return [number, ABOUT[name.join(" ")] ?? name.join(" ")]; };

  /** Rows from the input to the loss; an item is what can be suspected: an operation, a derivative, or what an operation reads from outside. */
  function arrange({ nodes, way }) {
    const is = (phase) => (k) => nodes[k].phase === phase, all = ex.range(nodes.length), rows = all.filter(is("forward"));
    const back = all.filter(is("backward")), rowOf = (k) => rows.indexOf(nodes[k].derives ?? k);
    for (const k of back.filter((k) => nodes[k].derives === null)) {
      rows.splice(Math.max(0, ...nodes[k].reads.filter(is("backward")).map(rowOf)), 0, k); // a view's: the operation itself computes nothing
    }
    const items = [], item = (kind, row, own, label) => {
      const total = (key) => ex.sum(own.map((k) => nodes[k][key])), [count, nan, inf, zero] = ["count", "nan", "inf", "zero"].map(total);
      const largest = Math.max(...own.map((k) => nodes[k].largest));
      items.push({ number: items.length + 1, kind, row, nodes: own, label, module: nodes[own[0]].module, count, nan, inf, zero, largest });
    };
    rows.filter(is("forward")).forEach((k) => {
      const outside = nodes[k].reads.filter((r) => !is("forward")(r) && !is("backward")(r)), row = rows.indexOf(k);
      const given = outside.filter(is("input")), learned = outside.filter((r) => !is("input")(r));
      if (given.length) item("leaf", row, given, say("input"));
      if (learned.length) item("leaf", row, learned, say("weights"));
      item("forward", row, [k], nodes[k].operation);
    });
    for (const k of back) item("backward", rowOf(k), [k], nodes[k].operation);
    return { rows, items, origin: way[0] };
  }
  const arranged = Object.fromEntries(names.map((name) => [name, arrange(data[name])]));

  function compute({ patient, suspect, chain: asked }) {
    const found = data[patient], { nodes, way, phase, chain, step } = found, { rows, items, origin } = arranged[patient];
    const anyBad = nodes.some((n) => n.nan + n.inf > 0);
    const spoiled = (k) => (anyBad ? nodes[k].nan + nodes[k].inf > 0 : nodes[k].phase === "backward" && nodes[k].zero === nodes[k].count);
    const chosen = items[Math.min(suspect, items.length) - 1] ?? null;
    const related = (k) => k === origin || nodes[k].derives === origin || nodes[origin].derives === k;
    const verdict = !chosen ? null
      : chosen.nodes.some(related) ? "right"
        : !chosen.nodes.some(spoiled) ? "sound"
          : chosen.nodes.some((k) => nodes[k].reads.some(spoiled)) ? "later" : "meant";
    return { patient, step, phase, chain, report: report(found), nodes, way, rows, items, chosen, verdict, open: verdict === "right" || asked === 1, anyBad, loss: nodes[rows.filter((k) => nodes[k].phase === "forward").at(-1)] };
  }

  const kinds = ({ nan, inf, count }) => [[nan, "NaN"], [inf, "Inf"]].filter(([n]) => n).map(([n, what]) => (count === 1 ? what : `${n} ${what}`)).join(", ");
  const bad = (item, wide) => (wide && item.count > 1 ? say("%1 of %2", kinds(item), item.count) : kinds(item));
  const value = (item, wide) => (item.nan + item.inf ? bad(item, wide) : item.zero === item.count ? say("all 0") : say(wide ? "up to %1" : "≤ %1", shown(item.largest, wide ? 3 : 2)));
  function title({ kind, label, module }) {
    const what = kind === "backward" ? say("backward of %1", label) : label;
    return module ? say("%1 of module %2", what, module) : what;
  }
  /** The finder's chain, by the boxes; what it ends at has none. */
  const steps = ({ chain, way, items }) => chain.map((place, k) => {
    const { number, kind, label } = items.find(({ nodes }) => nodes.includes(way[k])) ?? {};
    return number ? `${number} ${kind === "backward" ? say("backward of %1", label) : label}` : link(place);
  }).join(" → ");
  /** A place that the finder names, in English. */
  function link(place) {
    const [, words, rest] = place.match(/^(backward|gradient) of (.*)$/) ?? [];
    return words ? say(words === "gradient" ? "gradient of %1" : "backward of %1", rest) : { input: say("input"), loss: say("loss") }[place] ?? place;
  }
  /** The finder's report in the reader's language, without the counts, which stand in the drawing. */
  function report({ message, messages }) {
    const told = globalThis.bookWords ? messages.zh.replace(/（\d+个[^）]*）/, "").replace("，模型里一起坏的还有0个", "")
      : message.replace(/ \(\d+ (?:NaN|of)[^)]*\)/, "").replace(", and 0 others of the model", "");
    return told.replace(/[,，] ?\[[\d, ]+\](?=[:：])/, "") // where in a tensor, is the chapter's matter
      .replace(/\^(-\d+)/g, (_, power) => superscript(power));
  }

  function frame({ width }, { items }) {
    const wide = width >= 560, both = items.some(({ kind }) => kind === "backward"), gap = wide ? 34 : both ? 10 : 13, leaf = wide ? 136 : both ? 64 : 96;
    const rest = width - leaf - (both ? 3 : 2) * gap, column = both ? rest / 2 : rest;
    const left = { leaf: 0, forward: leaf + gap, backward: leaf + 2 * gap + column };
    return { wide, both, gap, column, left, width: { leaf, forward: column, backward: column } };
  }
  /** Where an item stands; what an operation reads from outside shares its row. */
  function place(item, { left, width }, items) {
    const { kind, row } = item, mates = kind === "leaf" ? items.filter((other) => other.kind === kind && other.row === row) : [item];
    const height = mates.length > 1 ? 14 : 27, y = TOP + ROW * row + (mates.indexOf(item) ? 14 : 0);
    return { x: left[kind], y, width: width[kind], height, middle: y + height / 2, right: left[kind] + width[kind] };
  }

  function draw(result, size) {
    const { nodes, way, rows, items, chosen, loss, open } = result, f = frame(size, result), { wide, gap, left, column } = f;
    const boxes = new Map(items.map((item) => [item, place(item, f, items)])), of = (k, row) => items.find((item) => item.nodes.includes(k) && (row === undefined || item.row === row));
    const shownWay = open ? way : [], steps = new Set(shownWay.slice(1).map((k, j) => `${shownWay[j]} ${k}`));
    let edges = "", chained = "", out = "";
    const edge = (from, to) => {
      const b = of(to), a = of(from, b.row) ?? of(from);
      const on = steps.has(`${from} ${to}`), kind = on ? "chain" : "flow", [p, q] = [boxes.get(a), boxes.get(b)];
      if (a.kind !== "backward" && b.kind === "backward" && !on) return; // what is only kept for the derivative
      let d;
      if (a.kind !== b.kind) d = `M${p.right} ${p.middle}L${q.x} ${q.middle}`;
      else if (Math.abs(a.row - b.row) === 1) {
        const x = p.x + p.width / 2;
        d = a.row < b.row ? `M${x} ${p.y + p.height}L${x} ${q.y}` : `M${x} ${p.y}L${x} ${q.y + q.height}`;
      } else {
        const bulge = Math.min(gap - 2, 4 + 4 * Math.abs(a.row - b.row)), x = a.kind === "forward" ? p.x : p.right, out = a.kind === "forward" ? x - bulge : x + bulge;
        d = `M${x} ${p.middle}C${out} ${p.middle} ${out} ${q.middle} ${x} ${q.middle}`;
      }
      const drawn = tag("path", { d, class: `ex-${kind}` });
      if (on) chained += drawn; else edges += drawn;
    };
    nodes.forEach((node, k) => node.reads.forEach((from) => edge(from, k)));
    for (const item of items) {
      const { x, y, width, height, middle } = boxes.get(item), at = way.findIndex((k) => item.nodes.includes(k));
      const kinds = [item.nan + item.inf ? "bad" : item.zero === item.count ? "zero" : "sound"];
      if (open && at >= 0) kinds.push(at === 0 ? "origin" : "chained");
      if (item === chosen) kinds.push("suspect");
      if (item.number === size.pointed) kinds.push("pointed");
      out += tag("rect", { x, y, width, height, rx: 4, class: `ex-box ${kinds.map((kind) => `ex-${kind}`).join(" ")}` });
      const strong = item.nan + item.inf ? "strong" : "label", small = { "font-size": 11 };
      if (item.kind === "leaf") {
        out += text(x + 4, middle + 4, `${item.number} ${item.label}`, { anchor: "start", ...small });
        if (wide || item.nan + item.inf) out += text(x + width - 4, middle + 4, item.nan + item.inf ? bad(item, false) : value(item, false), { anchor: "end", kind: strong, ...small });
      } else if (wide) {
        out += text(x + 6, middle + 4, `${item.number} ${item.label}`, { anchor: "start", kind: "name" });
        out += text(x + width - 6, middle + 4, value(item, column > 240), { anchor: "end", kind: strong });
      } else {
        out += text(x + 4, y + 11, `${item.number} ${item.label}`, { anchor: "start", kind: "name", ...small });
        out += text(x + width - 4, y + 23, value(item, column > 130), { anchor: "end", kind: strong, ...small });
      }
    }
    const head = (column, words, more) => text(left[column] + f.width[column] / 2, 16, words, { kind: "name" }) + text(left[column] + f.width[column] / 2, 32, more);
    out += head("leaf", say("from outside"), "") + head("forward", say("forward"), wide ? say("down to the loss") : "↓");
    if (f.both) out += head("backward", say("backward"), wide ? say("up from the loss") : "↑");
    out += text(left.forward + column / 2, TOP + ROW * rows.length + 14, say("loss %1", loss.nan ? "NaN" : loss.inf ? "Inf" : shown(loss.largest)), { kind: loss.nan + loss.inf ? "strong" : "label" });
    return edges + chained + out;
  }

  function words(result) {
    const { patient, step, nodes, loss, chosen, verdict, open, anyBad } = result;
    const found = open ? say(" The finder's chain: %1. Its report: %2", steps(result), result.report) : "";
    const [number, name] = called(patient), lossBad = loss.nan ? "NaN" : loss.inf ? "Inf" : "";
    if (!chosen) {
      const seen = lossBad ? say("its loss is %1", lossBad) : anyBad ? say("its loss is finite, and a gradient is not") : say("no number is bad, and it learns nothing");
      return say("Number %1 (%2) at step %3: %4. Click the operation that you suspect.", number, name, step, seen) + found;
    }
    const what = title(chosen), given = anyBad ? say("Inf or NaN") : say("nothing but 0");
    const said = {
      right: say("Yes: the fault is at %1, %2.", chosen.number, what),
      sound: say(anyBad ? "No: what %1 gives is finite." : "No: what %1 gives is not all 0.", what),
      later: say("No: %1 reads %2 already; go further back.", what, given),
      meant: say("No: %1 is the first to give %2, but that does no harm by itself.", what, given),
    }[verdict];
    return said + found;
  }

    /** The first operation in time that gives something bad, where it is not the origin. */
  const early = names.map((patient) => {
    const { nodes, way } = data[patient];
    return [patient, nodes.findIndex((n) => n.phase === "forward" && n.nan + n.inf > 0), way[0]];
  }).find(([patient, k, origin]) => k >= 0 && k !== origin && data[patient].nodes[origin].phase === "forward");
  const silent = names.filter((patient) => !data[patient].nodes.some((n) => n.nan + n.inf));
  const most = Math.max(...names.map((name) => arranged[name].items.length)), tall = (rows) => TOP + ROW * rows.length + 24;
  return {
    title: "find the culprit", height: tall(arranged[names[0]].rows), tall: ({ rows }) => tall(rows),
    controls: [
      { name: "patient", kind: "choice", label: "Network", value: names[0], options: Object.fromEntries(names.map((name) => [name, called(name).join(" ")])), resets: { suspect: 0, chain: 0 }, above: true },
      { name: "suspect", kind: "slider", label: "Suspect", low: 0, high: most, step: 1, whole: true, value: 0, chosen: ({ items }, k) => (k && items[k - 1] ? `${k}: ${title(items[k - 1])}` : say("none")), most: ({ items }) => items.length },
      { name: "chain", kind: "switch", label: "Show the chain", value: 0 },
    ],
    presets: [
      ...(early ? [[say("number %1: is the first Inf the fault?", early[0].split(" ")[0]), { patient: early[0] }]] : []),
      ...silent.map((patient) => [say("number %1: a fault without Inf and NaN", patient.split(" ")[0]), { patient }]),
    ],
    follow: ({ patient, suspect }) => ({ suspect: Math.min(suspect, arranged[patient].items.length) }),
    lines: [6, 13], compute, draw, words,
    table: ({ patient, step, nodes, way, items, open }) => ({
      caption: say(open ? "Number %1 at step %2" : "Number %1 at step %2; the finder's chain is shown once your suspicion is right", called(patient).join(" "), step),
      head: ["number", "operation", "reads numbers", "entries", "NaN", "Inf", "0", "largest finite", ...(open ? ["place in the chain"] : [])],
      rows: items.map((item) => {
        const reads = [...new Set(item.nodes.flatMap((k) => nodes[k].reads).flatMap((r) => items.filter((other) => other.nodes.includes(r) && (other.kind !== "leaf" || other.row === item.row)).map((other) => other.number)))];
        const at = way.findIndex((k) => item.nodes.includes(k));
        return [String(item.number), title(item), reads.join(", "), String(item.count), String(item.nan), String(item.inf), String(item.zero), item.largest, ...(open ? [at < 0 ? "" : String(at + 1)] : [])];
      }),
    }),
    press(result, size, px, py, set) {
      const f = frame(size, result), hit = result.items.find((item) => {
        const { x, y, right, height } = place(item, f, result.items);
        return px >= x && px <= right && py >= y && py <= y + height;
      });
      if (hit) set({ suspect: hit === result.chosen ? 0 : hit.number });
    },
  };
} });
