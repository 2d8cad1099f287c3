/* What a page gains from a script: a colour scheme to choose, copy buttons, the section in sight marked in the contents.
   Everything else works without one. */
"use strict";

const say = (text) => globalThis.bookWords?.[text] ?? text; // words.js of the Chinese site
const byId = (id) => document.getElementById(id);
const scripts = document.currentScript.src;

// ---- Colour scheme: the system's, light or dark. The page's head has applied a stored choice before the first paint. ----
const system = matchMedia("(prefers-color-scheme: dark)");
let scheme = "auto";
try { scheme = localStorage.getItem("scheme") ?? "auto"; } catch { /* storage is switched off: the choice lasts for the page */ }

function applyScheme() {
  const page = document.documentElement, bars = document.querySelectorAll('meta[name="theme-color"]');
  page.dataset.theme = scheme === "auto" ? (system.matches ? "dark" : "light") : scheme;
  page.dataset.chosen = scheme === "auto" ? "" : scheme;
  byId("scheme").lastElementChild.textContent = say({ auto: "Colours: system", light: "Colours: light", dark: "Colours: dark" }[scheme]);
  for (const bar of bars) bar.content = getComputedStyle(page).getPropertyValue("--ground");
  dispatchEvent(new Event("scheme")); // the live figure hands the choice on
}

byId("scheme").hidden = false;
byId("scheme").addEventListener("click", () => {
  const order = system.matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"]; // each click but the last is seen
  scheme = order[(order.indexOf(scheme) + 1) % 3];
  try { scheme === "auto" ? localStorage.removeItem("scheme") : localStorage.setItem("scheme", scheme); } catch { /* see above */ }
  applyScheme();
});
system.addEventListener("change", applyScheme);
applyScheme();

// ---- The offer of the Chinese pages, which the page's head shows to those whose browser speaks Chinese: it is made until it is answered ----
byId("offer")?.addEventListener("click", ({ target }) => {
  if (!target.closest("a, button")) return;
  try { localStorage.setItem("offer", "answered"); } catch { /* it comes again */ }
  document.documentElement.removeAttribute("data-offer");
});

// ---- Search: Ctrl K (or Cmd K) leads to the field that is in sight ----
const hint = document.querySelector(".find kbd");
if (hint && /Mac|iPhone|iPad/.test(navigator.platform)) hint.textContent = "⌘ K";
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
    const field = byId("find") ?? byId("query");
    event.preventDefault();
    if (field?.offsetParent) { field.focus(); field.select(); } else document.querySelector(".find-link")?.click();
  }
});

// ---- A link in a navigation that floats over the page closes it ----
for (const nav of document.querySelectorAll("nav[popover]")) {
  nav.addEventListener("click", (event) => { if (event.target.closest("a") && nav.matches(":popover-open")) nav.hidePopover(); });
}

// ---- The page that is open is in sight in the list of chapters ----
const chapters = byId("book-nav"), here = chapters.querySelector("[aria-current]");
if (here) chapters.scrollTop = here.offsetTop - chapters.clientHeight / 2;

// ---- Only what really scrolls sideways is a stop for the keyboard ----
const scrollers = document.querySelectorAll(".formula, .wide, .highlight pre, .output pre");
const watch = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth + 1;
    target.toggleAttribute("data-scrolls", scrolls);
    if (scrolls) {
      target.tabIndex = 0;
      target.setAttribute("role", "group");
      target.setAttribute("aria-label", say(target.matches(".formula") ? "formula" : target.matches("pre") ? "code" : "table"));
    } else if (target !== document.activeElement) for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
  }
});
const measure = () => { for (const scroller of scrollers) { watch.unobserve(scroller); watch.observe(scroller); } };
measure();
document.fonts.addEventListener("loadingdone", measure); // another font makes a formula wider, and its box stays as it was

