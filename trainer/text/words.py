"""The words of a language, and messages: what is said as a key with values until somebody reads it.

    words("ko")("train.start")                 words("en")("report.finding.dips", steps=[5, 45])
    Message("alert.disk_full", name="checkpoint-20")

Numbers are put in by how they are meant, so that a text says where and the code what:

    {value:number}  three digits that count     {share:percent}  0.87 as 87 %     {error:points}     0.09 as 9 points
    {steps:list}    5, 45, 78 and 3 more        {memory:gib}     21.4 GiB         {seconds:duration} 34 s, 2 h 05 min
    {factor:times}  2.1, 130                    {bound:plain}    0.5, 32, 1,024   {rate:g}           5e-07
    {names:or}      a, b or c                   {name:quoted}    'a'              {phase:word}       word.<phase>
    {names:all}     a, b, c, however many, as they are typed: 1000

In Korean {name:PARTICLE} adds the particle that fits the name (particles.py). A value may be a Message: it is said in
the same language. Standard library only; knows nothing about what is said.
"""

from __future__ import annotations

import functools
import string
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from trainer.text import forms
from trainer.text.particles import PARTICLES, with_particle

DEFAULT = "en"
MOST_LISTED = 8  # of a list in a sentence; of the others only how many
FOLDER = Path(__file__).parent


class Message:
    """key: of a text in trainer/text. values: what is put into it. english: of one that was read back."""

    def __init__(self, key: str, /, **values: Any) -> None:
        self.key = key
        self.values = values
        self.english = ""

    def __repr__(self) -> str:
        return f"Message({self.key!r}, **{self.values!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and (other.key, other.values) == (self.key, self.values)

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        """In English: for logs and tracebacks."""
        return words(DEFAULT).said(self)

    def stored(self, english: bool = True) -> dict[str, Any]:
        """As JSON, in the event log or on its way to another process. english: with its English beside it."""
        found = {"key": self.key, "values": storable(self.values, english)}
        return found | {"text": str(self)} if english else found

    @classmethod
    def read(cls, stored: Any) -> Self:
        """What `stored` made; text of an older version stays as it is. Anything else is an empty text."""
        if isinstance(stored, str):
            return cls("plain.text", text=stored)
        if not isinstance(stored, dict) or not isinstance(stored.get("key"), str):
            return cls("plain.text", text="")
        found = cls(stored["key"], **readable(stored.get("values")))
        found.english = str(stored.get("text") or found.key)
        return found


