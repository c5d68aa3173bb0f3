"""A process that answers over pipes: both of its ends, for reward functions and for environments.

Requests travel as pickle, answers as JSON: code of a person may have made an answer, and unpickling runs code. What it
prints itself goes to stderr, which is the log of the run. It ends when its parent does.

Imports no library.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Container, Iterator
from typing import Any, BinaryIO

from trainer.machine.project import PROJECT
from trainer.machine.secrets import is_secret
from trainer.text import Message, here

LENGTH = struct.Struct("<Q")
PRINTED = 20_000  # bytes a process may print while it works on one task
END_S = 1.0  # for the kernel to end a process


class Child:
    """One process. Messages of its reader thread land in the pool's inbox as (child, message); None when it is gone."""

    def __init__(self, module: str, first: tuple[Any, ...], inbox: queue.Queue[Any], variables: dict[str, str]) -> None:
        """module: what is run. first: what it is told before it is ready. variables: its environment variables."""
        self.ready = False
        self.may_print = PRINTED
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT,
            env=variables,
            process_group=0 if os.name != "nt" else None,  # so that what it started can be ended with it
        )
        self.send(*first)
        threading.Thread(target=self._read, args=(inbox,), daemon=True, name=module).start()
        threading.Thread(target=self._echo, daemon=True, name=f"{module}, printed").start()

    def _echo(self) -> None:
        """What functions print goes to the log of the run, the beginning of each batch: else it would fill the disk."""
        printed = self.process.stderr
        assert printed is not None
        while piece := os.read(printed.fileno(), 1 << 16):
            kept = piece[: max(0, self.may_print)]
            sys.stderr.write(kept.decode("utf-8", "replace"))
            if 0 <= self.may_print < len(piece):
                left_out = here()("rewards.printed", most=PRINTED)
                sys.stderr.write(f"\n[{left_out}]\n")
            sys.stderr.flush()
            self.may_print -= len(piece)
        printed.close()

    def send(self, *message: Any) -> None:
        """Raises TypeError, AttributeError or PicklingError for what cannot be sent."""
        data = pickle.dumps(message)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(LENGTH.pack(len(data)) + data)
            self.process.stdin.flush()
        except OSError:
            pass  # it is gone; its reader says so

    def _read(self, inbox: queue.Queue[Any]) -> None:
        answers = self.process.stdout
        assert answers is not None
        try:
            while len(size := answers.read(LENGTH.size)) == LENGTH.size:
                inbox.put((self, json.loads(answers.read(LENGTH.unpack(size)[0]))))
        except ValueError:
            pass  # cut off in the middle of a message
        answers.close()  # here and not in kill: closing waits for whoever reads
        inbox.put((self, None))

    def ending(self) -> Message:
        """How it ended, for one whose pipe is closed."""
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            return Message("rewards.ending.closed")
        if code < 0:
            return Message("rewards.ending.signal", name=signal.Signals(-code).name)
        return Message("rewards.ending.code", code=code)

    def kill(self) -> None:
        """End it and what it started. Waits for no reader: a process that has left the group may hold the pipe."""
        try:
            if os.name == "nt":
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        with contextlib.suppress(OSError):  # flushing what it will never read
            self.process.stdin and self.process.stdin.close()


def variables(named: Container[str] = ()) -> dict[str, str]:
    """The worker's environment variables without secrets, but for those that are named."""
    kept = {name: value for name, value in os.environ.items() if name in named or not is_secret(name, value)}
    # One process a core already: more threads in each would only be in each other's way.
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


# ---- its own end


def opened() -> tuple[BinaryIO, BinaryIO]:
    """(requests, answers): the pipes to the parent, with which this process ends."""
    requests, answers = _own_pipes()
    _end_with_parent(requests.fileno(), answers.fileno())
    if hasattr(os, "register_at_fork"):  # else what is forked would hold the pipe open after this process
        os.register_at_fork(after_in_child=lambda: os.close(answers.fileno()))
    return requests, answers


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for us alone: a function that reads or prints must not disturb the protocol."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w", buffering=1, errors="replace")
    return requests, answers


def _end_with_parent(requests: int, answers: int) -> None:
    """A function may hang when the training is killed, with programs it has started: nobody would be left to end them.

    So a process beside this one waits until the other end of `requests` is closed, and then ends the whole group.
    Only what has left the group (os.setsid) escapes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training's
    if not hasattr(os, "fork") or os.fork():
        return
    os.close(answers)  # held open here, the training would not see that this process has ended
    waiting = select.poll()
    waiting.register(requests, 0)  # a hang-up is told in any case, and requests are none of its business
    waiting.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def requests_of(requests: BinaryIO) -> Iterator[Any]:
    """What the parent sends, until it sends no more."""
    while (size := requests.read(LENGTH.size)) and len(size) == LENGTH.size:
        yield pickle.loads(requests.read(LENGTH.unpack(size)[0]))


def send(answers: BinaryIO, line: bytes) -> None:
    """line: JSON."""
    answers.write(LENGTH.pack(len(line)) + line)
    answers.flush()
