r"""The tokens of the book's LaTeX, its layout left out."""

import re


class MathError(ValueError):
    """The text cannot be read as the book's mathematics, or a symbol in it has no meaning."""


TOKEN = re.compile(r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|'+|\S", re.DOTALL)
NOISE = re.compile(
    r"\\begin\{aligned\}|\\end\{aligned\}|\\(?:left|right)\.|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])|(?<!\\)\\[,;:! ]|\\\\\[\w+\]"
    r"|&|\{\}|\{ +\}"
)
SIGNS = {"=", r"\approx", "<", ">", r"\le", r"\ge", r"\ne", r"\to", r"\longrightarrow", r"\sim", r"\propto"}
IMPLIES = {r"\Rightarrow", r"\Longrightarrow"}
SEPARATORS = {",", ".", ":", ";", r"\quad", r"\qquad", r"\\"}
TIMES = {r"\cdot", r"\times", r"\odot"}
SYNONYMS = {r"\leq": r"\le", r"\geq": r"\ge", r"\neq": r"\ne", r"\rightarrow": r"\to", r"\dots": r"\cdots"}
SYNONYM = re.compile("|".join(rf"{re.escape(name)}(?![A-Za-z])" for name in SYNONYMS))


def tokens(tex: str) -> list[str]:
    """The tokens of an equation, its layout (spaces, sizes of brackets, alignment, rows run on) left out."""
    tex = SYNONYM.sub(lambda name: SYNONYMS[name[0]], tex)
    tex = re.sub(r"\\E\\,", r"\\Eof ", tex)
    tex = re.sub(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", _matrix, tex, flags=re.DOTALL)
    tex = re.sub(r"\\begin\{cases\}(.*?)\\end\{cases\}", _cases, tex, flags=re.DOTALL)
    tex = tex.replace(r"\substack", "")
    raw = TOKEN.findall(NOISE.sub(" ", tex))
    joins = SIGNS | {"+", "-"} | TIMES
    kept: list[str] = []
    for i, token in enumerate(raw):
        after = next((t for t in raw[i + 1 :] if t not in {r"\\", r"\quad", r"\qquad"}), "")
        if token in {r"\\", r"\quad", r"\qquad"} and (after in SIGNS | {"+"} or (kept and kept[-1] in joins)):
            continue
        kept.append(token)
    return kept


def _matrix(match: re.Match[str]) -> str:
    return r"\matrix[" + match[1].replace("&", " , ").replace(r"\\", " ; ") + "]"


def _cases(match: re.Match[str]) -> str:
    rows = [row.strip().rstrip(",. ") for row in match[1].split(r"\\")]
    return r"\cases[" + " ; ".join(rows) + "]"