// ---- Copy buttons, on what comes into sight: what has no place yet would have its button on top of another's ----
if (navigator.clipboard) {
  const near = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) { near.unobserve(entry.target); addCopy(entry.target); }
  }), { rootMargin: "200px" });
  for (const pre of document.querySelectorAll(".cell_input pre, .cite pre, .highlight-console pre, .highlight-python pre")) near.observe(pre);

  function addCopy(pre) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: say("Copy") });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(pre.innerText);
      button.textContent = say("Copied");
      setTimeout(() => { button.textContent = say("Copy"); }, 1500);
    });
    button.setAttribute("aria-live", "polite");
    pre.parentElement.append(button);
  }
}

// ---- A formula that is copied is its TeX ----
addEventListener("copy", (event) => {
  const selection = getSelection();
  if (selection.isCollapsed || !event.clipboardData || event.target.closest?.("input, textarea")) return;
  const range = selection.getRangeAt(0).cloneRange(), formulaOf = (node) => (node.closest ? node : node.parentElement)?.closest(".katex");
  const first = formulaOf(range.startContainer), last = formulaOf(range.endContainer);
  if (first) range.setStartBefore(first); // a part of a formula is all of it
  if (last) range.setEndAfter(last);
  const copied = Object.assign(document.createElement("div"), { className: "copied" });
  copied.append(range.cloneContents());
  const formulas = copied.querySelectorAll(".katex");
  if (!formulas.length) return;
  for (const formula of formulas) {
    const mark = formula.querySelector('math[display="block"]') ? "$$" : "$";
    formula.replaceWith(mark + formula.querySelector("annotation").textContent.trim() + mark);
  }
  document.body.append(copied); // drawn, so that its lines are lines
  event.clipboardData.setData("text/plain", copied.innerText.trim());
  copied.remove();
  event.preventDefault();
});

// ---- Places: a link arrives at what it names; who reloads, comes back or turns the phone finds the line again. Sections that
// nobody has come near have an assumed height and fonts come late, so a place is held until the page has come to rest, or until
// the reader moves. A place is a block of the page and the part of it that has passed the bar at the top. ----
const root = document.documentElement, parts = [...(document.querySelector("article > .whole")?.children ?? [])];
const BLOCKS = "p, li, pre, tr, dt, figure, summary, div.math, h1, h2, h3, h4";
const bar = () => parseFloat(getComputedStyle(root).scrollPaddingTop);
let held = null, restAt = 0, place = null, saving = 0, width = innerWidth;

/** The place in sight, as what can be kept: which part of the page, which block of it, how much of that. */
function inSight() {
  const line = bar(), below = (element) => element.getBoundingClientRect().bottom > line && element.checkVisibility();
  const part = parts.findIndex(below), inside = parts[part] ? [...parts[part].querySelectorAll(BLOCKS)] : [];
  if (part < 0) return null;
  const block = inside.findIndex(below), box = (inside[block] ?? parts[part]).getBoundingClientRect();
  return { part: parts[part].id || part, block, passed: (line - box.top) / (box.height || 1) };
}

function hold(element, passed = 0) {
  const inFold = element.matches("summary") ? element.parentElement.parentElement : element;
  for (let fold = inFold; (fold = fold.closest("details:not([open])")); ) fold.open = true;
  const part = parts.find((p) => p.contains(element));
  if (part) part.style.contentVisibility = "visible"; // else what is in it has no place yet
  if (!held) requestAnimationFrame(settle);
  held = { element, passed };
  restAt = performance.now() + 600;
  move();
}

function move() {
  const box = held.element.getBoundingClientRect(), away = box.top + held.passed * box.height - bar();
  if (Math.abs(away) > 1) scrollBy({ top: away, behavior: "instant" });
}

function settle() {
  if (!held) return;
  move();
  const resting = document.readyState === "complete" && document.fonts.status === "loaded";
  if (resting && performance.now() > restAt) held = null; else requestAnimationFrame(settle);
}

/** To what the address names. A live figure's settings follow a question mark. */
function arrive() {
  const target = byId(decodeURIComponent(location.hash.slice(1)).split("?")[0]);
  if (!target?.closest("main")) return;
  const section = [target, target.parentElement].find((e) => e.matches("section.fold"));
  if (section) section.querySelector("details").open = true;
  hold(target);
}

/** To where the reader was, or else to what the address names. */
function comeBack(kept = history.state?.place) {
  const part = kept && (byId(kept.part) ?? parts[kept.part]);
  if (part) hold(part.querySelectorAll(BLOCKS)[kept.block] ?? part, kept.passed); else arrive();
}

