"""What to change where prompts teach nothing: which of them come ([sampling]), as far as the run has not set it yet."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainer.report.finding import Advice
from trainer.report.material import Material

MOST_ROUNDS = 5  # advised: each may cost as much as the first


def other_prompts(m: Material, kind: str, dead: float) -> Iterator[Advice]:
    """kind: of most groups that teach nothing, as in rules.groups. dead: the share of such groups."""
    if kind == "constant" or dead >= 1:  # it is the reward, or there is nothing else to draw
        return
    if m.setting("sampling.max_rounds") == 1 and m.setting("reward.supervision") != "process":
        rounds = min(MOST_ROUNDS, max(2, math.ceil(1 / (1 - dead))))
        yield Advice("more_rounds", "sampling.max_rounds", rounds, {"rounds": rounds})
    yield from skip(m)
    yield from easy_first(m, kind)


def skip(m: Material) -> Iterator[Advice]:
    """Once rows come again."""
    each, total = m.epoch_steps, m.steps_total or m.state.last_step
    if m.setting("sampling.skip_dead") is False and each is not None and total > each:
        yield Advice("skip_dead", "sampling.skip_dead", True)


def easy_first(m: Material, kind: str) -> Iterator[Advice]:
    """By the column that says how hard a row is; where there is none and many rows are too hard, by pass rate."""
    if m.setting("sampling.curriculum") != "off":
        return
    column = m.setting("sampling.difficulty")
    if _has_numbers(m, column):
        yield Advice("curriculum_column", "sampling.curriculum", "column", {"column": column})
    elif kind in ("all_wrong", "mixed"):
        each = m.setting("sampling.measure")
        yield Advice("curriculum_rate", "sampling.curriculum", "pass_rate", {"each": each})


def _has_numbers(m: Material, column: str) -> bool:
    """In the rows of the newest step that was written down."""
    groups = [group for step in list(m.sampled_steps(2))[-1:] for group in m.groups(step)]
    return bool(groups) and all(_is_number(group.columns.get(column)) for group in groups)


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
