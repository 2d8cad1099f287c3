"""Run this proof: cells of SymPy run in the page, by the site's own Python, and print what the page shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from access import faults
from bookext.pages.proof import is_plain, offered
from bookext.read.book import executed_pages
from support import SITE, listen

PROOFS = {page.stem: list(offered(page)) for page in executed_pages() if offered(page)}
PATIENCE = 300_000  # milliseconds, on a busy machine


def test_cells_are_offered_by_what_they_import():
    assert {"06-xavier", "07-activations-taylor"} <= PROOFS.keys() and len(PROOFS["06-xavier"]) >= 10
    assert is_plain("labs.derivations") and not is_plain("labs.activations") and not is_plain("torch")
    for page in executed_pages():
        for source, before in offered(page).values():
            assert not re.search(r"\btorch\b|\bplt\b|\bassert\b", before) and "torch" not in source


def formula(text: str) -> str:
    """LaTeX without what SymPy and the page put around it."""
    return re.sub(r"\\displaystyle|\$|\s", "", text)


def run_cell(tab, number: str) -> str:
    """Run a cell that is offered, and say what its state ends with."""
    tab.locator(f".proof > button[data-cell='{number}']").evaluate("b => b.click()")
    state = tab.locator(f"#proof-{number} ~ .proof-state")
    state.filter(has_text=re.compile("It |did not")).wait_for(state="attached", timeout=PATIENCE)
    return state.text_content()


def compare(tab, number: str) -> None:
    """A cell holds, and its formula and its prints are those of the page."""
    assert run_cell(tab, number).startswith("It holds")
    shown = tab.evaluate(
        """id => { const cell = document.getElementById(id).closest('.cell');
          const read = place => [[...place?.querySelectorAll('annotation') ?? []].map(a => a.textContent).join(''),
            [...place?.querySelectorAll('pre, caption, th, td') ?? []].map(p => p.textContent).join(' ')];
          return [read(cell.querySelector('.proof-output')), read(cell.querySelector('.cell_output'))]; }""",
        f"proof-{number}",
    )
    (ours, printed), (theirs, page) = shown
    assert formula(ours) == formula(theirs) and printed.split() == page.split()  # a table is text there


@pytest.mark.site
def test_nothing_is_loaded_before_the_click_and_loading_can_be_cancelled(site, browser):
    loaded = json.loads((SITE / "proof/06-xavier.json").read_text("utf8"))["files"]
    assert all((SITE / file).stat().st_size == size for file, size in loaded.items())
    assert sum(loaded.values()) <= 12_000_000
    tab = browser.new_page()
    noise, asked = listen(tab, site)
    tab.goto(f"{site}/book/06-xavier.html", wait_until="load")
    assert not any("pyodide" in url or "/proof/" in url for url in asked)
    tab.locator(".proof > button").first.evaluate("b => b.click()")
    box = tab.locator(".proof-open")
    box.get_by_text(re.compile("Loading Python|Starting|Running")).wait_for(timeout=PATIENCE)
    box.get_by_role("button", name="Cancel").click()
    assert box.locator(".proof-state").text_content() == "Cancelled."
    assert noise == []
    tab.close()


@pytest.mark.rehearsal
@pytest.mark.site
def test_a_proof_runs_in_the_page(site, browser):
    """One cell: nothing before the click, nothing from elsewhere, at most 12 MB, changed to fail, cancelled; read by everyone."""
    tab = browser.new_page()
    noise, asked = listen(tab, site)
    tab.goto(f"{site}/book/06-xavier.html", wait_until="load")
    assert not any("pyodide" in url or "/proof/" in url for url in asked)
    tab.context.on("request", lambda request: asked.add(request.url))  # the worker's too
    compare(tab, "5")
    files = [
        SITE / urlsplit(url).path.lstrip("/") for url in asked if re.search("pyodide|/proof/|/wheel/|katex.min.js", url)
    ]
    assert sum(Path(file).stat().st_size for file in files) <= 12_000_000
    code, box = tab.locator("#proof-5"), tab.locator(".proof-open")
    code.fill("assert sp.expand(GAMMA - N_IN) == 0")
    box.get_by_role("button", name="Run").click()
    box.locator(".proof-error").wait_for(timeout=PATIENCE)
    assert box.locator(".proof-error").text_content().startswith("AssertionError in line 1: assert sp.expand")
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        assert faults(tab, ".proof-open") == []
    code.fill("while True: pass")
    box.get_by_role("button", name="Run").click()
    box.get_by_role("button", name="Cancel").click()
    assert box.locator(".proof-state").text_content() == "Cancelled."
    box.get_by_role("button", name="Reset").click()
    assert "second_moment" in code.input_value()
    assert noise == []
    tab.close()


@pytest.mark.site
def test_a_proof_opened_from_a_file_says_what_it_needs(browser):
    tab = browser.new_page()
    tab.goto(f"{SITE.as_uri()}/book/06-xavier.html", wait_until="load")
    tab.locator(".proof > button").first.evaluate("b => b.click()")
    assert "needs a server" in tab.locator(".proof [role=status]").first.text_content()
    tab.close()


@pytest.mark.rehearsal
@pytest.mark.site
@pytest.mark.parametrize("name", PROOFS)
def test_every_proof_runs_in_the_page(site, browser, name):
    tab = browser.new_page()
    noise, _ = listen(tab, site)
    tab.goto(f"{site}/book/{name}.html", wait_until="load")
    for number in PROOFS[name]:
        compare(tab, number)
    assert noise == []
    tab.close()
