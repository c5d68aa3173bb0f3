"""A line chart as HTML with one SVG: fixed height, whole history, no script, nothing fetched.

Not gr.LinePlot: in Gradio 6.31 its legend is cut off at the bottom, an axis of whole steps repeats
its numbers, and it draws nothing when it was hidden at first. Pure functions; no gradio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.console import lines
from trainer.ui.markup import element, escape

Style = Literal["faint", "strong", "wide", "dashed", "dotted"]
Format = Callable[[float], str]

_SIZE = 1000  # units of the drawing in both directions; CSS stretches it


@dataclass(frozen=True)
class Line:
    """(step, value) pairs in order, under the name the legend shows."""

    name: str
    style: Style
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """low, high: values the axis reaches at least."""

    title: str
    drawn: Sequence[Line]
    low: float | None = None
    high: float | None = None
    format: Format = lines.number
    mark: Format = "{:,g}".format
    """Numbers on the axis."""


def render(chart: Chart, step: str, empty: str) -> str:
    """The chart; one without points has the same size. step: the word for the x axis."""
    title = element("span", chart.title)
    points = [point for line in chart.drawn for point in line.points]
    if not points:
        return _frame(title, element("p", empty, "g-empty"), "", "", _legend([]))
    newest_step, newest = max(chart.drawn[0].points or points)
    head = title + element("b", chart.format(newest))
    low, high, ticks = axis(
        min([value for _, value in points] + ([] if chart.low is None else [chart.low])),
        max([value for _, value in points] + ([] if chart.high is None else [chart.high])),
    )
    first = min(number for number, _ in points)
    span = max(1, newest_step - first)

    def place(point: tuple[int, float]) -> str:
        x = (point[0] - first) / span * _SIZE
        y = (high - point[1]) / (high - low) * _SIZE
        return f"{x:.0f},{y:.0f}"

    grid = "".join(
        f'<path class="g-grid" d="M0,{(high - tick) / (high - low) * _SIZE:.0f}h{_SIZE}"/>' for tick in ticks
    )
    # A path that ends where it began is a dot: a run of one step is seen as well.
    paths = "".join(
        f'<path class="g-line-{line.style}" d="M{place(line.points[0])}L'
        f'{" ".join(place(point) for point in line.points)}"/>'
        for line in chart.drawn
        if line.points
    )
    label = escape(f"{chart.title}: {chart.format(newest)}, {step} {newest_step:,}")
    drawing = (
        f'<svg viewBox="0 0 {_SIZE} {_SIZE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{grid}{paths}</svg>'
    )
    scale = "".join(
        f'<span style="top:{(high - tick) / (high - low) * 100:.1f}%">{escape(chart.mark(tick))}</span>'
        for tick in ticks
    )
    below = element("span", f"{step} {first:,}") + element("span", f"{newest_step:,}")
    return _frame(head, drawing, scale, below, _legend(chart.drawn))


def _frame(head: str, drawing: str, scale: str, below: str, legend: str) -> str:
    return (
        f'<div class="g-card"><div class="g-chart-head">{head}</div><div class="g-chart"><div class="g-scale">{scale}'
        f'</div><div class="g-plot">{drawing}</div></div><div class="g-below">{below}</div>{legend}</div>'
    )


def _legend(drawn: Sequence[Line]) -> str:
    swatch = '<svg viewBox="0 0 24 6" aria-hidden="true"><path class="g-line-{}" d="M0,3h24"/></svg>'
    items = (f"<span>{swatch.format(line.style)}{escape(line.name)}</span>" for line in drawn)
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
