"""A mirror's process: python -m trainer.mirrors RUN_DIR ATTEMPT

Follows events.jsonl of one attempt and feeds W&B. Started by the worker in a session of its own; it ends by itself,
whatever W&B does. It may fail in any way: what it says of itself is in control/mirror.json, the rest in its log.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import secrets
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import psutil

from trainer.machine import notes
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity, Lock
from trainer.machine.secrets import Redactor
from trainer.mirrors import completions, probe
from trainer.mirrors.metric_rows import MetricRow, Rows
from trainer.mirrors.recorded import newest_step, remove_empty
from trainer.mirrors.wandb_run import Mode, WandbRun, Wish, bounds, keep_inside, wish
from trainer.run import entrance
from trainer.run.records import (
    AlertEvent,
    EndEvent,
    Event,
    Level,
    PlanEvent,
    RunFailedEvent,
    RunStartedEvent,
)
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.status import named_itself
from trainer.run.summary import summary
from trainer.text import Message

POLL_S = 1.0
BEGIN_S = 14.0  # from its start until W&B has the run: START_S of the worker less the way offline
LOCK_S = 8.0  # for the mirror of the attempt before to send its last rows
END_S = 120.0  # without any progress after the run has ended; FINISH_S comes first unless W&B hangs
ALERTS = 20  # of the newest, in the summary
_EXITS = {"run_finished": 0, "run_stopped": 255, "run_paused": 255}  # as wandb itself reports one ended by Ctrl-C
_STATUS = {"run_finished": "finished", "run_stopped": "stopped", "run_paused": "paused", "run_failed": "failed"}


class Note:
    """control/mirror.json: who the mirror is, where the copy goes, what W&B has."""

    def __init__(self, rundir: RunDir, attempt: int) -> None:
        self.path = rundir.mirror
        stored = read_json(self.path) or {}
        if stored.get("run") != rundir.name:  # none yet, or of the run this folder was copied from
            alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
            stored = {"run_id": "".join(secrets.choice(alphabet) for _ in range(8)), "sent": -1}
        self.run_id, self.sent = str(stored["run_id"]), int(stored["sent"])
        self.torn = self.sent >= 0 and not stored.get("ended")
        """The mirror before was killed: W&B may have fewer rows than it was given."""
        self._facts: dict[str, Any] = {"run": rundir.name, "attempt": attempt}

    def say(self, mode: str, alert: AlertEvent, where: str | None = None) -> None:
        """mode: online, offline, disabled or failed. alert: for the run's log."""
        said = {"level": alert.level, "key": alert.key, "values": alert.values, "text": alert.text}
        self._facts |= {"mode": mode, **said, "where": where}
        print(f"{mode}: {alert.text}", flush=True)
        self.write()

    def fail(self, why: Message | str) -> None:
        """Nothing more will be sent. Said at the start of the run or, when that is over, at its end."""
        if "mode" in self._facts:
            self._facts["ending"] = Message("mirror.ending", step=max(self.sent, 0), why=why).stored()
        self.say("failed", AlertEvent.of("warn", "mirror_failed", why=why))

    def believe(self, there: int | None) -> bool:
        """Count as sent what W&B's files hold (None: they are gone, and with them what could be known)."""
        before, self.sent = self.sent, self.sent if there is None else min(there, self.sent)
        return self.sent == before

    def write(self, ended: bool = False) -> None:
        notes.write(self.path, Identity.mine(), **self._facts, run_id=self.run_id, sent=self.sent, ended=ended)

    def end(self, there: int | None) -> None:
        """W&B says it is done; not noted any more when the next attempt's mirror has begun. there: as for believe."""
        if (read_json(self.path) or {}).get("attempt") != self._facts["attempt"]:
            return
        if self.believe(there):
            self.write(ended=True)
        else:
            self.fail(Message("mirror.why.not_written"))


