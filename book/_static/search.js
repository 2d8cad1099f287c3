/* The search: on its own page, and as a list under the field at the top of every other. The index is loaded when a field is used.
   A word may be any part of a word of the book, so that Chinese needs no splitting; only short Latin words must stand alone.
   Symbols are compared in one spelling: χ₁, chi_1 and \chi_1 are the same; so are American and British English. A formula is
   compared without its spaces and brackets, whether typed as on the page, in LaTeX or as code. Places with every word come first;
   what a learner asks in a sentence, or pastes from an error message, still leads somewhere. */
"use strict";
{
const say = (text, ...parts) => (globalThis.bookWords?.[text] ?? text).replace(/%(\d)/g, (_, n) => parts[n - 1]);
const ROOT = document.documentElement.dataset.site; // of this language
const KINDS = ["page", "section", "equation", "figure", "exercise", "symbol", "function", "reference"]; // as pages/search.py numbers them
const WORTH = { page: 1.1, section: 1, equation: 0.4, figure: 0.4, exercise: 0.35, symbol: 0.8, function: 0.7, reference: 0.6 };
const ASKED_FOR = { equation: "equation", eq: "equation", formula: "equation", figure: "figure", fig: "figure", plot: "figure", exercise: "exercise", symbol: "symbol", chapter: "page", 公式: "equation", 图: "figure", 练习: "exercise", 符号: "symbol" };
const GREEK = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", kappa: "κ", lambda: "λ", mu: "μ",
  nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", chi: "χ", psi: "ψ", omega: "ω",
};
const IDLE = new Set("a an and are as at be become becomes but by can did do does for from get gets getting goes had has have having how i if in is it its make makes me my no not of on or should so such than that the then there they this to too use used using was we were what when where which while why will with would you your about between into dont doesnt isnt arent cant wont didnt vs versus 的 和 与 是 了 在 吗 呢 会 变成 出现 为什么 怎么 如何 什么".split(" "));
const VAGUE = new Set("problem problems issue issues method methods technique trick explained explain explanation definition define meaning example examples pytorch tensorflow keras numpy python code network networks deep neural model models layer layers compute calculate find show see avoid fix solve prevent cause causes reason happen happens good best right correct difference better epoch epochs iteration iterations step steps first few after some many suddenly always still error warning value values 问题 方法 原因 解决 是什么 网络".split(" ")); // they narrow little
const SHOWN = 40, LISTED = 8;

// ---- One spelling for what is typed in several ----

/** What is written in several ways, and the one in which it is compared. */
const VARIABLE = `(?:^|[^\\p{L}])(?:[a-zα-ω]|${Object.keys(GREEK).join("|")}|relu|tanh|sigmoid)`, PRIMED = new RegExp(`(?:${VARIABLE}|[)\\]}′'])$`, "u");
const CHANGES = [
  [`\\\\?(?<![a-z])(?:${Object.keys(GREEK).join("|")})(?![a-z])`, (found) => GREEK[found.replace("\\", "")]],
  ["\\\\(?:var(?=epsilon|phi|theta|rho)|math[a-z]+|text[a-z]*|operatorname|left|right|displaystyle)", () => ""],
  ["\\\\?sqrt(?![a-z])", () => "√"],
  [`\\\\?prime(?![a-z])|(?<=${VARIABLE})[ ]+prime(?![a-z])`, () => "′"],
  ["(?<=[a-z]{2})['’](?=[a-z])", () => ""],
  ["['’′´`ʹ]", (found, before) => PRIMED.test(before) ? "′" : ""], // of a letter or a function; elsewhere it quotes
  ["(?<=[a-z]{3})iz(?=e|ing|ation|er)", () => "is"],
  ["\\bi\\.i\\.d\\.?", () => "iid"],
  ["(?<=[a-z]{2})[-‐‑–](?=[a-z]{2})", () => " "],
  ["(?<=[a-z0-9α-ω+′])\\p{Script=Han}(?=[a-z0-9α-ω])", (found) => ` ${found} `],
  ["(?<=[a-z0-9α-ω+′])\\p{Script=Han}", (found) => ` ${found}`],
  ["\\p{Script=Han}(?=[a-z0-9α-ω])", (found) => `${found} `],
  ["[\\\\{}_^()$\\p{M}]", () => ""],
  ["\\*\\*", () => ""],
  ["[−–]", () => "-"],
  ["⁄", () => "/"],
];
const CHANGE = new RegExp(CHANGES.map(([pattern]) => `(${pattern})`).join("|"), "gu");

