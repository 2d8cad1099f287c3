"""A picture of every page of the built site, light and dark, at 1280 and at 375 pixels.

python -m bench.screenshots _build/html screenshots
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from support import launch, serve

WIDTHS, SCHEMES = (1280, 375), ("light", "dark")
SLICE = 6000  # a chapter is too tall for one picture


def pages_of(site: Path) -> list[str]:
    """Every page that has a text of its own; earlier versions are left out."""
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    return [name for name in names if not name.startswith(("versions/", "_static/")) and name != "index.html"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", nargs="*", help="only these, such as book/index.html")
    options = parser.parse_args()
    (options.site / "index.html").stat()  # no built book, no pictures
    options.out.mkdir(parents=True, exist_ok=True)
    with serve(options.site) as home, launch() as browser:
        for page in options.pages or pages_of(options.site):
            tab = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
            tab.goto(f"{home}/{page}", wait_until="load")
            tab.add_style_tag(content="section { content-visibility: visible !important }")
            tab.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
            tab.evaluate("Promise.all([...document.images].map(i => i.decode()))")
            for scheme in SCHEMES:
                tab.emulate_media(color_scheme=scheme)
                for width in WIDTHS:
                    tab.set_viewport_size({"width": width, "height": 900})
                    name = page.removesuffix(".html").replace("/", "-")
                    height = tab.evaluate("document.documentElement.scrollHeight")
                    for part, top in enumerate(range(0, height, SLICE), 1):
                        clip = {"x": 0, "y": top, "width": width, "height": min(SLICE, height - top)}
                        path = options.out / f"{name}-{scheme}-{width}-{part}.png"
                        tab.screenshot(path=path, full_page=True, clip=clip)
            tab.close()
            print(page, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
