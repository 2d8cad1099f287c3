"""The built site beside the stock jupyter-book build of the same sources, measured in one run with Chromium.

    python bench/site.py stock _build/stock                   # build the stock site: theme, MathJax and all, as jupyter-book ships them
    python bench/site.py weigh _build/html _build/stock       # transfer, requests, time to readable mathematics on a slow line
    python bench/site.py lighthouse _build/html _build/stock --lighthouse /path/to/node_modules/lighthouse/cli/index.js

Both sites come from one loopback server that compresses. The stock pages load MathJax from a public network of mirrors; here it
comes from a folder of the npm package ``mathjax@3`` (``--mathjax``), put under that address inside the browser, so that its bytes
and its work count but no distance does: the comparison favours the stock build.
"""

from __future__ import annotations

import argparse
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

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "book" / "_ext")]
from conftest import FLAGS, launch, serve  # noqa: E402

PAGES = ("book/index.html", "book/01-chained-jacobians.html", "book/06-xavier.html")
# Chrome's former preset: 400 kbit/s each way. The delay is before each answer.
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
CPU_SLOWDOWN = 4
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
        self.wfile.write(body)
        return None


# ---- The stock build ----


def stock_config(text: str) -> str:
    """_config.yml for a build without the book's own layout and mathematics: what jupyter-book does by itself."""
    text = re.sub(r"^ +html_math_renderer:.*\n", "", text, flags=re.MULTILINE)
    macros = 'mathjax3_config: {tex: {macros: {std: "\\\\operatorname{std}", Var: "\\\\operatorname{Var}", E: "\\\\operatorname{E}", ' \
             'diag: "\\\\operatorname{diag}", relu: "\\\\operatorname{relu}", T: "{\\\\mathsf{T}}"}}}'  # fmt: skip
    return text.replace("    bookext: book/_ext\n", "    stockext: book/_ext\n").replace(
        "  config:\n", f"  config:\n    {macros}\n", 1
    )


STOCK_EXTENSION = '''
"""The book's roles and directives on jupyter-book's own layout, theme, scripts and MathJax."""
from bookext import katexmath, site
from docutils import nodes


def setup(app):
    import bookext
    for part in (site.page, site.search, site.status, site.publish, site.weight):
        part.setup = lambda app: None
    katexmath.setup = lambda app: app.add_config_value("book_macros", {}, "html")
    bookext.setup(app)
    return {"parallel_read_safe": True}
'''


def build_stock(out: Path) -> None:
    """Build the same sources with the theme's own pages into ``out``; outputs come from the book's cache."""
    out = out.resolve()
    work = out.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("book", "labs", "_toc.yml", "requirements.txt", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        shutil.copytree(source, work / name) if source.is_dir() else shutil.copy(source, work / name)
    (work / "_config.yml").write_text(stock_config((ROOT / "_config.yml").read_text("utf8")), "utf8")
    (work / "book" / "_ext" / "stockext.py").write_text(STOCK_EXTENSION, "utf8")
    for template in ("layout", "search"):  # the theme's own come back
        (work / "book" / "_ext" / "bookext" / "templates" / f"{template}.html").unlink()
    (work / "_build").mkdir()
    (work / "_build" / "cache").symlink_to(ROOT / "_build" / "cache")
    environment = os.environ | {"PYTHONPATH": f"{work / 'book/_ext'}{os.pathsep}{work}"}
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(work), "-q"]
    subprocess.run(command, env=environment, check=True, cwd=work)
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(work / "_build" / "html", out)
    shutil.rmtree(work)


# ---- Weight and time ----

# The first dozen formulas of a chapter: drawn, painted, and in the fonts of mathematics.
READABLE = """() => {
  const first = [...document.querySelectorAll('article .math')].slice(0, 12);
  const drawn = first.length === 12 && first.every(e => e.querySelector('.katex-html, mjx-container'));
  const painted = performance.getEntriesByName('first-contentful-paint').length > 0;
  const own = document.querySelector('.katex-html');
  const fonts = !own || ['16px KaTeX_Main', 'italic 16px KaTeX_Math'].every(f => document.fonts.check(f));
  return drawn && painted && fonts;
}"""


def mirror(tab: Any, mathjax: Path | None) -> None:
    """Answer requests for MathJax from the folder of its npm package."""

    def answer(route: Any) -> None:
        name = route.request.url.partition("/mathjax@3/")[2].partition("?")[0]
        path = mathjax / name if mathjax else None
        if path is None or not path.is_file():
            return route.abort()
        kind = "font/woff" if path.suffix == ".woff" else "text/javascript"
        route.fulfill(body=path.read_bytes(), headers={"Content-Type": kind, "Access-Control-Allow-Origin": "*"})
        return None

    tab.route("**/mathjax@3/**", answer)


