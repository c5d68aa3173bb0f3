"""The process that tells log.webhook: python -m trainer.mirrors.notifier RUN_DIR ATTEMPT

Follows events.jsonl of one attempt, as a mirror does, in a session of its own that the worker starts and never waits
for. It ends by itself; whatever the address does costs this process and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from trainer import text
from trainer.machine import notes
from trainer.machine.process import Identity
from trainer.machine.secrets import Redactor
from trainer.mirrors import webhook
from trainer.run import entrance
from trainer.run.records import AlertEvent, EndEvent, Event, RunFailedEvent, RunStartedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.status import named_itself
from trainer.run.summary import summary

POLL_S = 2.0
MOST_ALERTS = 20  # of an attempt: a run that warns at every step tells the first ones
LEVELS = ("warn", "error")


class Notifier:
    """What one attempt of a run has to be told of."""

    def __init__(self, rundir: RunDir, attempt: int, to: str) -> None:
        self.rundir, self.attempt, self.to = rundir, attempt, to
        self.words = text.here()
        self.form = rundir.read_spec().log.webhook_form
        self.redactor = Redactor(os.environ, [to])
        self.alerts: set[str] = set()
        self.final: EndEvent | None = None

    def take(self, events: list[Event]) -> None:
        for event in events:
            if event.attempt != self.attempt or self.final is not None:
                continue
            if isinstance(event, AlertEvent) and event.level in LEVELS:
                known = event.key or event.title
                if known not in self.alerts and len(self.alerts) < MOST_ALERTS:  # of each kind the first
                    self.alerts.add(known)
                    self.tell(webhook.alerted(event, self.rundir.name, self.words))
            if isinstance(event, EndEvent):
                self.final = event

    def end(self, follower: RunFollower) -> None:
        if isinstance(self.final, RunFailedEvent) and self.final.retry:
            return  # the next attempt is on its way, and has its own
        self.tell(webhook.ended(self.final, summary(follower.state, self.rundir), self.words))

    def tell(self, message: dict[str, Any]) -> None:
        wrong = webhook.send(self.to, webhook.body(message, self.form, self.to, self.redactor))
        print(f"{message['event']}: {f'not sent, {wrong}' if wrong else 'sent'}", flush=True)


def main(path: str | Path, attempt: int) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):  # a service manager ends all at once; this ends after the worker
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)  # the training comes first
    rundir = RunDir(Path(path))
    setting = rundir.read_spec().log.webhook
    to = webhook.address(setting, os.environ) if setting else None
    if to is None:
        print(
            "log.webhook: the variable it names is empty; nobody is told" if setting else "no log.webhook", flush=True
        )
        return 0
    notes.write(rundir.notifier, Identity.mine(), attempt=attempt)
    follower = RunFollower(rundir)
    told = Notifier(rundir, attempt, to)
    worker: Identity | None = None
    while True:
        dead = worker is not None and not worker.alive()  # asked before reading: nothing is missed
        events = follower.read()
        began = [event for event in events if isinstance(event, RunStartedEvent) and event.attempt == attempt]
        worker = named_itself(began[-1]) if began else worker
        if worker is None:
            print(f"the log has no run_started of attempt {attempt}", flush=True)
            return 1
        told.take(events)
        if told.final is not None or (dead and not events):
            told.end(follower)
            return 0
        if not dead:
            time.sleep(POLL_S)


if __name__ == "__main__":
    parser = entrance.parser("trainer.mirrors.notifier", "Tell log.webhook of one attempt of a run.")
    parser.add_argument("attempt", type=int, metavar="ATTEMPT")
    given = parser.parse_args()
    sys.exit(main(given.rundir.path, given.attempt))
