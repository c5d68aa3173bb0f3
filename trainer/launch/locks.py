"""One worker a run, one run a GPU: locks that die with their process. Torch-free."""

from __future__ import annotations

import os
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.machine.process import Lock
from trainer.run.rundir import RunDir
from trainer.run.status import LIVE, Status

STATE_VARIABLE = "ONEGRPO_STATE"
LOCK_WAIT_S = 2.0  # `start` looks whether the lock is free by taking it for a moment


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
        owner = lock.note() or "another run"
        name = owner.split(",")[0].split()[-1]
        fix = f"wait for it, or stop it: python -m trainer stop {name}" if owner.startswith("run ") else "end it first"
        raise RunError(Problem.plain(f"GPU {uuid}", f"is in use by {owner}", fix))
    return lock


def state_dir() -> Path:
    """Where locks that concern the machine live: $ONEGRPO_STATE, else the user's state folder."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "onegrpo"


def running_problem(rundir: RunDir, status: Status, lock: Lock) -> Problem:
    """What to say of a run that has a worker already. lock: the worker's, taken by it."""
    word = status if status in LIVE else "running"
    fix = f"follow it on the page, or stop it: python -m trainer stop {rundir.name}"
    holder = f" ({lock.note()})" if lock.note() else ""
    return Problem.plain(f"run {rundir.name}", f"has a worker already, it is {word}{holder}", fix)
