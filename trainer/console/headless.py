"""Headless: follow a run on a terminal or into a pipe. One line a step, and a JSON object at the end.

Reads the event log like every other view and prints what it says; the numbers of the last line
come from run/summary.py. Ctrl-C and SIGTERM ask the worker to save and stop, a second one ends it;
when this process is killed the worker goes on. Torch-free.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Self, TextIO

from trainer import launch, mirrors, text
from trainer.console import lines
from trainer.console.printing import put
from trainer.console.screen import Screen
from trainer.errors import Problem, RunError, TrainerError
from trainer.launch import NextAttempt, WorkerHandle
from trainer.machine.json_files import read_json
from trainer.plan.reading import fitting
from trainer.report import afterwards
from trainer.report import write as reports
from trainer.run.records import EndEvent, Event, PhaseEvent, RunFailedEvent, StepEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.status import LIVE, Status
from trainer.run.summary import summary
from trainer.text import Words

POLL_S = 0.2
LINGER_S = 10.0  # for a worker that has written its final event to end, so that the GPU is free again
REPORT_S = 30.0  # for the report to be written, for the same reason as below
MIRROR_S = 30.0  # for a mirror to send the rest: a container ends all processes together with this one
_QUIET_S = 2.0  # a mirror that writes to the disk only has ended by then, and nothing needs to be said
_TAIL_BYTES = 16384
_TAIL_LINES = 15
LOG_ERROR = "error: "  # how a worker that cannot write events begins what it prints into its log, in English


class Interrupts:
    """Counts Ctrl-C and SIGTERM instead of dying of them, while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def follow(
    rundir: RunDir,
    handle: WorkerHandle | NextAttempt,
    stream: TextIO | None = None,
    interrupts: Interrupts | None = None,
) -> int:
    """Print the run until its worker has ended. Returns the exit code of trainer.launch.

    interrupts: what the caller entered before it started the worker, so that a Ctrl-C between start
    and follow is not lost.
    """
    screen, words = Screen(stream or sys.stdout), text.here()
    watch = _Watch(rundir, handle, screen, words)
    with contextlib.nullcontext(interrupts) if interrupts else Interrupts() as pressed:
        for line in lines.header(rundir, fitting(read_json(rundir.plan))[0], words):
            screen.line(line)
        watch.until_ended(pressed)
        watch.let_mirror_end(pressed)
    screen.status("")
    status = watch.status()
    code = _exit_code(status, watch.final)
    _say_end(rundir, watch.handle, status, watch.final, words)
    _say_report(rundir, status, screen, words)
    found = summary(watch.follower.state, rundir, status)
    if said := lines.took(found, words):
        screen.line(said)
    screen.line(json.dumps(found))
    return code


def follow_stages(rundir: RunDir, handle: WorkerHandle | NextAttempt, interrupts: Interrupts) -> int:
    """Follow a run and, where it is a stage, those after it, each with its own last line."""
    while True:
        code = follow(rundir, handle, interrupts=interrupts)
        try:
            after = launch.chain.go_on(rundir) if code == launch.EXIT_FINISHED else None
        except (TrainerError, OSError):  # said by whoever called; here whose stage it is, and what goes on
            command = f"python app.py --headless --resume {rundir.name}"
            put(text.here()("console.runs.next_stage_unsaid", run=rundir.name, command=command), sys.stderr)
            raise
        if after is None:
            return code
        rundir, handle = after, started_by_another(after)


def started_by_another(rundir: RunDir) -> NextAttempt:
    """Its newest worker. Raises RunError where there is none."""
    deadline = time.monotonic() + LINGER_S
    while (found := launch.next_attempt(rundir, 0)) is None:
        if time.monotonic() > deadline:
            raise RunError(Problem("console.no_worker", name=rundir.name))
        time.sleep(POLL_S)
    return found


