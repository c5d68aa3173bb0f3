"""The process that answers, one a run: takes requests, gives each to an Answerer, says everything in files.

It keeps nothing of a conversation: the turns come with the request. It ends by itself after some minutes without one,
and the GPU with it. Torch comes with the Answerer, when there is something to answer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from types import FrameType

from trainer import launch
from trainer.errors import Problem, TrainerError
from trainer.machine import notes, out_of_memory
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity, Lock
from trainer.run.rundir import RunDir
from trainer.text import Message
from trainer.tryit import chat as chats
from trainer.tryit import journal as journals
from trainer.tryit import reading
from trainer.tryit.answerer import Answerer, Cancelled
from trainer.tryit.journal import Journal
from trainer.tryit.parent import CANCEL, END
from trainer.tryit.request import Request

LOOK_S = 0.1  # between two looks for a request
LOCK_WAIT_S = 20.0  # the process before this one may still be clearing up
TOO_OLD_S = 900.0  # who asked so long ago has not waited


class Ended(Exception):
    """Somebody asked this process to end."""


class Worker:
    """idle_s: seconds without a request after which it ends."""

    def __init__(self, rundir: RunDir, journal: Journal, idle_s: float) -> None:
        self.rundir, self.journal, self.idle_s = rundir, journal, idle_s
        self.identity = Identity.mine()
        self.asked_to_end = ""
        self.step: int | None = None
        self.device: str | None = None
        self.why = "failed"
        self.problem: Problem | None = None
        """What ended it, when nobody thought of that."""
        self._last = time.monotonic()
        self._looked = 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_end = self.asked_to_end or "asked"

    def say(self, state: str, why: str = "") -> None:
        said = {"state": state, "why": why, "step": self.step, "device": self.device, "t": round(time.time(), 3)}
        notes.write(self.rundir.tryit_worker, self.identity, **said)

    # ---- the life of it

    def run(self) -> None:
        """Until nobody asks any more."""
        self._end_lost()
        self.say("loading")
        self._forget_old()
        request = self._next()
        while request is not None:
            request = self._with_checkpoint(request)

    def _with_checkpoint(self, request: Request) -> Request | None:
        """Answer all that concerns the checkpoint of this request; the first that wants another, None at the end."""
        self.say("loading")
        which = None if request.checkpoint is None else str(request.checkpoint)
        try:
            with self._opened(which) as answerer:
                following: Request | None = request
                while following is not None and following.checkpoint in (None, self.step):
                    self._answer(answerer, following)
                    following = self._next()
                return following
        except TrainerError as error:
            # The model cannot be had (damaged, no room, GPU in use): who asked is told, and nothing is held meanwhile.
            self._failed(request, error.problems)
        except Exception as error:
            if not out_of_memory.is_out_of_memory(error) and not isinstance(error, MemoryError):
                raise
            self._failed(request, [_out_of_memory(error)])
        finally:
            self.step = self.device = None
        return self._last_look()

    @contextlib.contextmanager
    def _opened(self, which: str | None) -> Iterator[Answerer]:
        with chats.opened(self.rundir, which, say=_note) as chat:
            self.step, self.device = chat.source.step, chat.device
            self.say("loading")
            answerer = Answerer(chat, self.journal, self._check)
            try:
                chat.load()
                yield answerer
            finally:
                answerer.close()

    def _answer(self, answerer: Answerer, request: Request) -> None:
        """One request, whatever happens: what can go wrong with it is said as its end."""
        self.say("answering")
        self.journal.write("begin", request.id, request=request.stored(), step=self.step)
        self._forget(request.id, keep_cancel=True)
        state, problems = "done", []
        try:
            self._check(request.id, at_once=True)
            answerer.answer(request)
        except Cancelled:
            state = "cancelled"
        except Ended:
            self._end(request.id, "cancelled", [])
            raise
        except TrainerError as error:
            state, problems = "failed", error.problems
        except Exception as error:
            traceback.print_exc()
            state = "failed"
            memory = out_of_memory.is_out_of_memory(error) or isinstance(error, MemoryError)
            problems = [_out_of_memory(error) if memory else _unknown(error)]
            answerer.recover()
        self._end(request.id, state, problems)
        self.journal.shorten()

    def _failed(self, request: Request, problems: list[Problem]) -> None:
        """The end of a request that may not have been begun."""
        self.journal.write("begin", request.id, request=request.stored(), step=self.step)
        self._end(request.id, "failed", problems)
        self._forget(request.id)

    def _end(self, id: str, state: str, problems: list[Problem]) -> None:
        self.journal.write("end", id, state=state, problems=[problem.stored() for problem in problems])
        self._forget(id)
        self._last = time.monotonic()

    # ---- requests

    def _next(self) -> Request | None:
        """The oldest request, waited for; None when nobody asked for idle_s. Raises Ended."""
        said = False
        while True:
            self._look_for_end()
            found = self._waiting()
            if found is not None:
                return found
            if self.step is not None and not said:
                self.say("ready")
                said = True
            if time.monotonic() - self._last > self.idle_s:
                self.why = "idle"
                return self._last_look()
            time.sleep(LOOK_S)

    def _last_look(self) -> Request | None:
        """Who asks after this reads that the process has ended, and starts another."""
        self.say("ended", self.why)
        found = self._waiting()
        if found is not None:
            self.say("ready")
        return found

    def _waiting(self) -> Request | None:
        """The oldest; those that are none are told so."""
        for id, found in reading.asked(self.rundir):
            if isinstance(found, Request):
                return found
            self._failed(Request(id, [{"role": "user", "content": "-"}]), found.problems)
        return None

    def _check(self, id: str, at_once: bool = False) -> None:
        """Asked at every token. Raises Cancelled or Ended."""
        if self.asked_to_end:
            raise Ended
        now = time.monotonic()
        if at_once or now - self._looked > LOOK_S:
            self._looked = now
            if (self.rundir.tryit_requests / f"{id}{CANCEL}").exists():
                raise Cancelled
            self._look_for_end()

    def _look_for_end(self) -> None:
        """Windows has no other way to be told."""
        if self.asked_to_end or Identity.read(read_json(self.rundir.tryit_requests / END)) == self.identity:
            raise Ended

    def _forget(self, id: str, keep_cancel: bool = False) -> None:
        for name in (f"{id}.json", *(() if keep_cancel else (f"{id}{CANCEL}",))):
            (self.rundir.tryit_requests / name).unlink(missing_ok=True)

    def tell_waiting(self) -> None:
        """Those who asked until it ended, and are not answered any more."""
        for request in reading.waiting(self.rundir):
            self._failed(request, [self.problem or Problem("tryit.ended")])

    def _end_lost(self) -> None:
        """Answers in which the process before this one was killed."""
        for id, lines in journals.answers(journals.read(self.rundir.tryit_answers)).items():
            if lines[-1]["kind"] != "end":
                self._end(id, "lost", [])

    def _forget_old(self) -> None:
        """Those left by a process that was killed."""
        for request in reading.waiting(self.rundir):
            if time.time() - request.t > TOO_OLD_S:
                self._failed(request, [Problem("tryit.too_old")])


def main(rundir: RunDir, idle_s: float) -> int:
    """Answer until nobody asks; the process's exit code."""
    rundir.tryit_requests.mkdir(parents=True, exist_ok=True)
    with Lock(rundir.tryit_lock("worker")) as lock:
        if not lock.take(f"pid {os.getpid()}", LOCK_WAIT_S):
            print(f"another process answers for run {rundir.name} ({lock.note()})", file=sys.stderr, flush=True)
            return launch.EXIT_INPUT
        journal = Journal(rundir.tryit_answers)
        worker = Worker(rundir, journal, idle_s)
        code = launch.EXIT_FAILED
        try:
            worker.run()
            code = launch.EXIT_FINISHED
        except Ended:
            worker.why, code = "asked", launch.EXIT_STOPPED
        except Exception as error:
            traceback.print_exc()
            worker.problem = _unknown(error)
        finally:
            worker.say("ended", worker.why)
            worker.tell_waiting()
            (rundir.tryit_requests / END).unlink(missing_ok=True)
            journal.close()
        return code


def _note(line: Message) -> None:
    print(line, file=sys.stderr, flush=True)


def _out_of_memory(error: BaseException) -> Problem:
    return Problem("tryit.out_of_memory", "memory", said=out_of_memory.shortened(error))


def _unknown(error: BaseException) -> Problem:
    return Problem("tryit.unknown", type(error).__name__, said=str(error)[:500] or "-")
