"""Bytes of a data file -> JSON values and records, and what is wrong with those that are none.

Standard library only.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from trainer.data.values import printable
from trainer.errors import DataError, Problem

MAX_LINE = 16 * 2**20
"""Bytes of one record. A longer one is no prompt but a file without line ends; reading it whole would fill memory."""


BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One record as it stands in the file. line counts from 1."""

    line: int
    columns: dict[str, Any]


Found = Record | Problem
"""A record, or why there is none at this place; reading goes on after it where that is possible."""


def _refuse(where: str, what: str, fix: str = "") -> NoReturn:
    raise DataError(Problem.plain(where, what, fix))


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):  # the standard reader silently takes the last one
        names = [key for key, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {printable(twice)} occurs twice in an object")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # the standard reader makes an infinity of 1e999
        raise ValueError(f"{text[:40]} is larger than any number a computer counts with: put it in quotes")
    return number


DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_finite, object_pairs_hook=_once)


def not_json(error: Exception, where: str) -> Problem:
    """The problem of a text that DECODER refused."""
    if isinstance(error, json.JSONDecodeError):
        what = f"is not JSON: {error.msg} at column {error.colno}"
        return Problem.plain(where, what, "one JSON object a line, in double quotes")
    if isinstance(error, RecursionError):
        return Problem.plain(where, "is not JSON: nested too deeply")
    return Problem.plain(where, f"is not JSON: {error}")


def an_object(value: Any, line: int, name: str) -> Found:
    """The record of a JSON value, or the problem of one that is no object."""
    if isinstance(value, dict):
        return Record(line, value)
    what = f"is {type(value).__name__}, not an object"
    return Problem.plain(f"{name}:{line}", what, 'write {"prompt": "...", "answer": "..."}')


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(where, f"is not UTF-8 (byte {error.start + 1})", "save the file as UTF-8")
