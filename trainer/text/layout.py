"""Text in the columns of a terminal, where a letter of Korean takes two.

Pure functions; the standard library only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

CUT = "..."


def width(text: str) -> int:
    """Columns a text takes."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def left(text: str, columns: int) -> str:
    """With spaces after it, so many columns wide at least."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """As much of its beginning as fits."""
    while width(text) > columns:
        text = text[:-1]
    return text


def shortened(text: str, columns: int) -> str:
    """On one line, cut where it is wider."""
    line = " ".join(text.split())
    if width(line) <= columns:
        return line
    return cut(line, columns - len(CUT)).rstrip() + CUT


def wrapped(text: str, columns: int, first: str = "", rest: str = "") -> str:
    """Lines of so many columns at most, the first begun with `first`, the others with `rest`; a longer word stays
    whole, so that a path can still be copied."""
    return "\n".join(_lines(text, columns, first, rest)).rstrip()


def _lines(text: str, columns: int, first: str, rest: str) -> Iterator[str]:
    line, is_empty = first, True
    for word in text.split():
        if not is_empty and width(line) + 1 + width(word) > columns:
            yield line
            line, is_empty = rest, True
        line += word if is_empty else f" {word}"
        is_empty = False
    yield line
