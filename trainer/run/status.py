"""What became of a run: derived from its events and its worker's life, never stored."""

from __future__ import annotations

import contextlib
import time
from typing import Literal

from trainer.errors import Problem
from trainer.machine import notes
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity
from trainer.run.queue_place import place_of
from trainer.run.records import Origin, RunStartedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.run.stop_requests import stop_request

Status = Literal[
    "starting", "running", "stopping", "finished", "paused", "stopped", "failed", "lost", "imported", "queued"
]  # fmt: skip
LIVE: frozenset[Status] = frozenset({"starting", "running", "stopping"})

_ENDS: dict[str, Status] = {
    "run_finished": "finished",
    "run_paused": "paused",
    "run_stopped": "stopped",
    "run_failed": "failed",
}
_CREATED_S = 30.0  # between creating a run and starting its worker


def workers(rundir: RunDir, state: RunState) -> list[Identity]:
    """The worker of the newest attempt as its parent named it, and as it named itself. Usually the same one twice.

    A parent killed between starting the worker and writing its name leaves only the second; a worker that started the
    next attempt is not the run's any more, even while it is still clearing up. Of a copied run none: it is the
    original's worker that they name.
    """
    stored, started = read_json(rundir.identity), state.started
    named = [(_attempt(stored), notes.process(rundir.identity))]
    if started is not None:
        ours = notes.made_for(rundir.path, started.folder, started.folder_id)
        ours = ours and (started.folder is not None or not notes.copied(rundir.identity))
        named.append((started.attempt, named_itself(started) if ours else None))
    newest = max(attempt for attempt, _ in named)
    found = (worker for attempt, worker in named if attempt == newest)
    return list(dict.fromkeys(worker for worker in found if worker is not None))


def named_itself(started: RunStartedEvent) -> Identity | None:
    """The worker that wrote the event; None of a run that never had one."""
    return Identity.read({"pid": started.pid, "pid_started": started.pid_started, "boot_id": started.boot_id})


def worker_alive(rundir: RunDir, state: RunState) -> bool:
    return any(worker.alive() for worker in workers(rundir, state))


def imported(state: RunState) -> Origin | None:
    """What is known of where a run came from; None of one that was made here."""
    return state.started.imported if state.started is not None else None


def imported_problem(rundir: RunDir) -> Problem:
    """For everything that needs a worker or weights."""
    return Problem("run.imported", name=rundir.name)


def derive_status(rundir: RunDir, state: RunState, alive: bool) -> Status:
    """The status. The state must be read AFTER `alive`: a run that ends in between would look lost.

    A final event of the newest attempt decides, even while the process is still clearing up. A
    worker that was asked to stop before it began anything, or was ended on request, counts as stopped;
    one that was asked to pause before it began anything as paused.
    A run that was imported never had a worker, and how it ended is not known.
    """
    if imported(state) is not None:
        return "imported"
    newest = max(_attempt(read_json(rundir.identity)), state.attempts)
    if state.final is not None and state.final.attempt == newest:
        return _ENDS[state.final.kind]
    begun = state.started is not None and state.started.attempt == newest
    request = stop_request(rundir)
    if request is None or newest == 0 or request.attempt != newest:
        request = None
    if alive:
        return "stopping" if request else "running" if begun else "starting"
    if request is not None and (request.force or not begun):
        return "paused" if request.pause else "stopped"
    if newest == 0:
        if place_of(rundir) is not None:
            return "queued"
        with contextlib.suppress(OSError):
            if time.time() - rundir.spec.stat().st_mtime < _CREATED_S:
                return "starting"
        return "stopped"  # nobody ever started it: out of the queue, or whoever made it was gone before
    return "lost"


def _attempt(stored: dict[str, object] | None) -> int:
    attempt = (stored or {}).get("attempt")
    return attempt if isinstance(attempt, int) else 0
