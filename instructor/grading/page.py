"""Feedback as pages: HTML by themselves, with links to the book, for a browser or a gradebook."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt

from instructor.grading.batch import write

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Feedback</title>
<style>body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; color-scheme: light dark }
h2 { font-size: 1.1rem; margin-top: 2rem }</style>
BODY</html>
"""


def page(text: str) -> str:
    """The page of one student's feedback; what looks like HTML in it is text."""
    return PAGE.replace("BODY", MarkdownIt("commonmark", {"html": False}).render(text))


def pages(folder: Path) -> None:
    """Each ``.md`` of a folder as ``.html`` beside it."""
    for path in sorted(folder.glob("*.md")):
        write(path.with_suffix(".html"), page(path.read_text("utf8")))
