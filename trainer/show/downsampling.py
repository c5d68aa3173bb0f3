"""A column as the points of a chart: as few as are asked for, at the same cost however long the run is.

Points lie on stretches of the run, counted from its first step, whose length is a power of two or the middle between
two: while the run grows they mostly stay where they are. Of every 16, 256 and 4,096 values the lowest, the highest, sum
and count are remembered. NumPy only.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.run.columns import Column

Points = list[tuple[int, float]]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

SIZES = (4096, 256, 16)  # values of a block; they add 40 % to the memory of a column that is drawn
_LOW, _HIGH, _LOW_AT, _HIGH_AT, _SUM, _COUNT = range(6)  # what is known of a block; the places are those of the column
_PARTS = 8  # of a stretch: so exact is the width of a smoothed line


def picture(
    steps: Sequence[int],
    column: Sequence[float | None],
    first: int | None = None,
    last: int | None = None,
    points: int = 240,
) -> Points:
    """At most `points` (step, value) pairs from step `first` to step `last`, of all steps by default.

    Of each stretch the lowest and the highest value stay, so that no dip and no spike is lost; the first and the last
    value stay as they are. What is not there or not finite is left out. points: 8 at least.
    """
    start, end = _window(steps, column, first, last)
    column = column if isinstance(column, Column) else Column(column)
    places: Sequence[int] = range(start, end)
    if end - start > points:
        places = _kept(column, start, end, _stretch(end - start, points // 2 - 3))
    values = column.values
    return [(steps[place], values[place]) for place in places if math.isfinite(values[place])]


@np.errstate(over="ignore", invalid="ignore")  # a mean that is not finite is left out
def smooth(
    steps: Sequence[int],
    column: Sequence[float | None],
    width: int,
    first: int | None = None,
    last: int | None = None,
    points: int = 240,
    absent: float | None = None,
) -> Points:
    """The mean of the newest `width` steps, at no more than `points` steps from `first` to `last`, all by default.

    It begins where there are `width` steps. All columns of a run get the same steps, those without a value left out.
    Where not every step has its point, a mean is over all steps since the point before it at least, and its width is
    rounded to an eighth of them, but for the last. width: 1 at least. absent: what a step that did not report counts
    as; None leaves it out of the mean.
    """
    start, end = _window(steps, column, first, last)
    column = column if isinstance(column, Column) else Column(column)
    stretch = _stretch(end - start, points if end - start <= points else points - 2)
    part = max(1, stretch // _PARTS)
    parts = max(stretch // part, round(width / part))  # of one mean
    begin = max(start // stretch + 1, math.ceil(max(width, parts * part) / stretch))
    ends = np.arange(begin, end // stretch + 1) * stretch  # places behind the newest step of a mean
    found: Points = []
    if len(ends):
        sums, counts = _sums(column, int(ends[0]) - parts * part, int(ends[-1]), part, absent)
        at = (ends - ends[0]) // part
        sums, counts = _sliding(sums, parts)[at], _sliding(counts, parts)[at]
        found = [
            (steps[p - 1], s / n) for p, s, n in zip(*map(np.ndarray.tolist, (ends, sums, counts)), strict=True) if n
        ]
    rest = end - int(ends[-1]) if len(ends) else width  # steps behind the last stretch
    if rest and max(start, width - 1) < end:
        newest = max(width, rest)
        sums, counts = _sums(column, end - newest, end, newest, absent)
        found += [(steps[end - 1], float(sums[0] / counts[0]))] if counts[0] else []
    return [point for point in found if math.isfinite(point[1])]


def _window(
    steps: Sequence[int], column: Sequence[float | None], first: int | None, last: int | None
) -> tuple[int, int]:
    """Places from and to, the latter not included."""
    count = min(len(steps), len(column))
    start = 0 if first is None else bisect.bisect_left(steps, first, 0, count)
    return start, max(start, count if last is None else bisect.bisect_right(steps, last, 0, count))


def _stretch(count: int, most: int) -> int:
    """Steps of a stretch: the smallest of 1, 2, 3, 4, 6, 8, 12 ... of which `most` are as long as `count`."""
    least = math.ceil(count / most)
    power = 1 << max(0, least - 1).bit_length()
    return power // 4 * 3 if power >= 4 and least <= power // 4 * 3 else power


def _kept(column: Column, start: int, end: int, width: int) -> list[int]:
    """Places of the values that stay, in order."""
    size = _size(width)
    cells = _cells(column, start, end, size)
    told = np.flatnonzero(cells[_COUNT])
    if not len(told):
        return []
    each, before = width // size, start // size % (width // size)
    lows = cells[_LOW_AT, _least(cells[_LOW], before, each)]
    highs = cells[_HIGH_AT, _least(-cells[_HIGH], before, each)]
    first, last = (max(start, (start // size + int(cell)) * size) for cell in (told[0], told[-1]))
    ends = (
        first + _known(column, first, min(first + size, end))[0],
        last + _known(column, last, min(last + size, end))[-1],
    )
    return sorted({int(place) for place in (*ends, *lows, *highs)})


def _known(column: Column, start: int, end: int) -> Places:
    """Counted from start."""
    return np.flatnonzero(~np.isnan(_raw(column, start, end)))


def _least(values: Floats, before: int, each: int) -> Places:
    """Of each stretch of `each` the place of the least value below infinity; the first lacks `before` values."""
    table = _table(values, before, each, np.inf)
    chosen = table.argmin(axis=1)
    lines = np.arange(len(table))
    found: Places = (lines * each + chosen - before)[np.isfinite(table[lines, chosen])]
    return found


def _table(values: Floats, before: int, each: int, missing: float) -> Floats:
    """Lines of `each`; the first lacks `before` values, the last what is left."""
    lines = -(-(before + len(values)) // each)
    table = np.full(lines * each, missing)
    table[before : before + len(values)] = values
    return table.reshape(-1, each)


def _size(width: int) -> int:
    """Values of the largest blocks that make up `width`; 1 where the values themselves are looked at."""
    return next((size for size in SIZES if width % size == 0), 1)


def _sums(column: Column, start: int, end: int, part: int, absent: float | None) -> tuple[Floats, Floats]:
    """Sum and count of each `part` values from start to end."""
    size = _size(math.gcd(part, start))
    if size > 1:
        cells = _blocks(column, size)[_SUM : _COUNT + 1, start // size : end // size]
        sums, counts = cells.reshape(2, -1, part // size).sum(axis=2)
    else:
        values = _raw(column, start, end).reshape(-1, part)
        sums, counts = _or(values, 0.0).sum(axis=1), (~np.isnan(values)).sum(axis=1).astype(np.float64)
    return (sums, counts) if absent is None else (sums + absent * (part - counts), np.full_like(counts, part))


def _sliding(values: Floats, count: int) -> Floats:
    """Sums of `count` neighbours, of one, two, four ... at a time. Not as differences of running sums: after a value of
    1e20, as a KL may be, nothing would be left of the others."""
    length = len(values) - count + 1
    found, done, size = np.zeros(length), 0, 1
    while size <= count:
        if count & size:
            found += values[done : done + length]
            done += size
        values = values[:-size] + values[size:]
        size *= 2
    return found


def _blocks(column: Column, size: int) -> Floats:
    """(6, blocks) what is remembered of the whole blocks."""
    if not isinstance(column.remembered, Blocks):
        column.remembered = Blocks()
    return column.remembered.of(column.values, size)


def _cells(column: Column, start: int, end: int, size: int) -> Floats:
    """(6, blocks) what is known of each block between start and end; of the two outer ones only of what lies inside."""
    if size == 1:
        return _measured(_raw(column, start, end), start, 1)
    known = _blocks(column, size)[:, start // size : end // size]
    tail = max(start, end // size * size)
    cells = np.concatenate((known, _measured(_raw(column, tail, end), tail, size)), axis=1)
    if start % size:
        cells[:, :1] = _measured(_raw(column, start, min(end, (start // size + 1) * size)), start, size)
    return cells


def _measured(values: Floats, start: int, size: int) -> Floats:
    """(6, blocks) of values of which the first is at `start`."""
    table = _table(values, start % size, size, np.nan)
    lows, highs, lines = _or(table, np.inf), _or(table, -np.inf), np.arange(len(table))
    low_at, high_at = lows.argmin(axis=1), highs.argmax(axis=1)
    places = start // size * size + lines * size
    with np.errstate(over="ignore"):
        sums = _or(table, 0.0).sum(axis=1)
    counts = (~np.isnan(table)).sum(axis=1)
    extremes = (lows[lines, low_at], highs[lines, high_at], places + low_at, places + high_at)
    return np.stack((*extremes, sums, counts))


def _raw(column: Column, start: int, end: int) -> Floats:
    """A copy, since a column cannot grow while its buffer is held. NaN for all that is not finite."""
    return _finite(np.array(memoryview(column.values)[start:end], dtype=np.float64))


def _finite(values: Floats) -> Floats:
    values[np.isinf(values)] = np.nan
    return values


def _or(values: Floats, missing: float) -> Floats:
    return np.where(np.isnan(values), missing, values)


class Blocks:
    """What is remembered of the whole blocks of one column; found out when asked for, of each block once."""

    def __init__(self) -> None:
        self._cells = {size: np.empty((6, 0)) for size in SIZES}

    def of(self, values: array[float], size: int) -> Floats:
        """(6, blocks) of all whole blocks of that size."""
        cells = self._cells[size]
        have, whole = cells.shape[1] * size, len(values) // size * size
        if whole > have:
            new = _finite(np.array(memoryview(values)[have:whole], dtype=np.float64))
            cells = self._cells[size] = np.concatenate((cells, _measured(new, have, size)), axis=1)
        return cells

    def cut(self, length: int) -> None:
        """The column was cut to `length` values."""
        self._cells = {size: cells[:, : length // size] for size, cells in self._cells.items()}
