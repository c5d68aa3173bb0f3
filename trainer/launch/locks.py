"""One worker a run, one run a GPU: locks that die with their process. Torch-free."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from trainer.errors import Problem, RunError
from trainer.machine.folders import make_private
from trainer.machine.process import Lock
from trainer.machine.project import PROJECT, STATE_VARIABLE, named_folder
from trainer.machine.regular_files import why
from trainer.run.rundir import RunDir
from trainer.run.status import LIVE, Status
from trainer.text import Message

CHOSEN = "files"
"""Folder of the state folder: files that somebody chose on the page, until a run takes a copy."""
LOCK_WAIT_S = 2.0  # `start` looks whether the lock is free by taking it for a moment


class Holder(NamedTuple):
    """Who has a lock, as it writes it there. use: "run", or what else is done with a run of that name."""

    use: str
    run: str
    pid: int

    @classmethod
    def mine(cls, use: str, run: str) -> Self:
        return cls(use, run, os.getpid())

    def stored(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def of(cls, lock: Lock) -> Self | None:
        """The holder of a taken lock; None where that is not known. Earlier versions wrote "run tiny-1, pid 7"."""
        note = lock.note()
        plain = _PLAIN.fullmatch(note)
        try:
            found = plain.groupdict() if plain else json.loads(note)
            return cls(str(found["use"]), str(found["run"]), int(found["pid"]))
        except (ValueError, TypeError, KeyError, OverflowError):
            return None


_PLAIN = re.compile(r"(?P<use>.+) (?P<run>[\w.-]+), pid (?P<pid>\d+)")


def hold_lock(rundir: RunDir, wait_s: float = LOCK_WAIT_S) -> Lock:
    """For the worker, before it writes anything: one worker a run, however it ends."""
    lock = Lock(rundir.worker_lock)
    if not lock.take(Holder.mine("run", rundir.name).stored(), wait_s):
        raise RunError(running_problem(rundir, "running", lock))
    return lock


def hold_gpu_lock(uuid: str, run: str, wait_s: float = LOCK_WAIT_S, use: str = "run") -> Lock:
    """For the worker: one run a GPU. The error names the run that has it. use: "chat with" for one that answers."""
    lock = Lock(make_state_dir() / f"gpu-{uuid}.lock")
    with _in_state_dir(lock.path):
        taken = lock.take(Holder.mine(use, run).stored(), wait_s)
    if not taken:
        raise RunError(_gpu_problem(uuid, lock))
    return lock


def _gpu_problem(uuid: str, lock: Lock) -> Problem:
    holder = Holder.of(lock)
    if holder is None:
        return Problem("launch.gpu_used", uuid=uuid)
    key = "launch.gpu_used_by_run" if holder.use == "run" else "launch.gpu_used_by_chat"
    return Problem(key, uuid=uuid, name=holder.run, pid=holder.pid)


def state_dir() -> Path:
    """Where locks that concern the machine live: $ONEGRPO_STATE, else the user's state folder."""
    if named := named_folder(STATE_VARIABLE):
        return named
    home = Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"))
    # Neither where a path is relative nor where a user has no home, as some containers' have none.
    return (home if home.is_absolute() else PROJECT / ".cache") / "onegrpo"


def make_state_dir(below: str = "") -> Path:
    """The same, or a folder in it, made where it is missing; only its user may enter. Raises RunError where it cannot
    be."""
    folder = state_dir()
    with _in_state_dir(folder):
        make_private(folder, named=bool(os.environ.get(STATE_VARIABLE)))
        if below:
            make_private(folder / below, named=False)
    return folder / below


@contextmanager
def _in_state_dir(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(Problem("launch.no_state", str(folder), said=why(error), variable=STATE_VARIABLE)) from error


def running_problem(rundir: RunDir, status: Status, lock: Lock) -> Problem:
    """What to say of a run that has a worker already. lock: the worker's, taken by it."""
    said = Message(f"status.{status if status in LIVE else 'running'}")
    if holder := Holder.of(lock):
        return Problem("launch.has_worker_held", name=rundir.name, status=said, holder=f"pid {holder.pid}")
    return Problem("launch.has_worker", name=rundir.name, status=said)
