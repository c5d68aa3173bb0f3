"""Copies of a run for services outside, fed from events.jsonl. Here: what the worker and the console need of them.

A mirror is a reader in a process and session of its own (trainer.mirrors.__main__), so that nothing it does, waits for
or fails at can block, slow or end the training. The two sides talk through control/mirror.json only, which the mirror
writes. Torch-free, and free of the services' packages: those are imported inside functions of wandb_run.py and
__main__.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.machine import notes, spawn
from trainer.machine.json_files import read_json
from trainer.run.events import EventWriter
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir
from trainer.text import Message, readable

START_S = 20.0
"""After the mirror was started the first training step waits no longer than this for what it says."""
_POLL_S = 0.1


class Mirror:
    """The mirror of one attempt, as the worker that started it sees it."""

    def __init__(self, rundir: RunDir, attempt: int, environment: Mapping[str, str]) -> None:
        self.rundir, self.attempt = rundir, attempt
        self.started = time.monotonic()
        self.trouble: Message | None = None
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.process = spawn.detached(
                [__name__, str(rundir.path), str(attempt)], rundir.mirror_log(attempt), environment
            )
        except OSError as error:  # the run does not depend on it
            self.trouble = Message("mirror.why.not_started", said=str(error))

    def announce(self, events: EventWriter, stopping: Callable[[], bool] = lambda: False) -> None:
        """Emit one alert: where the copy goes, or why it does not go there and what to type. Waits for START_S at most.

        stopping: asked while waiting, so that a stop is not held up.
        """
        said = None
        while (said := self._said()) is None and self.trouble is None and not stopping():
            ended = self.process is None or self.process.poll() is not None
            waited_s = time.monotonic() - self.started
            if ended or waited_s >= START_S:
                said = self._said()  # it may have said it since the look above
                silent = Message("mirror.why.silent", seconds=waited_s)
                self.trouble = None if said else Message("mirror.why.ended") if ended else silent
                break
            time.sleep(_POLL_S)
        if said is not None:
            events.emit(AlertEvent.of(said["level"], said["key"], **readable(said["values"])))
        elif self.trouble is not None:
            log = str(self.rundir.mirror_log(self.attempt))
            events.emit(AlertEvent.of("warn", "mirror_silent", why=self.trouble, log=log))

    def _said(self) -> dict[str, Any] | None:
        stored = read_json(self.rundir.mirror) or {}
        return stored if stored.get("attempt") == self.attempt and stored.get("mode") else None


def start(
    rundir: RunDir, mirrors: Sequence[str], attempt: int, environment: Mapping[str, str] = os.environ
) -> Mirror | None:
    """Start what log.mirrors asks for; None when that is nothing.

    To be called after run_started was written: from it the mirror knows whose life it follows.
    """
    return Mirror(rundir, attempt, environment) if mirrors else None


def notify(rundir: RunDir, webhook: str | None, attempt: int, environment: Mapping[str, str] = os.environ) -> None:
    """Start what tells log.webhook, if there is one; nobody waits for it. Called after run_started was written."""
    if webhook is None:
        return
    try:
        name = f"{__name__}.notifier"
        spawn.detached([name, str(rundir.path), str(attempt)], rundir.notifier_log(attempt), environment)
    except OSError as error:  # the run does not depend on it
        print(f"nobody is told of this run: {error}", file=sys.stderr, flush=True)


def at_work(rundir: RunDir, attempt: int) -> bool:
    """Is the mirror of that attempt still taking what the run has left, or its end still being told?"""
    return any(_at_work(note, attempt) for note in (rundir.mirror, rundir.notifier))


def _at_work(note: Path, attempt: int) -> bool:
    stored, process = read_json(note) or {}, notes.process(note)
    return process is not None and stored.get("attempt") == attempt and process.alive()


def ending(rundir: RunDir, attempt: int) -> Message | None:
    """What went wrong after the run's alert, for a person who reads only the console."""
    stored = read_json(rundir.mirror) or {}
    said = stored.get("ending") if stored.get("attempt") == attempt else None
    return Message.read(said) if said else None