function changed(...match) { // called by replace: the match, its groups, its place, the text
  const text = match.at(-1), at = match.at(-2), which = match.slice(1, -2).findIndex((group) => group !== undefined);
  return CHANGES[which][1](match[0], text.slice(Math.max(0, at - 9), at));
}

const plain = (text) => text.normalize("NFKD").toLowerCase();
const canonical = (text) => plain(text).replace(CHANGE, changed);

/** The same for each letter with the place that it comes from, for marking what was found in the text as it is printed. */
function traced(text) {
  let spelt = "", places = [];
  for (let i = 0; i < text.length; i += 1) for (const letter of plain(text[i])) { spelt += letter; places.push(i); }
  let out = "", from = [], last = 0;
  const keep = (start, end) => { for (let i = start; i < end; i += 1) { out += spelt[i]; from.push(places[i]); } };
  for (const match of spelt.matchAll(CHANGE)) {
    keep(last, match.index);
    for (const letter of changed(...match, match.index, spelt)) { out += letter; from.push(places[Math.min(match.index, places.length - 1)]); }
    last = match.index + match[0].length;
  }
  keep(last, spelt.length);
  return { out, from };
}

const BETWEEN = /[\s[\]|‖·×∗⋅⊙*,;]/u;

/** A formula without spaces and brackets, fractions with a slash, the two widths of a layer as the book writes them. */
function bare(text) {
  let t = plain(text).replace(/\\(?:left|right|[bB]igg?[lr]?|quad|qquad|[,;:!])/g, " ").replace(/\\(?:text|mathrm|mathbf|mathbb|mathcal|mathsf|operatorname)\s*\{([^{}]*)\}/g, "$1");
  for (let i = 0; i < 3 && t.includes("\\"); i += 1) {
    t = t.replace(/([_^])\{([^{}]*)\}/g, "$1$2").replace(/\\sqrt\s*\{([^{}]*)\}/g, "√$1").replace(/\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/g, "$1/$2");
  }
  t = t.replace(/\\[dt]?frac\s*(\w)\s*(\w)/g, "$1/$2").replace(/\\(?:cdot|times|ast|odot)(?![a-z])|\*\*/g, " ").replace(/\\le(?:q)?(?![a-z])/g, "≤").replace(/\\ge(?:q)?(?![a-z])/g, "≥").replace(/\\(?:log|ln|exp|max|min)/g, (name) => name.slice(1)).replace(/\\infty/g, "∞").replace(/\\partial/g, "∂").replace(/\\to(?![a-z])/g, "→").replace(/\\(?:l|r)?vert|\\\|/gi, "");
  t = t.replace(/(?<![a-z])(?:n|d|m|fan)_?[{(]?in[)}]?(?![a-z])/g, "n_t-1").replace(/(?<![a-z])(?:n|d|m|fan)_?[{(]?out[)}]?(?![a-z])/g, "n_t");
  t = t.replace(/(?<![a-z\d.])1e(?=[+-]?\d)/g, "10").replace(/(?<=\d)e(?=[+-]?\d)/g, "10").replace(/(?<![a-z\\])d([a-zℓ])\s*\/\s*d(?=[a-z])/g, "∂$1/∂");
  t = t.replace(CHANGE, changed).replace(/(?<![a-z])ln/g, "log").replace(/(?<![a-z])exp(?![a-z])/g, "e").replace(/(?<![a-z])(?:math|np|torch|f|nn)\./g, "");
  t = t.replace(new RegExp(BETWEEN, "gu"), "").replace(/[.?!:]+$/, "");
  return t.replace(/nt\+nt-1/g, "nt-1+nt").replace(/√([^/√]+)\/√/g, "√$1/");
}

/** A formula, and as others write it: x for z, Var[w] for γ, layers numbered by l, i or j. */
function spellings(query) {
  const found = new Set();
  const written = new Set([query, query.replace(/(?<![a-z\\])x(?![a-z])/gi, "z")]);
  for (const text of [...written]) written.add(text.replace(/var\s*[[(]\s*w[^\])]*[\])]/gi, "γ_t"));
  for (const text of written) {
    const formula = bare(text), up = formula.match(/n([ijkl])\+1/), down = formula.match(/[hnwza]([ijkl])-1/), sorted = (t) => t.replace(/nt\+nt-1/g, "nt-1+nt");
    found.add(formula);
    if (up) found.add(sorted(formula.replaceAll(`n${up[1]}+1`, "n\0").replaceAll(`n${up[1]}`, "nt-1").replaceAll("n\0", "nt")));
    else if (down) found.add(sorted(formula.replace(new RegExp(`(?<=[hnwzaδσγ])${down[1]}`, "g"), "t")));
    else if (/[hnwzδγ]l/.test(formula)) for (const width of ["nt", "nt-1"]) found.add(formula.replace(/nl/g, width).replace(/(?<=[hwzδγ])l/g, "t"));
  }
  return found;
}

