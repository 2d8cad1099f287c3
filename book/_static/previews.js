/* What a link of the text leads to, shown beside it: when the pointer rests on it, when the keyboard stops at it, at the first
   tap of a finger (the second follows it). Escape closes; the pointer may cross into the preview. The parts of a page are loaded
   when a link to it is first stayed on. Without this script every link works as ever. */
"use strict";
{
const ROOT = document.documentElement.dataset.site; // of this language
const SITE = new URL(ROOT || "./", location.href).href, REST = 250, GRACE = 300;
const pages = new Map(), waiting = new Map();

/** Called by the script of a page. */
globalThis.bookPreviews = (page, parts) => { pages.set(page, parts); };

/** The parts of a page that links lead to, or nothing. */
function parts(page) {
  if (pages.has(page)) return Promise.resolve(pages.get(page));
  if (!waiting.has(page)) {
    waiting.set(page, new Promise((done) => {
      const src = `${ROOT}_static/previews/${page.replace(/\.html$/, "").replaceAll("/", "-")}.js?v=${document.documentElement.dataset.content}`;
      document.head.append(Object.assign(document.createElement("script"), { src, onload: () => done(pages.get(page)), onerror: () => done(undefined) }));
    }));
  }
  return waiting.get(page);
}

/** The page and the anchor of a link of the text that stays in the book. */
function target(link) {
  const [address, hash = ""] = link.href.split("#");
  if (!address.startsWith(SITE) || !/\.html$/.test(address) || link.matches(".headerlink, [download], [target]")) return null;
  const page = decodeURI(address.slice(SITE.length));
  return page === "search.html" || (!hash && address === location.href.split("#")[0]) ? null : { page, anchor: decodeURIComponent(hash) };
}

const box = Object.assign(document.createElement("div"), { id: "preview", className: "preview", popover: "manual" });
const words = Object.assign(document.createElement("div"), { className: "preview-words", id: "preview-words" });
const go = Object.assign(document.createElement("a"), { className: "go", textContent: globalThis.bookWords?.["Go there"] ?? "Go there" });
box.append(words);
document.body.append(box);

let shown = null, timer = 0, place = null; // the link whose preview is open; what is about to happen; where the pointer met it

const later = (time, what) => { clearTimeout(timer); timer = setTimeout(what, time); };

function hide() {
  clearTimeout(timer);
  if (!shown) return;
  shown.removeAttribute("aria-describedby");
  shown = null;
  box.hidePopover();
}

/** Beside the line of the link that the pointer is on: below it if there is room, else above. */
function put(link) {
  const lines = [...link.getClientRects()], line = lines.find((r) => place && place.y >= r.top - 2 && place.y <= r.bottom + 2) ?? lines[0];
  if (!line || line.bottom < 0 || line.top > innerHeight) return hide();
  const { width, height } = box.getBoundingClientRect(), below = line.bottom + 6, fits = below + height <= innerHeight || line.top < height + 6;
  const left = Math.max(8, Math.min((place?.x ?? line.left) - 24, document.documentElement.clientWidth - width - 8));
  box.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - width - 8))}px`;
  box.style.top = `${fits ? Math.min(below, Math.max(below, innerHeight - height - 8)) : line.top - height - 6}px`;
}

/** A formula that is too wide is set smaller. */
function fit() {
  for (const formula of words.querySelectorAll(".formula")) {
    const share = formula.clientWidth / formula.scrollWidth;
    if (share < 1) formula.style.fontSize = `${Math.max(0.55, share * 0.98)}em`;
  }
  box.classList.toggle("cut", words.scrollHeight > words.clientHeight + 2);
}

/** Show what a link leads to; false if there is nothing to show. */
async function show(link, touched = false) {
  const { page, anchor } = target(link), found = (await parts(page))?.[anchor];
  if (!found) return false;
  if (shown && shown !== link) hide();
  words.innerHTML = found.replaceAll('src="@/', `src="${ROOT}`);
  box.classList.toggle("touched", touched);
  box.setAttribute("role", touched ? "group" : "tooltip");
  touched ? box.setAttribute("aria-label", globalThis.bookWords?.Preview ?? "Preview") : box.removeAttribute("aria-label");
  go.remove();
  if (touched) { go.href = link.href; box.append(go); }
  shown = link;
  link.removeAttribute("title"); // the browser's own would cover it
  link.setAttribute("aria-describedby", words.id);
  if (!box.matches(":popover-open")) box.showPopover();
  fit();
  put(link);
  for (const image of words.querySelectorAll("img")) image.addEventListener("load", () => { if (shown === link) { fit(); put(link); } });
  return true;
}

const linkOf = (event) => { const link = event.target.closest?.("article a[href]"); return link && !box.contains(link) && target(link) ? link : null; };
let near = null, dismissed = null; // the link under the pointer; the one that Escape has closed

// ---- The pointer: it has to move on the link, so that nothing opens when a page scrolls away below it ----
addEventListener("pointermove", (event) => {
  if (event.pointerType === "touch") return;
  const link = linkOf(event);
  if (link === near || (!event.movementX && !event.movementY)) return;
  near = link;
  if (link !== dismissed) dismissed = null;
  if (link && link !== dismissed) {
    const at = { x: event.clientX, y: event.clientY };
    later(link === shown ? 0 : REST, () => { if (link !== shown) { place = at; show(link); } });
  } else if (box.contains(event.target)) clearTimeout(timer);
  else if (shown && shown !== document.activeElement) later(GRACE, hide);
  else if (!shown) clearTimeout(timer);
});
box.addEventListener("pointerenter", () => { clearTimeout(timer); });
box.addEventListener("pointerleave", (event) => { near = null; if (event.pointerType !== "touch" && shown !== document.activeElement) later(GRACE, hide); });
document.documentElement.addEventListener("pointerleave", () => { near = null; if (shown && shown !== document.activeElement) later(GRACE, hide); });

// ---- The keyboard ----
addEventListener("focusin", (event) => {
  const link = linkOf(event);
  if (link?.matches(":focus-visible")) later(150, () => { if (document.activeElement === link) { place = null; show(link); } });
});
addEventListener("focusout", (event) => { if (event.target === shown && !box.contains(event.relatedTarget)) hide(); });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !shown) return;
  dismissed = shown;
  event.preventDefault();
  hide();
});

// ---- A finger: the first tap shows, the second follows ----
let finger = false;
addEventListener("pointerdown", (event) => {
  finger = event.pointerType === "touch";
  if (shown && !box.contains(event.target) && linkOf(event) !== shown) hide();
}, true);
addEventListener("click", (event) => {
  const link = linkOf(event);
  if (!link || !finger || link === shown || event.ctrlKey || event.metaKey || event.shiftKey) { if (link) hide(); return; }
  event.preventDefault();
  place = { x: event.clientX, y: event.clientY };
  show(link, true).then((done) => { if (!done) location.href = link.href; });
});
go.addEventListener("click", () => { hide(); });

addEventListener("scroll", (event) => { if (shown && !box.contains(event.target)) shown === document.activeElement || box.classList.contains("touched") ? put(shown) : hide(); }, { passive: true, capture: true });
addEventListener("resize", hide);
addEventListener("pagehide", hide);
}
