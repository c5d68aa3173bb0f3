"""From the events of one attempt into a tracker, until the attempt or its worker has ended: the same for each service.

A tracker takes rows (trainer.mirrors.metric_rows) with completions; secrets are taken out here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from trainer.machine.json_files import read_json
from trainer.machine.process import Identity, Lock
from trainer.machine.secrets import Redactor
from trainer.mirrors import completions
from trainer.mirrors.completions import MAX_CHARACTERS, MAX_ROWS, Completions
from trainer.mirrors.metric_rows import MetricRow, Rows
from trainer.mirrors.note import Note
from trainer.run.mirror_files import NAMES
from trainer.run.records import AlertEvent, EndEvent, Event, PlanEvent, RunFailedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.summary import summary
from trainer.text import Message

POLL_S = 1.0
END_S = 120.0  # without any progress after the run has ended; FINISH_S of W&B comes first unless it hangs
ALERTS = 20  # of the newest, in the summary
_EXITS = {"run_finished": 0, "run_stopped": 255, "run_paused": 255}  # as wandb itself reports one ended by Ctrl-C
_STATUS = {"run_finished": "finished", "run_stopped": "stopped", "run_paused": "paused", "run_failed": "failed"}


class Tracker(Protocol):
    """One run of a service, begun."""

    def configure(self, config: dict[str, Any]) -> None: ...

    def log(self, step: int, t: float, values: dict[str, Any], completions: Completions | None) -> None:
        """One row, whole: it is not added to later. t: when it happened, unix seconds. Raises whatever goes wrong."""

    def finish(self, summary: dict[str, Any], exit_code: int) -> None: ...


class Guard(threading.Thread):
    """Ends this process when the run has ended and nothing has moved for END_S, whatever hangs."""

    def __init__(self, worker: Identity, service: str) -> None:
        super().__init__(name="guard", daemon=True)
        self.worker, self.service = worker, service
        self.over = False
        self._moved = time.monotonic()

    def moved(self) -> None:
        self._moved = time.monotonic()

    def run(self) -> None:
        while True:
            self.over = self.over or not self.worker.alive()
            if self.over and time.monotonic() - self._moved > END_S:
                print(f"{NAMES[self.service]} does not come to an end; its files stay where they are", flush=True)
                os._exit(1)
            time.sleep(POLL_S)


def first_config(rundir: RunDir) -> dict[str, Any]:
    """What is known of a run before it has trained, and what the tables leave out."""
    env = read_json(rundir.env) or {}
    return {
        "spec": read_json(rundir.spec) or {},
        "plan": read_json(rundir.plan) or {},
        "versions": {"python": env.get("python"), "commit": env.get("commit"), **env.get("packages", {})},
        "gpus": env.get("gpus", []),
        "completions": {"max_rows_a_step": MAX_ROWS, "max_characters_a_text": MAX_CHARACTERS},
    }


def _of_mirror(alert: AlertEvent) -> bool:
    """Does it say where the copy goes? Older versions wrote no keys."""
    return alert.key.startswith("mirror_") or alert.title == "wandb"


class Feed:
    """Feeds one tracker until the attempt, or its worker, has ended."""

    def __init__(
        self,
        rundir: RunDir,
        attempt: int,
        note: Note,
        run: Tracker,
        newest: Callable[[], int | None],
        redactor: Redactor,
        guard: Guard,
    ) -> None:
        """newest: the newest step that the tracker's files hold; -1 none, None: the files are gone."""
        self.rundir, self.attempt, self.note, self.run, self.newest = rundir, attempt, note, run, newest
        self.redactor, self.guard = redactor, guard
        self.final: EndEvent | None = None
        spec_eval = (read_json(rundir.spec) or {}).get("eval", {})
        self.rows = Rows(attempt, note.sent, spec_eval.get("eval_steps"))

    def until_ended(self, follower: RunFollower, events: list[Event], lock: Lock) -> int:
        while True:
            self.guard.moved()
            dead = not self.guard.worker.alive()  # asked before reading: nothing is missed
            for event in events:
                self._take(event)
                if self.final is not None:
                    break  # what follows is the next attempt's
            if self.final is not None or (dead and not events):
                break
            self._send(self.rows.ready(time.time()))
            if not dead:
                time.sleep(POLL_S)
            events = follower.read()
        self.guard.over = True
        self._send(self.rows.ready(time.time(), ended=True))
        lock.release()  # an upload may take a while; the next attempt need not wait for it
        kind = self.final.kind if self.final else "lost"
        try:
            self.run.finish(self._summary(follower, kind), _EXITS.get(kind, 1))
        except Exception:
            self.note.believe(self.newest())
            raise
        self.note.end(self.newest())
        print(f"ended: {kind}, {self.rows.again} steps were made again and not sent again", flush=True)
        return 0

    def _take(self, event: Event) -> None:
        self.rows.take(event)
        if event.attempt != self.attempt:
            return
        if isinstance(event, PlanEvent):
            names = ("plan", "data", "engine", "device", "dtype", "trainer_class", "trainer_bases")
            known = {name: value for name in names if (value := getattr(event, name)) is not None}
            self.run.configure(self.redactor.config(known | {"why": str(Message.read(event.why))}))
        if isinstance(event, EndEvent):
            self.final = event

    def _send(self, rows: Any) -> None:
        row: MetricRow
        for row in rows:
            found = completions.read(self.rundir, row.step, self.redactor) if row.rollouts else None
            self.guard.moved()
            values = self.redactor.clean(row.values) | (found.missing() if found else {})
            try:
                self.run.log(row.step, row.t, values, found)
            except Exception as error:
                # The disk is full (a table is a file of its own), or the service finds fault with a cell.
                print(f"step {row.step} without its completions: {type(error).__name__}: {error}", flush=True)
                self.run.log(row.step, row.t, values, None)
        if self.rows.sent != self.note.sent:
            self.note.sent = self.rows.sent
            self.note.write()

    def _summary(self, follower: RunFollower, kind: str) -> dict[str, Any]:
        state = follower.state
        facts = summary(state, self.rundir)
        facts["status"] = _STATUS.get(kind, "lost")
        alerts = [alert for alert in state.alerts if not _of_mirror(alert)]  # the service knows where it is
        facts["alerts"] = [f"{alert.level}: {alert.title}: {alert.text}" for alert in alerts[-ALERTS:]]
        if isinstance(self.final, RunFailedEvent):
            problems = [f"{problem.where}: {problem.what}" for problem in self.final.reasons()]
            facts["error"] = " / ".join([str(self.final.error), *problems])
        facts |= self.rows.late
        kept = {name: value for name, value in facts.items() if name != "path" and value is not None}
        return {name if "/" in name else f"run/{name}": value for name, value in self.redactor.config(kept).items()}