def storable(value: Any, english: bool = True) -> Any:
    """JSON of a value, messages in it included. english: as for Message.stored."""
    if isinstance(value, Message):
        return value.stored(english)
    if isinstance(value, Mapping):
        return {str(key): storable(part, english) for key, part in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [storable(part, english) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def readable(stored: Any) -> dict[str, Any]:
    """The values of a message as they were before `storable`; {} of what is no object."""
    return {str(key): _value(part) for key, part in stored.items()} if isinstance(stored, dict) else {}


def _value(stored: Any) -> Any:
    if isinstance(stored, list):
        return [_value(part) for part in stored]
    if isinstance(stored, dict) and stored.keys() >= {"key", "values"}:
        return Message.read(stored)
    return stored


class Words:
    """The words of one language. Raises KeyError for a key the language does not have.

    head: keys are looked for under it first, so that a room may leave out the name of its own table.
    """

    def __init__(self, language: str, table: Mapping[str, str], head: str = "") -> None:
        self.language = language
        self._table = table
        self._head = head
        self._form = _Formatter(self)

    def __call__(self, key: str, /, **values: Any) -> str:
        text = self._table[self._found(key)]
        return self._form.vformat(text, (), values) if values else text

    def __contains__(self, key: str) -> bool:
        return self._found(key) in self._table

    def _found(self, key: str) -> str:
        return own if (own := self._head + key) in self._table else key

    def under(self, table: str) -> Words:
        """The same words, those of that table under their short keys."""
        return Words(self.language, self._table, f"{table}.")

    def said(self, message: Message) -> str:
        """A message in this language; one whose key or values this version does not know as it was said in English."""
        try:
            text = self(message.key, **message.values)
            return self._form.vformat(text, (), {}) if message.english and not message.values else text
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
            if not message.english:
                raise
            return message.english

    def keys(self) -> set[str]:
        return set(self._table)

    def duration(self, seconds: float | None) -> str:
        """Seconds with two digits that count below a minute, then minutes, hours and minutes, days and hours."""
        if seconds is None:
            return self("time.unknown")
        if seconds < 59.5:
            shown = f"{seconds:#.2g}" if 1e-3 <= seconds < 9.95 else f"{seconds:.0f}" if seconds >= 1 else "0.000"
            return self("time.seconds", seconds=shown)
        minutes = round(seconds / 60)
        if minutes < 60:
            return self("time.minutes", minutes=minutes)
        if minutes < 100 * 60:
            return self("time.hours", hours=minutes // 60, minutes=f"{minutes % 60:02d}")
        return self("time.days", days=minutes // 1440, hours=minutes % 1440 // 60)

    def listed(self, values: Sequence[Any]) -> str:
        """5, 45, 78; of more than MOST_LISTED the first, and how many more."""
        shown = ", ".join(self._one(value) for value in values[:MOST_LISTED])
        more = len(values) - MOST_LISTED
        return self("list.more", shown=shown, count=more) if more > 0 else shown

    def alternatives(self, values: Sequence[Any]) -> str:
        """a, b or c; a alone as it is, all of them however many."""
        *others, last = [self._one(value) for value in values] or [""]
        return self("list.or", shown=", ".join(others), last=last) if others else last

    def every(self, values: Sequence[Any]) -> str:
        """a, b, c: all of them, numbers as they are typed."""
        return ", ".join(self.said(value) if isinstance(value, Message) else str(value) for value in values)

    def _one(self, value: Any) -> str:
        if isinstance(value, Message):
            return self.said(value)
        return f"{value:,}" if isinstance(value, int) else str(value)


class _Formatter(string.Formatter):
    def __init__(self, words: Words) -> None:
        self.words = words

    def format_field(self, value: Any, format_spec: str) -> Any:
        written: dict[str, Callable[[Any], str]] = {
            "number": forms.number,
            "percent": forms.percent,
            "points": lambda share: self.words("list.points", points=f"{100 * share:.0f}"),
            "plain": _plain,
            "gib": lambda gib: f"{forms.number(gib)} GiB",
            "times": lambda factor: f"{factor:,.0f}" if factor >= 9.95 else f"{factor:.1f}",
            "duration": self.words.duration,
            "list": self.words.listed,
            "or": self.words.alternatives,
            "all": self.words.every,
            "quoted": lambda value: repr(str(value)),
            "word": lambda name: self.words(f"word.{name}"),
        }
        if isinstance(value, Message):
            value = self.words.said(value)
            return with_particle(value, format_spec) if format_spec in PARTICLES else value
        if format_spec in PARTICLES:
            return with_particle(str(value), format_spec)
        form = written.get(format_spec)
        return form(value) if form else super().format_field(value, format_spec)


def _plain(value: float) -> str:
    """Whole numbers with all their digits: 1,234,567, which g would write as 1.23457e+06."""
    return f"{value:,.0f}" if value == round(value, 0) else f"{value:,g}"


@functools.cache
def words(language: str) -> Words:
    """The words of a language; of the default one when there is no such language."""
    known = language if language in languages() else DEFAULT
    table = dict(_flat(tomllib.loads((FOLDER / f"{known}.toml").read_text(encoding="utf-8")), ""))
    return Words(known, table)


@functools.cache
def languages() -> tuple[str, ...]:
    """Codes of all languages, the default first."""
    return tuple(sorted((p.stem for p in FOLDER.glob("*.toml")), key=lambda code: code != DEFAULT))


def _flat(table: Mapping[str, Any], head: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", str(value)
