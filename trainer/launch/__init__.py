"""Everything that can be done with a run, for page and command line alike: `launch.prepare`, `launch.start`, ...

    preparation    all checks, the plan on this machine, the folder of a new run
    attempts       start and resume its worker
    agreement      what a resume goes on with: changed settings, files that lie elsewhere now
    control        what it is doing; stop, pause, save, end at once
    extension      more steps for a run that ended; deletion: a run removed
    queue          runs that start when others have ended; chain: stages, one after the other
    pace           how long a run will take here
    locks          one worker a run, one run a GPU; exits: exit codes

The worker is a fresh interpreter in its own session that writes to files only: closing the page or killing its server
does not touch it. A signal goes to exactly the process that was started, never to whoever has its pid now. Torch-free.
"""

from __future__ import annotations

from trainer.launch import chain, queue
from trainer.launch.agreement import take_paths
from trainer.launch.attempts import (
    WORKER,
    NextAttempt,
    WorkerHandle,
    may_be_beside,
    more_is_asked,
    next_attempt,
    resume,
    start,
    start_next_attempt,
)
from trainer.launch.control import (
    FORCE_AFTER_S,
    kill,
    next_at,
    not_running_problem,
    pause,
    save_asked,
    save_now,
    status_of,
    stop,
    stop_asked,
    stop_at,
    stops_at,
    wait_until_ended,
)
from trainer.launch.deletion import Contents, contents, delete
from trainer.launch.exits import EXIT_FAILED, EXIT_FINISHED, EXIT_INPUT, EXIT_OUT_OF_MEMORY, EXIT_STOPPED
from trainer.launch.extension import extend, extended_total, extension_notes
from trainer.launch.locks import CHOSEN, LOCK_WAIT_S, hold_gpu_lock, hold_lock, make_state_dir, state_dir
from trainer.launch.pace import expected, expected_anywhere, expected_of
from trainer.launch.preparation import create, plan_here, planned_later, prepare, told
from trainer.run.stop_requests import StopRequest

__all__ = [
    "CHOSEN", "EXIT_FAILED", "EXIT_FINISHED", "EXIT_INPUT", "EXIT_OUT_OF_MEMORY", "EXIT_STOPPED", "FORCE_AFTER_S",
    "LOCK_WAIT_S", "WORKER", "Contents", "NextAttempt", "StopRequest", "WorkerHandle", "chain", "contents", "create",
    "delete", "expected", "expected_anywhere", "expected_of", "extend", "extended_total", "extension_notes",
    "hold_gpu_lock", "hold_lock", "kill", "make_state_dir", "may_be_beside", "more_is_asked", "next_at",
    "next_attempt", "not_running_problem", "pause", "plan_here", "planned_later", "prepare", "queue", "resume",
    "save_asked", "save_now", "start", "start_next_attempt", "state_dir", "status_of", "stop", "stop_asked",
    "stop_at", "stops_at", "take_paths", "told", "wait_until_ended",
]  # fmt: skip
