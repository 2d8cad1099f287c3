"""Give the book the address of a repository, as a fork must: settings, README, citation, and so every notebook and button.

    python -m bookext.notebook.address https://github.com/you/name [--tag v1.0.0] [--site https://you.github.io/name/] [--author "Jane Doe"]

The tag is what notebooks install ``labs`` from and what the launch buttons open: push it after committing what this changes.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import yaml

from bookext.read.book import ROOT, SettingsError, config

COLAB = "https://colab.research.google.com"
HOW = "write make address URL=https://github.com/you/name"


def repository_url(text: str) -> str:
    """An address as pip and the launch buttons need it; raises ``ValueError`` that says what is wrong.

    >>> repository_url("https://www.GitHub.com/you/name.git/")
    'https://github.com/you/name'
    """
    parts = urlsplit(text.strip())
    host = parts.netloc.lower().removeprefix("www.") if "github.com" in parts.netloc.lower() else parts.netloc.lower()
    path = parts.path.strip("/")
    if parts.scheme not in {"https", "file"} or not path or re.search(r"[\s'\"<>]", text.strip()):
        raise ValueError(f"{text!r} is no address that anyone can clone from: {HOW}")
    if parts.query or parts.fragment or "@" in host:
        raise ValueError(f"{text!r} says more than where the repository is: {HOW}")
    if host and parts.scheme == "https":
        path = path.removesuffix(".git") if host in {"github.com", "gitlab.com"} else path
        if host == "github.com" and path.count("/") != 1:
            raise ValueError(f"{text!r} is no repository on GitHub: {HOW}")
    return f"{parts.scheme}://{host}/{path}"


def site_url(repository: str) -> str | None:
    """Where GitHub's or GitLab's Pages show a repository; None for another host.

    >>> site_url("https://github.com/You/name"), site_url("https://github.com/you/you.github.io")
    ('https://you.github.io/name/', 'https://you.github.io/')
    >>> site_url("https://gitlab.com/uni/courses/name")
    'https://uni.gitlab.io/courses/name/'
    """
    parts = urlsplit(repository)
    owner, _, name = parts.path.strip("/").partition("/")
    home = {"github.com": f"{owner.lower()}.github.io", "gitlab.com": f"{owner.lower()}.gitlab.io"}.get(parts.netloc)
    if home is None:
        return None
    return f"https://{home}/" if name.lower() == home else f"https://{home}/{name}/"


def tag_name(text: str) -> str:
    """A tag as git, pip and a link take it; raises ``ValueError``.

    >>> tag_name("v1.0.0")
    'v1.0.0'
    """
    if (
        not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*", text, re.ASCII)
        or ".." in text
        or text.endswith((".", ".lock"))
    ):
        raise ValueError(f"{text!r} is no tag: write letters, digits, dots and dashes, as in TAG=v1.0.0")
    return text


def forge(repository: str) -> str:
    """Whose pages show a repository: github, gitlab, gitea (Codeberg, Forgejo), or nothing for a host that its name does not tell.

    >>> [forge(f"https://{host}/you/name") for host in ("github.com", "gitlab.uni.edu", "codeberg.org", "git.uni.edu")]
    ['github', 'gitlab', 'gitea', '']
    """
    host = urlsplit(repository).netloc
    kinds = {
        "github": r"^github\.com$",
        "gitlab": r"(^|\.)gitlab\.",
        "gitea": r"^codeberg\.org$|(^|\.)(gitea|forgejo)\.",
    }
    return next((kind for kind, pattern in kinds.items() if re.search(pattern, host)), "")


def source_link(repository: str, path: str) -> str:
    """Where a file of the newest state is read; nothing for a host of which nothing is known."""
    middle = {"github": "blob/HEAD", "gitlab": "-/blob/HEAD", "gitea": "src/HEAD"}.get(forge(repository))
    return f"{repository}/{middle}/{path}" if middle else ""


def issues_link(repository: str) -> str:
    """Where issues are listed; the repository itself where that is not known."""
    kind = forge(repository)
    return repository + {"gitlab": "/-/issues", "": ""}.get(kind, "/issues")


def report_link(repository: str, title: str, body: str) -> str:
    """A new issue with a title and a text; the repository itself where its host is not known."""
    kind = forge(repository)
    if not kind:
        return repository
    names = ("issue[title]", "issue[description]") if kind == "gitlab" else ("title", "body")
    return f"{issues_link(repository)}/new?" + urlencode(dict(zip(names, (title, body), strict=True)))


def version_of(tag: str) -> str | None:
    """The version that a tag names, as pip reads it; None for one that names none.

    >>> version_of("v1.2.0"), version_of("2027-spring")
    ('1.2.0', None)
    """
    match = re.fullmatch(r"v(\d+(\.\d+)*((a|b|rc)\d+)?)", tag)
    return match[1] if match else None


def quoted(value: str) -> str:
    """A value as YAML reads it back: a tag such as 1.10 would else be a number."""
    try:
        plain = yaml.safe_load(f"x: {value}") == {"x": value}
    except yaml.YAMLError:
        plain = False
    return value if plain else json.dumps(value, ensure_ascii=False)


# Every place that states an address, a version or an author: the file, the line with a gap for the value, and how it is written.
PLACES: dict[str, list[tuple[str, str, Callable[[str], str]]]] = {
    "url": [("_config.yml", r"^(  url: )\S.*$", str), ("CITATION.cff", r"^(repository-code: )\S.*$", str)],
    "site": [
        ("_config.yml", r"^(  baseurl: )\S.*$", str),
        ("CITATION.cff", r"^(url: )\S.*$", str),
        ("README.md", r"^(\*\*The book:\*\* ).*$", "<{}>".format),
    ],
    "colab": [("_config.yml", r"^(  colab_url: )\S.*$", lambda value: value or '""')],
    "tag": [("_config.yml", r"^(  branch: )\S.*$", quoted)],
    "version": [
        ("pyproject.toml", r"^(version = ).*$", '"{}"'.format),
        ("CITATION.cff", r"^(version: )\S.*$", quoted),
    ],
    "author": [("_config.yml", r"^(author: )\S.*$", quoted), ("CITATION.cff", r"^(  - name: )\S.*$", quoted)],
}


def values(url: str, site: str, tag: str, author: str) -> dict[str, str]:
    """What the places say of a book with this address."""
    colab = COLAB if forge(url) == "github" else ""  # Colab opens notebooks from GitHub alone
    version = version_of(tag)
    said = {"url": url, "site": site.rstrip("/") + "/", "colab": colab, "tag": tag, "author": author}
    return said | ({"version": version} if version else {})


def written(said: dict[str, str]) -> dict[str, str]:
    """The texts of the files that state an address, with these values; a setting's comment spoke of the old value and goes."""
    texts: dict[str, str] = {}
    for key, value in said.items():
        for file, pattern, style in PLACES[key]:
            text = texts.get(file) or (ROOT / file).read_text("utf8")
            line = style(value).replace("\\", r"\\")
            new, count = re.subn(pattern, rf"\g<1>{line}", text, flags=re.MULTILINE)
            if count != 1:
                raise SettingsError(
                    f"{file} has {count} lines like {pattern}, expected one: git checkout {file}, then again"
                )
            texts[file] = new
    return texts


