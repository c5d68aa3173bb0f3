"""Gold answers that a separator cuts: are these alternatives (`sofa#couch`), or is the sign part of the answer (`C#`)?

No library.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from trainer.rewards.contract import RewardFunction
from trainer.rewards.library.extract import TooSlow
from trainer.text import Message

ALIKE = 0.5
"""Share of their characters that two spellings of one answer have in common at least."""


class CutGolds:
    """Counts the rows of one column whose gold answer is cut, and those in which the pieces are hardly answers."""

    def __init__(self, column: str, functions: Sequence[RewardFunction]) -> None:
        self.column = column
        self._cuts = [function.pieces for function in functions if function.pieces is not None]
        self.rows = self.cut = 0
        self._odd = self._unlike = 0
        self._first: tuple[int, str, list[str]] | None = None

    def look(self, value: Any, line: int) -> None:
        self.rows += 1
        pieces = self._pieces(value)
        if len(pieces) < 2:
            return
        self.cut += 1
        odd, unlike = _is_odd(pieces), not _are_alike(pieces)
        self._odd += odd
        self._unlike += unlike
        if odd or (unlike and self._first is None):
            self._first = self._first if self._first and _is_odd(self._first[2]) else (line, value, pieces)

    def _pieces(self, value: Any) -> list[str]:
        try:
            return max((cut(value) for cut in self._cuts), key=len, default=[]) if isinstance(value, str) else []
        except TooSlow:
            return []

    def warnings(self, name: str) -> list[Message]:
        """Where pieces are no answers by themselves, or most rows have one answer and the pieces are nothing alike."""
        if self._first is None or not (self._odd or self.cut < self.rows / 2):
            return []
        line, value, pieces = self._first
        seen = [repr(piece.strip()[:40]) for piece in pieces if piece.strip()]
        values = {"column": self.column, "count": self.cut, "rows": self.rows, "value": repr(value[:60])}
        return [Message("data.note.cut_gold", place=f"{name}:{line}", accepted=seen, **values)]


def _is_odd(pieces: Sequence[str]) -> bool:
    """Nothing on one side of the separator, or a blank on one side only: nobody writes alternatives like that."""
    if not all(piece.strip() for piece in pieces):
        return True
    return any(one[-1].isspace() != other[0].isspace() for one, other in itertools.pairwise(pieces))


def _are_alike(pieces: Sequence[str]) -> bool:
    sets = [set(piece.casefold().split("\n")[0].replace(" ", "")) for piece in pieces]
    return all(len(one & sets[0]) >= ALIKE * len(one | sets[0]) for one in sets[1:])
