"""Give the book the address of a repository, as a fork must: in _config.yml, and so in every notebook and button.

    python -m bookext.notebook.address https://github.com/you/name [--tag v0.1.0] [--site https://you.github.io/name/]

The tag is what notebooks install ``labs`` from and what the launch buttons open: push it after committing what this changes.
"""

import argparse
import re
import sys
from urllib.parse import urlsplit

from bookext.read.book import ROOT, config, notebook_pages

from .generator import write

CONFIG = ROOT / "_config.yml"


def repository_url(text: str) -> str:
    """An address as pip and the launch buttons need it; raises ``ValueError`` that says what is wrong.

    >>> repository_url("https://github.com/you/name.git/")
    'https://github.com/you/name'
    """
    url = text.strip().rstrip("/").removesuffix(".git") if "://github.com/" in text else text.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"https", "file"} or not parts.path.strip("/") or re.search(r"\s", url):
        raise ValueError(f"{text!r} is no address that anyone can clone from: write https://github.com/you/name")
    if parts.netloc == "github.com" and len(parts.path.strip("/").split("/")) != 2:
        raise ValueError(f"{text!r} is no repository on GitHub: write https://github.com/you/name")
    return url


def site_url(repository: str) -> str | None:
    """Where GitHub Pages shows a repository; None for another host.

    >>> site_url("https://github.com/You/name")
    'https://you.github.io/name/'
    """
    parts = urlsplit(repository)
    owner, _, name = parts.path.strip("/").partition("/")
    return f"https://{owner.lower()}.github.io/{name}/" if parts.netloc == "github.com" else None


def with_setting(text: str, key: str, value: str) -> str:
    """The text of _config.yml with one setting changed; its comment spoke of the old value and goes."""
    new, count = re.subn(rf"^(\s+{key}: )\S.*$", lambda match: match[1] + value, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"_config.yml has {count} lines '{key}: …', expected one")
    return new


def main(arguments: list[str]) -> int:
    """Give the book the address of a repository."""
    parser = argparse.ArgumentParser(prog="bookext.notebook.address", description=main.__doc__)
    parser.add_argument("url", help="the repository's address, such as https://github.com/you/name")
    parser.add_argument("--tag", help="what notebooks install labs from and buttons open; unchanged if left out")
    parser.add_argument("--site", help="where the pages are published; on GitHub its Pages address if left out")
    given = parser.parse_args(arguments)
    try:
        url = repository_url(given.url)
    except ValueError as error:
        parser.error(str(error))
    site = given.site or site_url(url)
    if site is None:
        parser.error(f"{url} is not on GitHub: say with --site where the pages are published")
    settings = {"url": url, "baseurl": site.rstrip("/") + "/"} | ({"branch": given.tag} if given.tag else {})
    text = CONFIG.read_text("utf8")
    for key, value in settings.items():
        text = with_setting(text, key, value)
    CONFIG.write_text(text, "utf8")
    config.cache_clear()
    write(notebook_pages())
    print(f"Repository {url}, tag {config()['repository']['branch']}, site {site}.")
    print("Commit what changed, then set the tag on that commit and push both.")
    if urlsplit(url).netloc != "github.com":
        print("Colab opens notebooks from GitHub alone: delete launch_buttons in _config.yml for the strict build.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