def differences() -> list[str]:
    """The files that say otherwise than _config.yml does."""
    settings = config()
    repository = settings["repository"]
    said = values(repository["url"], settings["html"]["baseurl"], str(repository["branch"]), settings["author"])
    del said["url"], said["tag"], said["author"]  # their lines in _config.yml may carry a comment
    kept = {file: text for file, text in written(said | {"url": repository["url"]}).items() if file != "_config.yml"}
    wrong = [file for file, text in kept.items() if text != (ROOT / file).read_text("utf8")]
    colab = (settings.get("launch_buttons") or {}).get("colab_url") or ""
    return wrong + ([] if colab == said["colab"] else ["_config.yml: colab_url"])


def main(arguments: list[str]) -> int:
    """Give the book the address of a repository."""
    parser = argparse.ArgumentParser(prog="bookext.notebook.address", description=main.__doc__)
    parser.add_argument("url", help="the repository's address, such as https://github.com/you/name")
    parser.add_argument("--tag", help="what notebooks install labs from and buttons open; unchanged if left out")
    parser.add_argument("--site", help="where the pages are published; on GitHub and GitLab their Pages if left out")
    parser.add_argument("--author", help="who is cited; unchanged if left out")
    given = parser.parse_args(arguments)
    try:
        url, tag = repository_url(given.url), tag_name(given.tag or str(config()["repository"]["branch"]))
        site = given.site or site_url(url)
        if site is None:
            raise ValueError(f"{url} is not on GitHub: say with SITE=https://… where the pages are published")
        if not re.fullmatch(r"(https?|file)://[^\s'\"<>]+", site):
            raise ValueError(f"{site!r} is no address of a site: write SITE=https://you.example/book/")
        texts = written(values(url, site, tag, given.author or config()["author"]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for file, text in texts.items():
        (ROOT / file).write_text(text, "utf8")
    config.cache_clear()
    from .generator import write  # the wheel's name, which notebooks state, is read once
    from .wheel import wheel_name

    wheel_name.cache_clear()
    from bookext.read.blocks import notebook_texts

    write(notebook_texts())
    print(f"Repository {url}, tag {tag}, site {site}.")
    if not version_of(tag):
        print(f"The tag {tag} names no version: pyproject.toml and CITATION.cff keep theirs.")
    if forge(url) != "github":
        print("Colab opens notebooks from GitHub alone: the pages have no button for it.")
    print("Commit what changed, then set the tag on that commit and push both.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