class _Watch:
    """Prints the events of one attempt as they come."""

    def __init__(self, rundir: RunDir, handle: WorkerHandle | NextAttempt, screen: Screen, words: Words) -> None:
        self.words = words
        self.rundir = rundir
        self.handle = handle
        self.screen = screen
        self.follower = RunFollower(rundir)
        self.final: EndEvent | None = None
        spec = rundir.read_spec()
        self._beta, self._method = spec.grpo.beta, spec.run.method
        self._phase_began = time.monotonic()
        self._answered = 0  # interrupts

    def until_ended(self, interrupts: Interrupts) -> None:
        waited_s = 0.0
        while True:
            watched = self.handle
            ended = watched.poll() is not None  # asked before reading: nothing is missed
            self._take(self.follower.read())
            if self.handle is watched and (ended or waited_s > LINGER_S):
                return
            if interrupts.count > self._answered:
                self._answered += 1
                self._interrupt()
            self._draw_status()
            time.sleep(POLL_S)
            waited_s += POLL_S if self.final else 0.0

    def let_mirror_end(self, interrupts: Interrupts) -> None:
        """Wait for MIRROR_S at most, or until Ctrl-C: the mirror goes on by itself, if it is let."""
        began, said = time.monotonic(), False
        while (waited_s := time.monotonic() - began) < MIRROR_S and interrupts.count <= self._answered:
            if not mirrors.at_work(self.rundir, self.handle.attempt):
                break
            if waited_s >= _QUIET_S and not said:
                said = True
                self.screen.status("")
                self.screen.line(self.words("console.follow.mirror_waits"))
            time.sleep(POLL_S)
        for wrong, log in mirrors.endings(self.rundir, self.handle.attempt):
            self.screen.line(self.words("console.follow.mirror_trouble", said=self.words.said(wrong), log=log))

    def status(self) -> Status:
        """The status now that the worker has ended, or has written its final event."""
        return launch.status_of(self.rundir, self.follower)

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.attempt != self.handle.attempt:
                continue  # history of the attempts before
            retried = isinstance(event, RunFailedEvent) and event.retry
            if retried and (following := launch.next_attempt(self.rundir, self.handle.attempt)):
                self.handle = following  # before its first event, which is then not taken for history
                continue
            if isinstance(event, EndEvent):
                self.final = event
            if isinstance(event, PhaseEvent):
                self._phase_began = time.monotonic()
            if isinstance(event, StepEvent):
                text = self._step_line(event)
            else:
                text = lines.event_line(event, self.words, self._method)
            for line in text.splitlines():
                self.screen.line(line)

    def _step_line(self, event: StepEvent) -> str:
        state = self.follower.state
        index = bisect.bisect_left(state.steps, event.step)
        found = index < len(state.steps) and state.steps[index] == event.step
        return lines.step_line(state, index, self._beta, self.words, self._method) if found else ""

    def _draw_status(self) -> None:
        state = self.follower.state
        if not self.screen.terminal or self.final:
            return
        if state.steps and state.phase in ("", "train"):
            width = shutil.get_terminal_size().columns - 1
            self.screen.status(lines.bar(state, width, self.words, time.time()))
        else:
            spent = time.monotonic() - self._phase_began
            name = lines.phase_name(state.phase or "starting", self.words)
            self.screen.status(self.words("console.phase.going", name=name, seconds=spent))

    def _interrupt(self) -> None:
        """First: ask to save and stop. Then: end it."""
        state, say = self.follower.state, self.words.under("console.follow")
        saved = state.checkpoints[-1].name if state.checkpoints else None
        if self._answered > 1:
            self.screen.line(say("ending"))
            launch.kill(self.rundir)
            return
        try:
            launch.stop(self.rundir)
        except RunError:
            return  # it has ended by itself meanwhile
        self.screen.line(lines.stopping(state, self.words))
        self.screen.line(say("again", checkpoint=saved) if saved else say("again_all"))


def _say_report(rundir: RunDir, status: Status, screen: Screen, words: Words) -> None:
    """Where it is. A worker has started its writing; of one that had no time to, it is written here."""
    if status == "lost":
        reports.after_run(rundir)
    deadline = time.monotonic() + REPORT_S
    while afterwards.at_work(rundir) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    written = rundir.report_file(words.language, "html")
    if written.is_file():
        screen.line(words("console.follow.report", path=written))


def _exit_code(status: Status, final: EndEvent | None) -> int:
    if status == "finished":
        return launch.EXIT_FINISHED
    if status in ("stopped", "paused"):
        return launch.EXIT_STOPPED
    if status == "failed" and isinstance(final, RunFailedEvent) and final.exit_code == launch.EXIT_INPUT:
        return launch.EXIT_INPUT
    return launch.EXIT_FAILED


def _say_end(
    rundir: RunDir, handle: WorkerHandle | NextAttempt, status: Status, final: EndEvent | None, words: Words
) -> None:
    """On stderr: why it did not finish, where the log is, how to go on."""
    if status == "finished":
        return
    out, say = Screen(sys.stderr), words.under("console.follow")
    log = rundir.log_file(handle.attempt)
    if status == "failed" and isinstance(final, RunFailedEvent):
        for line in lines.failed(final, words):
            out.line(line)
    elif status in ("stopped", "paused") and final is None:
        asked = launch.stop_asked(rundir)
        forced = asked is not None and asked.force
        out.line(say("forced") if forced else say("before_start", status=words(f"status.{status}")))
    elif status == "lost":
        _say_lost(out, log, handle, words)
    elif status in LIVE:
        out.line(words("console.error", said=say("stays", pid=handle.pid, run=rundir.name)))
    if status not in ("stopped", "paused"):
        out.line(say("log", log=log))
    exit_code = final.exit_code if isinstance(final, RunFailedEvent) else None
    if exit_code != launch.EXIT_INPUT:
        key = "go_on_memory" if exit_code == launch.EXIT_OUT_OF_MEMORY else "go_on"
        out.line(say(key, command=f"python app.py --headless --resume {rundir.name}"))


def _say_lost(out: Screen, log: Path, handle: WorkerHandle | NextAttempt, words: Words) -> None:
    """What is known of a worker that ended without a final event: its own last error, or the end of its log."""
    tail = log_tail(log)
    said = [line for line in tail if line.startswith(LOG_ERROR)]  # it could not write its final event
    if said:
        out.line(words("console.error", said=said[-1].removeprefix(LOG_ERROR)))
        return
    exit_status = handle.poll() if isinstance(handle, WorkerHandle) else None
    out.line(words("console.error", said=lines.death(exit_status, words)))
    if tail:
        out.line(words("console.follow.last_lines", log=log))
        for line in tail:
            out.line(f"  {line}")


def log_tail(path: os.PathLike[str]) -> list[str]:
    """The last lines of a log of any size."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
