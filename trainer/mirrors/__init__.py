"""Copies of a run for services outside, fed from events.jsonl. Here: what the worker and the console need of them.

A mirror is a reader in a process and session of its own (trainer.mirrors.__main__), so that nothing it does, waits for
or fails at can block, slow or end the training. The two sides talk through a note in control/ only, which the mirror
writes; each service has a process and a note of its own. Torch-free, and free of the services' packages: those are
imported inside functions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.machine import notes, spawn
from trainer.machine.json_files import read_json
from trainer.run import mirror_files
from trainer.run.events import EventWriter
from trainer.run.mirror_files import NAMES, WANDB
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir
from trainer.text import Message, readable

START_S = 20.0
"""After the mirror was started the first training step waits no longer than this for what it says."""
_POLL_S = 0.1
STUCK_S = 120.0
"""A mirror that takes no row for so long, while steps are done, hangs."""


class Mirror:
    """One service's mirror of one attempt, as the worker that started it sees it."""

    def __init__(self, rundir: RunDir, service: str, attempt: int, environment: Mapping[str, str]) -> None:
        self.rundir, self.service, self.attempt = rundir, service, attempt
        self.log = mirror_files.log(rundir, service, attempt)
        self.started = time.monotonic()
        self.trouble: Message | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.told = True
        """Is nothing more to be said of it? Until `announce`, and when it was said that it copies nothing more."""
        self._sent = -1
        self._moved = self.started
        arguments = [str(rundir.path), str(attempt), "--service", service]
        try:
            self.process = spawn.detached([__name__, *arguments], self.log, environment)
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
            self.told = said["mode"] in ("failed", "disabled")
        elif self.trouble is not None:
            self.told = self.process is None or self.process.poll() is not None
            self._lament(events, self.trouble)

    def look(self, events: EventWriter, step: int) -> None:
        """Emit an alert, once, when it fails, ends or hangs while the run goes on. step: optimizer steps done."""
        if self.told or self.process is None:
            return
        ended = self.process.poll() is not None  # asked before reading: what it said at its end is there
        said = self._said() or {}
        sent, now = int(said.get("sent", -1)), time.monotonic()
        if sent != self._sent or step <= sent + 1:  # the newest row waits for what belongs to its step
            self._sent, self._moved = sent, now
        why = None
        if said.get("ending"):
            why = Message.read(said["ending"])
        elif ended and not said.get("ended"):
            why = Message("mirror.why.ended")
        elif now - self._moved >= STUCK_S and (said or self.trouble is None):  # that it never began was said
            why = Message("mirror.why.silent", seconds=now - self._moved)
        if why is not None:
            self.told = True
            self._lament(events, why)

    def _lament(self, events: EventWriter, why: Message) -> None:
        if self.service == WANDB:
            events.emit(AlertEvent.of("warn", "mirror_silent", why=why, log=str(self.log)))
        else:
            name = NAMES[self.service]
            events.emit(AlertEvent.of("warn", "mirror_local_silent", service=name, why=why, log=str(self.log)))

    def _said(self) -> dict[str, Any] | None:
        stored = read_json(mirror_files.note(self.rundir, self.service)) or {}
        return stored if stored.get("attempt") == self.attempt and stored.get("mode") else None


def start(
    rundir: RunDir, services: Sequence[str], attempt: int, environment: Mapping[str, str] = os.environ
) -> list[Mirror]:
    """Start what log.mirrors asks for, each service once.

    To be called after run_started was written: from it a mirror knows whose life it follows.
    """
    return [Mirror(rundir, service, attempt, environment) for service in dict.fromkeys(services)]


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
    """Is a mirror of that attempt still taking what the run has left, or its end still being told?"""
    return any(_at_work(note, attempt) for note in (*mirror_files.notes(rundir), rundir.notifier))


def _at_work(note: Path, attempt: int) -> bool:
    stored, process = read_json(note) or {}, notes.process(note)
    return process is not None and stored.get("attempt") == attempt and process.alive()


def endings(rundir: RunDir, attempt: int) -> Iterator[tuple[Message, Path]]:
    """(what went wrong after the run's alert, its log), for a person who reads only the console."""
    for service in NAMES:
        stored = read_json(mirror_files.note(rundir, service)) or {}
        if stored.get("attempt") == attempt and (said := stored.get("ending")):
            yield Message.read(said), mirror_files.log(rundir, service, attempt)