/** The page in the other language has the same blocks, so the switch keeps the place; without the script it leads to the page. */
function carried() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem("place")); sessionStorage.removeItem("place"); } catch { /* storage is switched off */ }
  return kept?.page === location.pathname ? kept : null;
}
document.querySelector(".language")?.addEventListener("click", ({ currentTarget: { pathname: page } }) => {
  try { sessionStorage.setItem("place", JSON.stringify({ page, ...inSight() })); } catch { /* as above */ }
});

function keep() {
  place = inSight();
  if (place) history.replaceState({ ...history.state, place }, "");
}

if (parts.length) {
  history.scrollRestoration = "manual";
  for (const act of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(act, () => { held = null; }, { passive: true, capture: true });
  addEventListener("hashchange", () => comeBack());
  addEventListener("scroll", () => { clearTimeout(saving); saving = setTimeout(keep, 150); }, { passive: true });
  addEventListener("pagehide", () => { if (!held) keep(); });
  addEventListener("resize", () => {
    if (innerWidth !== width && place) comeBack(place);
    width = innerWidth;
  });
  addEventListener("click", (event) => { // the address that is open already: no event tells of it
    const link = event.target.closest("a[href]");
    if (link?.hash && link.href === location.href && !event.defaultPrevented) requestAnimationFrame(arrive);
  });
  comeBack(carried() ?? history.state?.place);
}

// ---- The section in sight is marked in the contents: the last that begins in the top quarter of the window or above it. As the
// page's end comes near, the line goes down to the last section. ----
const links = new Map([...document.querySelectorAll('#page-nav a[href^="#"]')].map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
let marked = null, marking = 0;

function mark() {
  marking = 0;
  const line = Math.max(innerHeight / 4, innerHeight - (root.scrollHeight - innerHeight - scrollY));
  const begun = (sections) => sections.filter((s) => links.has(s.id) && s.getBoundingClientRect().top <= line).at(-1);
  const outer = begun(parts), inner = outer && begun([...outer.querySelectorAll("section")]);
  const own = held && [...links.keys()].map(byId).filter((s) => s?.contains(held.element)).at(-1);
  const link = links.get((own ?? inner ?? outer)?.id);
  if (link === marked) return;
  marked?.removeAttribute("aria-current");
  link?.setAttribute("aria-current", "true");
  marked = link;
}

const markSoon = () => { marking ||= requestAnimationFrame(mark); };
if (links.size) {
  addEventListener("scroll", markSoon, { passive: true });
  addEventListener("resize", markSoon);
  markSoon();
}

// ---- Fewer checks: set-up and guard cells are folded; who wants to read them all unfolds them on every page ----
const checks = document.querySelectorAll(":is(.tag_guard, .tag_setup) > details.hide"), button = byId("fewer");
if (button) {
  let fewer = true;
  try { fewer = localStorage.getItem("checks") !== "all"; } catch { /* as above */ }
  const apply = () => {
    button.setAttribute("aria-pressed", fewer);
    for (const fold of checks) fold.open = !fewer;
  };
  button.addEventListener("click", () => {
    fewer = !fewer;
    try { fewer ? localStorage.removeItem("checks") : localStorage.setItem("checks", "all"); } catch { /* see above */ }
    apply();
  });
  if (!fewer) apply();
  button.hidden = false;
}

// ---- Run this proof: the script, and Python behind it, are loaded on click ----
for (const button of document.querySelectorAll(".proof > button")) {
  button.addEventListener("click", async () => {
    if (location.protocol !== "file:") (await import(new URL("proof/proof.mjs", scripts))).open(button);
    else button.nextElementSibling.textContent = say(" Running a proof needs a server: `make serve` shows the book on one.");
  });
}

// ---- Paper is white; every fold on it is open, except hints and solutions that the reader has left closed ----
addEventListener("afterprint", applyScheme);
addEventListener("beforeprint", () => {
  document.documentElement.dataset.theme = "light";
  for (const fold of document.querySelectorAll("details.going-further, details.hide")) fold.open = true;
});
