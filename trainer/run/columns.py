"""What the steps of a run reported, 8 bytes a number: a hundred thousand steps of forty metrics are 32 MB.

A Column reads like a list of float | None. The standard library only: everything that looks into a run's log starts
with this. They are made points of a chart by trainer.show.downsampling.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, overload

_NOTHING = itertools.repeat(math.nan)


class Remembered(Protocol):
    """Something worked out from a column that has to follow when it is cut."""

    def cut(self, length: int) -> None: ...


class Column(Sequence["float | None"]):
    """One number a step; None where a step did not report. Whole numbers come back as floats."""

    __slots__ = ("remembered", "values")

    def __init__(self, values: Iterable[float | None] = ()) -> None:
        self.values = values if isinstance(values, array) else array("d", map(_number, values))
        """The numbers, NaN for None. While something holds its buffer the column cannot grow."""
        self.remembered: Remembered | None = None
        """What whoever draws it remembers of it (trainer.show.downsampling)."""

    def append(self, value: Any) -> None:
        """Anything that is no number counts as None."""
        self.values.append(_number(value))

    def pop(self) -> float | None:
        """Take back the newest value. Raises IndexError without one."""
        newest = self[-1]
        self.cut(len(self.values) - 1)
        return newest

    def cut(self, length: int) -> None:
        """Keep the first `length` values."""
        del self.values[length:]
        if self.remembered is not None:
            self.remembered.cut(length)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> float | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[float | None]: ...
    def __getitem__(self, place: int | slice) -> float | list[float | None] | None:
        if isinstance(place, slice):
            return [None if value != value else value for value in self.values[place]]
        value = self.values[place]
        return None if value != value else value

    def __iter__(self) -> Iterator[float | None]:
        return (None if value != value else value for value in self.values)

    def __reversed__(self) -> Iterator[float | None]:
        return (None if value != value else value for value in reversed(self.values))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Column | list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"Column({list(self)!r})"


class Table(dict[str, Column]):
    """Columns of the same length by name, filled row by row. To change a column, use the table's methods."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0
        self._names: tuple[str, ...] | None = None  # of the row before: most rows have the same
        self._told: list[array[float]] = []  # of the columns it has a value for
        self._silent: list[array[float]] = []  # and of the others

    def append(self, row: Any) -> None:
        """One more value in every column, None where the row has no number; a new column gets None for earlier rows.

        row: {name: value}; anything else is a row without values.
        """
        values: dict[str, Any] = row if isinstance(row, dict) else {}
        names = tuple(values)
        if names != self._names:
            self._learn(names)
        try:
            any(map(array.append, self._told, values.values()))  # all of them: append returns None
        except (TypeError, OverflowError):  # a value that is no number
            self._cut_to(self.rows)
            for name, value in values.items():
                self[name].append(value)
        if self._silent:
            any(map(array.append, self._silent, _NOTHING))
        self.rows += 1

    def add(self, amounts: dict[str, float]) -> None:
        """Onto the values of the newest row, whose None counts as 0; a new column gets None for earlier rows.

        Raises IndexError without rows.
        """
        for name, amount in amounts.items():
            values = (self.get(name) or self._new(name)).values
            newest = values[-1]
            values[-1] = amount if newest != newest else newest + amount

    def cut(self, rows: int) -> None:
        """Keep the first `rows` rows; columns stay, also those that are left without a value."""
        if rows < self.rows:
            self.rows = rows
            self._cut_to(rows)

    def _cut_to(self, rows: int) -> None:
        for column in self.values():
            column.cut(rows)

    def _learn(self, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in self:
                self._new(name)
        self._told = [self[name].values for name in names]
        told = set(names)
        self._silent = [column.values for name, column in self.items() if name not in told]
        self._names = names

    def _new(self, name: str) -> Column:
        column = self[name] = Column()
        column.values.extend(array("d", [math.nan]) * self.rows)
        self._names = None
        return column


def _number(value: Any) -> float:
    """As it is kept: NaN for everything that is no number."""
    if not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.nan
