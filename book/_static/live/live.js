/* The live figure: its controls, its drawing, its words. The numbers come from signal.js.

   For tests and the curious, `liveFigures` holds an object for each figure of the page:
     state()      the settings           set({depth: 40})   changes some of them
     network()    weights (row by row: W^t[i * n + j]), input h^0, top gradient δ^d, as rounded to the format
     result()     root mean squares of h^t and δ^t for t = 0 … d, and where the signal left the format
     prediction() the same root mean squares by theory */
"use strict";

window.liveFigures = [];

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const BAND = { low: 1e-6, high: 1e3 }; // the lecture's band, in which a signal is safe
  const MARGIN = { left: 46, right: 12, top: 22, bottom: 36 };

  // ---- Words and numbers ---------------------------------------------------------------------------------------

  const superscript = (n) => String(n).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

  /** A number as prose writes it: 0.707, 6.40, 3.1 × 10⁻⁵. */
  function shown(x) {
    if (Number.isNaN(x)) return "NaN";
    if (x === Infinity) return "Inf";
    if (x === 0) return "0";
    const [mantissa, exponent] = x.toExponential(1).split("e");
    if (Math.abs(exponent) < 3) return x.toPrecision(3);
    return `${mantissa}\u00a0×\u00a010${superscript(Number(exponent))}`;
  }

  /** The factor by which a signal changes per layer, over the layers on which it is positive and finite. */
  function growth(path) {
    const end = path.findIndex((x) => !(x > 0 && x < Infinity));
    const steps = (end < 0 ? path.length : end) - 1;
    return steps > 0 ? (path[steps] / path[0]) ** (1 / steps) : NaN;
  }

  /** What becomes of one signal. `path` is its size layer by layer as it travels, `layers` the layers' numbers. */
  function fate(path, predicted, layers, overflow, zero, formatName) {
    const rate = `×\u00a0${shown(growth(path))} per layer (theory ×\u00a0${shown(growth(predicted))})`;
    if (overflow >= 0) return `overflows ${formatName} at layer ${overflow}, ${rate}.`;
    if (zero >= 0) return `vanishes, exactly 0 in ${formatName} at layer ${zero}, ${rate}.`;
    const last = path[path.length - 1], end = `${shown(last)} at layer ${layers[layers.length - 1]}`;
    const left = (outside) => layers[path.findIndex(outside)];
    if (last > BAND.high) return `explodes, ${rate}: above 10³ from layer ${left((x) => x > BAND.high)}, ${end}.`;
    if (last < BAND.low) return `vanishes, ${rate}: below 10⁻⁶ from layer ${left((x) => x < BAND.low)}, ${end}.`;
    const factor = growth(path), change = factor > 1.02 ? "grows" : factor < 0.98 ? "shrinks" : "keeps its size";
    return `${change} within the safe band, ${rate}: ${end}.`;
  }

  /** One sentence for each direction. */
  function verdict({ forward, backward, overflow, zero, nan, undone }, theory, { format }) {
    const up = forward.map((_, t) => t), reversed = (values) => [...values].reverse();
    return [
      `Forward: ${fate(forward, theory.forward, up, overflow.forward, zero.forward, format)}`,
      undone ? `Backward: there is no gradient, for the forward signal is NaN from layer ${nan}.` : `Backward: ${fate(reversed(backward), reversed(theory.backward), reversed(up), overflow.backward, zero.backward, format)}`,
    ];
  }

  // ---- Axes ----------------------------------------------------------------------------------------------------

  /** The powers of ten between which to draw: few choices, so that the axis rests while a slider moves. */
  function powers({ forward, backward, overflow, zero }, { format }) {
    if (format === "fp16") return [-9, 6]; // the whole format
    const sizes = [...forward, ...backward].filter((x) => x > 0 && x < Infinity);
    const lowest = Math.log10(Math.min(...sizes)), highest = Math.log10(Math.max(...sizes));
    const broke = (layers) => layers.forward >= 0 || layers.backward >= 0;
    return [
      broke(zero) ? -48 : [-4, -8, -16, -24].find((low) => low < lowest - 0.3) ?? -48,
      broke(overflow) ? 42 : [4, 8, 16, 24].find((high) => high > highest + 0.3) ?? 42,
    ];
  }

  /** Round steps of at least `least`, from 1, 2, 5, 10, 20 … */
  function step(least) {
    const power = 10 ** Math.floor(Math.log10(least));
    return Math.max(1, [1, 2, 5, 10].find((k) => k * power >= least) * power);
  }

  function multiples(low, high, by) {
    const found = [];
    for (let k = Math.ceil(low / by) * by; k <= high; k += by) found.push(k);
    return found;
  }

  // ---- Drawing -------------------------------------------------------------------------------------------------

  function element(name, attributes, parent, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  /** What every drawing has, made once: zones below, then axes, theory, signals, labels, and marks on top. */
  function scene(svg, id) {
    const defs = element("defs", {}, svg);
    const clip = element("rect", {}, element("clipPath", { id: `${id}-clip` }, defs));
    const hatch = element("pattern", {
      id: `${id}-hatch`, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
    }, defs);
    element("line", { x1: 0, y1: 0, x2: 0, y2: 7, class: "live-hatch" }, hatch);
    const zone = (name, attributes) => element("rect", { class: `live-zone-${name}`, ...attributes }, svg);
    const hatched = { fill: `url(#${id}-hatch)` };
    const zones = { band: zone("band"), over: zone("over", hatched), under: zone("under", hatched) };
    const axes = element("g", { class: "live-axes" }, svg);
    const clipped = element("g", { "clip-path": `url(#${id}-clip)` }, svg);
    const curve = (name) => element("path", { class: `live-curve live-${name}` }, clipped);
    const curves = { forward: curve("forward"), backward: curve("backward") };
    curves.theory = { forward: curve("theory"), backward: curve("theory") };
    const labels = element("g", { class: "live-labels" }, svg);
    return { clip, zones, axes, labels, curves, marks: element("g", { class: "live-marks" }, svg) };
  }

  /** Where a layer and a size stand in the drawing. */
  function scales(size, depth, [low, high]) {
    const right = size.width - MARGIN.right, bottom = size.height - MARGIN.bottom, { left, top } = MARGIN;
    const x = (t) => left + ((right - left) * t) / depth;
    const y = (value) => top + ((bottom - top) * (high - Math.log10(value))) / (high - low);
    return { left, right, top, bottom, low, high, x, y };
  }

  /** Zones, ticks and labels: drawn only when one of them changes. */
  function drawFrame({ clip, zones, axes, labels }, { left, right, top, bottom, low, high, x, y }, depth, formatName) {
    const format = liveSignal.FORMATS[formatName], frame = { x: left, width: right - left };
    const set = (node, attributes) => Object.entries(attributes).forEach(([k, v]) => node.setAttribute(k, v));
    const inside = (value) => Math.min(Math.max(y(value), top), bottom);
    const cover = (zone, from, to) => set(zone, { ...frame, y: inside(to), height: inside(from) - inside(to) });
    set(clip, { ...frame, y: top, height: bottom - top });
    cover(zones.band, BAND.low, BAND.high);
    cover(zones.over, Math.min(format.max, 10 ** high), 10 ** high);
    cover(zones.under, 10 ** low, Math.max(format.smallestSubnormal, 10 ** low));

    axes.replaceChildren();
    labels.replaceChildren();
    const label = (attributes, text) => element("text", attributes, labels, text);
    for (const k of multiples(low, high, step((28 * (high - low)) / (bottom - top)))) {
      const at = y(10 ** k);
      element("line", { x1: left, x2: right, y1: at, y2: at }, axes);
      label({ x: left - 6, y: at + 4, "text-anchor": "end" }, k === 0 ? "1" : `10${superscript(k)}`);
    }
    for (const t of multiples(0, depth, step((44 * depth) / (right - left)))) {
      label({ x: x(t), y: bottom + 16, "text-anchor": "middle" }, t);
    }
    label({ x: 4, y: 13 }, "root mean square (log scale)");
    label({ x: right, y: bottom + 31, "text-anchor": "end" }, "layer t");
    const note = (at, text, side = { x: right - 6, "text-anchor": "end" }) => label({ ...side, y: at, class: "live-note" }, text);
    note(y(BAND.high) + 14, "safe band", { x: left + 6 });
    if (format.max < 10 ** high) note(inside(format.max) - 5, `beyond ${formatName}`);
    if (format.smallestSubnormal > 10 ** low) note(inside(format.smallestSubnormal) + 14, `0 in ${formatName}`);
  }

  /** A curve through the sizes of all layers, with gaps where there is nothing to draw. */
  function path(values, { x, y }) {
    let line = "", pen = "M";
    values.forEach((value, t) => {
      const drawable = value > 0 && value < Infinity;
      if (drawable) line += `${pen}${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = drawable ? "L" : "M";
    });
    return line;
  }

  function draw(parts, size, state, result, theory) {
    if (!size.width) return; // not laid out yet, or out of sight
    const depth = result.forward.length - 1, range = powers(result, state);
    const place = scales(size, depth, range);
    const frame = [size.width, size.height, depth, range, state.format].join();
    if (frame !== parts.frame) drawFrame(parts, place, depth, state.format);
    parts.frame = frame;
    parts.marks.replaceChildren();
    for (const name of ["forward", "backward"]) {
      parts.curves[name].setAttribute("d", path(result[name], place));
      parts.curves.theory[name].setAttribute("d", path(theory[name], place));
      mark(parts.marks, name, result, place);
    }
  }

  /** Where a signal breaks: a line at that layer, and what happens there. */
  function mark(marks, name, { overflow, zero }, { x, top, bottom, right }) {
    const layer = overflow[name] >= 0 ? overflow[name] : zero[name];
    if (layer < 0) return;
    const at = x(layer), what = overflow[name] >= 0 ? "overflow" : "0";
    const side = at > right - 125 ? { x: at - 5, "text-anchor": "end" } : { x: at + 5 };
    const y = top + (name === "forward" ? 36 : 54); // two labels do not meet
    element("line", { class: `live-${name}`, x1: at, x2: at, y1: top, y2: bottom }, marks);
    element("text", { class: `live-${name}`, ...side, y }, marks, `${what}, layer ${layer}`);
  }

  /** The data behind the drawing, for those who cannot see it and those who want the digits. */
  function table(result, theory) {
    const cells = (tag, texts) => texts.map((text) => `<${tag}>${text}</${tag}>`).join("");
    const rows = Array.from(result.forward, (_, t) => {
      const numbers = [result.forward[t], theory.forward[t], result.backward[t], theory.backward[t]];
      return `<tr><th scope="row">${t}</th>${cells("td", numbers.map(shown))}</tr>`;
    });
    return `<table><caption>Root mean square of each layer</caption><thead><tr><th scope="col">layer t</th>
      <th scope="col">forward h</th><th scope="col">theory</th><th scope="col">backward δ</th><th scope="col">theory</th>
      </tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  // ---- State: in the form, and in the address ------------------------------------------------------------------

  const NUMBERS = ["depth", "scale", "seed"];
  const NAMES = ["depth", "width", "scale", "activation", "initialiser", "format", "seed"];

  function readForm(form) {
    const state = {};
    for (const name of NAMES) {
      const field = form.elements[name];
      state[name] = field.value;
      if (name === "width") state[name] = Number(field.value);
      if (NUMBERS.includes(name)) { // what is half typed or out of range counts as the nearest number allowed
        const typed = field.value === "" ? Number(field.defaultValue) : Number(field.value);
        const whole = name === "scale" ? typed : Math.round(typed);
        state[name] = Math.min(Math.max(whole, Number(field.min)), Number(field.max));
      }
    }
    return state;
  }

  /** Puts settings into the form; those that the form does not offer are left out. */
  function writeForm(form, state) {
    for (const name of NAMES.filter((key) => key in state)) {
      const field = form.elements[name], value = String(state[name]);
      const known = field.options ? [...field.options].some((o) => o.value === value) : value !== "" && !isNaN(value);
      if (known) field.value = value;
    }
  }

  /** The settings that an address such as #live-relu?depth=40&format=fp16 gives this figure, or null. */
  function readAddress(id) {
    const [name, query] = location.hash.slice(1).split("?");
    return name === id && query ? Object.fromEntries(new URLSearchParams(query)) : null;
  }

  // ---- A figure ------------------------------------------------------------------------------------------------

  function mount(figure) {
    const find = (selector) => figure.querySelector(selector);
    const form = find("form"), svg = find("svg"), slider = form.querySelector("input[type=range]:not([name])");
    const makeNet = liveSignal.netMaker(), parts = scene(svg, figure.id), size = {};
    let state, net, result, theory, waiting = 0, settling;

    function update() {
      state = readForm(form);
      net = makeNet(state);
      result = liveSignal.propagate(net);
      theory = liveSignal.predict(net);
      form.querySelector("output").value = state.depth;
      slider.value = Math.log10(state.scale);
      slider.setAttribute("aria-valuetext", `${state.scale} times`);
      find(".live-verdict").textContent = verdict(result, theory, state).join("\n");
      draw(parts, size, state, result, theory);
    }

    /** What need not follow every step of a slider: the screen reader's words, the table, the links, the address. */
    function settle(changed) {
      const words = verdict(result, theory, state).join(" "), address = `#${figure.id}?${new URLSearchParams(state)}`;
      const { chosen } = document.documentElement.dataset, theme = chosen ? `?theme=${chosen}` : "";
      const alone = new URL(`${figure.dataset.alone}${theme}#live?${new URLSearchParams(state)}`, location.href).href;
      svg.setAttribute("aria-label", `Signal of every layer on a log axis. ${words}`);
      find(".live-link").href = address;
      find(".live-alone").href = alone;
      const tall = "height: clamp(720px, 1260px - 69vw, 1040px)"; // the narrower, the more its controls stand one below another
      find(".live-embed").value = `<iframe src="${alone}" title="Live figure" width="100%" height="720" style="${tall}"></iframe>`;
      if (find(".live-data").open) find(".live-table").innerHTML = table(result, theory);
      if (!changed) return;
      find("[role=status]").textContent = words;
      history.replaceState(history.state, "", address);
    }

    function settleSoon() {
      clearTimeout(settling);
      settling = setTimeout(settle, 300, true);
    }

    function changed() {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        update();
      });
      settleSoon();
    }

    function measure() {
      [size.width, size.height] = [svg.clientWidth, svg.clientHeight];
      svg.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    }

    function followAddress() {
      const asked = readAddress(figure.id);
      if (asked) writeForm(form, asked);
      if (!asked && state) return; // the address is of another place on the page
      update();
      settle(false);
    }

    slider.addEventListener("input", () => { // three digits, as many as the axis can show
      const { scale } = form.elements, asked = 10 ** slider.value;
      scale.value = Number(Math.min(Math.max(asked, scale.min), scale.max).toPrecision(3));
    });
    form.addEventListener("input", changed);
    form.addEventListener("reset", () => setTimeout(changed)); // the fields change after the event
    form.addEventListener("submit", (event) => event.preventDefault());
    find(".live-draw").addEventListener("click", () => {
      const { seed } = form.elements;
      seed.value = state.seed < Number(seed.max) ? state.seed + 1 : 0;
      changed();
    });
    find(".live-data").addEventListener("toggle", () => settle(false));
    window.addEventListener("hashchange", followAddress);
    window.addEventListener("scheme", () => settle(false));
    new ResizeObserver(() => {
      measure();
      draw(parts, size, state, result, theory);
    }).observe(svg);

    measure();
    followAddress();
    liveFigures.push({
      state: () => ({ ...state }),
      set(some) {
        writeForm(form, some);
        update();
        settleSoon();
      },
      network: () => net,
      result: () => result,
      prediction: () => theory,
    });
  }

  document.querySelectorAll(".live-figure").forEach(mount);
})();
