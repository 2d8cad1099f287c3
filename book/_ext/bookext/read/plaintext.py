"""Formulas and numbers in one line of letters."""

import re
from html.entities import html5

# Commands that HTML has no name for, or names otherwise; it has the Greek letters and most other signs by TeX's names.
SIGNS = {
    "varepsilon": "ε", "varphi": "φ", "cdot": "·", "neq": "≠", "infty": "∞", "partial": "∂", "to": "→", "ldots": "…", "dots": "…",
    "cdots": "…", "sqrt": "√", "quad": " ", "qquad": " ", "lVert": "‖", "rVert": "‖", "lvert": "|", "rvert": "|", "circ": "∘",
    "longrightarrow": "→", "Longrightarrow": "⇒", "displaystyle": "", "textstyle": "", "limits": "", "middle": "",
}  # fmt: skip
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SPACES = re.compile(
    r"\\(?:begin|end)\{\w+\*?\}|\\(?:left|right|[bB]igg?[lr]?|q?quad)(?![A-Za-z])|\\\\(?:\[\w+\])?|\\[,;!:]|&"
)
ACCENT = re.compile(r"\\(?:wide)?(bar|hat|tilde)(?:\s+([A-Za-z])|\s*\{\s*([A-Za-z])\s*\})")
MARKS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303"}
BRACED = re.compile(r"\\(?:underbrace|overbrace|substack)\s*\{")
FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
BINOMIAL = re.compile(r"\\binom\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
WRAPPER = re.compile(
    r"\\(?:math\w+|text\w*|boldsymbol|operatorname\*?|bar|hat|(?:wide)?tilde|label|tag)\s*(?:\{([^{}]*)\}|([A-Za-z]))"
)

HAN = r"[\u2014\u2018-\u201d\u2026\u3000-\u303f\u3400-\u9fff\uff00-\uffef]"
BREAK = rf"(?<={HAN})\n|\n(?={HAN})"  # a source has one sentence a line; between Chinese sentences stands no blank
BROKEN = re.compile(rf"{BREAK}|(?<=\d) (?=%)| (?=（)")  # nor does one before % or a bracket


def tex_to_text(tex: str) -> str:
    r"""A formula in one line of letters, for eyes that scan a list of results.

    >>> tex_to_text(r"\gamma_t = \frac{2}{n_{t-1} + n_t}")
    'γ_t = 2/(n_(t-1) + n_t)'
    >>> tex_to_text(r"\chi_1 \le \operatorname{Var}[h]")
    'χ_1 ≤ Var[h]'
    >>> tex_to_text(r"\mathbf c^t \leftarrow 2\quad\text{instead of } \binom{n}{k}")
    'c^t ← 2 instead of C(n, k)'
    """

    def grouped(part: str) -> str:
        return part if re.fullmatch(r"\s*\\?\w*\s*", part) else f"({part.strip()})"

    text = ACCENT.sub(lambda m: (m[2] or m[3]) + MARKS[m[1]], BRACED.sub("{", SPACES.sub(" ", tex)))
    for _ in range(4):  # innermost first; deeper nesting than this is not met
        text = WRAPPER.sub(lambda m: m[1] or m[2] or "", text)
        text = BINOMIAL.sub(r"C(\1, \2)", text)
        text = re.sub(r"([_^])\{([^{}]*)\}", lambda m: m[1] + grouped(m[2]), text)
        text = re.sub(r"\\sqrt\s*(?:\{([^{}]*)\}|(\w))", lambda m: f"√{grouped(m[1] or m[2] or '')}", text)
        text = FRACTION.sub(lambda m: f"{grouped(m[1] or m[2] or '')}/{grouped(m[3] or m[4] or '')}", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda m: SIGNS.get(m[1], html5.get(f"{m[1]};", m[1])), text)
    return re.sub(r"\s+", " ", re.sub(r"[{}\\$]", "", text)).strip()


def plain_number(literal: str) -> str:
    """A claimed number in plain text.

    >>> plain_number("4.07e-17")
    '4.07 × 10⁻¹⁷'
    """
    mantissa, power, exponent = literal.strip().partition("e")
    shown = mantissa.replace("-", "−")
    return f"{shown} × 10{str(int(exponent)).translate(SUPERSCRIPT)}" if power else shown
