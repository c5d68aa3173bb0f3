"""What every part of a worker's life needs: the run, its events, the stop flag, the seconds of this attempt."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trainer import launch
from trainer.errors import RunError
from trainer.machine import gpu, spawn
from trainer.mirrors import Mirror
from trainer.run import stop_requests
from trainer.run.events import EventWriter
from trainer.run.records import PhaseEvent
from trainer.run.rundir import RunDir
from trainer.run.state import state_of

HANDOVER_S = 60.0  # the worker before this one may still be giving its GPU memory back

TIME = "time"  # the reason of a run that was to stop at a time of day


class Stopped(Exception):
    """The run was asked to stop or to pause before or between steps: nothing is lost, nothing failed."""


class StopFlag:
    """Set by a signal, by control/stop.json or at the time in control/stop_at.json; asked by all that can wait."""

    def __init__(self, rundir: RunDir, attempt: int) -> None:
        self.rundir = rundir
        self.attempt = attempt
        self.reason: str | None = None
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        spawn.let_signals_through()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.reason = self.reason or signal.Signals(number).name

    def look(self) -> None:
        """Has somebody left a request on disk? Windows has no other way."""
        if self.reason is None and self._request() is not None:
            self.reason = "request"
        at = stop_requests.end_asked_at(self.rundir) if self.reason is None else None
        if at is not None and time.time() >= at:
            self.reason = TIME
            stop_requests.ask_to_end(self.rundir, self.attempt)  # so that everybody sees it stopping

    def why(self) -> str | None:
        """As the event says it: a signal that came with a request on disk is that request."""
        return "request" if self.reason != TIME and self._request() is not None else self.reason

    def pauses(self) -> bool:
        """Was it asked to pause, and nobody to stop? Asked at the end: a stop that comes after a pause counts."""
        request = self._request()
        return request is not None and request.pause

    def _request(self) -> stop_requests.StopRequest | None:
        request = stop_requests.stop_request(self.rundir)
        return request if request is not None and request.attempt == self.attempt else None

    def __call__(self) -> bool:
        return self.reason is not None

    def check(self) -> None:
        if self():
            raise Stopped


class Session:
    """What every part of a worker's life needs: the run, its events, the stop flag, the seconds of this attempt."""

    def __init__(self, rundir: RunDir, events: EventWriter, flag: StopFlag) -> None:
        self.rundir = rundir
        self.events = events
        self.flag = flag
        self.started = time.perf_counter()
        before = state_of(rundir)
        self.retries = before.retries
        """How often a step of this run was too large for the GPU (trainer.worker.recovery)."""
        planned = (before.plan or {}).get("optimizer_steps")
        self.planned = planned if isinstance(planned, int) else None
        """Steps that the attempt before had planned; None when none got so far."""
        self.said = {event.step for event in before.checkpoints}
        """Steps of the checkpoints that the event log knows."""
        self.failed_in: str | None = None
        """Innermost span of the step that failed; None outside of steps."""
        self.device = "cpu"
        self.mirrors: list[Mirror] = []

    def hold_gpu(self, device: str) -> None:
        """One run a GPU, unless a person wants two: raises RunError naming the run that has it. The lock ends with
        the process."""
        self.device = device
        if device == "cuda":
            card = gpu.chosen()
            wait_s = HANDOVER_S if self.retries else launch.LOCK_WAIT_S  # the attempt before may still be clearing up
            try:
                self.gpu_lock = launch.hold_gpu_lock(card.uuid if card else "unnamed", self.rundir.name, wait_s)
            except RunError:
                if not launch.may_be_beside(self.rundir):
                    raise

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        """A named part of the run, with its seconds; a stop that was asked for takes effect at its end."""
        started = time.perf_counter()
        self.events.emit(PhaseEvent(name=name, state="start", detail=detail))
        yield
        seconds = time.perf_counter() - started
        self.events.emit(PhaseEvent(name=name, state="end", seconds=seconds, detail=detail))
        self.flag.look()
        self.flag.check()
