"""What a run came to, in one line of JSON or of a table. Torch-free."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from trainer.machine.json_files import read_json
from trainer.run.best import find_best
from trainer.run.records import EvalEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.run.status import Status, derive_status, worker_alive

EDGE_STEPS = 10  # steps averaged for the reward "at first" and "at last"


def summary(state: RunState, rundir: RunDir, status: Status | None = None) -> dict[str, Any]:
    """What a run came to, for a line of JSON or a table. None where nothing is known.

    status: what trainer.launch.status_of said; judged from `state` as it is when left out.
    reward_first, reward_last: mean of train/reward over the first and the last ten steps, never
    the same step in both. eval_after, correct_after: of the newest evaluation after a step.
    pairs: of a reward model, whose correct_* are shares of that many pairs ordered right. best_step: of the best
    evaluated checkpoint that is there. seconds: in training steps, all
    attempts together; wall_seconds: also loading, evaluation and saving, without the time between
    attempts; expected_seconds: that, as estimated when the run was made.
    """
    first, last = edges(state.metrics.get("train/reward", []))
    found = find_best(rundir, state)
    before, after = _before(state), newest_of_trained(state)
    return {
        "run": rundir.name,
        "status": status or derive_status(rundir, state, worker_alive(rundir, state)),
        "steps": state.last_step,
        "steps_total": state.steps_total,
        "reward_first": first,
        "reward_last": last,
        "eval_before": before.reward if before else None,
        "eval_after": after.reward if after else None,
        "correct_before": before.correct_frac if before else None,
        "correct_after": after.correct_frac if after else None,
        "pairs": after.pairs if after else None,
        "best_step": found.step if found else None,
        "seconds": round(state.train_seconds, 3),
        "wall_seconds": round(sum(last - first for first, last in state.attempt_t.values()), 3),
        "expected_seconds": expected_s(rundir),
        "tokens": state.tokens,
        "peak_memory_gib": state.peak_memory_gib,
        "attempts": state.attempts,
        "path": str(rundir.path),
    }


def expected_s(rundir: RunDir) -> float | None:
    """What the whole run was expected to take when it was made; None where nobody could tell, and of older runs."""
    found = (read_json(rundir.env) or {}).get("expected_s")
    return float(found) if isinstance(found, int | float) and found > 0 else None


def edges(column: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Means of the first and the last ten values, of each half when there are fewer than 20."""
    # Of a long column only its ends are looked at: this is asked at every tick.
    early = list(itertools.islice((value for value in column if value is not None), 2 * EDGE_STEPS))
    count = min(EDGE_STEPS, len(early) // 2)
    if count == 0:
        return None, None
    late = itertools.islice((value for value in reversed(column) if value is not None), count)
    return sum(early[:count]) / count, sum(late) / count


def _before(state: RunState) -> EvalEvent | None:
    """Of the weights that GRPO began with: a warm start lies before it."""
    return next((event for event in reversed(state.evals) if event.at == "before"), None)


def newest_of_trained(state: RunState) -> EvalEvent | None:
    """Of a run that goes on or broke off it is one of those between the steps; None where none was made yet."""
    return next((event for event in reversed(state.evals) if event.at != "before" and event.step > 0), None)
