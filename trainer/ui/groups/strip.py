"""The marks of the scrubber: one for each step with rollouts, or for a stretch of them in a long run. Pure functions.

A mark's height is the spread inside the groups of its steps against the largest of the run; its colour the share of
groups that had any. What was not told has a mark of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups.known import Known

MOST_MARKS = 240
MOST_RUNS = 500
"""Stretches of evenly spaced steps that the browser is told of."""
_SHADES = 5
_WIDEST = 40  # marks of a run of few steps are no wider than if it had this many
_LOWEST = 8  # of 100: a mark without spread is seen too


@dataclass(frozen=True)
class Mark:
    """first: place of its first step. std: mean of its steps; dead: likewise. None when none of them said."""

    first: int
    count: int
    std: float | None
    dead: float | None


def marks(std: Sequence[float | None], dead: Sequence[float | None], most: int = MOST_MARKS) -> list[Mark]:
    """At most `most` marks over all places, each of the same number of steps but for rounding."""
    total = len(std)
    count = min(most, total)
    made = []
    for number in range(count):
        first, end = total * number // count, total * (number + 1) // count
        made.append(Mark(first, end - first, _mean(std[first:end]), _mean(dead[first:end])))
    return made


def _mean(values: Sequence[float | None]) -> float | None:
    said = [value for value in values if value is not None and math.isfinite(value)]
    return sum(said) / len(said) if said else None


def drawn(found: Sequence[Mark], total: int, place: int) -> str:
    """One SVG that CSS stretches; the mark of the chosen place stands out."""
    largest = max((mark.std for mark in found if mark.std is not None), default=0.0) or 1.0
    shapes = []
    for mark in found:
        here = mark.first <= place < mark.first + mark.count
        height = 100 if mark.std is None else _LOWEST + (100 - _LOWEST) * min(1.0, mark.std / largest)
        shade = "gg-untold" if mark.dead is None else f"gg-shade{round((1 - mark.dead) * (_SHADES - 1))}"
        if here:
            shapes.append(f'<rect class="gg-here" x="{mark.first}" y="0" width="{mark.count}" height="100"/>')
        width = min(0.8 * mark.count, total / _WIDEST)
        left = mark.first + (mark.count - width) / 2
        box = f'x="{left:.3f}" y="{100 - height:.0f}" width="{width:.3f}"'
        shapes.append(f'<rect class="{shade}" {box} height="{height:.0f}"/>')
    view = f'viewBox="0 0 {max(1, total)} 100" preserveAspectRatio="none" aria-hidden="true"'
    return f'<svg class="gg-marks" {view}>{"".join(shapes)}</svg>'


def runs(steps: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, distance, count) of stretches of evenly spaced steps: 1, 2, 3, 10, 20 is (1, 1, 3), (10, 10, 2)."""
    found: list[tuple[int, int, int]] = []
    for step in steps:
        if found:
            first, distance, count = found[-1]
            if count == 1:
                found[-1] = (first, step - first, 2)
                continue
            if step == first + distance * count:
                found[-1] = (first, distance, count + 1)
                continue
        found.append((step, 1, 1))
    return found


def offered(steps: Sequence[int]) -> list[tuple[int, int, int]]:
    """The stretches the scrubber offers: all, or of very uneven steps as many as it can be told of."""
    found = runs(steps)
    if len(found) <= MOST_RUNS:
        return found
    kept = [steps[round(n * (len(steps) - 1) / (MOST_RUNS - 1))] for n in range(MOST_RUNS)]
    return runs(kept)


def strip(known: Known, place: int, following: bool, say: Words) -> str:
    """The marks, what they mean, and what the script has to know: data-* of the first element."""
    told = ";".join(",".join(map(str, run)) for run in offered(known.steps))
    data = {
        "run": known.rundir.name,
        "runs": told,
        "step": known.steps[place],
        "following": int(following),
        "live": int(known.live),
    }
    given = " ".join(f'data-{name}="{elements.escape(str(value))}"' for name, value in data.items())
    found = marks(known.std, known.dead)
    here = next((mark for mark in found if mark.first <= place < mark.first + mark.count), None)
    words = [elements.element("span", say("groups.legend"))]
    if here is not None and here.count == 1 and here.std is not None and here.dead is not None:
        spread, dead = forms.number(here.std), forms.percent(here.dead)
        words.append(elements.element("b", say("groups.here", spread=spread, dead=dead)))
    legend = f'<p class="gg-legend">{"".join(words)}</p>'
    return f'<div class="gg-strip" {given}>{drawn(found, len(known.steps), place)}</div>{legend}'
