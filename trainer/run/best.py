"""Which checkpoint of a run is the best, and which one a person means: best, latest, or a step.

The best is named by what was measured on held-out rows, never by training reward: that rises with what the model learns
to exploit as well. Torch-free.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from trainer.errors import CheckpointError, Problem, RunError
from trainer.machine.json_files import read_json
from trainer.run import checkpoints
from trainer.run.checkpoints import Checkpoint
from trainer.run.groups import number
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.text import Message

BEST, LATEST = "best", "latest"
By = Literal["reward", "correct"]
SCORES = "scores.json"  # written by `python -m trainer evaluate`


@dataclass(frozen=True)
class Best:
    """step: of the checkpoint. value: mean of scores.json, or held-out reward of an evaluation of the run, of a reward
    model the share of held-out pairs that it orders right.

    epoch: its label in scores.json. of: how many checkpoints were measured, those rotated away included.
    untrained: the same before training; None where it was not measured in the same way. by: what an evaluation of the
    run was measured by; `correct` is the share of right answers, or of pairs.
    """

    step: int
    value: float
    source: Literal["scores.json", "eval", "pairs"]
    epoch: str | None
    of: int
    untrained: float | None = None
    by: By = "reward"

    def message(self) -> Message:
        """Which one it is, by what, and whether the training has improved on the model before it."""
        key = {"eval": self.by, "pairs": "pairs"}.get(self.source)
        measured = Message(f"run.best.{key}") if key else Message("run.best.score", epoch=self.epoch)
        among = Message("run.best.of", count=self.of) if self.of > 1 else Message("run.best.only")
        values: dict[str, Any] = {"step": self.step, "measured": measured, "value": self.value, "among": among}
        if self.untrained is not None and self.untrained >= self.value:
            return Message("run.best.not_improved", **values, untrained=self.untrained)
        return Message("run.best.line", **values)


def find_best(rundir: RunDir, state: RunState) -> Best | None:
    """The best checkpoint that is there; None when none was evaluated.

    state: what the event log says (trainer.run.state.state_of). scores.json counts before the evaluations of the run,
    as long as the checkpoint it names is there and no inference file was written after it. Of equals the earlier step:
    it has drifted less from the model before training. Where the reward model learns meanwhile it is the share of right
    answers that is compared.
    """
    there = {checkpoint.step for checkpoint in checkpoints.listed(rundir.checkpoints)}
    return _scored(rundir, there) or _evaluated(state, there)


def is_paid_by_a_learner(state: RunState) -> bool:
    """Its reward model learns meanwhile: held-out rewards of two checkpoints are of two judges."""
    return (state.plan or {}).get("reward_model_every") is not None


def _scored(rundir: RunDir, there: set[int]) -> Best | None:
    scores = read_json(rundir.path / SCORES) or {}
    named, rows = scores.get("best"), scores.get("epochs")
    if not isinstance(named, dict) or not isinstance(rows, list) or _outdated(rundir, rows):
        return None
    step, mean = named.get("step"), number(named.get("mean"))
    if type(step) is not int or step not in there or mean is None:
        return None
    return Best(step, mean, "scores.json", str(named.get("epoch")), len(rows))


def _outdated(rundir: RunDir, rows: list[Any]) -> bool:
    """Is there an inference file that scores.json does not know, or that was written after it?"""
    known = [row.get("file") for row in rows if isinstance(row, dict)]
    written = (rundir.path / SCORES).stat().st_mtime
    found = rundir.path.glob("inference_epoch*.json")
    return any(file.name not in known or file.stat().st_mtime > written for file in found)


def _evaluated(state: RunState, there: set[int]) -> Best | None:
    judges = any(event.pairs is not None for event in state.evals)
    by: By = "correct" if judges or is_paid_by_a_learner(state) else "reward"
    found: dict[int, float] = {}
    for event in state.evals:
        value = event.correct_frac if by == "correct" else event.reward
        if value is not None and math.isfinite(value):
            found[event.step] = value  # said twice: the later word counts
    untrained = found.pop(0, None)
    present = [step for step in sorted(found) if step in there]
    if not present:
        return None
    step = max(present, key=lambda step: found[step])  # max takes the first of equals
    return Best(step, found[step], "pairs" if judges else "eval", None, len(found), untrained, by)


def resolve_checkpoint(
    rundir: RunDir, state: RunState, which: str | None, say: Callable[[Message], None]
) -> Checkpoint:
    """The verified checkpoint that is meant.

    which: BEST, LATEST (the newest that verifies) or a step; None takes the best, without evaluations the latest.
    say: told why it is the best, and which newer ones are damaged. Raises RunError when there is no such checkpoint,
    CheckpointError when it is damaged.
    """
    known = {str(checkpoint.step): checkpoint for checkpoint in checkpoints.listed(rundir.checkpoints)}
    if not known:
        raise RunError(Problem("run.no_checkpoint", name=rundir.name, folder=str(rundir.checkpoints)))
    found = find_best(rundir, state) if which in (BEST, None) else None
    if found is None and which == BEST:
        raise RunError(Problem("run.none_evaluated", "--checkpoint", name=rundir.name, known=list(known)))
    if found is not None:
        say(found.message())
    elif which in (LATEST, None):
        return _newest(rundir, say)
    chosen = known.get(str(found.step) if found else str(which))
    if chosen is None:
        raise RunError(Problem("run.no_such_checkpoint", "--checkpoint", seen=which, known=list(known)))
    wrong = checkpoints.verify(chosen.path)
    if wrong is not None:
        raise CheckpointError(Problem("run.checkpoint_damaged", chosen.path.name, wrong=wrong))
    return chosen


def _newest(rundir: RunDir, say: Callable[[Message], None]) -> Checkpoint:
    newest, skipped = checkpoints.newest_verified(rundir.checkpoints)
    if newest is None:
        problems = [Problem("run.checkpoint_skipped", name, wrong=wrong) for name, wrong in skipped]
        raise CheckpointError([*problems, Problem("run.none_verifies", name=rundir.name)])
    for name, wrong in skipped:
        say(Message("run.checkpoint.not_taken", name=name, wrong=wrong))
    return newest
