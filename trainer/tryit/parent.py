"""Start the process that answers, ask it something, cancel, end it. For the page; the process itself is worker.py.

It is a fresh interpreter in its own session that writes to files: closing the page or killing its server does not touch
it, and it ends by itself when nobody asks. Torch-free.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError
from trainer.machine import spawn
from trainer.machine.json_files import read_json, write_json
from trainer.machine.process import Identity, Lock
from trainer.run import checkpoints
from trainer.run.rundir import RunDir, list_runs
from trainer.tryit import reading
from trainer.tryit.request import ID, Request, checked, new_id, refuse_judge

MODULE = "trainer.tryit"
IDLE_S = 300.0
"""Without a question for so long the process ends and its GPU is free."""
MOST_WAITING = 8
UNLOAD_S = 10.0
CANCEL, END = ".cancel", "end"
_START_WAIT_S = 10.0  # for another page that is starting the same process right now


def ask(
    rundir: RunDir, raw: Mapping[str, Any], idle_s: float = IDLE_S
) -> tuple[Request, subprocess.Popen[bytes] | None]:
    """Leave a question, and start the process that answers where there is none: that child is the second value.

    raw: values of a Request, from a browser. Raises RunError with everything that is wrong with them, for a run without
    such a checkpoint, and when too many wait already.
    """
    request = checked({**raw, "id": new_id()})
    refuse_judge(rundir.read_spec(), rundir.name)
    _refuse_without_checkpoint(rundir, request)
    if len(reading.waiting(rundir)) >= MOST_WAITING:
        raise RunError(Problem("tryit.many_waiting", run=rundir.name, count=MOST_WAITING))
    rundir.tryit_requests.mkdir(parents=True, exist_ok=True)
    write_json(rundir.tryit_requests / f"{request.id}.json", request.stored())
    return request, start(rundir, idle_s)


def _refuse_without_checkpoint(rundir: RunDir, request: Request) -> None:
    steps = [checkpoint.step for checkpoint in checkpoints.listed(rundir.checkpoints)]
    if not steps:
        raise RunError(Problem("tryit.no_checkpoint", run=rundir.name))
    if request.checkpoint is not None and request.checkpoint not in steps:
        raise RunError(Problem("tryit.other_checkpoint", "checkpoint", seen=request.checkpoint, known=steps))


def start(rundir: RunDir, idle_s: float = IDLE_S) -> subprocess.Popen[bytes] | None:
    """Start the process that answers; None when one is there. Raises RunError when another page starts it for ever."""
    rundir.tryit.mkdir(exist_ok=True)
    with Lock(rundir.tryit_lock("start")) as starting:
        if not starting.take(f"pid {os.getpid()}", _START_WAIT_S):
            raise RunError(Problem("tryit.starting", run=rundir.name))
        if reading.process(rundir).at_work:
            return None
        return spawn.detached(
            [MODULE, str(rundir.path), "--idle-s", str(idle_s)],
            rundir.tryit_log,
            append=False,
            note=rundir.tryit_started,
        )


def cancel(rundir: RunDir, id: str) -> bool:
    """Stop answering that question, or do not begin; False when it is neither waiting nor being answered."""
    if not ID.fullmatch(id):
        return False
    process = reading.process(rundir)
    open_ids = {one.request.id for one in reading.newest(rundir, MOST_WAITING + 2, process) if one.open}
    if id not in open_ids:
        return False
    if not process.at_work:  # nobody is there to begin it
        (rundir.tryit_requests / f"{id}.json").unlink(missing_ok=True)
        return True
    (rundir.tryit_requests / f"{id}{CANCEL}").touch()
    return True


def end(rundir: RunDir) -> bool:
    """Ask the process that answers to end, which frees its GPU; asked again, it is killed. False when there is none."""
    identity = reading.process(rundir).identity
    if identity is None or not identity.alive():
        return False
    request = rundir.tryit_requests / END
    if Identity.read(read_json(request)) == identity:
        return identity.kill_group()
    rundir.tryit_requests.mkdir(parents=True, exist_ok=True)
    write_json(request, identity.stored())
    if os.name != "nt":  # there it would end at once, in the middle of a line
        identity.send(signal.SIGTERM)
    return True


def new_thread(rundir: RunDir) -> str:
    """Begin another conversation: what was said before is not given to the model any more."""
    rundir.tryit.mkdir(exist_ok=True)
    name = secrets.token_hex(4)
    write_json(rundir.tryit_thread, {"thread": name})
    return name


def free_gpu(outputs: Path) -> None:
    """End the processes that answer on a GPU: a run that is about to start needs it.

    Waits until they have ended, UNLOAD_S at most; a worker that still finds the GPU in use says so by itself.
    """
    held = [rundir for rundir in list_runs(outputs) if _holds_gpu(rundir)]
    for rundir in held:
        end(rundir)
    deadline = time.monotonic() + UNLOAD_S
    while any(map(_holds_gpu, held)) and time.monotonic() < deadline:
        time.sleep(0.1)


def _holds_gpu(rundir: RunDir) -> bool:
    process = reading.process(rundir)
    return process.at_work and process.device != "cpu"
