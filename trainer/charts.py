"""A chart as HTML with one SVG: fixed height, whole history, no script, nothing fetched. For the page and the report.

Not gr.LinePlot: in Gradio 6.31 its legend is cut off at the bottom, an axis of whole steps repeats its numbers, and it
draws nothing when it was hidden at first. The look is in charts.css, whose colours come from variables that the page
and the report set. Pure functions; no gradio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer import forms
from trainer.markup import element, escape
from trainer.report.fold import Column

# c1 to c8 are the colours of Okabe and Ito, told apart by colour-blind eyes; "joined" shows every point.
Style = Literal[
    "faint", "strong", "wide", "dashed", "dotted", "joined", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"
]  # fmt: skip
Format = Callable[[float], str]

STYLE = Path(__file__).with_name("charts.css")
COLOURS: tuple[Style, ...] = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")
MOST_POINTS = 500  # of one chart, all its lines together
RECENT = 10  # steps the smoothed line is a mean of, at least
_SMOOTH_SHARE = 20  # the smoothed line is a mean over 1/20 of the steps
_SIZE = 1000  # units of the drawing in both directions; CSS stretches it


@dataclass(frozen=True)
class Line:
    """(step, value) pairs in order, under the name the legend shows."""

    name: str
    style: Style
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """low, high: values the axis reaches at least. stacked: each line is an area on top of the one before it; all have
    the same steps. marks: steps marked by a thin line from top to bottom."""

    title: str
    drawn: Sequence[Line]
    low: float | None = None
    high: float | None = None
    format: Format = forms.number
    mark: Format = "{:,g}".format
    """Numbers on the axis."""
    stacked: bool = False
    headline: bool = True
    """The newest value stands large beside the title."""
    marks: Sequence[int] = ()


def render(chart: Chart, step: str, empty: str) -> str:
    """The chart; one without points has the same size. step: the word for the x axis."""
    drawn = _piled(chart.drawn) if chart.stacked else chart.drawn
    points = [point for line in drawn for point in line.points]
    if not points:
        title = element("span", chart.title)
        return _frame(title, element("p", empty, "g-empty"), "", "", _legend([], False))
    newest_step, newest = max(drawn[-1 if chart.stacked else 0].points or points)
    low, high, ticks = axis(
        min([value for _, value in points] + ([] if chart.low is None else [chart.low])),
        max([value for _, value in points] + ([] if chart.high is None else [chart.high])),
    )
    place = _Place(min(number for number, _ in points), max(number for number, _ in points), low, high)
    label = escape(f"{chart.title}: {chart.format(newest)}, {step} {newest_step:,}")
    grid = "".join(f'<path class="g-grid" d="M0,{place.y(tick):.0f}h{_SIZE}"/>' for tick in ticks)
    marks = "".join(f'<path class="g-mark" d="M{place.x(mark):.0f},0v{_SIZE}"/>' for mark in chart.marks)
    shapes = _areas(drawn, place) if chart.stacked else _lines(drawn, place)
    svg = f'<svg viewBox="0 0 {_SIZE} {_SIZE}" preserveAspectRatio="none" role="img" '
    svg += f'aria-label="{label}">{grid}{marks}{shapes}</svg>'
    scale = "".join(
        f'<span style="top:{place.y(tick) / _SIZE:.1%}">{escape(chart.mark(tick))}</span>' for tick in ticks
    )
    head = element("span", chart.title) + (element("b", chart.format(newest)) if chart.headline else "")
    below = element("span", f"{step} {place.first:,}") + element("span", f"{place.last:,}")
    return _frame(head, svg, scale, below, _legend(chart.drawn, chart.stacked))


@dataclass(frozen=True)
class _Place:
    """Where a step and a value lie in the drawing."""

    first: int
    last: int
    low: float
    high: float

    def x(self, step: int) -> float:
        return (step - self.first) / max(1, self.last - self.first) * _SIZE

    def y(self, value: float) -> float:
        return (self.high - value) / (self.high - self.low) * _SIZE

    def __call__(self, point: tuple[int, float]) -> str:
        return f"{self.x(point[0]):.0f},{self.y(point[1]):.0f}"


def _lines(drawn: Sequence[Line], place: _Place) -> str:
    shapes = []
    for line in drawn:
        if line.points:
            # A path that ends where it began is a dot: a run of one step is seen as well.
            path = f"M{place(line.points[0])}L{' '.join(place(point) for point in line.points)}"
            shapes.append(f'<path class="g-line-{line.style}" d="{path}"/>')
        if line.style == "joined":
            shapes.append(f'<path class="g-dots" d="{"".join(f"M{place(point)}h0" for point in line.points)}"/>')
    return "".join(shapes)


def _piled(drawn: Sequence[Line]) -> list[Line]:
    """Each line raised by those before it."""
    piled: list[Line] = []
    height: dict[int, float] = {}
    for line in drawn:
        for step, value in line.points:
            height[step] = height.get(step, 0.0) + value
        piled.append(Line(line.name, line.style, [(step, height[step]) for step, _ in line.points]))
    return piled


def _areas(piled: Sequence[Line], place: _Place) -> str:
    """The highest first, so that each covers what belongs to those below it."""
    shapes = []
    for line in reversed(piled):
        if line.points:
            ends = f"{place.x(line.points[-1][0]):.0f},{_SIZE} {place.x(line.points[0][0]):.0f},{_SIZE}"
            path = f"M{' '.join(place(point) for point in line.points)} {ends}Z"
            shapes.append(f'<path class="g-area-{line.style}" d="{path}"/>')
    return "".join(shapes)


def _frame(head: str, drawing: str, scale: str, below: str, legend: str) -> str:
    return (
        f'<div class="g-card"><div class="g-chart-head">{head}</div><div class="g-chart"><div class="g-scale">{scale}'
        f'</div><div class="g-plot">{drawing}</div></div><div class="g-below">{below}</div>{legend}</div>'
    )


def _legend(drawn: Sequence[Line], stacked: bool) -> str:
    kind, path = ("area", "M0,0h24v6h-24Z") if stacked else ("line", "M0,3h24")
    items = []
    for line in drawn:
        swatch = f'<path class="g-{kind}-{line.style}" d="{path}"/>'
        items.append(f'<span><svg viewBox="0 0 24 6" aria-hidden="true">{swatch}</svg>{escape(line.name)}</span>')
    return f'<div class="g-legend">{"".join(items)}</div>'


def axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Round ends and two to five round marks that hold low and high."""
    if not high > low:
        room = abs(low) * 0.1 or 0.1
        low, high = low - room, high + room
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = [round(number * step, 12) for number in range(first, last + 1)]
    return marks[0], marks[-1], marks


