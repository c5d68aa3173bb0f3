"""Runs that start when the ones that are going have ended, one after the other. Torch-free.

The queue is a note in the folder of each run that waits (trainer.run.queue_place), so it outlives everybody. One
process of an outputs folder starts them (STARTER, which holds a lock for its life): whoever puts a run there, looks at
the queue or ends a run sees to it that there is one. It needs neither page nor console, and ends with the queue.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from trainer.errors import Problem, RunError, TrainerError
from trainer.launch import chain
from trainer.launch.attempts import WorkerHandle, more_is_asked, resume
from trainer.launch.control import status_of
from trainer.launch.locks import make_state_dir
from trainer.machine import gpu, notes, spawn
from trainer.machine.process import Lock
from trainer.plan.estimate import Machine, runs_on_gpu
from trainer.run import queue_place
from trainer.run.outputs import comparing
from trainer.run.rundir import RunDir, list_runs
from trainer.run.state import RunFollower
from trainer.run.status import LIVE, imported_problem
from trainer.spec import RunSpec
from trainer.text import Message

STARTER = "trainer.console.queue_starter"
_JUST_MADE_S = 30.0  # a run without a worker that is about to be given one
_TURN_S = 5.0  # two who change the order at once take turns


def waiting(outputs: Path) -> list[RunDir]:
    """The runs that wait, the next one first."""
    return queue_place.in_order(list_runs(outputs))


def add(rundir: RunDir) -> int:
    """Put a run at the end of the queue, and see to it that somebody starts it; its place, from 1.

    Raises RunError for a run that is going, is done, or was imported.
    """
    follower = RunFollower(rundir)
    status = status_of(rundir, follower)
    if status == "imported":
        raise RunError(imported_problem(rundir))
    is_new = status == "starting" and not rundir.newest_attempt() and not _has_worker(rundir)
    if status in LIVE and not is_new:
        raise RunError(Problem("launch.queue_live", name=rundir.name, status=Message(f"status.{status}")))
    if status == "finished" and not more_is_asked(rundir, follower.state):
        raise RunError(Problem("launch.finished", name=rundir.name))
    outputs = rundir.path.parent
    with _turn(outputs):
        others = [each for each in waiting(outputs) if each != rundir]
        queue_place.take_place(rundir, max((_order(each) for each in others), default=0.0) + 1.0)
        place = len(others) + 1
    tend(outputs)
    return place


def move(rundir: RunDir, place: int) -> None:
    """Let a run that waits be the place-th (from 1) to start. Raises RunError when it does not wait."""
    outputs = rundir.path.parent
    with _turn(outputs):
        queue = waiting(outputs)
        _refuse_absent(rundir, queue)
        others = [each for each in queue if each != rundir]
        for order, each in enumerate([*others[: max(place, 1) - 1], rundir, *others[max(place, 1) - 1 :]]):
            found = queue_place.place_of(each)
            refused = found.refused if found is not None and each != rundir else None  # this one is tried again
            queue_place.take_place(each, float(order), refused)
    tend(outputs)


def remove(rundir: RunDir) -> None:
    """Take a run out of the queue; it stays as it is. Raises RunError when it is not in it."""
    with _turn(rundir.path.parent):
        _refuse_absent(rundir, waiting(rundir.path.parent))
        queue_place.leave(rundir)


def tend(outputs: Path, environment: Mapping[str, str] = os.environ) -> None:
    """See to it that somebody starts what waits; does nothing where nothing does. Raises OSError, RunError."""
    if some_wait(outputs) and _is_free(_starter_lock(outputs)):
        spawn.detached([STARTER, str(outputs)], make_state_dir() / "queue.log", environment, append=False)


def going(outputs: Path) -> list[str]:
    """Names of runs that have a worker, or are just being given one, and of comparisons that a process is at: it starts
    its next run itself. Reads no event log: it is asked again and again."""
    return [*(rundir.name for rundir in list_runs(outputs) if _is_going(rundir)), *comparing(outputs)]


def beside(spec: RunSpec, outputs: Path, own: str = "") -> list[str]:
    """Names of runs that train on the device that this one would train on. own: its name, where it has one."""
    card, found = gpu.chosen(), list[str]()
    machine = Machine(gpu_total_gib=card.total_gib if card else None)
    for rundir in filter(_has_worker, list_runs(outputs)):
        try:
            same = runs_on_gpu(rundir.read_spec(), machine) == runs_on_gpu(spec, machine)
        except TrainerError:  # whatever it is, it works
            same = True
        if same and rundir.name != own:
            found.append(rundir.name)
    return found


# ---- for the process that starts them


def hold_starter_lock(outputs: Path) -> Lock | None:
    """None where another process starts them."""
    lock = _starter_lock(outputs)
    return lock if lock.take(f"pid {os.getpid()}") else None


def start_next(outputs: Path) -> WorkerHandle | None:
    """Start the first that can be; one that cannot says why, and stays. Only for who holds the lock."""
    with _turn(outputs):
        for rundir in waiting(outputs):
            place = queue_place.place_of(rundir)
            if place is None or place.refused is not None:
                continue
            try:
                handle = resume(rundir)
            except (TrainerError, OSError) as error:
                said = error.problems[0].message() if isinstance(error, TrainerError) else Message.read(str(error))
                queue_place.take_place(rundir, place.order, said)
                continue
            queue_place.leave(rundir)
            return handle
    return None


def some_wait(outputs: Path) -> bool:
    """Are there any that could be started?"""
    places = map(queue_place.place_of, list_runs(outputs))
    return any(place is not None and place.refused is None for place in places)


def _has_worker(rundir: RunDir) -> bool:
    worker = notes.process(rundir.identity)
    return worker is not None and worker.alive()


def _is_going(rundir: RunDir) -> bool:
    if _has_worker(rundir) or _between_stages(rundir):
        return True
    if rundir.newest_attempt() or queue_place.place_of(rundir) is not None:
        return False
    try:
        return time.time() - rundir.spec.stat().st_mtime < _JUST_MADE_S and not rundir.events.exists()
    except OSError:
        return False


def _between_stages(rundir: RunDir) -> bool:
    """It has ended a moment ago, and its next stage is being made."""
    if "." not in rundir.name:
        return False
    try:
        return time.time() - rundir.events.stat().st_mtime < _JUST_MADE_S and chain.waits(rundir)
    except (OSError, TrainerError):
        return False


def _order(rundir: RunDir) -> float:
    place = queue_place.place_of(rundir)
    return place.order if place is not None else 0.0


def _refuse_absent(rundir: RunDir, queue: list[RunDir]) -> None:
    if rundir not in queue:
        raise RunError(Problem("launch.not_queued", name=rundir.name, queue=[each.name for each in queue]))


class _Turn(Lock):
    def __enter__(self) -> Self:
        self.take(f"pid {os.getpid()}", _TURN_S)
        return self


def _turn(outputs: Path) -> _Turn:
    return _Turn(_lock_file(outputs, "order"))


def _starter_lock(outputs: Path) -> Lock:
    return Lock(_lock_file(outputs, "starter"))


def _lock_file(outputs: Path, use: str) -> Path:
    named = hashlib.sha256(str(outputs.resolve()).encode()).hexdigest()[:16]
    return make_state_dir() / f"queue-{named}-{use}.lock"


def _is_free(lock: Lock) -> bool:
    free = lock.take(f"pid {os.getpid()}")
    lock.release()
    return free
