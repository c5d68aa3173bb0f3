"""Delete a run with everything in its directory. Torch-free."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import Problem, RunError, TrainerError
from trainer.launch import chain
from trainer.launch.control import at_rest, status_of
from trainer.machine import notes
from trainer.run import checkpoints, mirror_files
from trainer.run.rundir import RunDir, list_runs
from trainer.run.state import state_of
from trainer.text import Message

_REPORT_S = 10.0  # for the report of a run that has just ended: it is written in a process of its own


@dataclass(frozen=True)
class Contents:
    """What would be lost. bytes: of all files; what a link leads to is not counted, and not deleted either."""

    bytes: int
    files: int
    steps: int
    checkpoints: int


def contents(rundir: RunDir) -> Contents:
    size = files = 0
    for folder, _, names in os.walk(rundir.path):
        for name in names:
            files += 1
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue  # a temporary file of somebody who writes right now
    return Contents(size, files, state_of(rundir).last_step, len(checkpoints.listed(rundir.checkpoints)))


def delete(rundir: RunDir) -> None:
    """Delete the run: it is gone from every list at once, then its files are removed. Links are not followed.

    A crash in between leaves a hidden folder in outputs/, which the next run that is created there removes. Raises
    RunError while the run is live or another process works on its files (its report, copy, export or answers); OSError
    when it cannot be moved.
    """
    rundir = RunDir.open(rundir.path.parent, rundir.name)  # a name, a run and no link, whoever made the object
    with at_rest(rundir):
        _refuse_at_work(rundir)
        _refuse_needed(rundir)
        hidden = rundir.hide() if os.name != "nt" else None
    if hidden is None:  # Windows moves no folder in which a file, here a lock, is open
        hidden = rundir.hide()
    try:
        shutil.rmtree(hidden)
    except FileNotFoundError:
        return  # somebody else has swept it away
    except OSError as error:
        said = {"file": str(error.filename), "said": error.strerror, "hidden": str(hidden)}
        raise RunError(Problem("launch.not_removed", name=rundir.name, **said)) from error


def _refuse_needed(rundir: RunDir) -> None:
    """A later stage of whole weights goes on from a checkpoint of this run, until it has finished; one that waits for
    others may need its weights, or the reward model it has trained."""
    waiting = None
    with contextlib.suppress(TrainerError, OSError):  # what cannot be read waits for nothing
        waiting = chain.needed_by(rundir)
    if waiting is not None:
        raise RunError(Problem("launch.needed_later", name=rundir.name, other=waiting))
    for other in list_runs(rundir.path.parent):
        if "." in other.name and other != rundir and status_of(other) != "finished":
            try:
                start = Path(other.read_spec().model.name)
            except (TrainerError, OSError):
                continue
            if start.is_relative_to(rundir.path):
                raise RunError(Problem("launch.needed", name=rundir.name, other=other.name))


def _refuse_at_work(rundir: RunDir) -> None:
    """Who works on what a run has left would write its files again, or lose what it has still to send."""
    deadline = time.monotonic() + _REPORT_S
    while (busy := _busy(rundir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if busy:
        raise RunError(Problem("launch.in_use", name=rundir.name, busy=busy))


def _busy(rundir: RunDir) -> Message | None:
    """What another process does with the run; None when none does anything. Each has named itself in a file."""
    exports = rundir.export_processes.glob("*.json")
    for key, files in (
        ("launch.busy_report", [rundir.report_writer]),
        ("launch.busy_mirror", [*mirror_files.notes(rundir), rundir.notifier]),
        ("launch.busy_tryit", [rundir.tryit_started, rundir.tryit_worker]),
        ("launch.busy_export", list(exports)),
    ):
        found = map(notes.process, files)
        if any(process is not None and process.alive() for process in found):
            return Message(key)
    return None
