"""Bytes of a data file -> JSON values and records, and what is wrong with those that are none.

No third-party package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from trainer.data.values import printable
from trainer.errors import DataError, Problem, Unfit, reason
from trainer.text import Message

MAX_LINE = 16 * 2**20
"""Bytes of one record. A longer one is no prompt but a file without line ends; reading it whole would fill memory."""


BOM = b"\xef\xbb\xbf"
_CHUNK = 2**18


@dataclass(frozen=True)
class Record:
    """One record as it stands in the file. line counts from 1."""

    line: int
    columns: dict[str, Any]


Found = Record | Problem | Message
"""A record, or why there is none at this place; reading goes on after it where that is possible. Or something to be
said of the file as a whole."""


EXAMPLE = '{"prompt": "...", "answer": "..."}'
"""A row, for a person who has to write one."""


def _constant(name: str) -> NoReturn:
    raise Unfit("data.why.constant", name=name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):  # the standard reader silently takes the last one
        names = [key for key, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unfit("data.why.key_twice", name=printable(twice))
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # the standard reader makes an infinity of 1e999
        raise Unfit("data.why.too_large", number=text[:40])
    return number


DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_finite, object_pairs_hook=_once)


def not_json(error: Exception, where: str) -> Problem:
    """The problem of a text that DECODER refused."""
    if isinstance(error, json.JSONDecodeError):
        return Problem("data.not_json", where, said=error.msg, column=error.colno)
    if isinstance(error, RecursionError):
        return Problem("data.json_deep", where)
    return Problem("data.json_value", where, why=reason(error))


def an_object(value: Any, line: int, name: str) -> Record | Problem:
    """The record of a JSON value, or the problem of one that is no object."""
    if isinstance(value, dict):
        return Record(line, value)
    return Problem("data.not_object", f"{name}:{line}", kind=type(value).__name__, example=EXAMPLE)


def decoded(line: bytes, where: str) -> str:
    """The text of a line. Raises DataError."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(Problem("data.not_utf8", where, byte=error.start + 1)) from error


def lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """(number, line) without a byte order mark; CR, LF and CR LF end a line. Raises DataError at a line of more than
    MAX_LINE bytes."""
    number, rest, ended = 0, b"", False
    while not ended:
        chunk = file.read(max(_CHUNK, len(rest)))  # a long line is not looked at again for every chunk
        ended = not chunk
        if not number and not rest:
            chunk = chunk.removeprefix(BOM)
        found = (rest + chunk).splitlines(keepends=True)
        # The last one may go on, and a CR at its end may be half of CR LF.
        rest = found.pop() if found and not ended else b""
        for line in found:
            number += 1
            if len(line) > MAX_LINE:
                raise _too_long(name, number)
            yield number, line
        if len(rest) > MAX_LINE:
            raise _too_long(name, number + 1)


def _too_long(name: str, number: int) -> DataError:
    return DataError(Problem("data.line_long", f"{name}:{number}", most=MAX_LINE // 2**20))
