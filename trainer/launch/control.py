"""What a run is doing, and what can be asked of it while it trains: stop, pause, save, end at once.

Requests are left in control/ of the run (run/stop_requests.py) and answered by its worker at the next generation
boundary: only there a resume is exact. A signal goes to exactly the process that was started, never to whoever has its
pid now. Torch-free.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from trainer.errors import Problem, RunError
from trainer.launch.locks import Holder
from trainer.machine import notes
from trainer.machine.json_files import read_json
from trainer.machine.process import Lock
from trainer.run import stop_requests
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.status import LIVE, Status, derive_status, imported_problem, worker_alive, workers
from trainer.run.stop_requests import StopRequest
from trainer.text import Message

FORCE_AFTER_S = 120.0
"""How long after a stop was asked for a person is offered to end the worker at once: a step and a save take less, and
ending it loses every step since the last checkpoint."""

_ASK_S = 2.0
_CLEARING_UP_S = 10.0  # a worker that has written its final event and gives its memory back


def status_of(rundir: RunDir, follower: RunFollower | None = None) -> Status:
    """What the run is doing now. A follower that is kept makes the next call cheap."""
    follower = follower or RunFollower(rundir)
    status: Status = "lost"
    for _ in range(2):  # the first look may be the one that learns who the worker is
        alive = worker_alive(rundir, follower.state)
        status = derive_status(rundir, follower.tick(), alive)
        if status != "lost":
            break
    return status


def stop(rundir: RunDir, grace_s: float = 0.0) -> Status:
    """Ask the worker to save and stop, wait up to grace_s seconds, return the status then.

    Never kills. One that was asked to pause stops instead. Raises RunError when the run is not running.
    """
    return _end(rundir, grace_s, pause=False)


def pause(rundir: RunDir, grace_s: float = 0.0) -> Status:
    """Ask the worker to save and end, to be continued: its process is gone then, so the GPU is free.

    Else as stop, which differs in what is said of the run only: trainer.launch.resume goes on with both. A stop that
    was asked for before stays a stop. Raises RunError when the run is not running.
    """
    return _end(rundir, grace_s, pause=True)


def _end(rundir: RunDir, grace_s: float, pause: bool) -> Status:
    follower = _running(rundir)
    stop_requests.ask_to_end(rundir, _newest(rundir, follower), pause=pause)
    if os.name != "nt":  # there it would end the worker at once; it looks for the request itself
        for worker in workers(rundir, follower.state):
            worker.send(signal.SIGTERM)
    return wait_until_ended(rundir, grace_s)


def save_now(rundir: RunDir) -> None:
    """Ask the worker for a checkpoint at the next generation boundary and return at once.

    Where every step that is done is saved already it clears the request and writes nothing. Raises RunError when the
    run is not running.
    """
    stop_requests.ask_to_save(rundir, _newest(rundir, _running(rundir)))


def stop_at(rundir: RunDir, at: float | None) -> None:
    """Have the run save and stop at that moment (unix seconds), by itself: nobody has to be there. None takes it back.

    Raises RunError when the run is not running.
    """
    _running(rundir)
    stop_requests.ask_to_end_at(rundir, at)


def stops_at(rundir: RunDir) -> float | None:
    """Unix seconds of the moment at which it will; None when nobody said one."""
    return stop_requests.end_asked_at(rundir)


def next_at(clock: str, now: float) -> float:
    """Unix seconds of the next time it is HH:MM here. Raises RunError for what is no time of day."""
    found = re.fullmatch(r"\s*(\d{1,2})[:.](\d{2})\s*", clock)
    hour, minute = (int(found[1]), int(found[2])) if found else (24, 0)
    if hour > 23 or minute > 59:
        raise RunError(Problem("launch.no_clock", seen=clock[:20]))
    then = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then.timestamp() > now else then + timedelta(days=1)).timestamp()


def save_asked(rundir: RunDir) -> float | None:
    """Unix seconds of a request to save that its worker has still to meet; None without one."""
    if read_json(rundir.identity):  # else its parent was killed before it could name it
        worker = notes.process(rundir.identity)
        if worker is None or not worker.alive():
            return None
    return stop_requests.save_asked_of(rundir, _named_attempt(rundir))


def stop_asked(rundir: RunDir) -> StopRequest | None:
    """What the newest attempt was asked: when, to stop or to pause, and whether it was ended at once. Else None."""
    request = stop_requests.stop_request(rundir)
    return request if request is not None and request.attempt == _named_attempt(rundir) else None


def wait_until_ended(rundir: RunDir, seconds: float) -> Status:
    """The status once the worker has ended, or after that many seconds."""
    follower = RunFollower(rundir)
    deadline = time.monotonic() + seconds
    while (status := status_of(rundir, follower)) in LIVE and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def kill(rundir: RunDir) -> bool:
    """End the worker and its process group at once; steps since the last checkpoint are lost.

    False when there was nothing to end. Only ever ends the process that was started.
    """
    follower = RunFollower(rundir)
    follower.tick()
    if not worker_alive(rundir, follower.state):
        return False
    stop_requests.ask_to_end(rundir, _newest(rundir, follower), force=True)
    ended = False
    for worker in workers(rundir, follower.state):
        ended = worker.kill_group() or ended
    return ended


def hand_on(rundir: RunDir, pause: bool) -> None:
    """For a worker that was asked to end while it started the next attempt: leave that one the same word."""
    follower = RunFollower(rundir)
    follower.tick()
    stop_requests.ask_to_end(rundir, _newest(rundir, follower), pause=pause)


@contextmanager
def at_rest(rundir: RunDir) -> Iterator[RunFollower]:
    """Keep anybody from starting a worker of the run while its files are changed; what its event log says.

    Raises RunError when the run is live, or a process (also one in another container on these files) holds its locks.
    """
    if not rundir.spec.is_file():
        raise RunError(Problem("launch.gone", name=rundir.name))
    with Lock(rundir.start_lock) as starting, Lock(rundir.worker_lock) as working:
        if not starting.take(f"pid {os.getpid()}", _ASK_S):
            raise RunError(Problem("launch.being_started", name=rundir.name))
        follower = RunFollower(rundir)
        status = status_of(rundir, follower)
        if status in LIVE:
            raise RunError(Problem("launch.live", name=rundir.name, status=Message(f"status.{status}")))
        if not working.take(f"pid {os.getpid()}", _CLEARING_UP_S):
            holder = Holder.of(working)
            said = f"pid {holder.pid}" if holder else working.note()
            raise RunError(Problem("launch.held", name=rundir.name, holder=said))
        yield follower


def _running(rundir: RunDir) -> RunFollower:
    follower = RunFollower(rundir)
    status = status_of(rundir, follower)
    if status == "imported":
        raise RunError(imported_problem(rundir))
    if status not in LIVE:
        raise RunError(not_running_problem(rundir, status))
    return follower


def not_running_problem(rundir: RunDir, status: Status) -> Problem:
    """What to say of a run of which something was asked that only a live one can do."""
    return Problem("launch.not_running", name=rundir.name, status=Message(f"status.{status}"))


def _newest(rundir: RunDir, follower: RunFollower) -> int:
    """The newest attempt: as its parent named it, or as it named itself where the parent was killed before."""
    attempt = (read_json(rundir.identity) or {}).get("attempt")
    return max(attempt if isinstance(attempt, int) else 0, follower.state.attempts)


def _named_attempt(rundir: RunDir) -> int:
    """The same without reading the event log: a log file is made before a worker is started."""
    attempt = (read_json(rundir.identity) or {}).get("attempt")
    return max(attempt if isinstance(attempt, int) else 0, rundir.newest_attempt())
