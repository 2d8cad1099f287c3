"""The versions of the site kept from before.

``python -m bookext.pages.versions SITE ARCHIVES`` puts each ``<tag>.tar.gz`` of a folder under ``SITE/versions/<tag>/``, so that a
course that linked to a tagged version keeps its addresses. The publishing workflow calls it.
"""

import argparse
import gzip
import re
import sys
import tarfile
import zlib
from pathlib import Path


class VersionError(ValueError):
    """An archive that holds no version of the site."""


TAG = re.compile(r"v[\w.-]+")


def keep_versions(site: Path, archives: Path) -> list[str]:
    """Unpack each ``<tag>.tar.gz`` into ``site/versions/<tag>`` and list them there; returns the tags."""
    tags = []
    for archive in sorted(archives.glob("*.tar.gz")):
        tag = archive.name.removesuffix(".tar.gz")
        if not TAG.fullmatch(tag):
            raise VersionError(f"{archive}: expected a name such as v1.0.0.tar.gz")
        target = site / "versions" / tag
        target.mkdir(parents=True)
        try:
            with tarfile.open(archive) as packed:
                packed.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.0 to 3.11.3 have none
                packed.extractall(target)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            said = str(error).splitlines()[0]
            raise VersionError(
                f"{archive}: it cannot be unpacked ({said}); run publish for the tag {tag} again, which makes it anew"
            ) from None
        if not (target / "index.html").exists():
            raise VersionError(f"{archive}: there is no index.html in it")
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
    (options.site / "index.html").stat()  # versions beside nothing
    print("Versions kept:", ", ".join(keep_versions(options.site, options.archives)) or "none yet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
