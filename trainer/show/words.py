"""Words of one language, from a TOML file: words("train.start"), words("finding.dips", steps=[5, 45]).

Whoever shows something keeps a folder with one file a language, all with the same keys: trainer/ui/text,
trainer/report/text. Numbers are put in by how they are meant, so that a text says where and the code what:

    {value:number}  three digits that count     {share:percent}  0.87 as 87 %     {error:points}     0.09 as 9 points
    {steps:list}    5, 45, 78 and 3 more        {memory:gib}     21.4 GiB         {seconds:duration} 34 s, 2 h 05 min
    {factor:times}  2.1, 130                    {bound:plain}    0.5, 32, 1,024   {rate:g}           5e-07
    {phase:word}    what the language has under word.<phase>

Imports forms, where numbers get their form. Knows nothing about what is said.
"""

from __future__ import annotations

import functools
import string
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.show import forms

DEFAULT = "en"
MOST_LISTED = 8  # of a list in a sentence; of the others only how many


class Words:
    """The words of one language. Raises KeyError for a key the language does not have."""

    def __init__(self, language: str, table: Mapping[str, str]) -> None:
        self.language = language
        self._table = table
        self._form = _Formatter(self)

    def __call__(self, key: str, /, **values: Any) -> str:
        return self._form.vformat(self._table[key], (), values) if values else self._table[key]

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def keys(self) -> set[str]:
        return set(self._table)

    def duration(self, seconds: float | None) -> str:
        """Seconds with two digits that count below a minute, then minutes, then hours and minutes."""
        if seconds is None:
            return self("time.unknown")
        if seconds < 59.5:
            shown = f"{seconds:#.2g}" if 1e-3 <= seconds < 9.95 else f"{seconds:.0f}" if seconds >= 1 else "0.000"
            return self("time.seconds", seconds=shown)
        minutes = round(seconds / 60)
        if minutes < 60:
            return self("time.minutes", minutes=minutes)
        return self("time.hours", hours=minutes // 60, minutes=f"{minutes % 60:02d}")

    def listed(self, values: Sequence[Any]) -> str:
        """5, 45, 78; of more than MOST_LISTED the first, and how many more."""
        shown = ", ".join(_one(value) for value in values[:MOST_LISTED])
        more = len(values) - MOST_LISTED
        return self("list.more", shown=shown, count=more) if more > 0 else shown


class _Formatter(string.Formatter):
    def __init__(self, words: Words) -> None:
        self.words = words

    def format_field(self, value: Any, format_spec: str) -> Any:
        written: dict[str, Callable[[Any], str]] = {
            "number": forms.number,
            "percent": forms.percent,
            "points": lambda share: self.words("list.points", points=f"{100 * share:.0f}"),
            "plain": lambda value: f"{value:,g}",
            "gib": lambda gib: f"{forms.number(gib)} GiB",
            "times": lambda factor: f"{factor:,.0f}" if factor >= 9.95 else f"{factor:.1f}",
            "duration": self.words.duration,
            "list": self.words.listed,
            "word": lambda name: self.words(f"word.{name}"),
        }
        form = written.get(format_spec)
        return form(value) if form else super().format_field(value, format_spec)


def _one(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


@functools.cache
def words_in(folder: Path, language: str) -> Words:
    """The words of a language; of the default one when the folder has no such language."""
    known = language if language in languages_in(folder) else DEFAULT
    table = tomllib.loads((folder / f"{known}.toml").read_text(encoding="utf-8"))
    return Words(known, dict(_flat(table, "")))


@functools.cache
def languages_in(folder: Path) -> tuple[str, ...]:
    """Codes of all languages, the default first."""
    return tuple(sorted((p.stem for p in folder.glob("*.toml")), key=lambda code: code != DEFAULT))


def _flat(table: Mapping[str, Any], head: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", str(value)