const LOOKS_LIKE_FORMULA = /\de[+-]?\d|[/^=√*+≤≥<>∂∏∑∫′'’]|\\[a-z]|(?:^|[^a-z])[a-zα-ω]_|sqrt|[a-zσχγ√]\s?[([]./i;

// ---- The index ----

let entries = [], groups = new Map(), heads = new Map(), loading = null;

/** The index, loaded once, by a script element: a page opened from a file cannot fetch. */
function load() {
  loading ??= new Promise((done, failed) => {
    const version = document.documentElement.dataset.content;
    const script = Object.assign(document.createElement("script"), { src: `${ROOT}_static/search-index.js?v=${version}`, onerror: failed });
    script.onload = () => { read(bookIndex); done(); };
    document.head.append(script);
  });
  return loading;
}

const stem = (word) => {
  const short = /^[a-z]{5,}$/.test(word) ? word.replace(/(?<=[a-z]{4})(?:ations?|ings?|ions?|ers?|ed|es|s|e|ly|al|ity)$/, "") : word.replace(/(?<=^[a-z]{3,})s$/, "");
  return short === word ? word : short.replace(/([bdgmnprt])\1$/, "$1");
};
const stems = (phrase) => phrase.split(" ").map(stem).join(" ");

/** What a phrase is about, in whichever words and order: "gradients blow up" and 梯度爆炸 are explode and gradient. */
function concepts(phrase) {
  const words = phrase.split(" ").flatMap((word) => /^\p{Script=Han}{3,}$/u.test(word) ? cut(word, (part) => heads.has(part)) : [word]), found = new Set();
  for (let i = 0; i < words.length;) {
    let length = Math.min(4, words.length - i);
    while (length > 1 && !heads.has(stems(words.slice(i, i + length).join(" ")))) length -= 1;
    const name = stems(words.slice(i, i + length).join(" "));
    if (!IDLE.has(words[i]) || length > 1) found.add(heads.get(name) ?? name);
    i += length;
  }
  return found;
}

const key = (found) => [...found].sort().join(" ");

/** A run of Chinese in its longest known parts, with what lies between them. */
function cut(run, known) {
  const letters = [...run], parts = [];
  let between = "";
  for (let i = 0; i < letters.length;) {
    let length = letters.length - i;
    const part = () => letters.slice(i, i + length).join("");
    while (length > 1 && !known(part())) length -= 1;
    if (length > 1) { if (between) parts.push(between); between = ""; parts.push(part()); } else between += letters[i];
    i += length;
  }
  return between ? [...parts, between] : parts;
}

function read(index) {
  groups = new Map();
  heads = new Map();
  for (const group of index.same) {
    const names = [...new Set(group.map((name) => canonical(name).trim()))];
    for (const name of names) {
      groups.set(stems(name), [...new Set([...(groups.get(stems(name)) ?? []), ...names])]);
      if (!heads.has(stems(name))) heads.set(stems(name), names[0]);
    }
  }
  entries = index.entries.map(([page, anchor, kind, title, terms, called, text, names, parent]) => ({
    kind: KINDS[kind], title, terms, text,
    url: ROOT + index.pages[page][0] + (anchor ? `#${anchor}` : ""),
    chapter: index.pages[page][1],
    place: parent >= 0 && index.entries[parent][3] !== index.pages[page][1] ? index.entries[parent][3] : "",
    inTitle: canonical(title), inTerms: canonical(`${terms} | ${called}`), inText: canonical(text), inNames: canonical(names),
    bareTitle: key(concepts(canonical(title.replace(/^(?:[\d.]+ |Going further: |深入：|Equation |Figure |Exercise |Symbol |labs\.|公式(?=\d)|图(?=\d)|练习[\d.]+：|符号(?=\P{Script=Han}))+/gu, "")))),
    calls: new Map(`${terms} · ${called}`.split(/ [·|] /).map((name) => concepts(canonical(name).trim())).filter((found) => found.size).map((found) => [key(found), found])),
    names: new Set(called.split(" | ").map((name) => canonical(name).trim())),
    aside: /\/homework\/|instructors|course/.test(index.pages[page][0]) ? 0.4 : /lecture-map|ledger|labs/.test(index.pages[page][0]) && kind < 2 ? 0.7 : /(?:Exercises|Sources|What to remember|练习|文献|小结)$/.test(title) ? 0.5 : 1, // the reader wants an answer
    get formula() { return this.bare ??= bare(text); },
    get formulas() { return this.bares ??= new Set(called.split(" | ").map(bare)); },
  }));
}

// ---- What is asked ----

/** Looks for one spelling of a word in a field: 0 if it is not there, 1 as a part of a word, 2 as a word. */
function finder(spelling, open = false) {
  const letters = spelling.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), end = open ? "" : "s?(?![\\p{L}\\p{N}])";
  const whole = new RegExp(`(?<![\\p{L}\\p{N}])${letters}${end}`, "u"), short = /^[a-z]{1,3}$|^[a-z]\d$/.test(spelling) || /^[\d.]{1,3}$/.test(spelling);
  return (field) => !field.includes(spelling) ? 0 : whole.test(field) ? 2 : short ? 0 : 1;
}