def visit(browser: Any, home: str, page: str, mathjax: Path | None, slow: bool) -> dict[str, float]:
    """One load of a page: what it transfers and, on a slow line, when the first screens' mathematics can be read."""
    tab = browser.new_page(viewport={"width": 375, "height": 800})
    protocol = tab.context.new_cdp_session(tab)
    protocol.send("Network.enable")
    protocol.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: dict[str, float] = {}
    kinds: dict[str, tuple[str, str]] = {}
    noise: list[str] = []
    protocol.on("Network.responseReceived", lambda e: kinds.update({e["requestId"]: (e["type"], e["response"]["url"])}))
    protocol.on("Network.loadingFinished", lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}))
    tab.on("console", lambda m: noise.append(m.text) if m.type in ("error", "warning") else None)
    if slow:
        protocol.send("Network.emulateNetworkConditions", SLOW)
        protocol.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
    else:
        mirror(tab, mathjax)
    begun = time.perf_counter()
    tab.goto(f"{home}/{page}", wait_until="commit")
    readable = float("nan")
    if slow:
        tab.wait_for_function(READABLE, polling=100, timeout=120_000)
        readable = time.perf_counter() - begun
    tab.wait_for_load_state("networkidle", timeout=120_000)
    drawn = [r for r, (kind, _) in kinds.items() if kind != "Image"]
    result = {
        "kB": sum(sizes.get(r, 0) for r in drawn) / 1000,
        "requests": len(drawn),
        "off-site": sum(not url.startswith((home, "data:", "blob:")) for _, url in kinds.values()),
        "errors": len(noise),
        "readable": readable,
    }
    tab.close()
    return result


def localise_mathjax(site: Path, mathjax: Path) -> Path:
    """A copy of the stock site whose MathJax lies beside it, so that a throttled line carries it too."""
    copy = site.with_name(site.name + "-local")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(site, copy)
    shutil.copytree(mathjax / "es5", copy / "_static" / "mathjax" / "es5")
    for page in copy.rglob("*.html"):
        depth = len(page.relative_to(copy).parts) - 1
        text = re.sub(r"https://[^\"']*/mathjax@3/", "../" * depth + "_static/mathjax/", page.read_text("utf8"))
        page.write_text(text, "utf8")
    return copy


def weigh(sites: dict[str, Path], mathjax: Path, repeats: int) -> None:
    """Print a line for each page and site: transfer on a fast line, then the slow line."""
    slow_sites = {name: localise_mathjax(path, mathjax) if name == "stock" else path for name, path in sites.items()}
    print(f"{'page':34}{'site':8}{'kB':>8}{'requests':>10}{'off-site':>10}{'errors':>8}{'readable, s':>14}")
    with launch() as browser:
        for page in PAGES:
            for name, path in sites.items():
                with serve(path, Compressing) as home:
                    fast = visit(browser, home, page, mathjax, slow=False)
                times = []
                if page != PAGES[0]:
                    with serve(slow_sites[name], Compressing) as home:
                        times = [visit(browser, home, page, mathjax, slow=True)["readable"] for _ in range(repeats)]
                took = f"{statistics.median(times):.1f}" if times else "-"
                counts = f"{fast['requests']:>10.0f}{fast['off-site']:>10.0f}{fast['errors']:>8.0f}"
                print(f"{page:34}{name:8}{fast['kB']:>8.0f}{counts}{took:>14}", flush=True)


# ---- Lighthouse ----


def audit(url: str, preset: str, lighthouse: Path, chrome: str) -> dict[str, int]:
    """One run of Lighthouse: its scores, out of 100."""
    command = ["node", str(lighthouse), url, "--quiet", "--output=json", "--output-path=stdout"]
    command += ["--chrome-flags=--headless=new " + " ".join(FLAGS)]
    command += ["--preset=desktop"] if preset == "desktop" else []
    done = subprocess.run(command, env=os.environ | {"CHROME_PATH": chrome}, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    for name in ("accessibility", "best-practices", "seo", "performance"):
        for reference in report["categories"][name]["auditRefs"]:
            found = report["audits"][reference["id"]]
            if found["score"] is not None and found["score"] < 0.9 and reference["weight"]:
                print(f"    {name}: {found['title']} ({found.get('displayValue', '')})", file=sys.stderr)
    return {name: round(100 * category["score"]) for name, category in report["categories"].items()}


def run_lighthouse(sites: dict[str, Path], lighthouse: Path, repeats: int, pages: list[str]) -> None:
    """Print the median scores of each page and site, desktop and mobile."""
    names = ("performance", "accessibility", "best-practices", "seo")
    chrome = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for preset in ("desktop", "mobile"):
        for page in pages:
            for site, path in sites.items():
                with serve(path, Compressing) as home:
                    runs = [audit(f"{home}/{page}", preset, lighthouse, chrome) for _ in range(repeats)]
                scores = "  ".join(f"{name} {statistics.median(r[name] for r in runs):.0f}" for name in names)
                print(f"{preset:9}{page:34}{site:7}{scores}", flush=True)


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("stock").add_argument("out", type=Path)
    for name in ("weigh", "lighthouse"):
        command = commands.add_parser(name)
        command.add_argument("ours", type=Path)
        command.add_argument("stock", type=Path)
        command.add_argument("--repeats", type=int, default=5)
        command.add_argument("--pages", nargs="*", default=list(PAGES[:2]))
        command.add_argument("--mathjax", type=Path, help="the npm package mathjax@3, unpacked")
        command.add_argument("--lighthouse", type=Path, help="lighthouse/cli/index.js of the npm package")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.command == "stock":
        build_stock(options.out)
    elif options.command == "weigh":
        if not options.mathjax:
            sys.exit("--mathjax is needed: `npm install mathjax@3` somewhere, and name node_modules/mathjax")
        weigh({"ours": options.ours, "stock": options.stock}, options.mathjax, options.repeats)
    else:
        if not options.lighthouse:
            sys.exit("--lighthouse is needed: `npm install lighthouse` somewhere, and name its cli/index.js")
        run_lighthouse(
            {"ours": options.ours, "stock": options.stock}, options.lighthouse, options.repeats, options.pages
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
