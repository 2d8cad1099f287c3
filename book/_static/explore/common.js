/* What the explorables share: words for numbers, scales and axes, the controls, and what moves them.

   An explorable is one object, given to `explore.add`:
     name, title, height of the drawing in pixels: a number, or one for wide and one for narrow pages
     controls            sliders, choices, menus, fields; their first values are the preset
     presets             [label, {some settings}]: buttons that set several controls at once
     compute(state)      the numbers, from the settings alone
     draw(result, size)  the drawing as SVG text; the page is built with it, so it needs no browser
     words(result)       one or two sentences on what is seen
     table(result)       { caption, head, rows }: the numbers behind the drawing
     handles(result, size)  what can be dragged: { x, y, drag(x, y) → some settings }
     press(result, size, x, y, set)  a click elsewhere on the drawing
     classes             of the figure, of its drawing, of its words
     lines               that its words take at most, on wide and on narrow pages: what stands below them rests
     tall(result)        the height of the drawing, where it is not the same for all settings
     follow(state)       settings that others decide
     legend, more(id), settled(figure, state)  what stands above the drawing, and below it, and what follows the settings there
   One that depends on its page, as by what the chapter has computed, has but a name, and `of(data)`, which makes the rest; the page
   carries the data. Whatever a reader sees is English here; `say`, and for labels, buttons and tables this part itself, puts it into
   the reader's language.

   The build calls `explore.build`, the browser mounts every figure of the page. For tests and the curious,
   `explore.mounted` holds an object for each: name, state(), set({…}), result(). */
"use strict";

