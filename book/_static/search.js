/* The search page: every word asked for must occur in an entry of the index, in any order and as any part of a word, so that
   Chinese needs no splitting. Symbols are compared in one spelling: χ₁, chi_1 and \chi_1 are the same. */
"use strict";

const GREEK = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", kappa: "κ", lambda: "λ", mu: "μ",
  nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", chi: "χ", psi: "ψ", omega: "ω",
};
const NAMES = new RegExp(`(?<![a-z])(${Object.keys(GREEK).join("|")})(?![a-z])`, "g");
const SHOWN = 40;

/** A text in the one spelling in which it is compared. */
function canonical(text) {
  return text.normalize("NFKC").toLowerCase().replace(NAMES, (name) => GREEK[name]).replace(/[\\{}_^()$’']/g, "");
}

const entries = bookIndex.entries.map(([page, anchor, title, terms, text]) => ({
  url: bookIndex.pages[page][0] + (anchor ? `#${anchor}` : ""),
  chapter: bookIndex.pages[page][1],
  title, terms, text,
  inTitle: canonical(title), inTerms: canonical(terms), inText: canonical(text),
}));

/** How well an entry answers: a title counts most, then a term of the lecture, then the text; a whole word more than a part. */
function score(entry, words) {
  let total = 0;
  for (const word of words) {
    const whole = (field) => new RegExp(`(?<![\\p{L}\\p{N}])${RegExp.escape?.(word) ?? word.replace(/[^\p{L}\p{N}]/gu, "\\$&")}(?![\\p{L}\\p{N}])`, "u").test(field);
    const part = (field, weight) => field.includes(word) ? weight * (whole(field) ? 2 : 1) : 0;
    const found = part(entry.inTitle, 12) + part(entry.inTerms, 10) + part(entry.inText, 2);
    if (!found) return 0;
    total += found;
  }
  const asked = words.join(" ");
  return total + (entry.inTitle.endsWith(asked) ? 8 : 0) + (entry.title === entry.chapter && canonical(entry.title).includes(words[0]) ? 24 : 0);
}

/** The entries that answer, best first. */
function find(query) {
  const words = canonical(query).split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  return entries.map((entry) => [score(entry, words), entry]).filter(([points]) => points).sort((a, b) => b[0] - a[0]).map(([, entry]) => entry);
}

/** Some words of the text around the first word asked for. */
function excerpt(entry, query) {
  const asked = query.toLowerCase().split(/\s+/)[0];
  const at = Math.max(0, entry.text.toLowerCase().indexOf(asked));
  const from = at < 60 ? 0 : entry.text.indexOf(" ", at - 60) + 1;
  return (from ? "… " : "") + entry.text.slice(from, from + 180) + (entry.text.length > from + 180 ? " …" : "");
}

function show() {
  const field = document.getElementById("query"), query = field.value.trim(), found = find(query);
  const count = found.length > SHOWN ? `the first ${SHOWN} of ${found.length} places` : found.length === 1 ? "1 place" : `${found.length} places`;
  document.getElementById("found").textContent = query ? (found.length ? `${count} for “${query}”` : `Nothing for “${query}”. Try fewer letters, or the name of a symbol.`) : "";
  document.getElementById("results").replaceChildren(...found.slice(0, SHOWN).map((entry) => {
    const item = document.createElement("li"), link = document.createElement("a"), place = document.createElement("small"), text = document.createElement("p");
    link.href = entry.url;
    link.textContent = entry.title;
    place.textContent = [entry.chapter === entry.title ? "" : entry.chapter, entry.terms].filter(Boolean).join(" · ");
    text.textContent = excerpt(entry, query);
    item.append(link, " ", place, text);
    return item;
  }));
  const address = new URL(location.href);
  query ? address.searchParams.set("q", query) : address.searchParams.delete("q");
  history.replaceState(null, "", address);
}

document.getElementById("query").value = new URLSearchParams(location.search).get("q") ?? "";
document.getElementById("query").addEventListener("input", show);
document.getElementById("search").addEventListener("submit", (event) => { event.preventDefault(); show(); });
show();
