"""Where the time went, and the memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.report import series
from trainer.report.document import Block, Section, Table, Text
from trainer.report.material import Material
from trainer.report.rules import time as clock
from trainer.report.sections.metrics import drawn, shortened, thin, two_lines
from trainer.report.sections.telling import Telling
from trainer.run.state import RunState
from trainer.show.charts import COLOURS, Chart
from trainer.show.charts import Line as Drawn
from trainer.text import forms

MOST_PEAKS = 5


def time_spent(t: Telling) -> Section:
    """Share of each part of a step, its longest steps, and generation against its floor."""
    m, say = t.m, t.say
    columns = clock.phase_columns(m)
    blocks: list[Block] = []
    if columns:
        blocks.append(_table(t, columns))
    blocks += t.sayings("time_share", "slow_steps", "generation_floor", "lost_cache")
    if columns:
        stacked = Chart(say("metrics.chart_time"), _areas(t, columns), 0.0, format=say.duration, stacked=True)
        blocks += drawn(t, [stacked] if m.state.self_s else [_generate(m, t)])
        blocks += _peaks(t)
    blocks += _outside(t)
    return Section("time", say("title.time"), blocks)


_INSIDE = {"train", "warm_start"}  # the one holds the steps, the other lies inside "load"
_OUTSIDE = ("load", "data", "rewards", "policy_probe", "memory_probe", "pass_rates", "samples", "eval")


def outside(state: RunState) -> dict[str, float]:
    """{part: seconds} of the time that was no step, from the first to the last event of each attempt.

    `save`: publishing checkpoints. `rest`: what nobody measured; a step that was not finished, for example. {} of a run
    whose steps have no times.
    """
    if not state.train_seconds:
        return {}
    whole = sum(last - first for first, last in state.attempt_t.values())
    found: dict[str, float] = {}
    for event in state.phases:
        if event.name not in _INSIDE and event.seconds:
            name = event.name if event.name in _OUTSIDE else "rest"
            found[name] = found.get(name, 0.0) + event.seconds
    during = sum(event.seconds or 0.0 for event in state.evals if event.at == "during")  # inside the phase "train"
    found["eval"] = found.get("eval", 0.0) + during
    found["save"] = sum(event.seconds or 0.0 for event in state.checkpoints)
    found["rest"] = max(0.0, whole - state.train_seconds - sum(found.values()) + found.pop("rest", 0.0))
    return {name: seconds for name in (*_OUTSIDE, "save", "rest") if (seconds := found.get(name, 0.0)) > 0}


def _outside(t: Telling) -> Iterator[Block]:
    found = outside(t.m.state)
    total = sum(found.values())
    if not total or t.m.imported is not None:
        return
    share = total / (total + t.m.state.train_seconds)
    yield Text(t.say("time_table.outside_all", seconds=total, share=share))
    head = (t.say("time_table.outside"), t.say("time_table.total"))
    rows = [(t.say(f"time_table.outside_{name}"), t.say.duration(seconds)) for name, seconds in found.items()]
    yield Table(head, rows, frozenset((1,)))


def _table(t: Telling, columns: dict[str, series.Points]) -> Table:
    head = [t.say(f"time_table.{name}") for name in ("phase", "share", "usual", "most", "total")]
    shares = clock.shares(t.m)
    rows = []
    for name, points in sorted(columns.items(), key=lambda item: -shares.get(item[0], 0.0)):
        if points:
            values = series.values_of(points)
            step, most = points[int(values.argmax())]
            usual = float(np.median(values))
            cells = [forms.percent(shares.get(name)), t.say.duration(usual), f"{t.say.duration(most)} ({step:,})"]
            rows.append((t.say(f"word.{name}"), *cells, t.say.duration(float(values.sum()))))
    return Table(head, rows, frozenset((1, 2, 3, 4)))


def _areas(t: Telling, columns: dict[str, series.Points]) -> list[Drawn]:
    """All with the same steps: those every phase has."""
    common = sorted(set.intersection(*(set(series.steps_of(points)) for points in columns.values() if points)))
    kept = {step for step, _ in thin([(step, 0.0) for step in common])}
    return [
        Drawn(t.say(f"word.{name}"), colour, [point for point in points if point[0] in kept])
        for (name, points), colour in zip(columns.items(), COLOURS, strict=False)
        if points
    ]


def _generate(m: Material, t: Telling) -> Chart:
    return Chart(t.say("metrics.chart_generate"), two_lines(m.generate_s, t.say), low=0.0, format=t.say.duration)


def _peaks(t: Telling) -> list[Block]:
    """The slowest steps with their lengths and prompts."""
    m, say = t.m, t.say
    slow = next((finding for finding in t.of("slow_steps") if finding.key.startswith("slow")), None)
    if slow is None:
        return []
    points = dict(clock.timed(m)[0])
    names = ("mean", "train/completions/mean_length"), ("longest", "train/completions/max_length")
    lengths = {key: dict(m.points(name)) for key, name in names}
    rows = []
    for step in sorted(slow.steps, key=lambda step: -points[step])[:MOST_PEAKS]:
        groups = m.groups(step)
        longest = max(groups, key=lambda group: max(one.tokens or 0 for one in group.completions)) if groups else None
        prompt = shortened(longest.question) if longest else "-"
        cells = [forms.number(lengths[key].get(step)) for key in ("mean", "longest")]
        rows.append((f"{step:,}", say.duration(points[step]), *cells, prompt))
    head = [say(f"time_table.{name}") for name in ("step", "seconds", "tokens", "longest", "prompt")]
    return [Text(say("time_table.peaks")), Table(head, rows, frozenset((0, 1, 2, 3)))]


def memory(t: Telling) -> Section:
    m, say = t.m, t.say
    points = m.memory_points("used_gib") or m.memory_points("rss_gib")
    blocks: list[Block] = list(t.sayings("memory_creep"))
    if points:
        blocks += drawn(t, [Chart(say("metrics.chart_memory"), two_lines(points, say), low=0.0)])
    return Section("memory", say("title.memory"), blocks)
