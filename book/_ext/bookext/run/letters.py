"""The texts of the figures of Chinese pages: is each in Chinese, and has the font its characters?

They are drawn as outlines, so no reader loads the font. It has the characters of the catalogue, cut from Noto Sans CJK by

    python -m bookext.run.letters /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc
"""

import sys
from pathlib import Path

import nbformat

from bookext.read.words import catalogue

from .figures import FAMILY, FONT, KIND, Texts

FACE = "Noto Sans CJK SC"
LATIN = "".join(map(chr, range(0x20, 0x7F))) + "\u2212"  # a label's own letters, and the numbers of the axes
IDEOGRAPHS = 0x2E80  # from here on no other font of matplotlib's has a character


def figures(notebook: nbformat.NotebookNode) -> list[tuple[str, Texts]]:
    """The names of the figures that an executed notebook has drawn in Chinese, and the texts of each."""
    drawings = [(cell, o) for cell in notebook.cells for o in cell.get("outputs", ()) if KIND in o.get("metadata", {})]
    found = []
    for number, (cell, output) in enumerate(drawings, 1):
        named = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        found.append((named or f"figure {number} of its outputs", output.metadata[KIND]["texts"]))
    return found


def texts(notebook: nbformat.NotebookNode) -> Texts:
    """The texts of an executed notebook's figures, with the Chinese that they were drawn with."""
    return {text: chinese for _, some in figures(notebook) for text, chinese in some.items()}


def faults(notebook: nbformat.NotebookNode, page: str) -> list[str]:
    """What keeps the figures of an executed page from being Chinese, ready to print."""
    drawings, found = figures(notebook), []
    has = letters() if drawings else set()
    for figure, some in drawings:
        for text, chinese in some.items():
            lacking = "".join(c for c in chinese or "" if ord(c) >= IDEOGRAPHS and c not in has)
            if chinese is None:
                found.append(f"{page}: {figure} says {text!r}, which has no Chinese in book/zh/words.po")
            elif lacking:
                remedy = "python -m bookext.run.letters NotoSansCJK-Regular.ttc cuts it anew"
                found.append(f"{page}: {figure} says {chinese!r}, and book/zh/font has no {lacking}: {remedy}")
    return found


def letters(path: Path = FONT) -> set[str]:
    """The characters that a font has."""
    from fontTools.ttLib import TTFont

    with TTFont(path, lazy=True) as font:
        return set(map(chr, font.getBestCmap()))


def cut(source: Path, target: Path = FONT) -> None:
    """Write the font with the characters of the catalogue, out of a collection of Noto's."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTCollection

    font = next(one for one in TTCollection(source, lazy=True) if one["name"].getDebugName(1) == FACE)
    tables = ["BASE", "VORG", "vhea", "vmtx"]
    subsetter = Subsetter(
        Options(layout_features=[], hinting=False, name_IDs=[0, 1, 2, 4, 6, 13, 14], drop_tables=tables)
    )
    subsetter.populate(text=LATIN + "".join(catalogue().values()))
    subsetter.subset(font)
    for number, name in ((1, FAMILY), (4, FAMILY), (6, FAMILY.replace(" ", ""))):
        font["name"].setName(name, number, 3, 1, 0x409)
    font.recalcTimestamp = False  # the same characters are the same bytes
    font.save(target)
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("Name a copy of NotoSansCJK-Regular.ttc (Debian's fonts-noto-cjk has one).")
    cut(Path(sys.argv[1]))