# ---- long histories


def window(steps: int) -> int:
    """Steps the smoothed line is a mean of."""
    return max(RECENT, steps // _SMOOTH_SHARE)


def smoothed(column: Sequence[float | None], width: int) -> Column:
    """Mean of the newest `width` values at each place; None until there are that many."""
    means: Column = []
    total, count = 0.0, 0
    for index, value in enumerate(column):
        total, count = total + (value or 0.0), count + (value is not None)
        if index >= width:
            gone = column[index - width]
            total, count = total - (gone or 0.0), count - (gone is not None)
        means.append(total / count if count and index >= width - 1 else None)
    return means


def thinned(steps: Sequence[int], column: Sequence[float | None], most: int) -> list[tuple[int, float]]:
    """At most `most` points of the whole history.

    Of each stretch the lowest and the highest value stay, so that no dip and no spike is lost; the
    first and the last point stay as they are.
    """
    known = [
        (step, value) for step, value in zip(steps, column, strict=False) if value is not None and math.isfinite(value)
    ]
    if len(known) <= most:
        return known
    inner, stretches = known[1:-1], max(1, (most - 2) // 2)
    kept = [known[0]]
    for number in range(stretches):
        start, end = (len(inner) * part // stretches for part in (number, number + 1))
        part = inner[start:end]
        if part:
            ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
            kept += sorted(ends)
    return [*kept, known[-1]]
