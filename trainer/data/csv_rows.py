"""Records of a CSV file as spreadsheets write them. Bytes are UTF-8 (encodings.py). Standard library.

The first record that is not empty is the header. Every value is text, an empty cell too. A line `sep=;` before the
header names the delimiter; else it is the one of DELIMITERS with which the first records have as many cells as the
header. Line ends are CR, LF, CR LF or a mix of them; inside quotes they belong to the cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO

from trainer.data.decoding import MAX_LINE, Found, Record, decoded, lines
from trainer.errors import DataError, Problem

DELIMITERS = ",;\t|"
_LOOKED_AT, _LETTERS = 200, 2**20  # lines that decide the delimiter, and how much of them
_SEP = re.compile(r'"?sep=(?P<it>[^"\r\n])"?[,;\t|]*\s*', re.IGNORECASE)


def records(file: BinaryIO, name: str) -> Iterator[Found]:
    csv.field_size_limit(MAX_LINE)
    texts = (decoded(line, f"{name}:{number}") for number, line in lines(file, name))
    try:
        head: list[str] = []
        for text in islice(texts, _LOOKED_AT):
            head.append(text)
            if sum(map(len, head)) > _LETTERS:
                break
        before, delimiter = _told(head)
        head = head[before:]
        delimiter = delimiter or likely(head)
        spaced = _is_spaced(head, delimiter)
        reader = csv.reader(chain(head, texts), delimiter=delimiter, skipinitialspace=spaced, strict=True)
        yield from _rows(reader, name, before)
    except DataError as error:
        yield error.problems[0]


def delimiter_of(texts: Iterable[str]) -> str:
    """The delimiter that is told or likely, of the first lines of a file."""
    head = list(islice(texts, _LOOKED_AT))
    before, told = _told(head)
    return told or likely(head[before:])


def _told(head: Sequence[str]) -> tuple[int, str]:
    """(lines up to and with the one that names the delimiter, it); (0, "") without one."""
    place = next((place for place, line in enumerate(head) if line.strip()), 0)
    found = _SEP.fullmatch(head[place]) if head else None
    return (place + 1, found["it"]) if found else (0, "")


def likely(head: Sequence[str]) -> str:
    """The delimiter that divides header and rows alike; of equals the one that is not followed by a space in the
    header, as a comma in a sentence is."""

    def fits(delimiter: str) -> tuple[float, int, int]:
        header, *rows = list(_parsed(head, delimiter)) or [[]]
        width = _width(header)
        if width < 2:
            return 0, 0, 0
        alike = sum(_width(row) <= width <= len(row) for row in rows) / max(len(rows), 1)
        return 1 + alike, -sum(name.startswith(" ") for name in header[1:width]), width

    return max(DELIMITERS, key=fits)  # the first of those that are equal


def _is_spaced(head: Sequence[str], delimiter: str) -> bool:
    """Whether a blank stands between delimiter and quotes, `one, "two, three"`: the quotes are no part of the text."""
    if not any(cell[:1] == " " and cell.strip()[:1] == '"' for row in _parsed(head, delimiter) for cell in row):
        return False
    widths = [_width(row) for row in _parsed(head, delimiter, spaced=True)]
    return len(widths) >= len(list(_parsed(head, delimiter))) and len(set(widths)) == 1


def _parsed(head: Sequence[str], delimiter: str, spaced: bool = False) -> Iterator[list[str]]:
    """The records of the first lines that are not empty, as far as they go."""
    try:
        reader = csv.reader(head, delimiter=delimiter, skipinitialspace=spaced, strict=True)
        yield from filter(_width, reader)
    except csv.Error:
        return


def _width(row: Sequence[str]) -> int:
    """Cells up to the last that is not empty."""
    return next((place for place in range(len(row), 0, -1) if row[place - 1].strip()), 0)


def _rows(reader: Any, name: str, before: int) -> Iterator[Found]:
    """reader: a csv.reader, placed after `before` lines of the file."""
    header: list[str] = []
    while True:
        line = before + int(reader.line_num) + 1  # a record starts after the one before
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field limit" in str(error):
                yield Problem("data.cell_long", f"{name}:{line}", most=MAX_LINE // 2**20)
            else:
                yield Problem("data.not_csv", f"{name}:{line}", said=str(error), example='"He said ""yes"""')
            return
        width = _width(values)
        if not width:
            continue
        if not header:
            header = names(values[:width])
        elif width > len(header) or len(values) < len(header):
            key = "data.csv_cells" if width > len(header) else "data.csv_few_cells"
            yield Problem(key, f"{name}:{line}", cells=len(values), wanted=len(header))
        else:
            yield Record(line, dict(zip(header, values[: len(header)], strict=True)))


def names(header: Iterable[str]) -> list[str]:
    """The columns of a header: one without a name is called by its place, and of those that share a name each gets its
    number, so that nothing is taken for another."""
    found = [re.sub(r"\r\n?", "\n", cell.strip()) or f"column {place}" for place, cell in enumerate(header, 1)]
    return numbered(found)


def numbered(found: Sequence[str]) -> list[str]:
    """Each of the names once."""
    called: list[str] = []
    for place, name in enumerate(found):
        if found.count(name) > 1:
            name = f"{name} ({found[: place + 1].count(name)})"
        while name in called:
            name += "'"
        called.append(name)
    return called
