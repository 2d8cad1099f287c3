"""Run this proof: a cell of SymPy can be run and changed in the page, by Python in the reader's browser, without a network.

Which cells are offered is read from them: what a cell needs of the cells above it is taken from there, statement by statement,
and all that both import must be in ``PLAIN`` or a module of labs that itself imports nothing else. ``book/_static/proof/`` has
the scripts, ``book/_static/pyodide/`` Python; the build packs SymPy and mpmath as they are installed.
"""

import ast
import json
import shutil
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from bookext.check import slices
from bookext.check.slices import Names, names_of, only
from bookext.notebook.wheel import FOLDER, wheel_name
from bookext.read.book import ROOT, executed_pages
from bookext.read.chapter import computing, read_chapter
from bookext.read.claims import statements
from bookext.read.kept import digest, of_page
from bookext.read.uses import used_by

from .chinese import is_chinese, say_there

PLAIN = {"sympy", "mpmath", "math", "fractions", "itertools", "functools", "collections", "re", "html", "__future__"}
PYODIDE = ("pyodide.asm.wasm.gz", "python_stdlib.zip")
PLACE, PACKED = "proof", "sympy.zip"  # of the site
# What no proof needs; ``simplify`` needs the units of physics.
LEFT_OUT = {"tests", "benchmarks", "autolev", "_antlr", "mechanics", "quantum", "continuum_mechanics", "control"}
LEFT_OUT |= {"optics", "biomechanics", "hep"}


# ---- Which cells, and what they need


def imported(tree: ast.AST) -> set[str]:
    """The modules that code imports; where ``from`` may name a module or something in one, the module that exists."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if labs_file(name) else node.module for name in whole}
    return found


def labs_file(module: str) -> Path | None:
    path = ROOT / f"{module.replace('.', '/')}.py"
    return path if module.startswith("labs.") and path.exists() else None


@cache
def is_plain(module: str) -> bool:
    """Whether the browser's Python can import a module: its own library, SymPy, or labs without torch."""
    path = labs_file(module)
    if path is None:
        return module.partition(".")[0] in PLAIN
    top = ast.Module(
        [s for s in ast.parse(path.read_text("utf8")).body if isinstance(s, ast.Import | ast.ImportFrom)], []
    )
    return all(is_plain(name) for name in imported(top))


@cache
def parsed(page: Path) -> list[list[tuple[ast.stmt, Names]]]:
    """The statements of a page's code cells, with their names."""
    return [[(s, names_of(s)) for s in statements(cell)] for cell in read_chapter(page).code]


def before(page: Path, index: int) -> list[ast.stmt]:
    """What a page's ``index``-th code cell needs of the cells above it, without assertions."""
    needed, kept = set[str](), list[ast.stmt]()
    for at in range(index, -1, -1):
        for statement, names in reversed(parsed(page)[at]):
            if at == index:
                needed = (needed - names.sure) | names.reads
            elif not isinstance(statement, ast.Assert) and (names.binds | names.changes) & needed:
                kept.append(only(statement, needed))
                needed = (needed - names.sure) | names.reads
    return kept[::-1]


@cache
def offered(page: Path) -> dict[str, tuple[str, str]]:
    """The cells of a page that are offered, by their number: their source, and what runs before it; kept from build to build."""
    others, text = [Path(__file__), Path(slices.__file__), *used_by(page)], computing(read_chapter(page))
    kept = of_page("proofs", page, text, others, lambda: _offered(page))
    return {number: (told[0], told[1]) for number, told in kept.items()}


def _offered(page: Path) -> dict[str, tuple[str, str]]:
    found = {}
    for index, cell in enumerate(read_chapter(page).code):
        own, needed = [statement for statement, _ in parsed(page)[index]], before(page, index)
        modules = imported(ast.Module([*needed, *own], []))
        computes = any(isinstance(s, ast.Assert) for s in own) or (own and isinstance(own[-1], ast.Expr))
        symbolic = modules & {"sympy", "labs.derivations"}
        if symbolic and computes and all(is_plain(name) for name in modules):
            found[str(index)] = (cell.source, ast.unparse(ast.Module(needed, [])))
    return found


# ---- The page and what it loads


def add_buttons(app: Sphinx, doctree: nodes.document) -> None:
    """A button below each cell that is offered."""
    page = Path(app.env.doc2path(app.env.docname)).resolve()
    cells = {f"cell-{int(number) + 1}": number for number in offered(page)} if page in executed_pages() else {}
    for place in doctree.findall(nodes.container):
        for number in (cells[name] for name in place["ids"] if name in cells):
            words = say_there(app, app.env.docname, "Run this proof")
            button = f'<button type="button" class="action" data-cell="{number}">{words}</button>'
            place += nodes.raw("", f'<div class="proof">{button}<span role="status"></span></div>', format="html")


def packed_files(name: str) -> Iterator[tuple[str, Path]]:
    """The files of an installed package that are packed, and its licence."""
    for file in distribution(name).files or []:
        licence = file.parts[0].endswith(".dist-info") and file.name.startswith("LICENSE")
        if licence or (file.parts[0] == name and file.suffix == ".py" and not LEFT_OUT.intersection(file.parts)):
            yield file.as_posix(), Path(str(file.locate()))


def pack(archive: Path) -> None:
    """SymPy and mpmath in one archive, which Python imports from; the same files give the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, path in sorted(file for package in ("sympy", "mpmath") for file in packed_files(package)):
            packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def write_proofs(app: Sphinx, error: Exception | None) -> None:
    """What a page's script asks for on click: the files with their sizes, and what runs before each cell."""
    if error is not None or app.builder.name != "html" or is_chinese(app):
        return
    site = Path(app.outdir)
    packages = "-".join(distribution(name).version for name in ("sympy", "mpmath"))
    folder, kept = site / PLACE, ROOT / "_build" / "kept" / f"{packages}-{digest([Path(__file__)])}.zip"
    folder.mkdir(exist_ok=True)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        for older in kept.parent.glob("*.zip"):
            older.unlink()
        pack(whole := kept.with_suffix(".new"))
        whole.replace(kept)
    shutil.copyfile(kept, folder / PACKED)
    names = [*(f"_static/pyodide/{name}" for name in PYODIDE), f"{PLACE}/{PACKED}", f"{FOLDER}/{wheel_name()}"]
    files = {name: (site / name).stat().st_size for name in names}
    for page in executed_pages():
        if cells := offered(page):
            what = {"files": files, "before": {number: code for number, (_, code) in cells.items()}}
            (folder / f"{page.stem}.json").write_text(json.dumps(what, indent=0), "utf8")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", add_buttons)
    app.connect("build-finished", write_proofs, priority=950)  # when the wheel is there
