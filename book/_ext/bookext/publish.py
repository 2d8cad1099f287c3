"""What a published site needs beside its pages: a map for search engines, a preview image, and the versions kept from before.

``python -m bookext.publish SITE ARCHIVES`` puts each ``<tag>.tar.gz`` of a folder under ``SITE/versions/<tag>/``, so that a course
that linked to a tagged version keeps its addresses. The publishing workflow calls it.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

TAG = re.compile(r"v[\w.-]+")


def sitemap(base: str, pages: list[str]) -> str:
    """A sitemap of pages given by their paths.

    >>> print(sitemap("https://example.org/", ["a.html"]).splitlines()[2])
    <url><loc>https://example.org/a.html</loc></url>
    """
    urls = [f"<url><loc>{html.escape(base + page)}</loc></url>" for page in pages]
    head = ['<?xml version="1.0" encoding="UTF-8"?>', '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">']
    return "\n".join([*head, *urls, "</urlset>", ""])


def draw_preview(path: Path, title: str) -> None:
    """The image shown where somebody links to the book: 1200 by 630, from three networks run here, in the icon's colours."""
    import matplotlib.pyplot as plt
    import torch

    layers, width = 40, 128
    generator = torch.Generator().manual_seed(14)
    weights = torch.randn(layers, width, width, generator=generator) / width**0.5
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor="#12263a")
    axes = figure.add_axes((0.06, 0.1, 0.88, 0.5))
    for gain, colour in ((2.1, "#ff8a7a"), (2.0**0.5, "#e6edf3"), (0.95, "#6fb1ff")):
        h = torch.randn(width, 256, generator=torch.Generator().manual_seed(15))
        sizes = [1.0]
        for w in weights:
            h = torch.relu(gain * w @ h)
            sizes.append(float(h.square().mean().sqrt()))
        axes.semilogy(sizes, color=colour, linewidth=6, solid_capstyle="round")
    axes.set_axis_off()
    style: dict[str, Any] = {"color": "white", "fontfamily": "DejaVu Sans"}
    figure.text(0.06, 0.83, title, fontsize=38, fontweight="bold", **style)
    figure.text(0.06, 0.73, "Why signals explode or vanish with depth, and what to do about it", fontsize=21, **style)
    figure.savefig(path, facecolor=figure.get_facecolor(), metadata={"Software": None})
    plt.close(figure)


def write_files(app: Sphinx, error: Exception | None) -> None:
    """Write ``sitemap.xml``, ``robots.txt``, the preview image, and ``.nojekyll`` (else Pages hides ``_static``)."""
    if error is not None or app.builder.name != "html":
        return
    site, base = Path(app.outdir), app.config.html_baseurl
    pages = [app.builder.get_target_uri(name) for name in sorted(app.env.found_docs)]
    (site / "sitemap.xml").write_text(sitemap(base, [*pages, "status.html"]), "utf8")
    (site / "robots.txt").write_text(
        f"User-agent: *\nAllow: /\nDisallow: /*/versions/\n\nSitemap: {base}sitemap.xml\n", "utf8"
    )
    (site / ".nojekyll").touch()
    preview = site / "_static" / "preview.png"
    if (
        not preview.exists() or preview.stat().st_mtime < Path(__file__).stat().st_mtime
    ):  # drawing it takes three seconds
        draw_preview(preview, app.config.html_title)


def keep_versions(site: Path, archives: Path) -> list[str]:
    """Unpack each ``<tag>.tar.gz`` into ``site/versions/<tag>`` and list them there; returns the tags."""
    tags = []
    for archive in sorted(archives.glob("*.tar.gz")):
        tag = archive.name.removesuffix(".tar.gz")
        if not TAG.fullmatch(tag):
            raise ValueError(f"{archive}: expected a name such as v1.0.0.tar.gz")
        target = site / "versions" / tag
        target.mkdir(parents=True)
        with tarfile.open(archive) as packed:
            packed.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.0 to 3.11.3 have none
            packed.extractall(target)
        if not (target / "index.html").exists():
            raise ValueError(f"{archive}: there is no index.html in it")
        tags.append(tag)
    if tags:
        items = "\n".join(f'<li><a href="{tag}/">{tag}</a></li>' for tag in reversed(tags))
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        (site / "versions" / "index.html").write_text(
            f'<!DOCTYPE html>\n<html lang="en"><head>{head}<title>Earlier versions</title></head>\n'
            f'<body><h1>Earlier versions</h1>\n<ul>\n{items}\n</ul>\n<p><a href="../">The newest version</a></p></body></html>\n',
            "utf8",
        )
    return tags


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Put tagged versions of the site under versions/.")
    parser.add_argument("site", type=Path, help="the built site")
    parser.add_argument("archives", type=Path, help="a folder of <tag>.tar.gz, each a built site")
    options = parser.parse_args(arguments)
    print("Versions kept:", ", ".join(keep_versions(options.site, options.archives)) or "none yet")
    return 0


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write_files)


if __name__ == "__main__":
    sys.exit(main())
