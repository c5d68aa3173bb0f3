"""The column that says how hard a row is, for a curriculum: numbers, or texts in an order that the spec names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from trainer.data.values import printable
from trainer.errors import DataError, Problem
from trainer.spec import RunSpec
from trainer.spec.sampling import Sampling

KEY = "sampling.difficulty"
MOST_NAMES = 8


def columns(spec: RunSpec) -> list[str]:
    """The column that rows must have, [] for none. Group sizes read `difficulty` where it is there, too."""
    chosen = spec.sampling
    named = chosen.group_size == "spread" and chosen.difficulty != Sampling.model_fields["difficulty"].default
    return [chosen.difficulty] if chosen.curriculum == "column" or named else []


def number(value: object, settings: Sampling) -> float:
    """How hard a value is, low is easy. Raises ValueError for what is neither a finite number nor a text in the order
    that the settings name."""
    if settings.difficulty_order:
        return float(settings.difficulty_order.index(str(value)))
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    found = float(value)  # a text, too: CSV knows no numbers
    if not math.isfinite(found):
        raise ValueError
    return found


def numbers(values: Iterable[object], settings: Sampling) -> list[float] | None:
    """Of all rows; None where they have no order, which with a curriculum a survey has refused before."""
    try:
        return [number(value, settings) for value in values]
    except (ValueError, OverflowError):
        return None


class Difficulty:
    """Looks at one row after another of the rows that are trained on."""

    def __init__(self, spec: RunSpec, name: str) -> None:
        self.settings, self.name = spec.sampling, name
        self.column = next(iter(columns(spec)), None)
        self._first: float | None = None
        self._differ = False
        self._odd: tuple[int, str] | None = None
        self._names: dict[str, None] = {}

    def look(self, columns: dict[str, object], line: int) -> None:
        if self.column is None:
            return
        value = columns[self.column]
        if isinstance(value, str) and len(self._names) < MOST_NAMES:
            self._names[printable(value)] = None
        try:
            found = number(value, self.settings)
        except (ValueError, OverflowError):
            self._odd = self._odd or (line, printable(str(value)))
            return
        self._first = found if self._first is None else self._first
        self._differ |= found != self._first

    def refuse(self) -> None:
        """Raises DataError where the rows cannot be ordered by what was seen."""
        if self._odd is not None:
            line, seen = self._odd
            order = json.dumps(list(self._names) or ["easy", "hard"], ensure_ascii=False)
            key = "data.difficulty_not_in_order" if self.settings.difficulty_order else "data.difficulty_no_number"
            values = {"column": self.column, "seen": seen, "key": KEY, "names": order}
            raise DataError(Problem(key, f"{self.name}:{line}", **values))
        if self.settings.curriculum == "column" and self._first is not None and not self._differ:
            raise DataError(Problem("data.difficulty_constant", self.name, column=self.column, key=KEY))
