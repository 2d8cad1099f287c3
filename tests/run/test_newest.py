"""The weekly run on the newest packages, and the renewal of pins: what they ask for is what the book needs."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import metadata

import pytest
import yaml
from bookext.pages.references import readable_defaults
from bookext.run import newest, pins
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from sphinx.util.inspect import signature, stringify_signature
from support import ROOT

from labs.monitor import LayerReport


def names(text: str) -> set[str]:
    return {pins.key(match) for match in re.findall(r"^([A-Za-z][\w.-]*)", text, re.MULTILINE)}


def test_what_is_asked_for_is_pinned():
    """Each name of requirements.in has a pin, and torch's stands where it is decided."""
    pinned = {pins.key(name): version for name, version in pins.pinned(pins.PINNED.read_text("utf8")).items()}
    asked = names(pins.ASKED.read_text("utf8"))
    assert asked and asked <= pinned.keys()
    for line in pins.ASKED.read_text("utf8").splitlines():
        if asked_for := line.partition("#")[0].strip():  # what holds a version back holds it in the pins, too
            requirement = Requirement(asked_for)
            assert requirement.specifier.contains(pinned[pins.key(requirement.name)]), asked_for
    name, _, version = pins.TORCH.partition("==")
    assert pinned[name] == version and name not in asked


def test_the_pins_install_on_the_oldest_python():
    """On its first patch release, too: a distribution keeps the one that it had."""
    promised = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]["requires-python"])
    assert promised.contains(pins.OLDEST) and not promised.contains("3.10.99")
    asked = {name: metadata(name).get("Requires-Python") for name in pins.pinned(pins.PINNED.read_text("utf8"))}
    assert {n: wants for n, wants in asked.items() if wants and not SpecifierSet(wants).contains(pins.OLDEST)} == {}
    assert len(asked) > 50


def test_the_newest_run_knows_what_the_build_needs():
    """Every package that the pages' machinery imports, by requirements.in's names or Jupyter Book's own extensions."""
    asked = names(pins.ASKED.read_text("utf8"))
    assert {pins.key(name) for name in newest.NEEDED} <= asked
    loaded = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["sphinx"]["config"]["extensions"]
    known = {pins.key(name) for name in (*newest.NEEDED, *newest.EXTENSIONS)} | {"jupyter-book", "bookext"}
    assert {pins.key(name) for name in loaded if not name.startswith("sphinx.")} <= known


def test_what_broke_is_found():
    said = "\x1b[31mbook/a.md:3: WARNING: undefined label\x1b[39;49;00m\nbuilding\n[IPKernelApp] WARNING | TCP\nKeyError: 'x'\n"
    assert newest.found(said) == ["book/a.md:3: WARNING: undefined label", "KeyError: 'x'"]


@pytest.mark.slow
@pytest.mark.rehearsal
def test_jupyter_book_still_writes_a_conf_py(tmp_path, monkeypatch):
    """The first step of the way out: its settings name our extension, and are Python."""
    monkeypatch.setattr(newest, "HOME", tmp_path)
    monkeypatch.setattr(newest, "SOURCE", tmp_path / "source")
    newest.copied()
    text = (tmp_path / "source" / "conf.py").read_text("utf8")
    scope: dict = {}
    exec(compile(text, "conf.py", "exec"), scope)
    assert "bookext" in scope["extensions"] and scope["html_baseurl"] and scope["book_macros"]


def test_the_signature_of_a_dataclass_is_python():
    """Newer Sphinx cuts a signature that it cannot parse at its commas, and looks for a class called dict[str."""
    text = stringify_signature(signature(LayerReport))
    assert "<factory>" in text
    said, _ = readable_defaults(None, "class", "", LayerReport, None, text, None)
    ast.parse(f"def f{said}: ...")
