"""What was worked out is worked out again when something that it was made from has changed, and only then."""

from __future__ import annotations

import pytest
from bookext.read import kept


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with one page."""
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.setattr(kept, "BUILD", tmp_path / "_build")
    (tmp_path / "book").mkdir()
    (tmp_path / "requirements.txt").write_text("torch==1\n", "utf8")
    kept.pins.cache_clear()
    yield tmp_path
    kept.pins.cache_clear()


def test_a_page_is_worked_out_again_for_its_text_another_file_or_the_pins_alone(folder):
    made, other, page = [], folder / "other.py", folder / "book" / "a.md"

    def ask(text: str) -> object:
        return kept.of_page("what", page, text, [other], lambda: made.append(text) or {"n": (1, 2)})

    for turn, change in enumerate(
        [lambda: None, lambda: other.write_text("x", "utf8"), lambda: other.write_text("y", "utf8")], 1
    ):
        change()
        assert ask("one") == ask("one") == {"n": [1, 2]}  # as it is read, also where it was worked out
        assert len(made) == turn
    ask("two")
    assert len(made) == 4
    (folder / "requirements.txt").write_text("torch==2\n", "utf8")
    kept.pins.cache_clear()
    ask("two")
    assert len(made) == 5 and len(list((folder / "_build/kept").iterdir())) == 1


def test_what_cannot_be_worked_out_is_not_kept(folder):
    with pytest.raises(ZeroDivisionError):
        kept.remembered("a", "0", lambda: 1 / 0)
    assert kept.remembered("a", "0", lambda: 3) == 3
