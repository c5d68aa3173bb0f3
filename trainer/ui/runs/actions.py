"""What can be done with a run on Runs. Everything a browser sends is checked here again; no gradio."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.report import compare as comparison
from trainer.report import html, material
from trainer.run.rundir import RunDir
from trainer.run.status import imported_problem
from trainer.text import Message
from trainer.tryit import parent
from trainer.ui import actions
from trainer.ui.runs.choice import MOST_COMPARED

MOST_STEPS = 1_000_000  # that a run can be extended by at once


@dataclass(frozen=True)
class Extension:
    """What extending a run would do. steps: asked for; before, after: planned; notes: what to know first."""

    steps: int
    before: int
    after: int
    notes: list[Message]


def train_change(run: str, changes: Sequence[str]) -> str:
    """For Frame.change: the form of Train with the settings of that run, and these `section.key=value` instead.

    Says something else every time: the same wish twice is told twice.
    """
    return json.dumps({"base": {"run": run}, "changes": list(changes), "nonce": time.time_ns()})


def clone(run: str) -> str:
    """For Frame.change. Raises RunError when there is no such run or its settings are not known."""
    rundir = actions.opened(run)
    rundir.read_spec()
    if launch.status_of(rundir) == "imported":
        raise RunError(imported_problem(rundir))
    return train_change(rundir.name, [])


def extension(run: str, steps: Any) -> Extension:
    """What `extend` would do, changing nothing. steps None: as many again as are planned. Raises TrainerError."""
    rundir = actions.opened(run)
    spec = rundir.read_spec()
    before, after = launch.extended_total(rundir, 1 if steps is None else checked_steps(steps))
    if steps is None:
        steps = min(before, MOST_STEPS)
        before, after = launch.extended_total(rundir, steps)
    notes = launch.extension_notes(spec, before, after)
    return Extension(checked_steps(steps), before, after, notes)


def extend(run: str, steps: Any) -> None:
    """Plan so many steps more and go on. Raises TrainerError; when it cannot go on, the longer plan stays."""
    launch.extend(actions.opened(run), checked_steps(steps))
    actions.resume(run)


def checked_steps(told: Any) -> int:
    """Raises RunError for anything but a whole number of steps."""
    text = str(told).strip()[:20]
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_STEPS):
        raise RunError(Problem("page.more_steps", seen=text, most=MOST_STEPS))
    return int(text)


def contents(run: str) -> launch.Contents:
    """What deleting it would lose. Raises RunError when there is no such run."""
    return launch.contents(actions.opened(run))


def delete(run: str) -> None:
    """Raises RunError while somebody works on it, or when its files cannot be removed."""
    rundir = actions.opened(run)
    parent.end(rundir)  # its model may still be there to be tried
    try:
        launch.delete(rundir)
    except OSError as error:
        raise RunError(Problem("page.not_deleted", run=run, said=error.strerror or type(error).__name__)) from error


def compare(runs: Sequence[str], language: str) -> str:
    """Two runs or more beside each other, as HTML with the page's look. Raises RunError for fewer, more or unknown."""
    found: list[RunDir] = [actions.opened(run) for run in dict.fromkeys(runs)]
    if not 2 <= len(found) <= MOST_COMPARED:
        raise RunError(Problem("page.compare_count", most=MOST_COMPARED))
    return html.sections(comparison.build([material.of(rundir) for rundir in found], language))
