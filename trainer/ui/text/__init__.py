"""All words of the page, one file per language, and which language a browser asks for.

A new language is a new file beside en.toml with the same keys. Standard library only.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEFAULT = "en"

_FOLDER = Path(__file__).parent


class Words:
    """The words of one language: words("train.start"), words("status." + status)."""

    def __init__(self, language: str, table: Mapping[str, str]) -> None:
        self.language = language
        self._table = table

    def __call__(self, key: str, /, **values: object) -> str:
        return self._table[key].format(**values) if values else self._table[key]

    def keys(self) -> set[str]:
        return set(self._table)

    def duration(self, seconds: float | None) -> str:
        """Seconds below a minute, then minutes, then hours and minutes."""
        if seconds is None:
            return self("time.unknown")
        if seconds < 59.5:
            shown = f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"
            return self("time.seconds", seconds=shown)
        minutes = round(seconds / 60)
        if minutes < 60:
            return self("time.minutes", minutes=minutes)
        return self("time.hours", hours=minutes // 60, minutes=f"{minutes % 60:02d}")


@functools.cache
def words(language: str) -> Words:
    """The words of a language; of the default one when there is no such language."""
    known = language if language in languages() else DEFAULT
    table = tomllib.loads((_FOLDER / f"{known}.toml").read_text(encoding="utf-8"))
    return Words(known, dict(_flat(table, "")))


@functools.cache
def languages() -> tuple[str, ...]:
    """Codes of all languages, the default first."""
    return tuple(sorted((p.stem for p in _FOLDER.glob("*.toml")), key=lambda code: code != DEFAULT))


def preferred(accept_language: str) -> str:
    """The best known language of an Accept-Language header: `ko-KR,ko;q=0.9,en;q=0.8` is ko."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language[:200].split(","):
        tag, _, rest = part.strip().partition(";")
        try:
            quality = float(rest.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        wanted.append((quality, tag.partition("-")[0].lower()))
    known = [(quality, tag) for quality, tag in wanted if tag in languages() and quality > 0]
    return max(known, key=lambda pair: pair[0], default=(0.0, DEFAULT))[1]


def _flat(table: Mapping[str, Any], head: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", str(value)
