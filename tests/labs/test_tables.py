"""A table of results: read by machines as a table, in a terminal as text."""

import pytest
from bs4 import BeautifulSoup

from labs.tables import Table


def filled() -> Table:
    table = Table("Rates <1", "method", "rate", "")
    table.row("a & b", 0.5, "good")
    table.row("plain", "−2", "<bad>")
    return table


def test_every_cell_belongs_to_a_head_and_a_row_and_says_what_was_given():
    tree = BeautifulSoup(filled()._repr_html_(), "html.parser")
    assert [h.text for h in tree.select("thead th[scope=col]")] == ["method", "rate"]  # no empty heads
    assert [h.text for h in tree.select("tbody th[scope=row]")] == ["a & b", "plain"]
    assert [d.text for d in tree.select("tbody td")] == ["0.5", "good", "−2", "<bad>"]
    assert tree.caption.text == "Rates <1"
    assert [d.get("class") for d in tree.select("tbody td")] == [["number"], None] * 2  # numbers stand to the right


def test_a_terminal_shows_the_same_cells_in_columns():
    caption, *lines = repr(filled()).splitlines()
    assert caption == "Rates <1"
    assert len({line.index(cell) for line, cell in zip(lines[1:], ("good", "<bad>"), strict=True)}) == 1


def test_a_table_without_rows_is_its_head():
    assert repr(Table("Nothing", "a", "b")) == "Nothing\na  b"


def test_a_short_row_is_refused():
    with pytest.raises(ValueError, match="1 cells under a head of 2"):
        Table("Rates", "method", "rate").row("a")
