"""What a gold value means when an answer is compared with it: a list, a number, a boolean, a date are no text.

The one place that knows: every reward that reads a gold column, the check before training and the look at the rows
go through `alternatives`. Imports no library.
"""

from __future__ import annotations

import json
import math
import re
import struct
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from trainer.errors import Unfit

PRECISION = 1e-12
"""Relative difference of two numbers that is rounding of float64."""
WHOLE = 2**53
"""Below it a float holds every whole number exactly."""
_NUMBER = re.compile(r"[+-]?(?=\.?\d)(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:[eE][+-]?\d{1,4})?")
_SPOKEN = {"true": True, "yes": True, "false": False, "no": False}
# U+2212 is a minus everywhere, a dash or hyphen only in front of a number and behind nothing: not in 1990-1995.
_DASH = re.compile(r"(?<!\w)[\u2010-\u2014\ufe63\uff0d](?=\.?\d)")


@dataclass(frozen=True)
class Gold:
    """One accepted answer. text: as a person would write it. value: what it is where it is no text."""

    text: str
    value: Decimal | float | bool | date | time | None = None

    def equals(self, answer: str) -> bool:
        """Whether an answer is this one: text by text, a number by its size, true as yes, a date in any ISO form."""
        answer = spelled(answer).strip()
        return answer == spelled(self.text).strip() or (self.value is not None and _means(answer, self.value))


def spelled(text: str) -> str:
    """The text in NFC, with a plain minus sign: how accents and signs are encoded is no part of an answer."""
    if text.isascii():
        return text
    return _DASH.sub("-", unicodedata.normalize("NFC", text).replace("\u2212", "-"))


def alternatives(value: Any) -> list[Gold]:
    """The answers that a gold value accepts, in its order: a list is one of these, anything else is one. None for null.

    Raises Unfit, as the end of a sentence that begins with the column, for what no answer can be compared with.
    """
    value = _plain(value)
    if not isinstance(value, list | tuple):
        return [] if value is None else [_one(value)]
    elements = [_plain(each) for each in value]
    if any(isinstance(each, list | tuple) for each in elements):
        raise Unfit("rewards.gold.nested")
    found = [_one(each) for each in elements if each is not None]
    if not any(each.text.strip() for each in found):
        raise Unfit("rewards.gold.empty_list")
    return [each for each in found if each.text.strip()]


def written(value: Any) -> str:
    """A value inside a text for a reader: its answer, of several a JSON list; what is no answer as Python writes it."""
    try:
        texts = [each.text for each in alternatives(value)]
    except Unfit:
        return str(value)
    return texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _one(value: Any) -> Gold:
    if isinstance(value, str | UUID):
        return Gold(str(value))
    if isinstance(value, bool):
        return Gold(str(value), value)
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, date) and value == value:  # pandas' NaT is a date that does not equal itself
        midnight = isinstance(value, datetime) and value.tzinfo is None and value.time() == time()
        return Gold(value.isoformat()[:10] if midnight else value.isoformat(), value)
    if isinstance(value, time):
        return Gold(value.isoformat(), value)
    raise Unfit("rewards.gold.kind", kind=type(value).__name__)


def _number(value: int | float | Decimal) -> Gold:
    if value != value or value in (math.inf, -math.inf):
        raise Unfit("rewards.gold.no_number", seen=str(value))
    exact, rounded = Decimal(value), isinstance(value, float) and not (value.is_integer() and abs(value) < WHOLE)
    if rounded:
        exact = Decimal(_digits(float(value)))
    whole = exact == exact.to_integral_value()
    text = format(exact.quantize(Decimal(1)) if whole and abs(exact) < 10**27 else exact, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return Gold("0" if exact == 0 else text, float(value) if rounded else exact)


def _digits(value: float) -> str:
    """The decimal that was meant: 0.1 of a float32 column is 0.10000000149011612, and 0.1 + 0.2 is not quite 0.3."""
    shortest, short = repr(float(value)), f"{value:.15g}"
    try:
        single = struct.pack("f", value)
    except OverflowError:
        return shortest
    if not value.is_integer() and struct.unpack("f", single)[0] == value:
        tried = (f"{value:.{digits}g}" for digits in range(1, 10))
        short = next((text for text in tried if struct.pack("f", float(text)) == single), short)
    return short if len(short) + 3 < len(shortest) else shortest


def _means(answer: str, value: Decimal | float | bool | date | time) -> bool:
    if isinstance(value, bool):
        return _SPOKEN.get(answer.casefold()) is value
    if isinstance(value, Decimal | float):
        if not _NUMBER.fullmatch(answer):
            return False
        said = Decimal(answer.replace(",", ""))
        if isinstance(value, Decimal):
            return said == value
        return any(math.isclose(said, near, rel_tol=PRECISION) for near in (value, float(_digits(value))))
    try:
        if isinstance(value, time):
            return time.fromisoformat(answer) == value
        return datetime.fromisoformat(answer) == _moment(value)
    except ValueError:
        return False


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time())
