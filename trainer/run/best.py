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
from trainer.run.rundir import RunDir
from trainer.run.state import RunState

BEST, LATEST = "best", "latest"
SCORES = "scores.json"  # written by `python -m trainer evaluate`


@dataclass(frozen=True)
class Best:
    """step: of the checkpoint. value: mean of scores.json, or held-out reward of an evaluation of the run.

    epoch: its label in scores.json. of: how many checkpoints were measured, those rotated away included.
    untrained: held-out reward before training; None where it was not measured in the same way.
    """

    step: int
    value: float
    source: Literal["scores.json", "eval"]
    epoch: str | None
    of: int
    untrained: float | None = None

    def __str__(self) -> str:
        measured = "held-out reward" if self.source == "eval" else f"mean score of epoch {self.epoch}"
        among = f"the best of {self.of} evaluated" if self.of > 1 else "the only one evaluated"
        said = f"step {self.step}, {measured} {self.value:.4g}, {among}"
        if self.untrained is not None and self.untrained >= self.value:
            said += f"; the untrained model has {self.untrained:.4g}: training has not improved it"
        return said


def find_best(rundir: RunDir, state: RunState) -> Best | None:
    """The best checkpoint that is there; None when none was evaluated.

    state: what the event log says (report.fold.state_of). scores.json counts before the evaluations of the run, as long
    as the checkpoint it names is there and no inference file was written after it. Of equals the earlier step: it has
    drifted less from the model before training.
    """
    there = {checkpoint.step for checkpoint in checkpoints.listed(rundir.checkpoints)}
    return _scored(rundir, there) or _evaluated(state, there)


def _scored(rundir: RunDir, there: set[int]) -> Best | None:
    scores = read_json(rundir.path / SCORES) or {}
    named, rows = scores.get("best"), scores.get("epochs")
    if not isinstance(named, dict) or not isinstance(rows, list) or _outdated(rundir, rows):
        return None
    step, mean = named.get("step"), named.get("mean")
    if step not in there or not isinstance(mean, int | float) or not math.isfinite(mean):
        return None
    return Best(step, float(mean), "scores.json", str(named.get("epoch")), len(rows))


def _outdated(rundir: RunDir, rows: list[Any]) -> bool:
    """Is there an inference file that scores.json does not know, or that was written after it?"""
    known = {row.get("file") for row in rows if isinstance(row, dict)}
    written = (rundir.path / SCORES).stat().st_mtime
    found = rundir.path.glob("inference_epoch*.json")
    return any(file.name not in known or file.stat().st_mtime > written for file in found)


def _evaluated(state: RunState, there: set[int]) -> Best | None:
    rewards: dict[int, float] = {}
    for event in state.evals:
        if event.reward is not None and math.isfinite(event.reward):
            rewards[event.step] = event.reward  # said twice: the later word counts
    untrained = rewards.pop(0, None)
    present = [step for step in sorted(rewards) if step in there]
    if not present:
        return None
    step = max(present, key=lambda step: rewards[step])  # max takes the first of equals
    return Best(step, rewards[step], "eval", None, len(rewards), untrained)


def resolve_checkpoint(rundir: RunDir, state: RunState, which: str | None, say: Callable[[str], None]) -> Checkpoint:
    """The verified checkpoint that is meant.

    which: BEST, LATEST (the newest that verifies) or a step; None takes the best, without evaluations the latest.
    say: told why it is the best, and which newer ones are damaged. Raises RunError when there is no such checkpoint,
    CheckpointError when it is damaged.
    """
    known = {str(checkpoint.step): checkpoint for checkpoint in checkpoints.listed(rundir.checkpoints)}
    if not known:
        raise RunError(Problem.plain(f"run {rundir.name}", f"has no checkpoint in {rundir.checkpoints}"))
    found = find_best(rundir, state) if which in (BEST, None) else None
    if found is None and which == BEST:
        what = f"no checkpoint of run {rundir.name} was evaluated on held-out rows"
        raise RunError(Problem.plain("--checkpoint", what, f"latest, or one of {', '.join(known)}"))
    if found is not None:
        say(str(found))
    elif which in (LATEST, None):
        return _newest(rundir, say)
    chosen = known.get(str(found.step) if found else str(which))
    if chosen is None:
        allowed = f"best, latest, or one of {', '.join(known)}"
        raise RunError(Problem.plain("--checkpoint", f"{which!r} is no checkpoint of this run", allowed))
    wrong = checkpoints.verify(chosen.path)
    if wrong is not None:
        raise CheckpointError(Problem.plain(chosen.path.name, wrong, "--checkpoint latest takes the newest good one"))
    return chosen


def _newest(rundir: RunDir, say: Callable[[str], None]) -> Checkpoint:
    newest, skipped = checkpoints.newest_verified(rundir.checkpoints)
    if newest is None:
        problems = [Problem.plain(name, wrong) for name, wrong in skipped]
        raise CheckpointError([*problems, Problem.plain(f"run {rundir.name}", "no checkpoint verifies")])
    for name, wrong in skipped:
        say(f"{name}: not taken, {wrong}")
    return newest
