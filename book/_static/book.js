/* What a page gains from a script: a colour scheme to choose, copy buttons, the section in sight marked in the contents.
   Everything else works without one. */
"use strict";

const byId = (id) => document.getElementById(id);

// ---- Colour scheme: the system's, light or dark. The page's head has applied a stored choice before the first paint. ----
const system = matchMedia("(prefers-color-scheme: dark)");
const schemes = ["auto", "light", "dark"];
let scheme = "auto";
try { scheme = localStorage.getItem("scheme") ?? "auto"; } catch { /* storage is switched off: the choice lasts for the page */ }

function applyScheme() {
  document.documentElement.dataset.theme = scheme === "auto" ? (system.matches ? "dark" : "light") : scheme;
  const names = { auto: "as the system", light: "light", dark: "dark" };
  byId("scheme").setAttribute("aria-label", `Colours: ${names[scheme]}`);
  byId("scheme").title = `Colours: ${names[scheme]}`;
}

byId("scheme").hidden = false;
byId("scheme").addEventListener("click", () => {
  scheme = schemes[(schemes.indexOf(scheme) + 1) % schemes.length];
  try { scheme === "auto" ? localStorage.removeItem("scheme") : localStorage.setItem("scheme", scheme); } catch { /* see above */ }
  applyScheme();
});
system.addEventListener("change", applyScheme);
applyScheme();

// ---- Search: Ctrl K (or Cmd K) leads to the field that is in sight ----
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
const scrollers = document.querySelectorAll(".formula, .pst-scrollable-table-container, .highlight pre, .output pre");
const watch = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth + 1;
    target.toggleAttribute("data-scrolls", scrolls);
    if (scrolls) {
      target.tabIndex = 0;
      target.setAttribute("role", "group");
      target.setAttribute("aria-label", target.matches(".formula") ? "formula" : target.matches("pre") ? "code" : "table");
    } else if (target !== document.activeElement) for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
  }
});
for (const scroller of scrollers) watch.observe(scroller);

// ---- Copy buttons ----
if (navigator.clipboard) {
  for (const pre of document.querySelectorAll(".cell_input pre, .highlight-console pre, .highlight-python pre")) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(pre.innerText);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    button.setAttribute("aria-live", "polite");
    pre.parentElement.append(button);
  }
}

// ---- The section in sight ----
const links = new Map([...document.querySelectorAll('#page-nav a[href^="#"]')].map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(target.closest("section").id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "0px 0px -75% 0px" });
for (const id of links.keys()) {
  const heading = byId(id)?.querySelector("h2, h3");
  if (heading) sight.observe(heading);
}

// ---- Paper is white; every fold on it is open, except hints and solutions that the reader has left closed ----
addEventListener("afterprint", applyScheme);
addEventListener("beforeprint", () => {
  document.documentElement.dataset.theme = "light";
  for (const fold of document.querySelectorAll("details.going-further, details.hide")) fold.open = true;
});
