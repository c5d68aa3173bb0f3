"""The charts of [sampling]: levels, what was thrown away, came again or was left out, completions of a prompt.

Only those that the run has set, or has recorded. No gradio, no files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from trainer.run.columns import Column
from trainer.show.charts import COLOURS, Chart, Line, Style
from trainer.spec import RunSpec
from trainer.text import Words, forms
from trainer.ui.live.drawing import Pen

HEAD = "train/sampler/"
_LEVEL = re.compile(re.escape(f"{HEAD}pass_rate/level_") + r"(\d+)")
Make = Callable[..., Chart]
"""(key of the title, lines, column whose newest value stands there, options of the chart)."""


def charts(pen: Pen, spec: RunSpec | None, say: Words, make: Make) -> list[Chart]:
    chosen = spec.sampling if spec is not None else None
    found = []
    if (chosen is not None and chosen.curriculum != "off") or _column(pen, "level"):
        found += [_level(pen, say, make), _pass_rates(pen, say, make)]
    if (chosen is not None and chosen.max_rounds > 1) or _column(pen, "thrown_frac"):
        found.append(_thrown(pen, say, make))
    if (chosen is not None and chosen.replay) or _column(pen, "replayed_frac"):
        found.append(_replayed(pen, say, make))
    if (chosen is not None and chosen.skip_dead) or _column(pen, "skipped_frac"):
        found.append(_skipped(pen, say, make))
    if (chosen is not None and chosen.group_size != "fixed") or _column(pen, "completions_max"):
        found.append(_sizes(pen, say, make))
    return found


def _column(pen: Pen, name: str) -> Column:
    return pen.state.metrics.get(HEAD + name, Column())


def _level(pen: Pen, say: Words, make: Make) -> Chart:
    column = _column(pen, "level")
    return make("level", [Line(say("chart.each"), "strong", pen.raw(column))], column, low=1.0, format="{:g}".format)


def _pass_rates(pen: Pen, say: Words, make: Make) -> Chart:
    """A line a level; of more levels than there are colours those that came last."""
    numbers = sorted(int(match[1]) for name in pen.state.metrics if (match := _LEVEL.fullmatch(name)))
    lines = [
        Line(say("chart.level_n", number=number), colour, pen.raw(_column(pen, f"pass_rate/level_{number}")))
        for number, colour in zip(numbers[-len(COLOURS) :], COLOURS, strict=False)
    ]
    return make("pass_rates", lines, headline=False, **_share())


def _thrown(pen: Pen, say: Words, make: Make) -> Chart:
    styles: list[tuple[str, Style]] = [("thrown_frac", "strong"), ("kept_without_spread_frac", "dashed")]
    seconds = np.array(_column(pen, "thrown_s").values, dtype=np.float64)
    phases = (pen.state.plan or {}).get("phases_per_update")  # of a step, whose mean is recorded
    spent = float(np.nansum(seconds)) * (phases if isinstance(phases, int) else 1)
    note = say("chart.thrown_s", seconds=spent) if len(seconds) else ""
    return make("thrown", _lines(pen, say, styles), _column(pen, "thrown_frac"), note=note, **_share())


def _replayed(pen: Pen, say: Words, make: Make) -> Chart:
    styles: list[tuple[str, Style]] = [("replayed_frac", "strong"), ("replay_outside_frac", "dashed")]
    return make("replayed", _lines(pen, say, styles), _column(pen, "replayed_frac"), **_share())


def _skipped(pen: Pen, say: Words, make: Make) -> Chart:
    column = _column(pen, "skipped_frac")
    mean = say("chart.smooth", count=f"{pen.view.width:,}")
    return make("skipped", pen.two(column, say("chart.each"), mean), column, **_share())


def _sizes(pen: Pen, say: Words, make: Make) -> Chart:
    styles: list[tuple[str, Style]] = [("completions_max", "strong"), ("completions_min", "dashed")]
    return make("sizes", _lines(pen, say, styles), low=0.0, headline=False)


def _lines(pen: Pen, say: Words, styles: Iterable[tuple[str, Style]]) -> list[Line]:
    known = [(name, style, column) for name, style in styles if (column := _column(pen, name))]
    return [pen.one(say(f"chart.{name}"), style, column) for name, style, column in known]


def _share() -> dict[str, object]:
    return {"low": 0.0, "high": 1.0, "format": forms.percent, "mark": forms.percent}
