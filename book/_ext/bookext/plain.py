"""Pages as plain text: what search looks through and what a page's description says."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "omicron": "ο", "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
SIGNS = {
    "varepsilon": "ε", "varphi": "φ", "cdot": "·", "times": "×", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠",
    "approx": "≈", "sim": "∼", "pm": "±", "infty": "∞", "partial": "∂", "nabla": "∇", "sum": "∑", "prod": "∏", "int": "∫", "to": "→",
    "in": "∈", "odot": "⊙", "ldots": "…", "dots": "…", "cdots": "…", "prime": "′", "ell": "ℓ", "sqrt": "√", "quad": " ", "qquad": " ",
    "lVert": "‖", "rVert": "‖", "Vert": "‖", "lvert": "|", "rvert": "|", "lfloor": "⌊", "rfloor": "⌋", "circ": "∘", "ll": "≪",
    "propto": "∝", "mapsto": "↦", "leftarrow": "←", "longrightarrow": "→", "Rightarrow": "⇒", "Longrightarrow": "⇒", "leftrightarrow": "↔",
    "displaystyle": "", "textstyle": "", "limits": "", "middle": "",
}  # fmt: skip
FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
WRAPPER = re.compile(
    r"\\(?:mathrm|mathsf|mathbf|mathcal|mathbb|boldsymbol|text|texttt|operatorname\*?|bar|hat|tilde|widetilde|label|tag)\s*\{([^{}]*)\}"
)


def tex_to_text(tex: str) -> str:
    r"""A formula in one line of letters, for eyes that scan a list of results.

    >>> tex_to_text(r"\gamma_t = \frac{2}{n_{t-1} + n_t}")
    'γ_t = 2/(n_(t-1) + n_t)'
    >>> tex_to_text(r"\chi_1 \le \operatorname{Var}[h]")
    'χ_1 ≤ Var[h]'
    """

    def grouped(part: str) -> str:
        return part if re.fullmatch(r"\s*\\?\w*\s*", part) else f"({part.strip()})"

    text = re.sub(r"\\(?:begin|end)\{\w+\*?\}|\\(?:left|right|[bB]igg?[lr]?|,|;|!|:|\\)|&", " ", tex)
    for _ in range(4):  # innermost first; deeper nesting than this is not met
        text = WRAPPER.sub(r"\1", text)
        text = re.sub(r"([_^])\{([^{}]*)\}", lambda m: m[1] + grouped(m[2]), text)
        text = re.sub(r"\\sqrt\s*(?:\{([^{}]*)\}|(\w))", lambda m: f"√{grouped(m[1] or m[2] or '')}", text)
        text = FRACTION.sub(lambda m: f"{grouped(m[1] or m[2] or '')}/{grouped(m[3] or m[4] or '')}", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda m: (GREEK | SIGNS).get(m[1], m[1]), text)
    return re.sub(r"\s+", " ", re.sub(r"[{}\\$]", "", text)).strip()


def plain_text(node: nodes.Node) -> str:
    """The words of a node; formulas in one line of letters, code cells and drawings left out."""
    if isinstance(node, nodes.math | nodes.math_block):
        return tex_to_text(node.astext()) + node.get("closing", "")
    if isinstance(node, nodes.Text):
        return str(node)
    if isinstance(node, addnodes.pending_xref) and not node.get("refexplicit"):
        return node["reftarget"] if node.get("refdomain") == "py" else ""  # what it will show stands elsewhere
    if isinstance(node, nodes.raw | nodes.comment | nodes.literal_block | nodes.target | addnodes.desc_signature):
        return ""
    between = "" if isinstance(node, nodes.TextElement) else " "
    return between.join(plain_text(child) for child in node.children)


def first_words(document: nodes.document, limit: int = 160) -> str:
    """The beginning of a page's first paragraph, cut at a word."""
    paragraphs = (p for p in document.findall(nodes.paragraph) if isinstance(p.parent, nodes.section))
    text = re.sub(r"\s+", " ", plain_text(next(paragraphs, nodes.paragraph()))).strip()
    return text if len(text) <= limit else text[: text.rindex(" ", 0, limit)].rstrip(" ,;:") + " …"
