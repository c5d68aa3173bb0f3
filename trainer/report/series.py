"""What a series of numbers does: its usual level, dips and spikes, trend, period. Pure functions; NumPy only.

Everything is robust: a median and its neighbours say what is usual, so that the few values that are not do not move the
line they are measured against. Uncertainty counts neighbouring steps that resemble each other as fewer than they are.
"""

from __future__ import annotations

import itertools
import math
import statistics
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from trainer.run.columns import Column
from trainer.text import Message

Points = Sequence[tuple[int, float]]
Floats = NDArray[np.float64]

WINDOW = 41  # steps whose median is the usual level at a step
SIGMAS = 4.5  # of the noise: in 200 steps of independent noise hardly ever, as tests/report/test_series.py measures
LEAST_FOR_AWAY = 30  # values: from fewer the noise cannot be told
SHARE_OF_RANGE = 0.25  # and this much of all the series did: where there is no noise, nothing small counts
NORMAL = 1.4826  # median absolute deviation -> standard deviation of a normal distribution
LEAST_FOR_TREND = 10  # values
TREND_SIGMAS = 3.0
LATE, LEAST_LATE = 5, 10  # the end of a run is its last fifth, but so many values at least
FEW = 50  # values: below it the correlation from step to step is underestimated, and one more is asked for


class Series(Points):
    """(step, value) pairs in 16 bytes each: a long run has dozens of millions."""

    __slots__ = ("steps", "values")

    def __init__(self, steps: NDArray[np.int64], values: Floats) -> None:
        self.steps, self.values = steps, values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> tuple[int, float]: ...
    @overload
    def __getitem__(self, place: slice) -> Series: ...
    def __getitem__(self, place: int | slice) -> tuple[int, float] | Series:
        if isinstance(place, slice):
            return Series(self.steps[place], self.values[place])
        return int(self.steps[place]), float(self.values[place])

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.steps.tolist(), self.values.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Series | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list


def known(steps: Sequence[int], column: Sequence[float | None]) -> Series:
    """(step, value) where there is a finite value."""
    values = np.array((column if isinstance(column, Column) else Column(column)).values, dtype=np.float64)
    count = min(len(steps), len(values))
    values = values[:count]
    finite = np.isfinite(values)
    return Series(np.array(steps[:count], dtype=np.int64)[finite], values[finite])


def without(points: Series, steps: set[int]) -> Series:
    """Those of other steps."""
    kept = ~np.isin(points.steps, list(steps))
    return Series(points.steps[kept], points.values[kept])


def steps_of(points: Points) -> list[int]:
    return points.steps.tolist() if isinstance(points, Series) else [step for step, _ in points]


def values_of(points: Points) -> Floats:
    return points.values if isinstance(points, Series) else np.array([value for _, value in points], dtype=np.float64)


def column_of(points: Points) -> Column:
    """The values, to be drawn."""
    return Column(array("d", values_of(points).tobytes()))


@dataclass(frozen=True)
class Usual:
    """median: the usual level. low, high: 5th and 95th percentile."""

    median: float
    low: float
    high: float
    least: float
    most: float


def usual(points: Points) -> Usual:
    """Raises ValueError without points."""
    if not points:
        raise ValueError("no values")
    found = values_of(points)
    low, middle, high = (float(value) for value in np.percentile(found, (5, 50, 95)))
    return Usual(middle, low, high, float(found.min()), float(found.max()))


@dataclass(frozen=True)
class Away:
    """A value that is not the usual one. usual: the level around it."""

    step: int
    value: float
    usual: float


def rolling_median(values: Floats, window: int = WINDOW) -> Floats:
    """Median of the `window` values around each. Towards the ends of as many as lie on both sides: a level that rises
    or falls there is still met."""
    count, half = len(values), window // 2
    if count <= 2 * half:
        half = (count - 1) // 2
    found = np.array(values, dtype=np.float64)
    for place in range(half):
        for end, middle in ((values[: 2 * place + 1], place), (values[count - 2 * place - 1 :], count - 1 - place)):
            found[middle] = np.median(end)
    if half:
        parts = (np.lib.stride_tricks.sliding_window_view(p, 2 * half + 1) for p in _parts(values, 2 * half + 1))
        found[half : count - half] = np.concatenate([np.median(part, axis=1) for part in parts])
    return found


