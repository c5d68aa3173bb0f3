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

from trainer.show.markup import element, escape
from trainer.text import forms

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
_LEAST, _MOST = 1e-300, 1e300  # what lies between them can be calculated with
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
    value: float | None = None
    """Stands there instead of the newest."""
    marks: Sequence[int] = ()
    note: str = ""
    """Stands small beside the newest value: how it moved."""
    hover: bool = False
    """It carries its values, and the page's ui/hover.js shows those under the pointer."""


def render(chart: Chart, step: str, empty: str) -> str:
    """The chart; one without points has the same size. step: the word for the x axis."""
    drawn = _piled(chart.drawn) if chart.stacked else chart.drawn
    points = [point for line in drawn for point in line.points]
    if not points:
        title = element("span", chart.title)
        return _frame(title, element("p", empty, "g-empty"), "", "", _legend([], False))
    newest_step, newest = max(drawn[-1 if chart.stacked else 0].points or points)
    newest = newest if chart.value is None else chart.value
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
    note = f" {element('small', chart.note)}" if chart.note else ""
    newest_value = f"<b>{escape(chart.format(newest))}{note}</b>" if chart.headline else ""
    below = element("span", f"{step} {place.first:,}") + element("span", f"{place.last:,}")
    told = _told(chart, drawn, place, step) if chart.hover else ""
    legend = _legend(chart.drawn, chart.stacked, chart.format if chart.hover else None)
    return _frame(element("span", chart.title) + newest_value, svg, scale, below, legend, told)


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

    def path(self, points: Sequence[tuple[int, float]]) -> str:
        first, steps, high, height = self.first, max(1, self.last - self.first), self.high, self.high - self.low
        return " ".join(
            [f"{(step - first) / steps * _SIZE:.0f},{(high - value) / height * _SIZE:.0f}" for step, value in points]
        )


def _lines(drawn: Sequence[Line], place: _Place) -> str:
    shapes = []
    for line in drawn:
        if line.points:
            # A path that ends where it began is a dot: a run of one step is seen as well.
            path = f"M{place.path(line.points[:1])}L{place.path(line.points)}"
            shapes.append(f'<path class="g-line-{line.style}" d="{path}"/>')
        if line.style == "joined":
            dots = "".join(f"M{place.path([point])}h0" for point in line.points)
            shapes.append(f'<path class="g-dots" d="{dots}"/>')
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
            path = f"M{place.path(line.points)} {ends}Z"
            shapes.append(f'<path class="g-area-{line.style}" d="{path}"/>')
    return "".join(shapes)


def _told(chart: Chart, drawn: Sequence[Line], place: _Place, step: str) -> str:
    """Attributes for ui/hover.js: the steps at both ends, the word for a step, what piled lines add up to."""
    told = f' data-first="{place.first}" data-last="{place.last}" data-step="{escape(step)}"'
    return f'{told} data-points="{_values(drawn[-1].points, chart.format)}"' if chart.stacked else told


def _values(points: Sequence[tuple[int, float]], shown: Format) -> str:
    """step:value|step:value ... as they are read."""
    return escape("|".join([f"{step}:{shown(value)}" for step, value in points]))


def _frame(head: str, drawing: str, scale: str, below: str, legend: str, told: str = "") -> str:
    return (
        f'<div class="g-card"{told}><div class="g-chart-head">{head}</div><div class="g-chart">'
        f'<div class="g-scale">{scale}</div><div class="g-plot">{drawing}</div></div>'
        f'<div class="g-below">{below}</div>{legend}</div>'
    )


def _legend(drawn: Sequence[Line], stacked: bool, shown: Format | None = None) -> str:
    """shown: each entry carries the values of its line in that form."""
    kind, path = ("area", "M0,0h24v6h-24Z") if stacked else ("line", "M0,3h24")
    items = []
    for line in drawn:
        swatch = f'<path class="g-{kind}-{line.style}" d="{path}"/>'
        told = f' data-points="{_values(line.points, shown)}"' if shown else ""
        items.append(f'<span{told}><svg viewBox="0 0 24 6" aria-hidden="true">{swatch}</svg>{escape(line.name)}</span>')
    return f'<div class="g-legend">{"".join(items)}</div>'


def axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Round ends and two to five round marks that hold low and high."""
    low, high = (min(max(end, -_MOST), _MOST) for end in (low, high))
    # The means of equal values differ in their last digits.
    if not high - low > max(_LEAST, 1e-9 * max(abs(low), abs(high))):
        room = abs(low) * 0.1 if abs(low) > _LEAST else 0.1
        low, high = low - room, high + room
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = [float(f"{number * step:.12g}") for number in range(first, last + 1)]
    return marks[0], marks[-1], marks


def window(steps: int) -> int:
    """Steps the smoothed line of so many is a mean of (trainer.show.downsampling.smooth)."""
    return max(RECENT, steps // _SMOOTH_SHARE)
