"""One worker a run, one run a GPU: locks that die with their process. Torch-free."""

from __future__ import annotations

import os
import re
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.machine.process import Lock
from trainer.run.rundir import RunDir
from trainer.run.status import LIVE, Status
from trainer.text import Message

STATE_VARIABLE = "ONEGRPO_STATE"
LOCK_WAIT_S = 2.0  # `start` looks whether the lock is free by taking it for a moment
_OWNER = re.compile(r"(?P<use>run|chat with) (?P<name>\S+), pid (?P<pid>\d+)")  # what hold_gpu_lock writes into it


def hold_lock(rundir: RunDir, wait_s: float = LOCK_WAIT_S) -> Lock:
    """For the worker, before it writes anything: one worker a run, however it ends."""
    lock = Lock(rundir.worker_lock)
    if not lock.take(f"run {rundir.name}, pid {os.getpid()}", wait_s):
        raise RunError(running_problem(rundir, "running", lock))
    return lock


def hold_gpu_lock(uuid: str, run: str, wait_s: float = LOCK_WAIT_S, use: str = "run") -> Lock:
    """For the worker: one run a GPU. The error names the run that has it. use: "chat with" for one that answers."""
    lock = Lock(state_dir() / f"gpu-{uuid}.lock")
    if not lock.take(f"{use} {run}, pid {os.getpid()}", wait_s):
        raise RunError(_gpu_problem(uuid, lock.note()))
    return lock


def _gpu_problem(uuid: str, note: str) -> Problem:
    owner = _OWNER.fullmatch(note)
    if owner is None:
        return Problem("launch.gpu_used", uuid=uuid)
    key = "launch.gpu_used_by_run" if owner["use"] == "run" else "launch.gpu_used_by_chat"
    return Problem(key, uuid=uuid, name=owner["name"], pid=owner["pid"])


def state_dir() -> Path:
    """Where locks that concern the machine live: $ONEGRPO_STATE, else the user's state folder."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "onegrpo"


def running_problem(rundir: RunDir, status: Status, lock: Lock) -> Problem:
    """What to say of a run that has a worker already. lock: the worker's, taken by it."""
    said = Message(f"status.{status if status in LIVE else 'running'}")
    if note := lock.note():
        return Problem("launch.has_worker_held", name=rundir.name, status=said, holder=note)
    return Problem("launch.has_worker", name=rundir.name, status=said)