def _parts(values: Floats, window: int, size: int = 20_000) -> list[Floats]:
    """Overlapping stretches, so that a long run does not need all its windows in memory at once."""
    return [values[start : start + size + window - 1] for start in range(0, len(values) - window + 1, size)]


def away(points: Points, side: Literal["low", "high"]) -> list[Away]:
    """Values far from the level around them, in the order of the steps.

    Far is SIGMAS of the noise and SHARE_OF_RANGE of everything the series does. [] below LEAST_FOR_AWAY values.
    """
    if len(points) < LEAST_FOR_AWAY:
        return []
    found = values_of(points)
    level = rolling_median(found)
    rest = found - level
    inner = rest[5:-5]  # towards the ends the level follows the values themselves
    noise = NORMAL * float(np.median(np.abs(inner - np.median(inner))))
    least = max(SIGMAS * noise, SHARE_OF_RANGE * float(found.max() - found.min()))
    if least <= 1e-12 * max(1.0, float(np.abs(found).max())):
        return []
    far = rest <= -least if side == "low" else rest >= least
    return [Away(*points[i], float(level[i])) for i in np.flatnonzero(far).tolist()]


def apart(found: Sequence[Away], distance: int = 3) -> list[Away]:
    """One of each bunch of neighbouring steps: the one farthest from the usual."""
    bunches: list[list[Away]] = []
    for one in found:
        if bunches and one.step - bunches[-1][-1].step <= distance:
            bunches[-1].append(one)
        else:
            bunches.append([one])
    return [max(bunch, key=lambda one: abs(one.value - one.usual)) for bunch in bunches]


@dataclass(frozen=True)
class Period:
    """Steps between events that come back. spread: standard deviation of the gaps over their mean."""

    steps: float
    spread: float


LEAST_RETURNS = 4  # three gaps: fewer are alike by chance too often
MOST_SPREAD = 0.2


def period(steps: Sequence[int]) -> Period | None:
    """The period of events at these steps; None when they come too seldom or too unevenly."""
    if len(steps) < LEAST_RETURNS:
        return None
    gaps = [after - before for before, after in itertools.pairwise(steps)]
    mean = statistics.fmean(gaps)
    spread = statistics.stdev(gaps) / mean
    return Period(mean, spread) if spread <= MOST_SPREAD and mean >= 2 else None


@dataclass(frozen=True)
class Trend:
    """change: over all steps, by the fitted curve; error: its standard error. direction: 0 when it may be chance."""

    change: float
    error: float
    first: float
    last: float
    count: int

    @property
    def direction(self) -> int:
        size = max(abs(self.first), abs(self.last), 1e-3)
        sigmas = TREND_SIGMAS + (1 if self.count < FEW else 0)
        if abs(self.change) <= sigmas * self.error or abs(self.change) < 1e-9 * size:  # the latter is rounding
            return 0
        return 1 if self.change > 0 else -1