class Guard(threading.Thread):
    """Ends this process when the run has ended and nothing has moved for END_S, whatever hangs."""

    def __init__(self, worker: Identity) -> None:
        super().__init__(name="guard", daemon=True)
        self.worker = worker
        self.over = False
        self._moved = time.monotonic()

    def moved(self) -> None:
        self._moved = time.monotonic()

    def run(self) -> None:
        while True:
            self.over = self.over or not self.worker.alive()
            if self.over and time.monotonic() - self._moved > END_S:
                print("W&B does not come to an end; its files stay where they are", flush=True)
                os._exit(1)
            time.sleep(POLL_S)


def main(path: str | Path, attempt: int, why_offline: str = "") -> int:
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):  # a service manager ends all at once; this ends after the worker
        signal.signal(number, signal.SIG_IGN)
    logging.raiseExceptions = False  # where W&B cannot write its log, pages about that would fill ours
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # the rewards of the next step come first
    rundir = RunDir(Path(path))
    environment = keep_inside(rundir, os.environ)
    os.environ.clear()
    os.environ.update(environment)
    with Lock(rundir.mirror_lock) as lock:
        if not lock.take(f"pid {os.getpid()}", LOCK_S):
            print("another mirror of this run is at work; this one ends", flush=True)  # its note is not ours to write
            return 1
        note = Note(rundir, attempt)
        why = Message.read(json.loads(why_offline)) if why_offline else None
        try:
            return _mirror(rundir, attempt, note, lock, why, began)
        except Exception as error:
            traceback.print_exc()
            redactor = Redactor(os.environ)
            reason = redactor.text(f"{type(error).__name__}: {error}".splitlines()[0])
            with contextlib.suppress(OSError):  # the disk is full
                note.fail(reason)
            return 1


def _mirror(rundir: RunDir, attempt: int, note: Note, lock: Lock, why_offline: Message | None, began: float) -> int:
    follower = RunFollower(rundir)
    events = follower.read()
    started = (event for event in events if isinstance(event, RunStartedEvent) and event.attempt == attempt)
    worker = next(map(named_itself, started), None)
    if worker is None:
        raise ValueError(f"the log has no run_started of attempt {attempt}")
    guard = Guard(worker)
    guard.start()
    if os.environ.get("WANDB_MODE") == "disabled":  # before half a second of imports
        note.say("disabled", AlertEvent.of("info", "mirror_off_variable"))
        return 0
    offline = functools.partial(_again_offline, rundir, attempt, set(rundir.wandb.glob("run-*")))
    late = threading.Timer(BEGIN_S - (time.monotonic() - began), offline, [Message("mirror.why.late")])
    late.daemon = True
    if why_offline is None:
        late.start()
    chosen = wish()
    if chosen.mode == "disabled":
        note.say("disabled", AlertEvent.of("info", "mirror_off_settings"))
        return 0
    if note.torn:
        note.believe(newest_step(rundir, note.run_id))
        remove_empty(rundir, note.run_id)
    redactor = Redactor(os.environ, [chosen.key] if chosen.key else [])
    mode, level, why = _where(chosen, why_offline)
    try:
        run = WandbRun(rundir, note.run_id, chosen, mode, redactor.config(_first_config(rundir)))
    except Exception as error:
        if mode == "offline":
            raise
        traceback.print_exc()
        late.cancel()
        said = redactor.text(f"{type(error).__name__}: {error}".splitlines()[0])
        offline(Message("mirror.why.not_begun", said=said))
    late.cancel()
    note.say(mode, _goes_to(run, level, why, chosen), run.url or str(run.folder))
    return _Feed(rundir, attempt, note, run, redactor, guard).until_ended(follower, events, lock)


def _where(chosen: Wish, why_offline: Message | None) -> tuple[Mode, Level, Message | None]:
    """(mode, level of the alert, why offline)."""
    if why_offline is not None:
        return "offline", "warn", why_offline
    if chosen.mode == "offline":
        return "offline", "info", Message("mirror.why.settings")
    if not chosen.has_key:
        return "offline", "info", Message("mirror.why.no_key")
    trouble = probe.trouble(chosen.base_url, chosen.key)
    return ("offline", "warn", trouble) if trouble else ("online", "info", None)