const many = (field, spelling) => Math.min(4, field.split(spelling).length - 1);

/** How strongly an entry has a word: a title counts most, then another name of the place, then the text. */
function strength(entry, spelling, find) {
  const inText = find(entry.inText);
  return 12 * find(entry.inTitle) + 10 * find(entry.inTerms) + (inText && 2 * inText * (0.75 + many(entry.inText, spelling) / 4)) + 2 * find(entry.inNames);
}

/** A word or a phrase of the query with its spellings, each with its weight. */
function token(word) {
  const spellings = new Map([[word, 1]]), root = stems(word), group = groups.get(root) ?? [];
  const add = (spelling, weight) => { if (spelling && !spellings.has(spelling)) spellings.set(spelling, weight); };
  if (!/\d/.test(word)) add(root, 0.75);
  if (/[a-z]\.[a-z]/.test(word)) add(word.slice(word.lastIndexOf(".") + 1), 0.5);
  for (const name of group) add(name, 0.6);
  for (const name of group) if (/^[a-z]{5,}$/.test(name)) add(stem(name), 0.5);
  const finders = [...spellings].map(([spelling, weight]) => ({ spelling, weight, find: finder(spelling, spelling === root && root !== word) }));
  return { word, spellings: [...spellings.keys()], of: (entry) => Math.max(...finders.map(({ spelling, weight, find }) => weight * strength(entry, spelling, find))) };
}

const everywhere = (word) => entries.some((entry) => entry.inTerms.includes(word) || entry.inTitle.includes(word) || entry.inText.includes(word));

/** The query as words and known phrases. */
function asked(query) {
  const words = canonical(query.replace(/[“”"„`]/g, " ")).split(/[?!.,;:"|、，。；：！？（）<>]*(?:\s+|$)|(?<=[a-z]):(?=[a-z])|[、，。；：！？（）]+/).flatMap((word) => /^[a-z\d.]+\.[a-z]/.test(word) && !everywhere(word) ? word.split(".") : [word]).map((word) => word.replace(/^[[<'′,.:|‖]+|[\]>'′:|‖]+$/g, (cut) => /^′$/.test(cut) ? cut : "")).filter(Boolean);
  const found = [];
  for (let i = 0; i < words.length; i += 1) {
    let length = Math.min(4, words.length - i);
    while (length > 1 && !groups.has(stems(words.slice(i, i + length).join(" ")))) length -= 1;
    const phrase = words.slice(i, i + length).join(" ");
    found.push(...(/^\p{Script=Han}{3,}$/u.test(phrase) ? cut(phrase, (part) => groups.has(part) || everywhere(part)).filter((part, _, parts) => part.length > 1 || parts.length === 1) : [phrase]));
    i += length - 1;
  }
  const telling = found.filter((word) => !IDLE.has(word) && /[\p{L}\p{N}√∂∇⊙∏∑∫∞∝∼]/u.test(word)), more = telling.filter((word) => !/^\d$/.test(word));
  return more.length ? [...new Set(more)] : telling.length ? telling : found;
}

/** Letters to change, leave out, put in or exchange: how far two words are apart. */
function distance(a, b) {
  let [before, row] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) next[j] = Math.min(next[j], before[j - 2] + 1);
    }
    [before, row] = [row, next];
  }
  return row[b.length];
}

