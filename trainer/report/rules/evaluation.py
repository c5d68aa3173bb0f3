"""Held-out rows: did training help on questions it never saw, and does that still follow the training reward?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from trainer.report import series
from trainer.report.finding import Advice, Finding
from trainer.report.material import Material
from trainer.run.records import EvalEvent

SURE = 1.96  # standard errors: 95 %
Key = Literal["reward", "correct_frac", "ordered"]
"""ordered: of a reward model, the share of held-out pairs it orders right; it stands in correct_frac."""


def evals(m: Material) -> list[tuple[int, EvalEvent]]:
    """(step, event) of the greedy evaluations that have a reward, or order pairs, one a step, in order."""
    found = {event.step: event for event in m.state.evals if event.reward is not None or _ordered(event)}
    return sorted(found.items())


def _ordered(event: EvalEvent) -> bool:
    return event.pairs is not None and event.correct_frac is not None


def shared_key(events: Iterable[EvalEvent]) -> Key:
    """What all of them measured: the share that is correct, else the reward."""
    there = list(events)
    if any(map(_ordered, there)):
        return "ordered"
    return "correct_frac" if all(event.correct_frac is not None for event in there) else "reward"


def score(event: EvalEvent, key: Key) -> float:
    """Raises ValueError when it was not measured."""
    found = event.reward if key == "reward" else event.correct_frac
    if found is None:
        raise ValueError(f"no {key} after step {event.step}")
    return found


def error(event: EvalEvent, key: Key) -> float | None:
    """Standard error of a mean over the held-out rows; None where it is not known.

    correct_frac is a share: sqrt(p (1 - p) / n), with half a success and half a failure added so that 0 and 1 have an
    error as well (Agresti and Coull 1998). reward needs its standard deviation, `reward_std`. The pairs of a row are
    not independent: rows are counted, not pairs.
    """
    rows = event.rows
    if not rows or rows < 1:
        return None
    if key != "reward":
        if event.correct_frac is None or not 0 <= event.correct_frac <= 1:
            return None
        p = (event.correct_frac * rows + 0.5) / (rows + 1)
        return math.sqrt(p * (1 - p) / (rows + 1))
    return event.reward_std / math.sqrt(rows) if event.reward_std is not None else None


def evaluation(m: Material) -> Iterator[Finding]:
    """Before against after, with the uncertainty that so few rows leave."""
    found = evals(m)
    if len(found) < 2:
        ways: tuple[Advice, ...] = ()
        if m.spec is not None and not m.spec.data.has_held_out_rows and m.known is None:
            ways = (Advice("hold_out", "data.eval_fraction", 0.1),)
        yield Finding("evaluation", "unknown", "one" if found else "none", {"count": len(found)}, advice=ways)
        return
    (first_step, first), (last_step, last) = found[0], found[-1]
    key = shared_key((first, last))
    change = score(last, key) - score(first, key)
    errors = [error(event, key) for event in (first, last)]
    # The same rows twice: their errors are not independent, the difference is at most as uncertain as if they were.
    bound = SURE * math.hypot(*errors) if None not in errors else None  # type: ignore[arg-type]
    bound = bound or None  # rewards that did not differ at all, before and after, say nothing about other rows
    values = {
        "what": key,
        "first": score(first, key),
        "last": score(last, key),
        "change": change,
        "error": bound,
        "rows": last.rows,
        "steps": [first_step, last_step],
    }
    if bound is None:
        yield Finding("evaluation", "note", f"no_error_{key}", values)
    elif abs(change) <= bound:
        yield Finding("evaluation", "amber", f"unclear_{key}", values)
    else:
        verdict = "better" if change > 0 else "worse"
        yield Finding("evaluation", "green" if change > 0 else "red", f"{verdict}_{key}", values)


class Since(NamedTuple):
    """The newest evaluation against the best before it. steps: of both. fell: by more than chance explains."""

    key: Key
    steps: tuple[int, int]
    values: dict[str, Any]
    fell: bool


def since_best(m: Material) -> Since | None:
    """None of fewer than three evaluations, and where an error is not known."""
    found = evals(m)
    if len(found) < 3:
        return None
    key = shared_key(event for _, event in found)
    best_step, best = max(found[:-1], key=lambda pair: score(pair[1], key))
    last_step, last = found[-1]
    errors = error(best, key), error(last, key)
    if errors[0] is None or errors[1] is None:
        return None
    # The best of several is high by luck as well: the interval is that of as many comparisons (Bonferroni).
    bound = NormalDist().inv_cdf(1 - 0.025 / (len(found) - 1)) * math.hypot(errors[0], errors[1])
    values = {"best": score(best, key), "at": best_step, "last": score(last, key), "step": last_step}
    fell = score(best, key) - score(last, key) > bound > 0
    return Since(key, (best_step, last_step), {**values, "error": bound, "rows": last.rows}, fell)


def over_optimised(m: Material) -> Iterator[Finding]:
    """Training reward that rises while held-out reward falls: what is learnt does not carry over."""
    found = since_best(m)
    if found is None:
        return
    if not found.fell:
        yield Finding("over_optimised", "green", "together", {"count": len(evals(m))})
        return
    best_step = found.steps[0]
    rise = series.trend([point for point in m.points("train/reward") if point[0] >= best_step])
    phase = m.updates_per_phase or 1
    stop = best_step // phase * phase  # a run ends with a whole phase; before the first step it trains nothing
    ways = (Advice("stop_earlier", "optim.max_steps", stop, {"step": stop}),) if stop else ()
    apart = rise is not None and rise.direction > 0
    kind = f"{'apart' if apart else 'fell'}_{found.key}"
    yield Finding("over_optimised", "red" if apart else "amber", kind, found.values, found.steps, ways)
