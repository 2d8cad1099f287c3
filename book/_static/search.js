/* The search page. A word may be any part of a word of the book, so that Chinese needs no splitting; only short Latin words must
   stand alone. Symbols are compared in one spelling: χ₁, chi_1 and \chi_1 are the same; so are American and British English.
   Places with every word come first; what a learner asks in a sentence still leads somewhere. */
"use strict";

const GREEK = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", kappa: "κ", lambda: "λ", mu: "μ",
  nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", chi: "χ", psi: "ψ", omega: "ω",
};
const NAMES = new RegExp(`(?<![a-z])(${Object.keys(GREEK).join("|")})(?![a-z])`, "g");
const SHOWN = 40;

const IDLE = new Set("a an and are as at be become becomes but by can do does for from get gets goes has have how i if in is it its make my no not of on or should so such than that the then they this to too use was we what when where which why with you your".split(" "));
const OTHER_NAMES = new Map(Object.entries({ // what one may call it, and what the book does
  kaiming: ["he"], glorot: ["xavier"], neuron: ["unit"], derivative: ["slope"], gradient: ["梯度"], bfloat16: ["bf16"], float16: ["fp16"],
  half: ["fp16"], float32: ["fp32"], std: ["standard deviation"], residual: ["skip"], resnet: ["skip"], layernorm: ["layer norm"],
  batchnorm: ["batch norm"], chaos: ["chaotic", "critical"], infinity: ["inf"], scaler: ["loss scal"], 梯度: ["gradient"], 初始化: ["initialis"], 爆炸: ["explo"], 消失: ["vanish"],
}));

/** A text in the one spelling in which it is compared. */
function canonical(text) {
  return text.normalize("NFKC").toLowerCase().replace(NAMES, (name) => GREEK[name]).replace(/[\\{}_^()$’']/g, "").replace(/(?<=[a-z]{3})iz(?=e|ing|ation)/g, "is");
}

const entries = bookIndex.entries.map(([page, anchor, title, terms, text]) => ({
  url: bookIndex.pages[page][0] + (anchor ? `#${anchor}` : ""),
  chapter: bookIndex.pages[page][1],
  title, terms, text,
  inTitle: canonical(title), inTerms: canonical(terms), inText: canonical(text),
}));

/** Looks for one spelling of a word in a field: 0 if it is not there, 1 as a part of a word, 2 as a word. */
function finder(spelling) {
  const letters = spelling.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), whole = new RegExp(`(?<![\\p{L}\\p{N}])${letters}s?(?![\\p{L}\\p{N}])`, "u");
  const short = /^[a-z]{1,3}$/.test(spelling);
  return (field) => !field.includes(spelling) ? 0 : whole.test(field) ? 2 : short ? 0 : 1;
}

/** The words of a query, each as a function that tells how strongly an entry has it: a title counts most, then a term of the
    lecture, then the text; another ending or another name of the word counts less. */
function asked(query) {
  const all = canonical(query).split(/[?!.,;:"“”]*(?:\s+|$)|(?<=[a-z])\.(?=[a-z])/).filter(Boolean), telling = all.filter((word) => !IDLE.has(word));
  return (telling.length ? telling : all).map((word) => {
    const stem = /^[a-z]{6,}$/.test(word) ? word.replace(/(?:ings?|ions?|ed|es|s|e)$/, "") : word.replace(/(?<=^[a-z]{3,})s$/, "");
    const others = [stem, ...(OTHER_NAMES.get(word) ?? OTHER_NAMES.get(stem) ?? [])].filter((spelling) => spelling !== word).map(finder), own = finder(word);
    const strength = (entry, find) => 12 * find(entry.inTitle) + 10 * find(entry.inTerms) + 2 * find(entry.inText);
    return (entry) => Math.max(strength(entry, own), ...others.map((find) => 0.6 * strength(entry, find)));
  });
}

/** The entries that answer, best first, and how many of them have every word. A rare word counts more than a frequent one. */
function find(query) {
  const words = asked(query), phrase = canonical(query).trim();
  if (!phrase) return { found: [], complete: 0 };
  const strengths = entries.map((entry) => words.map((word) => word(entry)));
  const rarity = words.map((_, i) => Math.log(1 + entries.length / (1 + strengths.filter((row) => row[i]).length)));
  const rated = entries.map((entry, k) => {
    const covered = strengths[k].filter(Boolean).length / words.length;
    const points = strengths[k].reduce((sum, strength, i) => sum + strength * rarity[i], 0);
    const together = phrase.includes(" ") && [entry.inTitle, entry.inText].some((field) => field.includes(phrase)) ? 6 : 0;
    const bonus = (entry.inTitle.endsWith(phrase) ? 8 : 0) + (entry.title === entry.chapter && entry.inTitle.includes(phrase) ? 24 : 0);
    const aside = /\/homework\//.test(entry.url) || /(?:exercises|sources)$/.test(entry.inTitle) ? 0.5 : 1; // the reader wants an answer
    return { entry, covered, points: (points + rarity[0] * (bonus + together)) * covered ** 3 * aside };
  }).filter(({ covered }) => covered >= 0.5).sort((a, b) => b.points - a.points);
  return { found: rated.map(({ entry }) => entry), complete: rated.filter(({ covered }) => covered === 1).length };
}

/** Some words of the text around the first word asked for. */
function excerpt(entry, query) {
  const text = entry.text.toLowerCase(), words = query.toLowerCase().split(/\s+/).filter((word) => word && !IDLE.has(word));
  const at = Math.max(0, Math.min(...words.map((word) => text.indexOf(word)).filter((place) => place >= 0), text.length));
  const from = at < 60 || at === text.length ? 0 : entry.text.indexOf(" ", at - 60) + 1;
  return (from ? "… " : "") + entry.text.slice(from, from + 180) + (entry.text.length > from + 180 ? " …" : "");
}

/** A text as nodes, its Chinese marked as such. */
function inLanguages(text) {
  return text.split(/([\u4e00-\u9fff]+)/).map((part, i) => i % 2 ? Object.assign(document.createElement("span"), { lang: "zh-Hans", textContent: part }) : part);
}

function show() {
  const field = document.getElementById("query"), query = field.value.trim(), { found, complete } = find(query);
  const count = !complete ? `no place with all of it, ${found.length} that come near,` : found.length > SHOWN ? `the first ${SHOWN} of ${found.length} places` : found.length === 1 ? "1 place" : `${found.length} places`;
  const told = query ? (found.length ? `${count} for “${query}”` : `Nothing for “${query}”. Try fewer letters, or the name of a symbol.`) : "";
  document.getElementById("found").replaceChildren(...inLanguages(told));
  document.getElementById("results").replaceChildren(...found.slice(0, SHOWN).map((entry) => {
    const item = document.createElement("li"), link = document.createElement("a"), place = document.createElement("small"), text = document.createElement("p");
    link.href = entry.url;
    link.textContent = entry.title;
    place.append(...inLanguages([entry.chapter === entry.title ? "" : entry.chapter, entry.terms].filter(Boolean).join(" · ")));
    text.append(...inLanguages(excerpt(entry, query)));
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
