"""Runs that are there already: with which settings, and is there more to do for them?

The page asks at every tick, so a file is read again only when it has changed. Torch-free.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from trainer.errors import TrainerError
from trainer.run.records import RunFailedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import state_of
from trainer.run.status import Status
from trainer.spec import RunSpec

NOTHING_TO_LEARN = frozenset({"stages.no_golds", "stages.none_right", "stages.no_pairs"})
"""Problems of a run that would fail the same way again (trainer.stages.examples)."""
_GPU_TAKEN = "launch.gpu_used"  # and by whom (trainer.launch.locks)

Stamp = tuple[int, int, int]


def is_over(rundir: RunDir, status: Status | None) -> bool:
    """Has it finished, or failed for good? Worth another try is one that failed before its first step or because
    something else had the GPU, unless it had nothing to learn from."""
    if status != "failed":
        return status == "finished"
    stamp = _stamp(rundir.events)
    return stamp is None or _failed_for_good(rundir.path, stamp)


@functools.lru_cache(maxsize=1024)
def _failed_for_good(path: Path, stamp: Stamp) -> bool:
    state = state_of(RunDir(path))
    why = [problem.key for problem in state.final.reasons()] if isinstance(state.final, RunFailedEvent) else []
    if NOTHING_TO_LEARN.intersection(why):
        return True
    return state.last_step > 0 and not any(key.startswith(_GPU_TAKEN) for key in why)


def hash_of(spec: RunSpec) -> str:
    """The same in a later version with more settings, as long as these are not set."""
    return hashlib.sha256(spec.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]


def hash_there(rundir: RunDir) -> str | None:
    """Of the settings of a run; None where there is no run, "" where they cannot be read."""
    stamp = _stamp(rundir.spec)
    return _hash_there(rundir.path, stamp) if stamp is not None else None


@functools.lru_cache(maxsize=1024)
def _hash_there(path: Path, stamp: Stamp) -> str:
    try:
        return hash_of(RunDir(path).read_spec())
    except (TrainerError, OSError):
        return ""


def _stamp(path: Path) -> Stamp | None:
    """Changes with the file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