let vocabulary = null;

/** The book's word that a mistyped one is meant to be, if there is one. */
function meant(word) {
  if (!/^[a-z]{4,}$/.test(word)) return null;
  if (!vocabulary) {
    vocabulary = new Map();
    const count = (text, weight) => { for (const known of text.match(/(?<![\p{L}\p{N}])[a-z]{4,}(?![\p{L}\p{N}])/gu) ?? []) vocabulary.set(known, (vocabulary.get(known) ?? 0) + weight); };
    for (const entry of entries) { count(entry.inTitle, 5); count(entry.inTerms, 3); count(entry.inText, 1); count(entry.inNames, 1); }
    for (const names of groups.values()) count(names.join(" "), 1);
  }
  const most = word.length < 7 ? 1 : 2;
  let best = null;
  for (const [known, count] of vocabulary) {
    if (Math.abs(known.length - word.length) > most) continue;
    const far = distance(word, known);
    if (far === 2 && known[0] !== word[0]) continue;
    if (far === 2 && known.slice(0, -2) === word.slice(0, known.length - 2)) continue; // another ending: another word
    const rank = far * 100 - Math.log(1 + count);
    if (far <= most && (!best || rank < best.rank)) best = { known, rank };
  }
  return best?.known ?? null;
}

// ---- What answers ----

/** Points for entries whose formulas hold the one that is asked for, or a side of it. */
function formulaPoints(query) {
  const points = new Map(), whole = bare(query), states = new Set(); // the sections that state it: their equations stand behind them
  if (!LOOKS_LIKE_FORMULA.test(query) || whole.length < (/[′√]/.test(whole) ? 2 : 3) || /^[a-z.]{4,}\d?$/.test(whole)) return points;
  const give = (entry, some) => { points.set(entry, Math.max(points.get(entry) ?? 0, some * entry.aside)); };
  for (const spelling of spellings(query)) {
    const sides = spelling.split(/[=≈≤≥<>∼~→]+/).filter((side) => side.length > 3 && /[^a-z]/.test(side)).sort((a, b) => b.length - a.length);
    for (const entry of [...entries].reverse()) {
      const formula = entry.formula;
      if (entry.formulas.has(spelling)) give(entry, 330);
      const found = formula.includes(spelling) ? spelling : sides.find((side) => formula.includes(side));
      if (!found) continue;
      const ends = found.endsWith("′") || !/[-+/\p{N}]|(?!t)\p{L}/u.test(formula[formula.indexOf(found) + found.length] ?? " "); // not the beginning of a longer one
      const some = (found === spelling ? 2 : 1) * 100 * found.length / spelling.length + (ends ? 40 : 0);
      if (entry.kind === "equation") {
        states.add(entry.place);
        give(entry, some + (ends ? 100 : 70) + (formula.startsWith(found) ? 30 : 0) + 40 * found.length / formula.length);
      } else give(entry, some + (entry.kind === "section" ? (states.has(entry.title) ? 70 : 30) : entry.kind === "symbol" && formula.startsWith(found) ? 30 : 0));
    }
  }
  return points;
}

