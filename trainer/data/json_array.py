"""Objects of a JSON file without reading it whole: an array of objects, or one object whose only value is that array.

No third-party package.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from trainer.data.decoding import BOM, DECODER, EXAMPLE, MAX_LINE, Found, an_object, not_json
from trainer.errors import DataError, Problem, Unfit

_CHUNK = 2**18
_SPACE = re.compile(r"[ \t\r\n]*")
_WRAPPED = re.compile(r'\{[ \t\r\n]*"[^"\\]*"[ \t\r\n]*:[ \t\r\n]*\[')
# An error this near to the end of what was read may come from the cut: true, -1e9 or an escape of 12 characters.
_MARGIN = 16


class _Window:
    """The text of a file from a place that only moves on, and the line of that place."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.text, self.place, self.line, self.ended = "", 0, 1, False

    def more(self) -> None:
        """Read on: as much as is still unread, so that a long element is not parsed again for every chunk."""
        size = max(_CHUNK, len(self.text) - self.place)
        chunk = self._file.read(size).removeprefix(BOM if not self.text and self.line == 1 else b"")
        self.ended = len(chunk) < size - len(BOM)
        rest = self.text[self.place :]
        try:
            self.text, self.place = rest + self._decoder.decode(chunk, self.ended), 0
        except UnicodeDecodeError as error:
            line = self.line + rest.count("\n") + chunk[: error.start].count(b"\n")
            raise DataError(Problem("data.array_not_utf8", f"{self._name}:{line}")) from error

    def move(self, place: int) -> None:
        self.line += self.text.count("\n", self.place, place)
        self.place = place

    def next(self) -> str:
        """The next character that is no white space, without moving past it; empty at the end of the file."""
        while True:
            self.move(_SPACE.match(self.text, self.place).end())  # type: ignore[union-attr]
            if self.place < len(self.text) or self.ended:
                return self.text[self.place : self.place + 1]
            self.more()

    def value(self) -> Any:
        """The JSON value at the place, which moves behind it. Raises what DECODER raises, ValueError when too long."""
        while True:
            try:
                found, end = DECODER.raw_decode(self.text, self.place)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - _MARGIN
                if self.ended or not cut:
                    raise
            else:
                if end < len(self.text) or self.ended:
                    self.move(end)
                    return found
            if len(self.text) - self.place > MAX_LINE:
                raise Unfit("data.why.element_long", most=MAX_LINE // 2**20)
            self.more()


def elements(file: BinaryIO, name: str) -> Iterator[Found]:
    """Every object of the array with the line it starts in; after a syntax error there is no next one."""
    window = _Window(file, name)
    try:
        yield from _elements(window, name)
    except DataError as error:
        yield error.problems[0]
    except json.JSONDecodeError as error:
        line = window.line + window.text.count("\n", window.place, error.pos)
        before = window.text.rfind("\n", 0, error.pos)
        yield Problem("data.array_syntax", f"{name}:{line}", said=error.msg, column=error.pos - before)
    except (ValueError, RecursionError) as error:
        yield not_json(error, f"{name}:{window.line}")


def _elements(window: _Window, name: str) -> Iterator[Found]:
    first = window.next()
    wrapped = first == "{"
    if wrapped:
        opening = _WRAPPED.match(window.text, window.place)
        if opening is None:
            yield _no_array(window, name)
            return
        window.move(opening.end())
    elif first == "[":
        window.move(window.place + 1)
    else:
        if first:
            yield Problem("data.no_array", f"{name}:{window.line}", example=f"[{EXAMPLE}, ...]")
        return
    done = window.next() == "]"
    while not done:
        window.next()
        line = window.line
        yield an_object(window.value(), line, name)
        mark = window.next()
        if mark not in {",", "]"}:
            where = f"{name}:{window.line}"
            yield Problem("data.array_comma", where) if mark else Problem("data.array_cut", where, line=line)
            return
        done = mark == "]"
        window.move(window.place + (0 if done else 1))
    window.move(window.place + 1)
    closed = not wrapped or window.next() == "}"
    window.move(window.place + int(wrapped and closed))
    if window.next() or not closed:
        yield Problem("data.array_keys" if wrapped else "data.array_more", f"{name}:{window.line}")


def _no_array(window: _Window, name: str) -> Problem:
    """Why a file that begins with an object is refused: JSONL under another name, or one object."""
    try:
        window.value()
        several = window.next() == "{"
    except (ValueError, RecursionError):
        several = False
    stem = name.rpartition(".")[0]
    if several:
        return Problem("data.several_objects", f"{name}:1", name=f"{stem}.jsonl")
    return Problem("data.one_object", f"{name}:1", example=f"[{EXAMPLE}, ...]")
