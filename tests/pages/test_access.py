"""What is read once for each look still finds the one text that nobody can read."""

from __future__ import annotations

import pytest
from access import faults

pytestmark = pytest.mark.site
ROWS = "".join(f"<tr><td class=a>{k} row</td><td>more words</td></tr>" for k in range(40))
PAGE = f"""<!doctype html><html lang="en"><title>A page</title><style>body {{ background: white; color: black }}</style>
<main><h1>A page</h1><p>Words and <a href="#x">a link</a>.</p><table><tbody>{ROWS}</tbody></table>
<label>Name <input value="words"></label><button disabled>Off</button></main>"""
END, PIXEL = "main.insertAdjacentHTML('beforeend', `%s`)", "data:image/gif;base64,R0lGODlhAQABAAAAACw="
SCROLLS = '<div style="overflow: auto; width: 50px; height: 30px"><p style="width: 500px">Words</p></div>'
PLANTED = {
    "the colour of the 20th row": ("rows[19].cells[0].style.color = '#aaa'", "color-contrast"),
    "the ground of the 20th row": ("rows[19].style.background = '#666'", "color-contrast"),
    "the colour around a text": ("rows[19].style.color = '#aaa'", "color-contrast"),
    "what shines through": ("rows[30].style.opacity = 0.3", "color-contrast"),
    "a ground below a text": ("rows[30].innerHTML = '<td>x <b style=\"background: #333\"><i>y z</i></b></td>'", "color-contrast"),
    "small letters": (
        "rows.forEach(r => { r.style.color = '#888'; r.style.fontSize = r.rowIndex === 33 ? '12px' : '40px' })", "color-contrast",
    ),
    "a field": ("document.querySelector('input').style.color = '#ccc'", "color-contrast"),
    "what can be pressed like what cannot": (
        "main.insertAdjacentHTML('beforeend', '<button disabled>Off</button>'.repeat(9) + '<button>On</button>');"
        "document.querySelectorAll('button').forEach(b => b.style = 'color: #aaa; background: white')", "color-contrast",
    ),
    "a link like its text": (
        "rows.forEach(r => { r.cells[1].innerHTML = '<a href=\"#x\">alone</a>' });"
        "rows[25].cells[1].innerHTML = 'Some words before <a href=\"#x\" style=\"text-decoration: none; color: #222\">a link</a>'",
        "link-in-text-block",
    ),
    "what scrolls and cannot be reached": (END % SCROLLS, "scrollable-region-focusable"),
    "a picture without words": (END % f'<img src="{PIXEL}">', "image-alt"),
    "a page without a heading": ("document.querySelector('h1').remove()", "page-has-heading-one"),
    "words outside of the main part": ("document.body.insertAdjacentHTML('beforeend', '<p>Words</p>')", "region"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tab(browser):
    tab = browser.new_page()
    yield tab
    tab.close()


def planted(tab, change: str = "", part: str = "html") -> set[str]:
    tab.set_content(PAGE)
    tab.evaluate(
        f"() => {{ const main = document.querySelector('main'), rows = [...document.querySelectorAll('tr')]; {change} }}"
    )
    return {said.partition(":")[0] for said in faults(tab, part)}


def test_a_sound_page_has_no_fault(tab):
    assert planted(tab) == set()


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(tab, name):
    change, rule = PLANTED[name]
    assert rule in planted(tab, change)


def test_a_part_is_judged_by_its_own_texts(tab):
    """Not by those that look alike elsewhere; and again after a change."""
    assert planted(tab, "rows.forEach(r => { r.style.color = '#aaa' })", "tr:last-child") == {"color-contrast"}
    tab.evaluate("document.querySelectorAll('tr').forEach(r => { r.style.color = '#000' })")
    assert faults(tab) == []
    tab.evaluate("document.querySelectorAll('tr')[7].style.color = '#bbb'")
    assert len(faults(tab, rules=["color-contrast"])) == 2
