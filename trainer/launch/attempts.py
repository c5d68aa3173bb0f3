"""Start and resume the worker of a run: an attempt after the other, each a process of its own. Torch-free."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trainer.errors import Problem, RunError
from trainer.launch.agreement import Agreement, agree
from trainer.launch.control import status_of
from trainer.launch.locks import running_problem
from trainer.machine import notes, spawn
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity, Lock
from trainer.run import rewind
from trainer.run.best import LATEST, resolve_checkpoint
from trainer.run.rundir import RunDir, make_outputs
from trainer.run.state import RunFollower, RunState
from trainer.run.status import LIVE, Status, imported_problem, worker_alive
from trainer.text import Message

WORKER = "trainer.worker"
BESIDE = "beside"  # in the note of a worker that need not have the GPU to itself
_START_WAIT_S = 10.0  # for another process that is starting the same run right now
_LEFT_S = 2.0  # the first thread of a killed worker has ended; until all have, its files and their locks are held


@dataclass
class WorkerHandle:
    """A worker this process started."""

    attempt: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()


@dataclass
class NextAttempt:
    """A worker that another process started: the one before it, when its step was too large for the GPU."""

    attempt: int
    worker: Identity

    @property
    def pid(self) -> int:
        return self.worker.pid

    def poll(self) -> int | None:
        """None while it runs, then -1: only a parent learns the exit status."""
        return None if self.worker.alive() else -1


def _silent(message: Message) -> None:
    """For a caller who does not want to be told."""


def start(
    rundir: RunDir,
    module: str = WORKER,
    checkpoint: str = LATEST,
    say: Callable[[Message], None] = _silent,
    agreed: Agreement | None = None,
    beside: bool = False,
) -> WorkerHandle:
    """Start the next attempt. Raises RunError when a worker of this run is there already; checkpoint as for resume.

    agreed: what it goes on with, where that was asked (launch/agreement.py). beside: also on a GPU that another run
    has, because a person said so.
    """
    make_outputs(rundir.path.parent)  # made by an earlier version, it may be open to others
    with Lock(rundir.start_lock) as starting:
        if not starting.take(f"pid {os.getpid()}", _START_WAIT_S):
            raise RunError(Problem("launch.being_started", name=rundir.name))
        follower = RunFollower(rundir)
        deadline = time.monotonic() + _START_WAIT_S
        while (status := status_of(rundir, follower)) not in LIVE and time.monotonic() < deadline:
            if not worker_alive(rundir, follower.state):
                break
            time.sleep(0.1)  # it has written its final event and is clearing up
        if status == "imported":
            raise RunError(imported_problem(rundir))
        owner = Lock(rundir.worker_lock)
        # The lock is asked as well: it also sees a worker in another container on these files.
        if worker_alive(rundir, follower.state) or not owner.take("start", _LEFT_S):
            raise RunError(running_problem(rundir, status, owner))
        owner.release()
        if checkpoint != LATEST:
            _go_back(rundir, follower.state, checkpoint, status, say)
        for request in (rundir.stop_request, rundir.save_request, rundir.stop_at):
            request.unlink(missing_ok=True)  # it was meant for the attempt before
        attempt = max(rundir.newest_attempt(), follower.state.attempts) + 1
        if agreed is not None:
            agreed.write(rundir, attempt)
        return _spawn(rundir, module, attempt, os.environ, beside)


def _spawn(
    rundir: RunDir, module: str, attempt: int, environment: Mapping[str, str], beside: bool = False
) -> WorkerHandle:
    process = spawn.detached(
        [module, str(rundir.path)],
        rundir.log_file(attempt),
        {**environment, **spawn.one_gpu()},
        signals_wait=True,
        note=rundir.identity,
        noted={"attempt": attempt} | ({BESIDE: True} if beside else {}),
    )
    return WorkerHandle(attempt, process)


def start_next_attempt(rundir: RunDir, module: str, environment: Mapping[str, str]) -> None:
    """For a worker that ran out of memory and is about to end: its successor waits for the locks it holds.

    environment: the worker's own as it was started with. Libraries have written into os.environ since, and Unsloth
    leaves a switch there (UNSLOTH_RETURN_HIDDEN_STATES) when it is interrupted. Raises OSError.
    """
    _spawn(rundir, module, rundir.newest_attempt() + 1, environment, may_be_beside(rundir))


def may_be_beside(rundir: RunDir) -> bool:
    """Was the newest attempt started although another run has the GPU?"""
    return (read_json(rundir.identity) or {}).get(BESIDE) is True


def next_attempt(rundir: RunDir, attempt: int) -> NextAttempt | None:
    """The worker after that attempt, as it was named when it was started; None when there is none."""
    stored = read_json(rundir.identity) or {}
    worker, newer = notes.process(rundir.identity), stored.get("attempt")
    return NextAttempt(newer, worker) if worker and isinstance(newer, int) and newer > attempt else None


def resume(
    rundir: RunDir,
    module: str = WORKER,
    checkpoint: str = LATEST,
    say: Callable[[Message], None] = _silent,
    overrides: Sequence[str] = (),
    force: bool = False,
    beside: bool = False,
) -> WorkerHandle:
    """Start another attempt of a run that was paused, stopped, failed or lost.

    Also of a finished one: from an older checkpoint, or when it was extended (launch/extension.py) and its spec asks
    for more steps than were done; until then it is still judged finished.
    checkpoint: best, latest or a step; all that is newer is set aside (run/rewind.py). say: told what was.
    overrides: `key=value` of files that lie elsewhere now. force: go on with settings and rows as they are, though they
    were changed. beside: as for start. Raises RunError when there is nothing to go on with, when settings that decide
    the weights were changed, or when a file is missing; CheckpointError when that checkpoint is damaged.
    """
    follower = RunFollower(rundir)
    status = status_of(rundir, follower)
    if status == "imported":
        raise RunError(imported_problem(rundir))
    if checkpoint == LATEST and status == "finished" and not more_is_asked(rundir, follower.state):
        raise _finished(rundir)
    # Refused here, not by a worker that would have to say so in its log.
    agreed = agree(rundir, overrides, force, follower.state.checkpoints)
    for alert in agreed.alerts:
        say(alert.message())
    return start(rundir, module, checkpoint, say, agreed, beside)


def _go_back(rundir: RunDir, state: RunState, checkpoint: str, status: Status, say: Callable[[Message], None]) -> None:
    """Make that checkpoint the newest. The caller holds the start lock and has seen that there is no worker."""
    chosen = resolve_checkpoint(rundir, state, checkpoint, say)
    if status == "finished" and chosen.step >= state.last_step and not more_is_asked(rundir, state):
        raise _finished(rundir)
    moved = rewind.go_back(rundir, chosen)
    if moved:
        say(Message("launch.went_back", checkpoint=chosen.path.name, moved=moved))


def more_is_asked(rundir: RunDir, state: RunState) -> bool:
    """Was the run extended, with steps of it still to take? Then a finished one goes on as well."""
    wanted = rundir.read_spec().optim.max_steps if rundir.was_extended else None
    return wanted is not None and wanted > state.last_step


def _finished(rundir: RunDir) -> RunError:
    return RunError(Problem("launch.finished", name=rundir.name))
