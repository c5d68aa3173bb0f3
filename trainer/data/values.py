"""What kind of value a column holds, all the way down: Arrow stores one kind a column, and nothing it cannot store
may pass the first look at a file. No library.

A kind is None (nothing known: null, an empty list), the name of a scalar's type, ("list", kind of its elements) or
{key: kind} of an object.
"""

from __future__ import annotations

from typing import Any

from trainer.errors import Unfit

MAX_DEPTH = 50
"""Lists and objects in one another."""
MAX_KEYS = 1000
"""Keys that the objects of one column may have together: every one of them becomes a column of its own."""
WHOLE = 2**53  # a float holds every smaller integer exactly
NUMBERS = {"int", "float"}

Kind = None | str | tuple[str, Any] | dict[str, Any]


class Unusable(Unfit):
    """Why a value can be neither stored nor tokenised, as the end of a sentence that begins with its column."""


def kind_of(value: Any, strict: bool = True, depth: int = 0) -> Kind:
    """The kind of a value. strict: int and float are two kinds, else they are stored as float. Raises Unusable."""
    if value is None:
        return None
    if isinstance(value, str):
        refuse_half_characters(value)
        return "str"
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise Unusable("data.why.bits")
        return "int" if -WHOLE <= value <= WHOLE else "int of more than 53 bits"
    if depth >= MAX_DEPTH:
        raise Unusable("data.why.deep", most=MAX_DEPTH)
    if isinstance(value, dict):
        return _of_object(value, strict, depth)
    if isinstance(value, list | tuple):
        kind: Kind = None
        for element in value:
            kind = merged(kind, kind_of(element, strict, depth + 1), strict)
        return ("list", kind)
    if isinstance(value, bytes):
        raise Unusable("data.why.bytes")
    if hasattr(value, "getbands"):
        raise Unusable("data.why.image")
    return type(value).__name__


def _of_object(value: dict[Any, Any], strict: bool, depth: int) -> Kind:
    if {"bytes", "path"} <= value.keys():  # as the Hub and Arrow write one
        raise Unusable("data.why.image")
    for key in value:
        refuse_half_characters(str(key))
    return {str(key): kind_of(inner, strict, depth + 1) for key, inner in value.items()}


def refuse_half_characters(text: str) -> None:
    """Raise Unusable for a lone surrogate, which has no UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unusable("data.why.half") from None


def merged(first: Kind, other: Kind, strict: bool = True) -> Kind:
    """The kind that holds values of both. Raises Unusable where there is none."""
    if first == other or other is None:
        return first
    if first is None:
        return other
    if isinstance(first, dict) and isinstance(other, dict):
        names = first.keys() | other.keys()
        if len(names) > MAX_KEYS:
            raise Unusable("data.why.keys", most=MAX_KEYS)
        return {name: merged(first.get(name), other.get(name), strict) for name in names}
    if isinstance(first, tuple) and isinstance(other, tuple):
        return ("list", merged(first[1], other[1], strict))
    kinds = {word(first), word(other)}
    if not strict and kinds == NUMBERS:
        return "float"
    if kinds == {"int", "int of more than 53 bits"}:
        return "int of more than 53 bits"
    raise Unusable("data.why.kinds", first=word(first), other=word(other))


def word(kind: Kind) -> str:
    return kind if isinstance(kind, str) else "list" if isinstance(kind, tuple) else "dict"


def texts(value: Any) -> str:
    """All text of a value in one, for looking for a character."""
    if isinstance(value, dict):
        return "".join(map(texts, value.values()))
    return "".join(map(texts, value)) if isinstance(value, list | tuple) else value if isinstance(value, str) else ""


def printable(text: str) -> str:
    """A text that any terminal and any log can take: half a character is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
