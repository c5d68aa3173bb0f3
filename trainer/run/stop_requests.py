"""What is asked of a worker that trains, left in control/ of its run: stop or pause (stop.json), save (save.json), stop
at a time of day (stop_at.json).

Each request names the attempt it is meant for: one that was left for an attempt that is over means nothing. Only the
one with a time counts for every attempt until somebody resumes the run: it is about the clock. Written by
whoever asks (trainer.launch.control), read by the worker and by everything that shows a run. Torch-free.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from trainer.machine.json_files import read_json, write_json
from trainer.machine.process import Lock
from trainer.run.groups import number
from trainer.run.rundir import RunDir

_ASK_S = 2.0  # two who ask at once take turns; writing one small file takes milliseconds


@dataclass(frozen=True)
class StopRequest:
    """attempt: whose worker is meant. t: unix seconds of the first time it was asked to stop or pause."""

    attempt: int
    t: float
    pause: bool = False
    """To be continued: nobody has asked it to stop."""
    force: bool = False
    """It was ended at once."""


def stop_request(rundir: RunDir) -> StopRequest | None:
    """The request in stop.json, whichever attempt it is meant for."""
    stored = read_json(rundir.stop_request) or {}
    found = _attempt_and_time(stored)
    return StopRequest(*found, bool(stored.get("pause")), bool(stored.get("force"))) if found else None


def ask_to_end(rundir: RunDir, attempt: int, *, pause: bool = False, force: bool = False) -> None:
    """Leave word for that attempt. A stop makes a pause a stop; a pause never undoes a stop."""
    with Lock(rundir.requests_lock) as turn:
        turn.take(f"pid {os.getpid()}", _ASK_S)
        before, t = stop_request(rundir), round(time.time(), 3)
        if before is not None and before.attempt == attempt:
            pause, force, t = pause and before.pause, force or before.force, before.t
        write_json(rundir.stop_request, {"attempt": attempt, "pause": pause, "force": force, "t": t, "by": os.getpid()})


def ask_to_end_at(rundir: RunDir, at: float | None) -> None:
    """Leave word to save and stop at that moment, in unix seconds; None takes it back."""
    if at is None:
        rundir.stop_at.unlink(missing_ok=True)
    else:
        write_json(rundir.stop_at, {"at": round(at), "t": round(time.time(), 3)})


def end_asked_at(rundir: RunDir) -> float | None:
    """Unix seconds of the moment at which the run is to save and stop; None when nobody said one."""
    return number((read_json(rundir.stop_at) or {}).get("at"))


def ask_to_save(rundir: RunDir, attempt: int) -> None:
    write_json(rundir.save_request, {"attempt": attempt, "t": round(time.time(), 3)})


def save_asked_of(rundir: RunDir, attempt: int) -> float | None:
    """Unix seconds of a request to save that waits for that attempt; None when there is none."""
    found = _attempt_and_time(read_json(rundir.save_request) or {})
    return found[1] if found and found[0] == attempt else None


def clear_save_request(rundir: RunDir, attempt: int) -> None:
    """Clear the request to save of that attempt: it was met, or the attempt ends."""
    if save_asked_of(rundir, attempt) is not None:
        rundir.save_request.unlink(missing_ok=True)


def _attempt_and_time(stored: dict[str, Any]) -> tuple[int, float] | None:
    attempt, t = stored.get("attempt"), number(stored.get("t"))
    return (attempt, t) if isinstance(attempt, int) and t is not None else None
