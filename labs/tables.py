"""Results as a table: on a page and in a notebook one that can be scanned and read aloud, in a terminal aligned text."""

from __future__ import annotations

import re
from html import escape

NUMBER = re.compile(r"[-−+]?(\d|Inf|inf|nan|NaN)")


class Table:
    """A table that is filled row by row and shown by being the last line of a cell.

    >>> shown = Table("The ends of two formats", "format", "largest", "eps")
    >>> shown.row("fp16", 65504, f"{2**-10:.2g}")
    >>> shown.row("bf16", f"{3.39e38:.3g}", f"{2**-7:.2g}")
    >>> shown
    The ends of two formats
    format   largest      eps
    fp16       65504  0.00098
    bf16    3.39e+38   0.0078

    Raises ``ValueError`` where a row has not as many cells as the head.

    >>> shown.row("fp32")
    Traceback (most recent call last):
    ValueError: row ('fp32',): 1 cells under a head of 3 ('format', 'largest', 'eps')
    """

    def __init__(self, caption: str, *head: str) -> None:
        self.caption, self.head = caption, head
        self.rows: list[tuple[str, ...]] = []

    def row(self, *cells: object) -> None:
        """Add a row; its first cell names it."""
        if len(cells) != len(self.head):
            raise ValueError(f"row {cells}: {len(cells)} cells under a head of {len(self.head)} {self.head}")
        self.rows.append(tuple(map(str, cells)))

    def _numbers(self) -> list[bool]:
        """Which columns begin with a number in each row; those stand to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.head)
        return [all(NUMBER.match(cell) for cell in column) for column in columns]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        right = self._numbers()
        lines = [
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
            for row in (self.head, *self.rows)
        ]
        return "\n".join([self.caption, *lines])

    def _repr_html_(self) -> str:
        right = [' class="number"' * number for number in self._numbers()]
        head = "".join(
            f'<th scope="col"{side}>{escape(c)}</th>' if c else "<td></td>"
            for c, side in zip(self.head, right, strict=True)
        )
        body = "".join(
            f'<tr><th scope="row"{right[0]}>{escape(first)}</th>'
            + "".join(f"<td{side}>{escape(cell)}</td>" for cell, side in zip(rest, right[1:], strict=True))
            + "</tr>\n"
            for first, *rest in self.rows
        )
        table = f"<caption>{escape(self.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>"
        return f'<div class="wide" tabindex="0"><table class="results">{table}</table></div>'
