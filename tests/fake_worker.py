"""Looks like trainer.worker from outside, without a model: python -m tests.fake_worker RUN

$FAKE_WORKER says how: finish, fail, refuse, obey (train until SIGTERM, then stop or pause), deaf (ignores
SIGTERM), die (SIGKILL), leave (no final event), parent (obey, with a child in its group), restart (as a step that was
too large for the GPU: the next attempt finishes).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trainer import launch, mirrors
from trainer.machine import notes, spawn
from trainer.machine.process import Identity
from trainer.run import stop_requests
from trainer.run.events import EventWriter
from trainer.run.records import (
    EvalEvent,
    PhaseEvent,
    RunFailedEvent,
    RunFinishedEvent,
    RunPausedEvent,
    RunStartedEvent,
    RunStoppedEvent,
    StepEvent,
)
from trainer.run.rundir import RunDir
from trainer.run.state import state_of

STEPS = 4


def main(path: str, character: str) -> int:
    rundir = RunDir(Path(path))
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    spawn.let_signals_through()
    with (
        launch.hold_lock(rundir, float(os.environ.get("FAKE_WORKER_WAIT_S", "20"))),
        EventWriter(rundir.events, rundir.newest_attempt()) as events,
    ):
        done = state_of(rundir).last_step
        resumed = f"checkpoint-{done}" if done else None
        who: dict[str, Any] = {**Identity.mine().stored(), **notes.place(rundir.path)}
        events.emit(RunStartedEvent(**who, resumed_from_step=done, resumed_from=resumed))
        copies = mirrors.start(rundir, rundir.read_spec().log.mirrors, events.attempt)
        print(f"fake worker, {character}", flush=True)
        events.emit(PhaseEvent(name="load", state="end", seconds=0.1))
        events.emit(EvalEvent(at="before", step=0, reward=0.5, correct_frac=0.1, rows=8, seconds=0.1))
        if character == "parent":
            child = subprocess.Popen(["sleep", "60"])
            (rundir.control / "child").write_text(str(child.pid))
        for mirror in copies:
            mirror.announce(events)
        for step in range(done + 1, STEPS + 1):
            metrics: dict[str, Any] = {"train/reward": float(step), "train/loss": 0.1, "train/grad_norm": 1.0}
            groups: dict[str, Any] = {"dead_frac": 0.5, "all_right_frac": 0.25, "all_wrong_frac": 0.25}
            events.emit(StepEvent(step=step, of=STEPS, seconds=0.01, metrics=metrics, groups=groups, tokens=100 * step))
            if character in ("obey", "deaf", "parent"):
                break
        return restart(rundir, events) if character == "restart" else end(rundir, events, character, asked)


def restart(rundir: RunDir, events: EventWriter) -> int:
    launch.start_next_attempt(rundir, "tests.fake_worker", {**os.environ, "FAKE_WORKER": "finish"})
    code = launch.EXIT_OUT_OF_MEMORY
    events.emit(RunFailedEvent(step=STEPS, error="X", problems=[], exit_code=code, retry=True))
    return launch.EXIT_OUT_OF_MEMORY


def end(rundir: RunDir, events: EventWriter, character: str, asked: list[int]) -> int:
    if character in ("fail", "refuse"):
        code = launch.EXIT_FAILED if character == "fail" else launch.EXIT_INPUT
        problem = {"where": "reward.py:3", "what": "division by zero", "fix": "look at row 7"}
        events.emit(RunFailedEvent(step=STEPS, error="X", problems=[problem], exit_code=code))
        return code
    if character == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if character == "leave":
        return 3
    if character != "finish":
        deadline = time.monotonic() + 60
        while (not asked or character == "deaf") and time.monotonic() < deadline:
            time.sleep(0.02)
            if character != "deaf":
                stop_requests.clear_save_request(rundir, events.attempt)
        request = stop_requests.stop_request(rundir)
        ended = RunPausedEvent if request is not None and request.pause else RunStoppedEvent
        events.emit(ended(step=1, seconds=1.0, checkpoint="checkpoint-1", reason="SIGTERM"))
        return launch.EXIT_STOPPED
    events.emit(EvalEvent(at="after", step=STEPS, reward=0.9, correct_frac=0.8, rows=8, seconds=0.1))
    events.emit(RunFinishedEvent(step=STEPS, seconds=1.0, tokens=400, peak_memory_gib=0.5))
    return launch.EXIT_FINISHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ["FAKE_WORKER"]))
