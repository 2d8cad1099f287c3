/* Run this proof: a cell of SymPy runs in the page, on click, and can be changed. Nothing of Python is loaded before. */
const home = new URL("../../", import.meta.url), folder = new URL("proof/", home);
const make = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
document.head.append(make("link", { rel: "stylesheet", href: new URL("proof.css", import.meta.url).href }));
let worker = null, listener = null, cells = null, drawing = null;

/** What the build says of this page's cells, once. */
async function known() {
  const name = location.pathname.split("/").at(-1).replace(/\.html$/, "");
  const answer = await fetch(new URL(`${name}.json`, folder));
  if (!answer.ok) throw new Error(`${answer.status} for ${answer.url}`);
  return answer.json();
}

/** KaTeX, which the pages themselves do not need. */
const katexReady = () => drawing ??= new Promise((resolve, reject) => {
  document.head.append(make("script", { src: new URL("_static/katex/katex.min.js", home).href, onload: resolve, onerror: reject }));
});

export function open(button) {
  const place = button.parentElement, cell = place.closest(".cell"), name = `proof-${button.dataset.cell}`;
  const source = cell.querySelector(".cell_input pre").textContent.replace(/\n$/, "");
  const code = make("textarea", { id: name, value: source, rows: source.split("\n").length + 1, spellcheck: false, wrap: "off", autocapitalize: "off" });
  const run = make("button", { type: "button", className: "action", textContent: "Run" });
  const reset = make("button", { type: "button", className: "action", textContent: "Reset" });
  const cancel = make("button", { type: "button", className: "action", textContent: "Cancel", hidden: true });
  const bar = make("progress", { max: 1, hidden: true }), state = make("p", { className: "proof-state" });
  const output = make("div", { className: "proof-output" });
  bar.setAttribute("aria-label", "Loading Python");
  state.setAttribute("role", "status");
  const rest = (text) => {
    state.textContent = text;
    bar.hidden = cancel.hidden = true;
    run.disabled = false;
    listener = null;
  };
  const receive = async (told) => {
    if (told.kind === "loading") {
      bar.value = told.done / told.total;
      state.textContent = `Loading Python and SymPy, ${(told.total / 1e6).toFixed(0)} MB`;
    } else if (told.kind === "starting") { bar.removeAttribute("value"); state.textContent = "Starting Python"; }
    else if (told.kind === "running") { bar.hidden = true; state.textContent = "Running"; }
    else if (told.kind === "failed") rest(`Python did not start: ${told.why}`);
    else {
      output.replaceChildren();
      if (told.printed) output.append(make("pre", { textContent: told.printed, tabIndex: 0 }));
      if (told.latex) {
        await katexReady();
        const formula = make("div", { className: "formula", tabIndex: 0 });
        formula.setAttribute("role", "group");
        formula.setAttribute("aria-label", "formula");
        katex.render(told.latex.replace(/^\$+|\$+$/g, ""), formula, { displayMode: true, throwOnError: false, strict: false });
        output.append(formula);
      } else if (told.shown) output.append(make("pre", { textContent: told.shown, tabIndex: 0 }));
      if (told.error) output.append(make("pre", { className: "proof-error", textContent: told.error, tabIndex: 0 }));
      rest(told.error ? "It fails." : "It holds: the cell ran, and no assertion in it failed.");
    }
  };
  run.addEventListener("click", async () => {
    if (listener) { state.textContent = "Another cell of this page is running; wait for it or cancel it."; return; }
    listener = receive;
    run.disabled = true;
    cancel.hidden = bar.hidden = false;
    bar.removeAttribute("value");
    state.textContent = "Loading";
    try {
      cells ??= known();
      const { files, before } = await cells;
      if (listener !== receive) return; // cancelled meanwhile
      if (!worker) {
        worker = new Worker(new URL("_static/proof/worker.mjs", home), { type: "module" });
        worker.addEventListener("message", ({ data }) => listener?.(data));
        worker.addEventListener("error", (event) => listener?.({ kind: "failed", why: event.message || "this browser refused it" }));
      }
      const absolute = Object.fromEntries(Object.entries(files).map(([file, size]) => [new URL(file, home).href, size]));
      worker.postMessage({ files: absolute, before: before[button.dataset.cell], code: code.value });
    } catch (failure) { cells = null; rest(`Python did not start: ${failure.message}`); }
  });
  cancel.addEventListener("click", () => {
    worker?.terminate();
    worker = null;
    rest("Cancelled.");
    run.focus();
  });
  reset.addEventListener("click", () => { code.value = source; output.replaceChildren(); state.textContent = "The code is as the book has it."; });
  place.replaceWith(make("div", { className: "proof proof-open" },
    make("label", { htmlFor: name, textContent: "The cell’s code. What it needs from earlier cells runs first." }), code,
    make("div", { className: "proof-actions" }, run, reset, cancel, bar), state, output));
  code.focus();
  run.click();
}
