"""The rows of a task while they are made, by a process of its own (child.py): how far it is, and who waits for it.

    with waiting(tell=print):       to the end, told every moment how far it is; Ctrl-C ends the process
    with waiting(patience_s=1.5):   the problem `tasks.making` where it takes longer: to be asked again, soon

Those who ask for the same file wait for the same process. What nobody asks for any more is ended, and so is a process
whose parent has ended.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from trainer.errors import Problem
from trainer.machine import leftovers, spawn
from trainer.machine.project import PROJECT
from trainer.tasks.catalogue import PREFIX
from trainer.text import Message

KEY, PARAMS = "data.task", "data.task_params"
MOST_S = 600.0
"""Of a single row."""
UNASKED_S = 90.0
"""A browser asks every second, once a minute where its window is hidden."""
TICK_S = 0.2
SURE = 3
"""Rows after which the seconds of the rest are estimated."""
HASH_SEED = "0"
"""Sets of texts have another order in every process otherwise, and with them the rows of some generators."""


@dataclass(frozen=True)
class Progress:
    """left_s: seconds until the last row; None while that is not known."""

    name: str
    done: int
    size: int
    left_s: float | None

    @classmethod
    def of(cls, problem: Problem) -> Progress:
        """What a problem `tasks.making` says."""
        return cls(*(problem.values[each.name] for each in fields(cls)))

    def message(self) -> Message:
        return Message("tasks.making" if self.left_s is None else "tasks.making_left", **vars(self))


Tell = Callable[[Progress], object]


def _nobody(progress: Progress) -> None:
    pass


@dataclass(frozen=True)
class _Waiting:
    until: float | None = None
    tell: Tell = _nobody

    @property
    def is_over(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until


NOT_YET = "tasks.making"
_waiting: ContextVar[_Waiting | None] = ContextVar("_waiting", default=None)
_lock = threading.Lock()
_underway: dict[Path, _Making] = {}


@contextmanager
def waiting(patience_s: float | None = None, tell: Tell = _nobody) -> Iterator[None]:
    """patience_s: for all files that are asked for in here together; None waits for them."""
    until = None if patience_s is None else time.monotonic() + patience_s
    before = _waiting.set(_Waiting(until, tell))
    try:
        yield
    finally:
        _waiting.reset(before)


def made(request: Mapping[str, Any], target: Path) -> Problem | None:
    """The file is there, whole; or why it is not, or not yet."""
    how = _waiting.get() or _Waiting()
    while True:
        with _lock:
            if target.is_file():
                return None
            found = _underway.get(target)
            if found is None:
                found = _Making(request, target)
                if how.is_over:
                    return found.not_yet()
                _underway[target] = found
                found.thread.start()
        problem = found.waited(how)
        if problem is not None:
            return problem
        # It is there; or it was being ended when it was asked for: once more.


def stop(file: str) -> None:
    """End the process that makes the file of this name, if there is one."""
    for target, making in list(_underway.items()):
        if target.name == file:
            making.end()


class _Making:
    def __init__(self, request: Mapping[str, Any], target: Path) -> None:
        self._request, self._target = request, target
        self._draft = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
        self._asked = self._moved = time.monotonic()
        self._first: float | None = None
        self._done = 0
        self._is_unwanted = False
        self._ended = threading.Event()
        self._trouble: Problem | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def waited(self, how: _Waiting) -> Problem | None:
        try:
            while not self._ended.wait(0 if how.is_over else TICK_S):
                self._asked = time.monotonic()
                how.tell(self.progress())
                if how.is_over:
                    return self.not_yet()
        except BaseException:  # Ctrl-C
            self.end()
            self._ended.wait()
            raise
        return self._trouble

    def not_yet(self) -> Problem:
        return Problem(NOT_YET, KEY, **vars(self.progress()), file=self._target.name)

    def progress(self) -> Progress:
        left_s = None
        if self._first is not None and self._done >= SURE:
            left_s = (self._moved - self._first) / (self._done - 1) * (self._request["size"] - self._done)
        return Progress(f"{PREFIX}:{self._request['task']}", self._done, self._request["size"], left_s)

    def end(self) -> None:
        self._is_unwanted = True

    def _run(self) -> None:
        name = f"{PREFIX}:{self._request['task']}"
        try:
            self._trouble = self._made(name)
        except Exception as error:  # whatever it is, who waits is told
            self._trouble = Problem("tasks.failed", KEY, name=name, said=str(error))
        finally:
            with suppress(OSError):
                self._draft.unlink(missing_ok=True)
            with _lock:
                del _underway[self._target]
            self._ended.set()

    def _made(self, name: str) -> Problem | None:
        """Why it could not be made."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        process = start()
        said, err = self._watched(process)
        found = _answer(said)
        if "rows" in found:
            self._draft.replace(self._target)
            return None
        if "refused" in found:
            return Problem("tasks.refused", PARAMS, name=name, short=self._request["task"], said=found["refused"])
        if self._is_unwanted:
            return None
        if self._is_stuck():
            return Problem("tasks.slow", KEY, name=name, seconds=MOST_S)
        last = (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1][:300]
        return Problem("tasks.failed", KEY, name=name, said=last)

    def _watched(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """What it printed, when it has ended, by itself or not."""
        asked: str | None = json.dumps({**self._request, "out": str(self._draft)})
        while True:
            try:
                return process.communicate(asked, TICK_S)
            except subprocess.TimeoutExpired:
                asked = None
            self._count()
            if time.monotonic() - self._asked > UNASKED_S:
                self._is_unwanted = True
            if self._is_unwanted or self._is_stuck():
                process.kill()

    def _count(self) -> None:
        """The rows that are written."""
        try:
            done = self._draft.read_bytes().count(b"\n")
        except OSError:
            return
        if done > self._done:
            self._done, self._moved = done, time.monotonic()
            self._first = self._first or self._moved

    def _is_stuck(self) -> bool:
        return time.monotonic() - self._moved > MOST_S


def start() -> subprocess.Popen[str]:
    environment = {**leftovers.without(os.environ), **spawn.ENVIRONMENT, "PYTHONHASHSEED": HASH_SEED}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.tasks.child"],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=PROJECT,
        env=environment,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _answer(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