/** The entries that answer, best first; how many of them have every word; words read as others; spellings to mark. */
function find(query) {
  const nothing = { found: [], complete: 0, read: [], spellings: [], formulas: [] }, phrase = canonical(query).replace(/\s+/g, " ").replace(/[?!.,;:]+$/, "").trim();
  if (!phrase) return nothing;
  const formulas = formulaPoints(query);
  let words = asked(query), kind = null;
  const number = phrase.replace(/[§\s]/g, "").match(/^(equation|eq|formula|figure|fig|exercise|ex|chapter|ch|section|sec|公式|图|练习|第)?\.?(\d+(?:\.\d+)*)[章节]?$/);
  if (words.length > 1) { kind = words.map((word) => ASKED_FOR[word]).find(Boolean) ?? null; if (kind) words = words.filter((word) => !ASKED_FOR[word]); }
  const read = [];
  let tokens = words.map((word) => token(word));
  let table = tokens.map((one) => entries.map((entry) => one.of(entry)));
  const missing = (row) => !row.some(Boolean);
  tokens.forEach((one, i) => { // a word that the book does not have, and that looks like one it has
    if (formulas.size || tokens.length > 4 || !missing(table[i])) return;
    const known = meant(one.word);
    if (!known) return;
    read.push([one.word, known]);
    tokens[i] = token(known);
    table[i] = entries.map((entry) => tokens[i].of(entry));
  });
  const kept = tokens.map((_, i) => i).filter((i) => !missing(table[i])), lost = tokens.length - kept.length;
  if (!kept.length && !formulas.size && !number) { // a formula that the book does not have: the words in it
    const inside = query.split(/[^\p{L}\p{N}]+/u).filter((part) => /\p{L}{2}/u.test(part)).join(" ");
    return inside && inside !== query.trim() ? find(inside) : nothing;
  }
  const clear = kept.some((i) => !VAGUE.has(tokens[i].word));
  const rarity = kept.map((i) => Math.log(1 + entries.length / (1 + table[i].filter(Boolean).length)) * (clear && VAGUE.has(tokens[i].word) ? 0.25 : 1));
  const all = rarity.reduce((sum, one) => sum + one, 0) + lost * 0.5;
  const corrected = read.reduce((text, [typed, known]) => text.replace(typed, known), phrase), telling = kept.map((i) => tokens[i].word).join(" ");
  const meaning = kept.map((i) => tokens[i].word).filter((word) => !clear || !VAGUE.has(word)).join(" ");
  const ways = new Set([corrected, telling, meaning].map((text) => key(concepts(text))).filter(Boolean)), asking = concepts(telling), whole = key(concepts(corrected));
  const typed = query.trim().replace(/\(.*\)$/, "").replace(/_$/, "");
  const joined = phrase.replace(/[\s.]/g, "");
  const rated = entries.map((entry, k) => {
    let points = 0, covered = 0;
    kept.forEach((i, j) => { points += table[i][k] * rarity[j]; covered += table[i][k] ? rarity[j] : 0; });
    covered = all ? Math.max(covered / all, 0.9 * kept.filter((i) => table[i][k]).length / tokens.length) : 0;
    const exact = entry.kind === "symbol" ? entry.names.has(joined) && !/^[a-z]{3,}$/.test(joined) : [...ways].some((way) => entry.calls.has(way) || entry.bareTitle === way);
    let bonus = exact ? (entry.calls.has(whole) ? 60 : 45) : 0;
    if (!exact && covered > 0.6) {
      if (corrected.includes(" ") && (entry.inText.includes(corrected) || entry.inTerms.includes(corrected) || entry.inTitle.includes(corrected))) bonus += 8;
    }
    if (!exact) for (const name of entry.calls.values()) if ((name.size > 1 || /\.[a-z]/.test([...name][0])) && [...name].every((word) => asking.has(word))) { bonus += 20 + 30 * name.size / asking.size; covered = Math.max(covered, 0.75); break; }
    if (entry.kind === "page" && entry.inTitle.includes(telling) && telling) bonus += 24;
    if (entry.kind === "function" && joined.length > 3) {
      const parts = entry.inTitle.split(".");
      const named = parts.some((_, from) => from && parts.slice(from).join("") === joined) || parts.join("") === joined;
      if (named && /[\s_.(]|\p{Ll}\p{Lu}/u.test(typed)) covered = 1;
      if (named && entry.title.replace(/_$/, "").endsWith(typed)) bonus += 10;
      if (named) bonus += /[\s_.(]|\p{Ll}\p{Lu}/u.test(query.trim()) ? 160 : 12; // a plain word, as xavier, is first of all a word
    }
    if (entry.kind === "symbol" && entry.names.has(joined)) bonus += /^[a-z]{3,}$/.test(joined) ? 20 : 160;
    if (number && entry.inTitle.replace(/\.$/, "").match(/(?:^|\s)(\d+(?:\.\d+)*)(?:\.?(?:\s|$)|:)/)?.[1] === number[2]) {
      const wanted = { eq: "equation", equation: "equation", formula: "equation", fig: "figure", figure: "figure", ex: "exercise", exercise: "exercise", ch: "page", chapter: "page", 第: "page", 公式: "equation", 图: "figure", 练习: "exercise", sec: "section", section: "section" }[number[1]];
      if (entry.inTitle.match(/^\d/) || entry.kind !== "section") { bonus += wanted ? (wanted === entry.kind ? 900 : 0) : entry.kind === "section" || entry.kind === "page" ? 400 : 500; covered = 1; }
    }
    const worth = kind === entry.kind ? 3 : WORTH[entry.kind];
    const weighed = (points + (rarity[0] ?? 1) * bonus) * Math.max(covered, exact ? 1 : 0) ** 2 * worth * (exact ? 1 : entry.aside);
    return { entry, covered, points: weighed + 40 * (formulas.get(entry) ?? 0), sure: exact || formulas.has(entry) || bonus >= 90 };
  });
  const least = Math.min(0.5, 0.7 * Math.max(...rated.map(({ covered }) => covered)));
  const found = rated.filter(({ covered, points, sure }) => points > 0 && (sure || covered >= least)).sort((a, b) => b.points - a.points);
  return { formulas: formulas.size ? [...spellings(query)] : [], found: found.map(({ entry }) => entry), complete: found.filter(({ covered, sure }) => sure || covered > 0.99).length, read, spellings: kept.flatMap((i) => tokens[i].spellings) };
}

// ---- What is shown ----

/** Where the words stand in a text: pairs of start and end. */
function marks(text, { spellings, formulas }) {
  const { out, from } = traced(text), ranges = [];
  for (const spelling of spellings) {
    const find = finder(spelling), short = spelling.length < 4 && !/\p{Script=Han}/u.test(spelling);
    if (!find(out)) continue;
    for (let at = out.indexOf(spelling); at >= 0; at = out.indexOf(spelling, at + 1)) {
      const edge = (letter) => !/[\p{L}\p{N}]/u.test(letter ?? " ");
      if (short && !(edge(out[at - 1]) && edge(out[at + spelling.length]))) continue;
      let end = at + spelling.length;
      if (/[a-z]$/.test(spelling)) while (end < out.length && /[a-z]/.test(out[end])) end += 1;
      ranges.push([from[at], (from[end - 1] ?? text.length - 1) + 1, spelling]);
    }
  }
  const kept = [...out].map((letter, i) => [letter, i]).filter(([letter]) => !BETWEEN.test(letter)), bared = kept.map(([letter]) => letter).join("");
  for (const formula of formulas) {
    const at = formula ? bared.indexOf(formula) : -1;
    if (at >= 0) ranges.push([from[kept[at][1]], from[kept[at + formula.length - 1][1]] + 1, formula]);
  }
  return ranges.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
}

/** The part of a text with the most of the words in it. */
function excerpt(text, ranges, length) {
  let best = [0, 0];
  for (const [start] of ranges) {
    const within = new Set(ranges.filter(([a, b]) => a >= start && b <= start + length - 60).map(([, , spelling]) => spelling)).size;
    if (within > best[0]) best = [within, start];
  }
  const from = best[1] < 60 ? 0 : Math.max(text.lastIndexOf(" ", best[1] - 40), text.lastIndexOf("。", best[1] - 40)) + 1;
  return [from, Math.min(text.length, from + length)];
}

const SCRIPTS = /(?:(?<=(?<![\p{L}\p{N}_.])\p{L}|[α-ω\]])_|(?<=[\p{L}\p{N})\]])\^)(\([^()]{1,12}\)|[-−]?(?:[A-Za-z0-9*]{1,4}|[α-ω])(?![A-Za-z0-9_(]))/gu;

/** A text as nodes: words marked, Chinese said to be Chinese, indices and powers lowered and raised. */
function nodes(text, ranges, from = 0, to = text.length, formulas = true) {
  const parts = [], kinds = new Array(to - from).fill("");
  for (const [start, end] of ranges) for (let i = Math.max(start, from); i < Math.min(end, to); i += 1) kinds[i - from] += kinds[i - from].includes("m") ? "" : "m";
  for (let i = from; i < to; i += 1) if (/\p{Script=Han}/u.test(text[i])) kinds[i - from] += "z";
  for (const { index, 0: all, 1: script } of formulas ? text.slice(from, to).matchAll(SCRIPTS) : []) {
    const inner = script.startsWith("(") ? [index + 2, index + all.length - 1] : [index + 1, index + all.length];
    for (let i = index; i < index + all.length; i += 1) kinds[i] = i >= inner[0] && i < inner[1] ? kinds[i] + (all[0] === "_" ? "d" : "u") : "x";
  }
  for (let i = 0; i < kinds.length;) {
    let end = i;
    while (end < kinds.length && kinds[end] === kinds[i]) end += 1;
    let node = document.createTextNode(text.slice(from + i, from + end));
    const wrap = (name, more = {}) => { const outer = Object.assign(document.createElement(name), more); outer.append(node); node = outer; };
    if (kinds[i].includes("z")) wrap("span", { lang: "zh-Hans" });
    if (kinds[i].includes("d")) wrap("sub");
    if (kinds[i].includes("u")) wrap("sup");
    if (kinds[i].includes("m")) wrap("mark");
    if (kinds[i] !== "x") parts.push(node);
    i = end;
  }
  return parts;
}

const told = (text) => nodes(text, [], 0, text.length, false);

/** One result: where it leads, where that is, and some words of it. */
function item(entry, answer, length) {
  const row = document.createElement("li"), link = document.createElement("a"), place = document.createElement("small");
  const where = [entry.place, entry.chapter === entry.title ? "" : entry.chapter, entry.terms].filter(Boolean).join(" · ");
  link.href = entry.url;
  link.append(...nodes(entry.title, marks(entry.title, answer)));
  place.append(...nodes(where, marks(where, answer)));
  row.append(link, " ", place);
  if (length) {
    const text = document.createElement("p"), ranges = marks(entry.text, answer), [from, to] = excerpt(entry.text, ranges, length);
    text.append(from ? "… " : "", ...nodes(entry.text, ranges, from, to), to < entry.text.length ? " …" : "");
    row.append(text);
  }
  return row;
}

/** What came out, in a sentence. */
function summary(query, { found, complete, read }) {
  const other = read.length ? say("Nothing for “%1”. Did you mean “%2”? ", query, read.reduce((text, [typed, known]) => text.replace(typed, known), canonical(query))) : "";
  if (!found.length) return say("Nothing for “%1”. Try fewer letters, or the name of a symbol.", query);
  const places = say(found.length === 1 ? "1 place" : "%1 places", found.length);
  return other + (complete ? (other ? places : say("%1 for “%2”", places, query)) : say("No place with all of “%1”, %2 that come near", query, places));
}

/** The search page. */
function searchPage(field) {
  const results = document.getElementById("results"), more = document.getElementById("more"), said = document.getElementById("found");
  let rest = [], answer = null;
  const add = () => {
    const first = results.children.length;
    results.append(...rest.splice(0, SHOWN).map((entry) => item(entry, answer, 180)));
    more.hidden = !rest.length;
    more.textContent = say("Show %1 more", Math.min(SHOWN, rest.length));
    return results.children[first];
  };
  const show = () => {
    const query = field.value.trim();
    answer = find(query);
    rest = [...answer.found];
    results.replaceChildren();
    said.replaceChildren(...told(query ? summary(query, answer) : ""));
    add();
    const address = new URL(location.href);
    query ? address.searchParams.set("q", query) : address.searchParams.delete("q");
    history.replaceState(null, "", address);
  };
  field.value = new URLSearchParams(location.search).get("q") ?? "";
  field.addEventListener("input", () => load().then(show));
  more.addEventListener("click", () => add()?.querySelector("a").focus());
  document.getElementById("search").addEventListener("submit", (event) => { event.preventDefault(); load().then(show); });
  load().then(show, () => { said.textContent = say("The index of the search could not be loaded."); });
}

/** The field at the top of a page: the first hits under it, Enter for all of them. */
function searchField(field) {
  const list = document.getElementById("hits"), rows = list.querySelector("ul"), said = list.querySelector("p"), form = field.form;
  const close = () => { list.hidden = true; };
  const show = () => {
    const query = field.value.trim();
    if (!query || !form.contains(document.activeElement)) return close();
    const answer = find(query);
    rows.replaceChildren(...answer.found.slice(0, LISTED).map((entry) => item(entry, answer, 0)));
    said.replaceChildren(...told(summary(query, answer) + (answer.found.length > LISTED ? say("; Enter shows all") : "")));
    list.hidden = false;
  };
  let back = false; // by Escape, which does not ask again
  field.addEventListener("focus", () => { if (!back) load().then(show); });
  field.addEventListener("input", () => { load().then(show); });
  form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) close(); });
  list.addEventListener("pointerdown", (event) => { if (!event.target.closest("a")) event.preventDefault(); });
  form.addEventListener("keydown", (event) => {
    const stops = [field, ...rows.querySelectorAll("a")], at = stops.indexOf(document.activeElement), step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape" && !list.hidden) { event.preventDefault(); back = true; field.focus(); back = false; close(); }
    else if (step && !list.hidden && at >= 0) { event.preventDefault(); stops[(at + step + stops.length) % stops.length].focus(); }
  });
}

const query = document.getElementById("query"), top = document.getElementById("find");
if (query) searchPage(query);
if (top) searchField(top);
globalThis.bookSearch = { find, load, bare, canonical };
}