def trend(points: Points) -> Trend | None:
    """Does the series rise or fall? None below LEAST_FOR_TREND values.

    Three ways are tried, and the one that stands out most counts: a straight line; one that is steep at first and
    levels off (a line in log(1 + 10 t / T)), because learning does, and around it a straight line leaves residuals that
    look like slow noise and hide the rise; and the last fifth against the first, for curves of any other shape.
    """
    count = len(points)
    if count < LEAST_FOR_TREND:
        return None
    steps = np.array(steps_of(points), dtype=np.float64)
    found = values_of(points)
    passed = (steps - steps[0]) / (steps[-1] - steps[0])
    tried = [_fit(found, passed), _fit(found, np.log1p(10 * passed)), _ends(found)]
    change, error = max(tried, key=lambda one: abs(one[0]) / max(one[1], 1e-300))
    edge = max(1, min(10, count // 2))
    return Trend(change, error, float(found[:edge].mean()), float(found[-edge:].mean()), count)


def _ends(found: Floats) -> tuple[float, float]:
    """(mean of the last fifth less that of the first, twice its standard error).

    The noise is what is left beside a running mean over a fifth, which takes some slow noise for signal: hence twice.
    """
    count = len(found)
    part = max(2, count // 5)
    width = part | 1
    padded = np.pad(found - found.mean(), width // 2, mode="reflect")
    sums = np.concatenate(([0.0], np.cumsum(padded)))  # convolving takes as long as the run is, squared
    rest = padded[width // 2 :][:count] - (sums[width:] - sums[:-width]) / width
    rest *= math.sqrt(width / (width - 1))
    error = math.sqrt(2 * float((rest * rest).mean()) / (part * _independent(rest)))
    return float(found[-part:].mean() - found[:part].mean()), 2 * error


def _fit(found: Floats, x: Floats) -> tuple[float, float]:
    """(change from the first to the last, its standard error) by least squares.

    With as many independent values as the residuals' correlation from step to step leaves: n (1 - r) / (1 + r)
    (Bartlett 1935, for a first-order autoregression).
    """
    count, width = len(found), float(x[-1] - x[0])
    x = x - x.mean()
    slope = float((x * found).sum() / (x * x).sum())
    rest = found - found.mean() - slope * x
    free = max(3.0, count * _independent(rest))
    noise = float((rest * rest).sum()) / max(1.0, free - 2) * (free / count)
    return slope * width, math.sqrt(noise / float((x * x).sum()) * (count / free)) * width


def _independent(rest: Floats) -> float:
    """Share of the values that are independent of the one before.

    Residuals of a line look less correlated than the noise is, by (2 + 4 r) / n (Kendall 1954; Marriott and Pope 1954).
    """
    total = float((rest * rest).sum())
    if total < 1e-18:
        return 1.0
    seen = float((rest[1:] * rest[:-1]).sum()) / total
    r = min(0.95, max(0.0, seen + (2 + 4 * max(0.0, seen)) / len(rest)))
    return (1 - r) / (1 + r)


@dataclass(frozen=True)
class Mean:
    """Of a stretch, with its standard error."""

    value: float
    error: float
    count: int


def mean(points: Points) -> Mean | None:
    """The error counts neighbours that resemble each other as fewer values."""
    if not points:
        return None
    found = values_of(points)
    if len(found) < 2:
        return Mean(float(found[0]), math.inf, 1)
    rest = found - found.mean()
    free = max(1.0, len(found) * _independent(rest))
    return Mean(float(found.mean()), float(found.std(ddof=1)) / math.sqrt(free), len(found))


def newest(points: Points) -> Points:
    """The last fifth, ten values at least: `late` says which."""
    return points[-max(LEAST_LATE, len(points) // LATE) :]


def newest_mean(column: Column) -> tuple[float, int] | None:
    """(mean of what `newest` takes of its finite values, how many those are), without the steps: of a long run they
    cost more than a tick may. None without any."""
    values = np.array(memoryview(column.values), dtype=np.float64)
    finite = values[np.isfinite(values)]
    return (float(finite[-max(LEAST_LATE, len(finite) // LATE) :].mean()), len(finite)) if len(finite) else None


def late(count: int) -> Message:
    """What `newest` takes of `count` values, to be put into a sentence."""
    taken = max(LEAST_LATE, count // LATE)
    return Message("report.late.steps", count=taken) if taken < count else Message("report.late.all", count=count)


def oldest(points: Points, part: float = 0.2, least: int = 10) -> Points:
    """The first fifth, at most half of all values and ten at least."""
    return points[: min(max(1, len(points) // 2), max(least, int(len(points) * part)))]
