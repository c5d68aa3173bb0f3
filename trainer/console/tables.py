"""A table of text, its columns side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from trainer.console.printing import put
from trainer.text.layout import left, width


def put_table(rows: Sequence[Sequence[str]], out: TextIO | None = None) -> None:
    """out: standard output when left out. The last text of a row may reach into columns that are empty there."""
    places = range(len(rows[0]))
    widths = [max((width(row[n]) for row in rows if any(row[n + 1 :])), default=0) for n in places]
    for row in rows:
        put("  ".join(left(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip(), out)