const explore = (() => {
  const specs = {}, mounted = [];

  // ---- Words and numbers ---------------------------------------------------------------------------------------

  /** A text in the language of the page, whose words the Chinese site brings along; %1, %2 … stand for its parts. */
  const say = (text, ...parts) => (globalThis.bookWords?.[text] ?? text).replace(/%(\d)/g, (_, n) => parts[n - 1]);

  const superscript = (n) => String(n).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

  /** A number as prose writes it, to `digits` digits: 0.707, −6.4, 3.1 × 10⁻⁵. */
  function shown(x, digits = 3) {
    if (Number.isNaN(x)) return "NaN";
    if (x < 0) return `−${shown(-x, digits)}`;
    if (x === Infinity) return "Inf";
    if (x === 0) return "0";
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e").map(Number);
    const short = (value) => (value.includes(".") ? value.replace(/\.?0+$/, "") : value);
    if (exponent > -4 && exponent < 5) return short(exponent < digits ? x.toPrecision(digits) : x.toFixed(0));
    return `${short(mantissa.toFixed(digits - 1))}\u00a0×\u00a010${superscript(exponent)}`;
  }

  // ---- Drawing: everything is text, so that the build can draw too -------------------------------------------------

  function tag(name, attributes, inner = "") {
    let out = `<${name}`;
    for (const key in attributes) {
      const value = attributes[key];
      out += ` ${key}="${typeof value === "number" ? Math.round(value * 100) / 100 : value}"`;
    }
    return `${out}>${inner}</${name}>`;
  }
  const line = (x1, y1, x2, y2, kind = "grid") => tag("line", { x1, y1, x2, y2, class: `ex-${kind}` });
  const rect = (x, y, width, height, kind, more = {}) =>
    tag("rect", { x: Math.min(x, x + width), y: Math.min(y, y + height), width: Math.abs(width), height: Math.abs(height), class: `ex-${kind}`, ...more });
  const dot = (cx, cy, r, kind) => tag("circle", { cx, cy, r, class: `ex-${kind}` });
  /** Text; `anchor` is start, middle or end. What stands between underscores is a subscript, between stars italic. */
  const text = (x, y, words, { anchor = "middle", kind = "label", ...more } = {}) => tag("text", { x, y, "text-anchor": anchor, class: `ex-${kind}`, ...more }, marked(words));
  /** The marks of `text`, as SVG. */
  const marked = (words) => escaped(words)
    .replace(/\*([^*\s]+)\*/g, '<tspan class="ex-math">$1</tspan>')
    .replace(/_([^_]+)_/g, '<tspan dy="3" class="ex-sub">$1</tspan><tspan dy="-3">\u200b</tspan>');
  const tenth = (x) => Math.round(x * 10) / 10;
  /** A line through points; it is broken where a point is null or not finite. */
  function path(points, kind, more = {}) {
    let d = "", pen = "M";
    for (const point of points) {
      const drawable = point && Number.isFinite(point[0]) && Number.isFinite(point[1]);
      if (drawable) d += `${pen}${tenth(point[0])} ${tenth(point[1])}`;
      pen = drawable ? "L" : "M";
    }
    return tag("path", { d, class: `ex-${kind}`, ...more });
  }
  /** An arrow with a head of `size` pixels, which is open where it goes on. */
  function arrow(x1, y1, x2, y2, kind, size = 8, open = false) {
    const length = Math.hypot(x2 - x1, y2 - y1), head = Math.min(size, length);
    if (!(length > 0.5)) return "";
    const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length], [bx, by] = [x2 - ux * head, y2 - uy * head];
    const side = (s) => `${(bx - s * uy * head * 0.45).toFixed(1)} ${(by + s * ux * head * 0.45).toFixed(1)}`;
    if (open) return line(x1, y1, x2, y2, kind) + tag("path", { d: `M${side(1)}L${tenth(x2)} ${tenth(y2)}L${side(-1)}`, class: `ex-${kind}` });
    return line(x1, y1, bx, by, kind) + tag("path", { d: `M${x2.toFixed(1)} ${y2.toFixed(1)}L${side(1)}L${side(-1)}Z`, class: `ex-${kind} ex-head` });
  }

  /** A scale from the values [low, high] to pixels; its `back` goes the other way. */
  function linear([low, high], [from, to]) {
    const scale = (value) => from + ((to - from) * (value - low)) / (high - low);
    scale.back = (pixel) => low + ((high - low) * (pixel - from)) / (to - from);
    return scale;
  }
  function log([low, high], range) {
    const inner = linear([Math.log10(low), Math.log10(high)], range), scale = (value) => inner(Math.log10(value));
    scale.back = (pixel) => 10 ** inner.back(pixel);
    return scale;
  }
  /** Steps of 1, 2, 5, 10, 20 …, the smallest that is at least `least`. */
  function step(least) {
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 5, 10].find((k) => k * power >= least * 0.999) * power;
  }
  function multiples(low, high, by) {
    const found = [];
    for (let k = Math.ceil(low / by - 1e-9); k * by <= high + by * 1e-9; k++) found.push(k * by);
    return found;
  }
  const power = (k) => (k === 0 ? "1" : `10${superscript(k)}`);
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const range = (n) => Array.from({ length: n }, (_, k) => k);

  /** Heights moved apart to at least `gap`, in their order, between two ends. */
  function apart(heights, gap, top, bottom) {
    const order = range(heights.length).sort((a, b) => heights[a] - heights[b]), at = heights.map((y) => clamp(y, top, bottom));
    order.forEach((k, j) => { if (j) at[k] = Math.max(at[k], at[order[j - 1]] + gap); });
    let floor = bottom;
    for (const k of order.reverse()) {
      at[k] = Math.min(at[k], floor);
      floor = at[k] - gap;
    }
    return at;
  }

  /** Whether a label between two places, on a base line, lies over one of some lines of points. */
  const crossed = ([from, to], base, lines) => lines.some((points) => points.some((p, k) => {
    const q = points[k + 1];
    if (!p || !q) return false;
    const [a, b] = p[0] < q[0] ? [p, q] : [q, p], height = (x) => a[1] + ((b[1] - a[1]) * clamp((x - a[0]) / (b[0] - a[0] || 1), 0, 1));
    const ends = [height(from), height(to)];
    return a[0] <= to && b[0] >= from && Math.max(...ends) > base - 14 && Math.min(...ends) < base + 6;
  }));
  /** The base line nearest to one, between two others, on which a label lies over no line. */
  function clear(between, base, lines, [top, bottom]) {
    for (let far = 0; far < bottom - top; far += 4) {
      for (const at of [base + far, base - far]) if (at >= top && at <= bottom && !crossed(between, at, lines)) return at;
    }
    return base;
  }

  /** Grid lines and labels of a vertical axis over powers of ten; where these are few, of 2 and 5 times them too. The labels stand
      before the lines, or `after` them. */
  function decades(y, [low, high], left, right, least = 24, after = false) {
    const by = Math.max(1, step(Math.abs((least * (high - low)) / (y(10 ** high) - y(10 ** low))))), whole = multiples(low, high, by);
    const tick = (value, words) => line(left, y(value), right, y(value)) + text(after ? right + 6 : left - 6, y(value) + 4, words, { anchor: after ? "start" : "end" });
    const between = whole.length > 2 || by > 1 ? [] : multiples(Math.floor(low), high, 1).flatMap((k) => [2, 5].map((m) => m * 10 ** k)).filter((v) => v >= 10 ** low && v <= 10 ** high);
    return whole.map((k) => tick(10 ** k, between.length ? shown(10 ** k) : power(Math.round(k)))).join("") + between.map((v) => tick(v, shown(v))).join("");
  }

  // ---- Controls ------------------------------------------------------------------------------------------------
  // { name, kind, label, value, resets: some settings that a change of it puts back, above: whether it stands above the
  // drawing } and for its kind: slider { low, high, step, log, whole, spoken: its value for ears, chosen: whether it points
  // until Enter, Space or a release chooses, and what it points at: (result, value) → words, most: (result) → where it ends,
  // if that is not always `high` }, choice and menu
  // { options: { value: label } }, field { } for text, seed { }, switch { } for a button that stays down: 0 or 1.

  const digits = (value) => Number(value.toPrecision(4));
  /** A number as a field shows it, which has room for seven digits. */
  function written(x) {
    if (typeof x !== "number") return String(x);
    const short = Number(x.toPrecision(7));
    return x === 0 || (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e6) ? String(short) : short.toExponential().replace("e+", "e");
  }

  function control(spec, id) {
    const { name, kind, value } = spec, label = say(spec.label), own = `${id}-${name}`, form = spec.above ? ` form="${id}-settings"` : "";
    const plain = label.replace(/[*_]/g, "");
    if (kind === "slider") {
      const at = (x) => (spec.log ? Math.log10(x) : x);
      const step = spec.log ? 0.01 : spec.step;
      const ends = spec.log ? [Math.floor(at(spec.low) / step) * step, Math.ceil(at(spec.high) / step) * step] : [spec.low, spec.high];
      return `<div class="live-control ex-slider"><label for="${own}">${html(label)}</label>` +
        `<input type="range" id="${own}" data-for="${name}" min="${+ends[0].toFixed(4)}" max="${+ends[1].toFixed(4)}" step="${step}" value="${+at(value).toFixed(4)}">` +
        `<input type="number" name="${name}" aria-label="${say("%1, exact", plain)}" min="${spec.low}" max="${spec.high}" step="${spec.whole ? 1 : "any"}" value="${written(value)}"></div>`;
    }
    if (kind === "choice") {
      const each = Object.entries(spec.options).map(([key, words]) =>
        `<label><input type="radio"${form} name="${name}" value="${key}"${key === value ? " checked" : ""}><span>${html(say(words))}</span></label>`);
      return `<fieldset class="ex-choice"><legend>${html(label)}</legend>${each.join("")}</fieldset>`;
    }
    if (kind === "menu") {
      const each = Object.entries(spec.options).map(([key, words]) => `<option value="${key}"${key === String(value) ? " selected" : ""}>${escaped(say(words))}</option>`);
      return `<div class="live-control"><label for="${own}">${html(label)}</label><select id="${own}" name="${name}">${each.join("")}</select></div>`;
    }
    if (kind === "switch") return `<label class="ex-switch"><input type="checkbox" name="${name}"${value ? " checked" : ""}><span>${html(label)}</span></label>`;
    if (kind === "seed") {
      return `<div class="live-control ex-seed"><label for="${own}">${html(label)}</label><input type="number" id="${own}" name="${name}" min="0" max="9999" step="1" value="${value}"></div>`;
    }
    return `<div class="live-control ex-field"><label for="${own}">${html(label)}</label><input type="text" id="${own}" name="${name}" value="${escaped(value)}" spellcheck="false" autocapitalize="off"></div>`;
  }
  /** The marks of `marked`, as HTML. */
  const html = (words) => escaped(words).replace(/\*([^*]+)\*/g, '<i class="live-math">$1</i>').replace(/_([^_]+)_/g, "<sub>$1</sub>");

  const preset = (spec) => Object.fromEntries(spec.controls.map(({ name, value }) => [name, value]));
  /** Whether these settings are those of a preset. */
  const isPreset = (spec, [, some], state) => Object.entries({ ...preset(spec), ...some }).every(([name, value]) => String(state[name]) === String(value));
  const heights = ({ height }) => (Array.isArray(height) ? height : [height, height]);

  /** An explorable, given what its chapter has computed if it asks for that. */
  function ready(name, data) {
    const spec = specs[name];
    return spec.of ? (specs[name] = { name, of: spec.of, ...spec.of(data) }) : spec;
  }

  /** The whole figure for a page that is being built, drawn with the preset. */
  function build(name, id, caption, data = null) {
    const spec = ready(name, data), result = spec.compute(preset(spec)), [wide, narrow] = heights(spec), size = { width: 640, height: spec.tall?.(result) ?? wide };
    const buttons = (spec.presets ?? []).map((each, k) => `<button type="button" data-preset="${k}" aria-pressed="${isPreset(spec, each, preset(spec))}">${html(say(each[0]))}</button>`).join("");
    const [above, below] = [true, false].map((is) => spec.controls.filter((each) => is === Boolean(each.above)).map((each) => control(each, id)).join("\n"));
    const seed = spec.controls.some(({ kind }) => kind === "seed");
    const legend = (spec.legend ?? []).map(([kind, each]) => `<li class="live-${kind}">${html(say(each))}</li>`).join("\n");
    const words = spec.words(result), title = say(spec.title), [own, plot, verdict] = spec.classes ?? ["explore", "ex-plot", "ex-words"], [linesWide, linesNarrow] = spec.lines ?? [2, 4];
    return `<figure class="${own}" id="${id}" data-explore="${name}">${caption && `<figcaption>${caption}</figcaption>`}
${buttons && `<div class="ex-presets" role="group" aria-label="${say("Settings to begin with")}">${buttons}</div>`}
${above}${legend && `<ul class="live-legend">${legend}</ul>`}
<svg class="${plot}" role="img" viewBox="0 0 ${size.width} ${size.height}" style="--wide: ${spec.tall ? size.height : wide}px; --narrow: ${spec.tall ? size.height : narrow}px" aria-label="${escaped(words)}"><g>${spec.draw(result, size)}</g><g class="ex-handles"></g></svg>
<p class="${verdict}" style="--wide: ${linesWide}; --narrow: ${linesNarrow}">${escaped(words)}</p><p class="live-hidden" role="status"></p>
<form class="live-controls" id="${id}-settings" autocomplete="off" aria-label="${say("Settings: %1", title)}">
${below}
<div class="live-buttons">${seed ? `<button type="button" class="live-draw">${say("Draw anew")}</button>` : ""}<button type="reset">${say("Reset")}</button></div></form>
<details class="live-data"><summary>${say("The numbers as a table")}</summary><div class="live-table" role="region" tabindex="0" aria-label="${say("The numbers: %1", title)}"></div>
<p><a class="live-link" href="#${id}">${say("Link to these settings")}</a></p></details>
${spec.more?.(id) ?? ""}${data ? `<script type="application/json" class="ex-data">${JSON.stringify(data).replace(/[<&]/g, (c) => `\\u00${c.charCodeAt().toString(16)}`)}</script>
` : ""}<noscript><p>${say("To change its settings, the figure needs JavaScript.")}</p></noscript></figure>`;
  }

  function table({ caption, head, rows }) {
    const row = ([first, ...rest]) => `<tr><th scope="row">${escaped(first)}</th>${rest.map((cell) => `<td>${escaped(typeof cell === "number" ? shown(cell, 4) : cell)}</td>`).join("")}</tr>`;
    return `<table><caption>${escaped(say(caption))}</caption><thead><tr>${head.map((words) => `<th scope="col">${escaped(say(words))}</th>`).join("")}</tr></thead><tbody>${rows.map(row).join("")}</tbody></table>`;
  }

  // ---- State: in the form, and in the address ------------------------------------------------------------------

  const isNumber = ({ kind }) => kind === "slider" || kind === "seed";
  /** What is half typed or out of range counts as the nearest number allowed. */
  function used({ kind, value, low = 0, high = 9999, whole }, typed) {
    const number = typed === "" || Number.isNaN(Number(typed)) ? value : Number(typed);
    return clamp(whole || kind === "seed" ? Math.round(number) : number, low, high);
  }
  /** What a field stands for: the number that was put in, if it still shows that. */
  const exact = ({ value, dataset: { exact } }) => (exact && written(Number(exact)) === value ? exact : value);
  function read(form, controls) {
    return Object.fromEntries(controls.map((each) => {
      const { value, checked } = form.elements[each.name];
      return [each.name, each.kind === "switch" ? Number(checked) : isNumber(each) ? used(each, exact(form.elements[each.name])) : each.whole ? Number(value) : value];
    }));
  }

  /** Puts settings into the form; those that it does not offer are left out. */
  function write(form, controls, state) {
    for (const each of controls.filter(({ name }) => name in state)) {
      const { name, options } = each, value = state[name];
      if (options ? !(value in options) : isNumber(each) && (value === "" || !Number.isFinite(Number(value)))) continue;
      if (each.kind === "switch") form.elements[name].checked = Number(value) === 1;
      else if (isNumber(each)) form.elements[name].value = written(Number(form.elements[name].dataset.exact = used(each, value)));
      else form.elements[name].value = written(value);
    }
  }

  function readAddress(id) {
    const [name, query] = location.hash.slice(1).split("?");
    return name === id && query ? Object.fromEntries(new URLSearchParams(query)) : null;
  }

  // ---- A drawing on a page -------------------------------------------------------------------------------------
  // What a move leaves as it was stays, and of the rest what differs is put in: to make elements anew takes a browser longer.

  const kept = new WeakMap(); // of each group, what was drawn in it
  const parsed = (attributes) => [...attributes.matchAll(/ ([\w-]+)="([^"]*)"/g)];

  /** The elements of SVG text, those within a group unread. */
  const pieces = (svg) => Array.from(svg.matchAll(/<(\w+)([^>]*)>(.*?)<\/\1>/g), ([whole, name, attributes, inner]) => ({ whole, name, attributes, inner }));

  /** Makes an element another of its name, if it has the same attributes; else says false. */
  function exchange(old, piece) {
    const { element } = old;
    if (old.attributes !== piece.attributes) {
      const [before, after] = [parsed(old.attributes), parsed(piece.attributes)];
      if (before.length !== after.length || before.some(([, key], k) => key !== after[k][1])) return false;
      after.forEach(([, key, value], k) => { if (value !== before[k][2]) element.setAttribute(key, value); });
    }
    if (old.inner !== piece.inner) {
      if (piece.name === "g") redraw(element, piece.inner);
      else if (!old.inner || /^$|[<&]/.test(piece.inner) || old.inner.includes("<")) element.innerHTML = piece.inner;
      else element.firstChild.data = piece.inner;
    }
    piece.element = element;
    return true;
  }

  /** Draws SVG text in a group. */
  function redraw(group, svg) {
    const old = kept.get(group) ?? [], now = pieces(svg), fewer = Math.min(old.length, now.length);
    let first = 0, last = 0;
    while (first < fewer && old[first].name === now[first].name) first++;
    while (last < fewer - first && old.at(-1 - last).name === now.at(-1 - last).name) last++;
    const made = [], next = old[old.length - last]?.element ?? null;
    now.forEach((piece, k) => {
      const before = old[k < first ? k : k >= now.length - last ? k - now.length + old.length : -1];
      if (before?.whole === piece.whole) piece.element = before.element;
      else if (!before || !exchange(before, piece)) made.push([piece, before]);
    });
    if (!old.length) group.textContent = "";
    for (const { element } of old.slice(first, old.length - last)) element.remove();
    if (made.length) {
      const spare = group.cloneNode(false);
      spare.innerHTML = made.map(([{ whole }]) => whole).join("");
      [...spare.children].forEach((element, k) => {
        const [piece, before] = made[k];
        piece.element = element;
        if (before) before.element.replaceWith(element);
        else group.insertBefore(element, next);
      });
    }
    kept.set(group, now);
  }

  // ---- An explorable on a page ---------------------------------------------------------------------------------

  /** Sets an attribute, if that changes it. */
  function put(element, name, value) {
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }

  function mount(figure) {
    const find = (selector) => figure.querySelector(selector), spec = ready(figure.dataset.explore, JSON.parse(find(".ex-data")?.textContent ?? "null")), { controls } = spec;
    const form = find("form"), svg = find(".ex-plot"), [drawing, knobs] = svg.children, size = {}, first = preset(spec);
    let state, result, waiting = 0, settling, held = null, taken = false, handles = [];

    function paint() {
      if (!size.width) return; // out of sight
      redraw(drawing, spec.draw(result, size));
      handles = spec.handles?.(result, size) ?? [];
      while (knobs.children.length > handles.length) knobs.lastChild.remove();
      handles.forEach(({ x, y }, k) => {
        const knob = knobs.children[k] ?? knobs.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "circle"));
        for (const [key, value] of Object.entries({ cx: tenth(x), cy: tenth(y), r: 8, class: "ex-handle" })) put(knob, key, value);
      });
    }

    function update() {
      waiting = 0;
      state = read(form, controls);
      if (spec.follow) {
        write(form, controls, spec.follow(state));
        state = read(form, controls);
      }
      result = spec.compute(state);
      size.pointed = null;
      if (spec.tall) {
        for (const name of ["--wide", "--narrow"]) svg.style.setProperty(name, `${spec.tall(result)}px`);
        measure();
      }
      for (const slider of form.querySelectorAll("[data-for]")) {
        const { name, log: logarithmic, spoken = "%1", chosen, most } = controls.find(({ name }) => name === slider.dataset.for), value = state[name];
        if (most) slider.max = form.elements[name].max = most(result);
        slider.value = logarithmic ? Math.log10(value) : value;
        put(slider, "aria-valuetext", chosen ? chosen(result, value) : say(spoken, shown(value)));
      }
      for (const button of figure.querySelectorAll("[data-preset]")) put(button, "aria-pressed", isPreset(spec, spec.presets[button.dataset.preset], state));
      find(".ex-words").textContent = spec.words(result);
      paint();
    }

    /** What need not follow every step of a slider: the screen reader's words, the table, the link, the address. */
    function settle(changed) {
      const words = spec.words(result), address = `#${figure.id}?${new URLSearchParams(state)}`;
      svg.setAttribute("aria-label", words);
      find(".live-link").href = address;
      spec.settled?.(figure, state);
      if (find(".live-data").open) find(".live-table").innerHTML = table(spec.table(result));
      if (!changed) return;
      find("[role=status]").textContent = words;
      history.replaceState(history.state, "", address);
    }
    function settleSoon() {
      clearTimeout(settling);
      settling = setTimeout(settle, 300, true);
    }
    function changed() {
      waiting ||= requestAnimationFrame(update);
      settleSoon();
    }
    function set(some) {
      write(form, controls, some);
      update();
      settleSoon();
    }

    function measure() {
      [size.width, size.height] = [svg.clientWidth, svg.clientHeight];
      svg.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    }
    function followAddress() {
      const asked = readAddress(figure.id);
      if (asked) write(form, controls, asked);
      if (!asked && state) return; // the address is of another place on the page
      update();
      settle(false);
    }

    const slid = (target) => controls.find(({ name }) => name === target.dataset.for);
    /** What a slider points at is taken. */
    const choose = ({ name }, target) => set({ [name]: target.value });
    figure.addEventListener("keydown", (event) => {
      const spec = slid(event.target);
      if (!spec?.chosen || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      choose(spec, event.target);
    });
    figure.addEventListener("focusout", () => { if (size.pointed) update(); }); // it was left without a choice
    figure.addEventListener("pointerup", ({ target }) => {
      const spec = slid(target);
      if (spec?.chosen) setTimeout(choose, 0, spec, target); // its value may change with the release
    });
    figure.addEventListener("input", ({ target }) => {
      const spec = slid(target), { resets } = controls.find(({ name }) => name === (target.name || target.dataset.for)) ?? {};
      if (spec?.chosen) {
        size.pointed = Number(target.value);
        target.setAttribute("aria-valuetext", spec.chosen(result, size.pointed));
        return paint();
      }
      if (resets) write(form, controls, resets);
      if (spec) {
        const asked = spec.log ? 10 ** target.value : Number(target.value), field = form.elements[spec.name], old = Number(field.value);
        const whole = Math.round(asked) === old ? old + Math.sign(asked - old) : Math.round(asked); // a step of the slider is a step
        field.value = written(clamp(spec.whole ? whole : digits(asked), spec.low, spec.high));
      }
      changed();
    });
    figure.addEventListener("change", ({ target }) => { // a field says what is used, once it is typed
      const each = controls.find(({ name }) => name === target.name);
      if (each && isNumber(each)) write(form, controls, { [each.name]: used({ ...each, high: Number(target.max || each.high) }, target.value) });
    });
    form.addEventListener("reset", () => setTimeout(changed)); // the fields change after the event
    form.addEventListener("submit", (event) => event.preventDefault());
    figure.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-preset], .live-draw");
      if (button?.dataset.preset) set({ ...first, ...spec.presets[button.dataset.preset][1] });
      else if (button) set({ seed: (state.seed + 1) % 10000 });
    });
    find(".live-data").addEventListener("toggle", () => settle(false));

    // Handles: the nearest within a finger's reach is taken; the sliders do the same for the keyboard.
    const place = ({ clientX, clientY }) => {
      const box = svg.getBoundingClientRect();
      return [clientX - box.left, clientY - box.top];
    };
    const near = (event) => {
      const [x, y] = place(event), away = handles.map((handle) => Math.hypot(handle.x - x, handle.y - y));
      return handles[away.findIndex((d) => d < 24 && d === Math.min(...away))] ?? null;
    };
    svg.addEventListener("touchstart", (event) => { if (near(event.touches[0])) event.preventDefault(); }, { passive: false }); // the page stays
    svg.addEventListener("pointerdown", (event) => {
      held = near(event); // as it was when taken: a scale that follows the hand would run away from it
      taken = Boolean(held);
      if (!held) return;
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => {
      if (held === null) return;
      write(form, controls, held.drag(...place(event)));
      changed();
    });
    svg.addEventListener("click", (event) => { if (!taken) spec.press?.(result, size, ...place(event), set); });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });

    window.addEventListener("hashchange", followAddress);
    window.addEventListener("scheme", () => settle(false)); // a link may hand the colours on
    // On paper stands the preset, which the text describes.
    let before = null;
    window.addEventListener("beforeprint", () => {
      if (before) return;
      before = state;
      write(form, controls, first);
      update();
    });
    window.addEventListener("afterprint", () => {
      if (before) write(form, controls, before);
      before = null;
      update();
    });
    new ResizeObserver(() => {
      const { width, height } = size;
      measure();
      if (size.width !== width || size.height !== height) paint();
    }).observe(svg);

    measure();
    followAddress();
    mounted.push({ name: spec.name, figure, state: () => ({ ...state }), set, result: () => result });
  }

  function add(spec) {
    specs[spec.name] = spec;
    if (typeof document !== "undefined") document.querySelectorAll(`[data-explore=${spec.name}]`).forEach(mount);
  }

  return { add, build, mounted, specs, preset, say, shown, superscript, tag, line, rect, dot, text, path, tenth, arrow, linear, log, step, multiples, power, decades, apart, crossed, clear, clamp, sum, range };
})();
