"""Memory that grows from step to step, and where it would end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from trainer.report import series
from trainer.report.finding import Finding, Level
from trainer.report.material import Material

GREW = 0.1  # of what it was, over the second half of the run: the first half fills caches
LEAST_STEPS = 30
SWITCH = 0.5  # share of the growth one step may have: a leak is many small ones


def memory_creep(m: Material) -> Iterator[Finding]:
    """The GPU's memory where there is one, else what the process holds."""
    on_gpu = m.memory_points("used_gib")
    points = on_gpu or m.memory_points("rss_gib")
    if len(points) < LEAST_STEPS:
        if points:
            yield Finding("memory_creep", "unknown", "short", {"count": len(points), "least": LEAST_STEPS})
        return
    late = points[len(points) // 2 :]
    found = series.trend(late)
    most = max(value for _, value in points)
    capacity = (m.state.gpu.total_gib if m.state.gpu else None) if on_gpu else m.env.get("ram_gib")
    values = {"most": most, "first": late[0][1], "last": late[-1][1], "capacity": capacity}
    if found is None or found.direction <= 0 or found.change < GREW * late[0][1] or _jumps(late):
        yield Finding("memory_creep", "green", "steady", values)
        return
    each = found.change / (late[-1][0] - late[0][0])
    values["each"] = each * 100
    left = (m.steps_total or 0) - late[-1][0]
    values["full_at"] = late[-1][0] + round((capacity - late[-1][1]) / each) if capacity else None
    level: Level = "amber"
    if values["full_at"] is not None and left > 0 and values["full_at"] < (m.steps_total or 0):
        level = "red"
    yield Finding("memory_creep", level, "fills" if level == "red" else "grows", values)


def _jumps(points: series.Points) -> bool:
    """Did one step do most of it? Then it is a larger batch, not a leak."""
    steps = [after[1] - before[1] for before, after in itertools.pairwise(points)]
    return max(steps) > SWITCH * (points[-1][1] - points[0][1])
