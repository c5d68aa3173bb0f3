"""Which steps of a run are drawn, how smooth, and columns as the lines of a chart. Costs the same however long the run
is. Pure functions; no gradio.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.run.columns import Column
from trainer.run.state import RunState
from trainer.show import charts, downsampling
from trainer.show.charts import Line, Style

SMOOTHINGS = ("none", "auto", "strong")
SPANS = ("all", "1000", "200", "50")
RAW_POINTS, SMOOTH_POINTS, EARLY_POINTS = 200, 120, 12  # of one line; the last of its begin
_STRONG_STEPS, _STRONG_SHARE = 30, 6  # a mean of that many steps at least, of a sixth of what is shown
_RANGE = re.compile(r"\s*(\d{1,9})\s*(?:-|\u2013|~|\s)\s*(\d{1,9})\s*")
MOST_TYPED = 40  # characters of a range
BACK = 10  # steps an arrow looks back

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class View:
    """first, last: steps that are drawn, both included. width: steps a smooth line is the mean of; 0 draws none.
    whole: everything is shown. wrong: what was typed for the steps, where it is no range."""

    first: int
    last: int
    width: int
    whole: bool = True
    wrong: str = ""

    def holds(self, step: int) -> bool:
        """Whole: also what was measured before the first step."""
        return step <= self.last and (self.whole or step >= self.first)


NOTHING = View(0, 0, 0)


def view(steps: Sequence[int], smoothing: str | None, span: str | None, typed: str | None) -> View:
    """From what a browser sent; anything unknown counts as nothing chosen. typed: "120-300", before the span."""
    end = steps[-1] if steps else 0
    first, last, wrong = (steps[0] if steps else 0), end, ""
    text = (typed or "").strip()[:MOST_TYPED]
    found = _RANGE.fullmatch(text)
    if found:
        low, high = sorted(map(int, found.groups()))
        first, last = max(first, low), min(last, high)
        wrong = text if first > last and steps else ""
    elif text:
        wrong = text
    elif span in SPANS[1:] and len(steps) > int(span):
        first = steps[-int(span)]
    if wrong:
        first, last = (steps[0] if steps else 0), end
    count = bisect.bisect_right(steps, last) - bisect.bisect_left(steps, first)
    width = {"none": 0, "strong": max(_STRONG_STEPS, count // _STRONG_SHARE)}.get(smoothing or "", charts.window(count))
    return View(first, last, width, not steps or (first, last) == (steps[0], end), wrong)


@dataclass(frozen=True)
class Pen:
    """Draws columns of one run in one view."""

    state: RunState
    view: View

    def raw(self, column: Sequence[float | None], points: int = RAW_POINTS) -> Points:
        return downsampling.picture(self.state.steps, column, self.view.first, self.view.last, points)

    def smooth(self, column: Sequence[float | None], absent: float | None = None) -> Points:
        """Means of the view's width. absent: what a step that did not report counts as; None leaves it out."""
        width = max(1, self.view.width)
        return downsampling.smooth(
            self.state.steps, column, width, self.view.first, self.view.last, SMOOTH_POINTS, absent
        )

    @property
    def bare(self) -> bool:
        """No smooth line: none is wanted, or there are too few steps for one."""
        return not self.view.width or len(self.state.steps) < 2 * self.view.width

    def two(self, column: Sequence[float | None], each: str, mean: str) -> list[Line]:
        """Every step faint, the mean of its neighbourhood strong; without a mean every step strong."""
        points = self.raw(column)
        if self.bare:
            return [Line(each, "strong", points)]
        return [Line(each, "faint", points), Line(mean, "strong", self.smooth(column))]

    def one(self, name: str, style: Style, column: Column) -> Line:
        """For charts of several lines: the mean, or every step where there is no mean."""
        return Line(name, style, self.raw(column) if self.bare else self._whole(column, self.smooth(column), None))

    def stacked(self, column: Column) -> Points:
        """The mean, at the same steps for every column of the run, so that lines that are stacked add up. A step that
        did not report counts as 0."""
        return self._whole(column, self._plain(column) if self.bare else self.smooth(column, absent=0.0), 0.0)

    def _plain(self, column: Column) -> Points:
        """Means of stretches that follow each other."""
        return downsampling.smooth(self.state.steps, column, 1, self.view.first, self.view.last, SMOOTH_POINTS, 0.0)

    def _whole(self, column: Column, means: Points, absent: float | None) -> Points:
        """The means and, before the first, those of fewer steps: all charts begin at the same step."""
        steps, width = self.state.steps, max(1, self.view.width)
        start = bisect.bisect_left(steps, self.view.first)
        stop = bisect.bisect_left(steps, means[0][0]) if means else 0
        if stop <= start:
            return means
        begin = max(0, start - width + 1)
        values = np.array(column.values[begin:stop])
        there = np.isfinite(values)
        sums = np.concatenate(([0.0], np.cumsum(np.where(there, values, absent or 0.0))))
        counts = np.concatenate(([0], np.cumsum(there if absent is None else np.ones_like(there))))
        early: Points = []
        for n in range(min(EARLY_POINTS, stop - start)):
            end = start + n * (stop - start) // min(EARLY_POINTS, stop - start) + 1 - begin
            since = max(0, end - width)
            if counts[end] > counts[since]:
                early.append((steps[begin + end - 1], float((sums[end] - sums[since]) / (counts[end] - counts[since]))))
        return early + means

    def rate(self, total: Column, seconds: Column) -> Points:
        """How fast a cumulative column grows, in its unit a second: at every step, or over each stretch of steps."""
        steps = self.state.steps
        found: Points = []
        before = bisect.bisect_left(steps, self.view.first)
        for step, mean in self._plain(seconds):
            place = bisect.bisect_left(steps, step) + 1  # behind it
            then, now = (total[before - 1] if before else 0.0), total[place - 1]
            if then is not None and now is not None and mean > 0 and place > before:
                found.append((step, (now - then) / (mean * (place - before))))
            before = place
        # The first stretch is drawn from its begin.
        return [(self.view.first, found[0][1]), *found] if found and found[0][0] > self.view.first else found

    def change(self, column: Sequence[float | None], back: int = BACK) -> float | None:
        """The newest value shown against the one `back` steps before; None where either is not there."""
        place = min(bisect.bisect_right(self.state.steps, self.view.last), len(column)) - 1
        if place < back:
            return None
        now, then = column[place], column[place - back]
        return None if now is None or then is None else now - then
