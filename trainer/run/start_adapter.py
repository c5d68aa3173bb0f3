"""What `model.adapter` means: which checkpoint, folder or repository of the Hub.

    run:NAME                   the best evaluated checkpoint of that run, where none was evaluated its latest
    run:NAME@best, latest, 20  that one
    FOLDER                     with the two files of an adapter, seen from the project's folder as the worker sees it
    OWNER/NAME                 on the Hub, where there is no such folder

Torch-free; asks no network.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError, TrainerError
from trainer.machine.project import PROJECT
from trainer.run import checkpoints
from trainer.run.best import BEST, LATEST, find_best, resolve_checkpoint
from trainer.run.checkpoints import Checkpoint
from trainer.run.rundir import NAME, RunDir, list_runs, outputs_dir
from trainer.run.start_files import FILES, PLACE, Origin
from trainer.run.state import state_of
from trainer.text import Message

RUN = "run:"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(typed: str) -> Origin:
    """The verified adapter that is meant. Raises RunError: nothing there, damaged, or no adapter."""
    if typed.startswith(RUN):
        checkpoint = checkpoint_of(typed, PLACE)
        return _origin(typed, checkpoint.path)
    folder = PROJECT / os.path.expanduser(typed)
    if not folder.is_dir() and _HUB.fullmatch(typed):
        return Origin(typed, None)
    if (folder / checkpoints.MANIFEST).is_file() and (wrong := checkpoints.verify(folder)) is not None:
        raise RunError(Problem("run.start_damaged", PLACE, folder=str(folder), wrong=wrong))
    return _origin(typed, folder)


def meant(typed: str) -> Message:
    """What it is, for the plan; as it was typed where that is not known."""
    try:
        return resolve(typed).message()
    except (TrainerError, OSError):
        return Message("plain.text", text=typed)


def called(model: str) -> str:
    """A model as people call it: of the folder of a checkpoint, where a later stage starts, run:NAME@STEP."""
    path = Path(model)
    found = checkpoints.NAME.fullmatch(path.name)
    if found is None or len(path.parents) < 2:
        return model
    rundir = RunDir(path.parents[1])
    return f"{RUN}{rundir.name}@{found[1]}" if path.parent.name == rundir.checkpoints.name else model


def checkpoint_of(typed: str, place: str, no_runs: str = "run.start_no_runs") -> Checkpoint:
    """The verified checkpoint of a run that is meant. place: the key it was typed at. no_runs: the problem where there
    is no run at all. Raises RunError."""
    name, at, which = typed.removeprefix(RUN).partition("@")
    outputs = outputs_dir()
    if not NAME.fullmatch(name) or not (outputs / name).is_dir():
        names = [run.name for run in list_runs(outputs) if NAME.fullmatch(run.name)]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
        key = "run.start_no_run" if near else no_runs
        values = {"near": [f"{RUN}{each}" for each in near]} if near else {}
        raise RunError(Problem(key, place, name=name, outputs=str(outputs), **values))
    if at and which not in (BEST, LATEST) and not re.fullmatch(r"[0-9]+", which):
        raise RunError(Problem("run.start_which", place, seen=which, name=name))
    try:
        rundir = RunDir.open(outputs, name)
        return _chosen(rundir, which or None, place)
    except TrainerError as error:
        if error.problems[0].place == place:
            raise
        said = error.problems[0].part("what")
        raise RunError(Problem("run.start_not_there", place, typed=typed, said=said)) from error


def _chosen(rundir: RunDir, which: str | None, place: str) -> Checkpoint:
    known = [checkpoint.step for checkpoint in checkpoints.listed(rundir.checkpoints)]
    state = state_of(rundir)
    values = {"name": rundir.name, "known": [f"{RUN}{rundir.name}@{step}" for step in known]}
    if not known:
        raise RunError(Problem("run.start_no_checkpoint", place, name=rundir.name))
    if which == BEST and find_best(rundir, state) is None:
        raise RunError(Problem("run.start_none_evaluated", place, **values))
    if which not in (None, BEST, LATEST) and int(which) not in known:
        raise RunError(Problem("run.start_no_step", place, seen=which, **values))
    step = which if which in (None, BEST, LATEST) else str(int(which))
    return resolve_checkpoint(rundir, state, step, lambda message: None)


def _origin(typed: str, folder: Path) -> Origin:
    if not all((folder / name).is_file() for name in FILES):
        raise RunError(Problem("run.start_no_adapter", PLACE, folder=str(folder), files=list(FILES)))
    said = checkpoints.sealed_manifest(folder) or {}
    return Origin(
        typed,
        folder,
        run=_text(said.get("run")),
        step=said["step"] if type(said.get("step")) is int else None,
        trained_on=_text(said.get("model")),
        base=_text(_table(_table(said.get("settings")).get("model")).get("name")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
