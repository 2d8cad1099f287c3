"""Whether everyone can read a page: axe-core in a browser's tab, which judges contrast once for each look."""

from __future__ import annotations

import json
from typing import Any

# Tokens of one class have one colour, a formula has its paragraph's, the rows of a long table are alike: judging some of each is
# ten times faster. Tokens of a cell and what is only read of a formula take the same room when they are thinned, so they come first.
THIN_TOKENS = """box => {
  const seen = new Set();
  for (const token of document.querySelectorAll(`${box} span`)) {
    const kind = token.className + Boolean(token.closest('.output'));
    seen.has(kind) ? token.replaceWith(...token.childNodes) : seen.add(kind);
  }
  document.querySelectorAll(box).forEach(p => p.normalize());
}"""
THIN_FORMULAS = "document.querySelectorAll('.katex-mathml').forEach(e => { e.textContent = e.textContent; })"
THIN = """() => {
  document.querySelectorAll('tbody').forEach(b => [...b.rows].slice(25).forEach(row => row.remove()));
  document.querySelectorAll('.katex-html').forEach(e => { e.textContent = e.textContent; });
}"""
# Contrast is by far the dearest rule, and thousands of texts look alike: the same colour, size and weight of letters, on the same
# grounds one over the other. Three of each look are judged; a text or a ground of another colour, somewhere, is a look of its own.
ALIKE = """part => {
  const names = new Map(), counts = new Map(), grounds = new Map();
  const named = (...parts) => { const text = parts.join('|'); return names.get(text) ?? (names.set(text, names.size), names.size - 1); };
  const ground = e => {
    if (!e) return '';
    if (!grounds.has(e)) {
      const s = getComputedStyle(e), own = [s.backgroundColor, s.backgroundImage, s.opacity, s.filter, s.mixBlendMode, s.position,
        s.zIndex, s.clipPath, getComputedStyle(e, '::before').content, getComputedStyle(e, '::after').content].join('|');
      const plain = own === 'rgba(0, 0, 0, 0)|none|1|none|normal|static|auto|none|none|none';
      grounds.set(e, plain ? ground(e.parentElement) : named(ground(e.parentElement), own));
    }
    return grounds.get(e);
  };
  document.querySelectorAll('[data-look]').forEach(e => e.removeAttribute('data-look'));
  for (const e of [...document.querySelectorAll(part)].flatMap(e => [e, ...e.querySelectorAll('*')])) {
    if (!(e.matches('input, select, textarea') || e.shadowRoot || [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))) continue;
    if (!e.getClientRects().length || e.closest('.katex-mathml')) continue;
    const s = getComputedStyle(e), off = e.closest(':disabled, [aria-disabled]') ?? e.closest('label')?.control?.disabled;
    const letters = [s.color, s.webkitTextFillColor, s.fontSize, s.fontWeight, s.textShadow, s.visibility];
    const look = named(ground(e), ...letters, e.type, !!off, e.textContent.trim().length > 1);
    counts.set(look, (counts.get(look) ?? 0) + 1);
    if (counts.get(look) <= 3) e.setAttribute('data-look', '');
  }
  axe.configure({ rules: [{ id: 'color-contrast', selector: '[data-look]' }] });
}"""


def faults(tab: Any, context: str = "html", rules: list[str] | None = None) -> list[str]:
    """What axe-core objects to on a page or in a part of it: all rules, or some."""
    from axe_playwright_python.base import AXE_SCRIPT

    if not tab.evaluate("typeof axe !== 'undefined'"):
        tab.evaluate(AXE_SCRIPT)
    if rules is None or "color-contrast" in rules:
        tab.evaluate(ALIKE, context)
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    report = tab.evaluate(f"axe.run({json.dumps(context)}, {json.dumps(options)}).then(found => found.violations)")
    return [f"{v['id']}: {n['html'][:200]}" for v in report for n in v["nodes"]]
