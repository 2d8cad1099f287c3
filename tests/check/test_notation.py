"""book/notation.md against the equations: one symbol means one thing in the whole book."""

from __future__ import annotations

import re

import pytest
from bookext.check import notation
from bookext.check.tokens import tokens
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import parse_chapter, read_chapter

# Letters that once had a second meaning, and what stands there now.
SECOND = {
    r"\\sigma'?\((?:x|0\.\d*x)\)": r"\sigma(z): x is the input of the network",
    r"(?<![A-Za-z])o_\{?[kil]": "z_l: logits are pre-activations",
    r"(?<![\\A-Za-z])M\^\{?t(?!\w)": "M_t: what stands above a number is a power",
    r"q\^\{?t(?!\w)": "q_t: what stands above a number is a power",
    r"(?<!\\mathcal )(?<!\\mathcal\{)\bF_t\b": r"\mathcal F_t: F is a factor of the mean square",
    r"(?<!\\mathbf )\\tilde c": r"\tilde{\mathbf c}: c is a constant factor",
    r"\br_t\b|\\tilde r_t": r"\rho_t: r is a factor per layer",
    r"\\min\(.*\\tau|\\frac\{\\tau\}": r"\theta: \tau is a layer",
    r"e\^\{?c\}? M": r"e^\Lambda A",
    r"a\s*\\,?\s*\\ell": "S: a is the bound of a uniform distribution",
    r"\bV_\{?k": "V_{li}: k counts steps",
    r"U\[-u": "U[-a, a]: u is a standard normal variable",
}


def test_each_symbol_of_each_formula_is_in_the_table():
    wrong = [f"{c.name}:{line}: {what}" for c in map(read_chapter, book_pages()) for line, what in notation.unknown(c)]
    assert not wrong, "\n".join(wrong)


def test_no_letter_has_its_second_meaning_again():
    wrong = []
    for page in book_pages():
        for number, line in enumerate(page.read_text("utf8").splitlines(), 1):
            mathematics = " ".join(re.findall(r"\$([^$]+)\$", line)) if "$" in line else line
            for pattern, instead in SECOND.items():
                if (found := re.search(pattern, mathematics)) and ("$" in line or "\\" in line):
                    wrong.append(f"{page.relative_to(ROOT)}:{number}: {found[0]}; write {instead}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "tex, found",
    [
        (r"\sigma_w^2 = n_{t-1} \gamma_t", [r"\sigma_w", "n", "t", r"\gamma", "t"]),
        (r"\bar g + \tilde h^t + \tilde{\mathbf c}^t", ["g", "h", "t", r"\tilde \mathbf c", "t"]),
        (r"z_i - z_{\text{max}} \quad\text{for all } i", ["z", "i", r"z_\text{max}", "i"]),
        (r"\mathbf{1}\bigl[z^t > 0\bigr] \frac{d}{dz} \E\,[X'] ", [r"\mathbf 1", "z", "t", "d", "d", "z", "X"]),
        (r"q^* - q^2", ["q^*", "q"]),
    ],
)
def test_symbols_of_an_equation(tex, found):
    book, own = notation.tables()
    assert [name for name in notation.symbols(tokens(tex), {*book, *own}) if name != r"\E"] == found


def test_an_unknown_symbol_and_one_of_another_section_are_named():
    text = "# Page\n\n## Here\n\n$$\n\\varpi = V h\n$$ (eq-x)\n\nwith $\\Theta_t$, `$\\Xi$` and $h$.\n"
    said = [what for _, what in notation.unknown(parse_chapter(text, ROOT / "book" / "planted.md"))]
    assert said[0] == r"the symbol \varpi is not in book/notation.md"
    assert said[1].startswith("V belongs to '") and said[2:] == [r"the symbol \Theta is not in book/notation.md"]


def test_a_symbol_that_stands_twice_is_refused(tmp_path):
    page = tmp_path / "notation.md"
    page.write_text("| $a$, $b^t$ | x | |\n| $a$ | y | |\n")
    with pytest.raises(ValueError, match="a: listed twice"):
        notation.tables(page)
