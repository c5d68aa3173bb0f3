"""More steps for a run that is not going: its spec and plan are replaced, and a resume goes on to the new end.

The steps that were done stay as they are. Torch-free.
"""

from __future__ import annotations

import math
from typing import Any

from trainer import presets
from trainer.errors import Problem, RunError
from trainer.launch.control import at_rest
from trainer.launch.preparation import plan_here
from trainer.machine.json_files import read_json
from trainer.plan import RunPlan
from trainer.plan.checks import next_whole
from trainer.plan.reading import fitting
from trainer.run import settings
from trainer.run.rundir import RunDir
from trainer.run.state import RunState, state_of
from trainer.run.status import imported, imported_problem
from trainer.spec import RunSpec
from trainer.text import Message

# transformers 5.17, optimization.py: schedules of these names are a function of num_training_steps
_FOLLOWS_TOTAL = frozenset(
    {
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "warmup_stable_decay",
    }
)
# (a resumed optimizer takes its first step with the rate that was saved, all later ones by the new schedule),
# and these of the warm-up's length, which follows the total when it is a share of it.
_FOLLOWS_WARMUP = frozenset({"constant_with_warmup", "inverse_sqrt"})


def extended_total(rundir: RunDir, steps: int) -> tuple[int, int]:
    """(steps planned now, steps planned if it were extended by so many); nothing is changed.

    The second is a whole number of rollout phases, so it may be a few more. Raises as extend.
    """
    old, new, _ = _planned(rundir, state_of(rundir), steps)
    return old, new


def extend(rundir: RunDir, steps: int) -> RunPlan:
    """Plan so many optimizer steps more, rounded up to a whole rollout phase; the new plan.

    spec.json and plan.json are replaced, the ones before stay beside them (spec.1.json, ...). A finished run is judged
    finished until trainer.launch.resume goes on with it, from its newest checkpoint that verifies: the last step's, if
    that is still there. Raises RunError for a run that is live, was imported, or whose length is not known yet;
    SpecError or PlanError when the new settings break a rule.
    """
    with at_rest(rundir) as follower:
        settings.refuse_changed(rundir, settings.changes(rundir))
        _, total, rows = _planned(rundir, follower.state, steps)
        spec = _with_total(rundir, total)
        plan = plan_here(spec, rows)
        # Of the rows too, which were looked at then.
        before = fitting(read_json(rundir.plan))[0]
        said = [Message.read(stored) for stored in before.get("warnings", ())]
        warnings = [*plan.warnings, *(warning for warning in said if str(warning) not in map(str, plan.warnings))]
        start = Message.read(before["start"]) if before.get("start") else None
        plan = plan.model_copy(update={"warnings": warnings, "start": start})
        rundir.replace_settings(spec, plan)
        return plan


def extension_notes(spec: RunSpec, old_total: int, new_total: int) -> list[Message]:
    """What a person should know before a run of old_total steps is extended to new_total; [] when nothing changes.

    A run whose learning rate does not depend on its length becomes, to the bit on a CPU, what it would have been if it
    had been planned this long.
    """
    name, share = spec.optim.lr_scheduler_type, spec.optim.warmup_steps
    before, after = (math.ceil(total * share) if share < 1 else int(share) for total in (old_total, new_total))
    if name in _FOLLOWS_TOTAL:
        values = {"schedule": name, "before": old_total, "after": new_total}
        if name == "linear" and after <= old_total + 1 < new_total:
            # The rate at step s is (total - s) / (total - warmup) of optim.learning_rate.
            left = (new_total - old_total - 1) / (new_total - after)
            steps = {"first": old_total + 1, "second": old_total + 2}
            return [Message("launch.rate_jumps_linear", **values, **steps, left=left)]
        return [Message("launch.rate_jumps", **values)]
    if name in _FOLLOWS_WARMUP and before != after and (name == "inverse_sqrt" or after > old_total):
        return [Message("launch.warmup_changes", share=share, before=before, after=after)]
    return []


def _planned(rundir: RunDir, state: RunState, steps: int) -> tuple[int, int, int | None]:
    """(planned now, planned then, rows). Rows as the worker counted them, else as the plan did."""
    if steps < 1:
        raise RunError(Problem("launch.steps", "--steps", seen=steps))
    if imported(state) is not None:
        raise RunError(imported_problem(rundir))
    stored: dict[str, Any] = state.plan or read_json(rundir.plan) or {}
    rows, examples = (found if isinstance(found := stored.get(key), int) else None for key in ("rows", "examples"))
    now = plan_here(rundir.read_spec(), rows, examples)
    if now.optimizer_steps is None:
        raise RunError(Problem("launch.no_length", name=rundir.name))
    return now.optimizer_steps, next_whole(now.optimizer_steps + steps, now.updates_per_phase), now.rows


def _with_total(rundir: RunDir, total: int) -> RunSpec:
    raw = rundir.read_spec().model_dump(mode="json")
    raw["optim"]["max_steps"] = total
    return presets.parse(raw, rundir.spec.name)