def _goes_to(run: WandbRun, level: Level, why: Message | None, chosen: Wish) -> AlertEvent:
    if run.url:
        return AlertEvent.of(level, "mirror_online", url=run.url)
    program = shlex.quote(str(Path(sys.executable).with_name("wandb")))
    known = f"{program} login; " if not chosen.has_key else ""
    typed = f"{known}{program} sync {shlex.quote(str(run.folder))}"
    refused = why is not None and why.key == probe.REFUSED
    return AlertEvent.of(level, "mirror_offline_key" if refused else "mirror_offline", why=why, typed=typed)


def _again_offline(rundir: RunDir, attempt: int, before: set[Path], why: Message) -> None:
    """Become a fresh process that does not try to go online: whatever hangs in this one is gone with it.

    before: W&B's folders of earlier attempts. The one begun since holds no row and would be uploaded as a run.
    """
    print(f"{why}: going offline", flush=True)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    for folder in set(rundir.wandb.glob("run-*")) - before:
        shutil.rmtree(folder, ignore_errors=True)
    said = json.dumps(why.stored())
    os.execv(sys.executable, [sys.executable, "-m", "trainer.mirrors", str(rundir.path), str(attempt), said])


def _first_config(rundir: RunDir) -> dict[str, Any]:
    env = read_json(rundir.env) or {}
    return {
        "spec": read_json(rundir.spec) or {},
        "plan": read_json(rundir.plan) or {},
        "versions": {"python": env.get("python"), "commit": env.get("commit"), **env.get("packages", {})},
        "gpus": env.get("gpus", []),
        "completions": bounds(),
    }


def _of_mirror(alert: AlertEvent) -> bool:
    """Does it say where the copy goes? Older versions wrote no keys."""
    return alert.key.startswith("mirror_") or alert.title == "wandb"


class _Feed:
    """Feeds one W&B run until the attempt, or its worker, has ended."""

    def __init__(
        self, rundir: RunDir, attempt: int, note: Note, run: WandbRun, redactor: Redactor, guard: Guard
    ) -> None:
        self.rundir, self.attempt, self.note, self.run = rundir, attempt, note, run
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
            self.note.believe(newest_step(self.rundir, self.note.run_id))
            raise
        self.note.end(newest_step(self.rundir, self.note.run_id))
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
            values = self.redactor.clean(row.values)
            try:
                self.run.log(row.step, row.t, values, found)
            except Exception as error:
                # The disk is full (a table is a file of its own), or W&B finds fault with a cell.
                print(f"step {row.step} without its completions: {type(error).__name__}: {error}", flush=True)
                self.run.log(row.step, row.t, values, None)
        if self.rows.sent != self.note.sent:
            self.note.sent = self.rows.sent
            self.note.write()

    def _summary(self, follower: RunFollower, kind: str) -> dict[str, Any]:
        state = follower.state
        facts = summary(state, self.rundir)
        facts["status"] = _STATUS.get(kind, "lost")
        alerts = [alert for alert in state.alerts if not _of_mirror(alert)]  # W&B knows where it is
        facts["alerts"] = [f"{alert.level}: {alert.title}: {alert.text}" for alert in alerts[-ALERTS:]]
        if isinstance(self.final, RunFailedEvent):
            problems = [f"{problem.where}: {problem.what}" for problem in self.final.reasons()]
            facts["error"] = " / ".join([str(self.final.error), *problems])
        facts |= self.rows.late
        kept = {name: value for name, value in facts.items() if name != "path" and value is not None}
        return {name if "/" in name else f"run/{name}": value for name, value in self.redactor.config(kept).items()}


if __name__ == "__main__":
    parser = entrance.parser("trainer.mirrors", "Feed W&B from the events of one attempt of a run.")
    parser.add_argument("attempt", type=int, metavar="ATTEMPT")
    parser.add_argument("why_offline", nargs="?", default="", help=argparse.SUPPRESS)  # of `_again_offline`
    given = parser.parse_args()
    sys.exit(main(given.rundir.path, given.attempt, given.why_offline))
