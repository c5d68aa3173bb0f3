"""What a mirror says of itself, for the worker, the console and the mirror of the next attempt.

control/mirror.json of W&B's, control/mirror_SERVICE.json of another one's.
"""

from __future__ import annotations

import secrets
from typing import Any

from trainer.machine import notes
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity
from trainer.run import mirror_files
from trainer.run.mirror_files import NAMES, WANDB
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir
from trainer.text import Message


class Note:
    """Who the mirror is, where the copy goes, and up to which step the service has it (sent; -1: nothing)."""

    def __init__(self, rundir: RunDir, attempt: int, service: str = WANDB) -> None:
        self.path = mirror_files.note(rundir, service)
        self.service = service
        stored = read_json(self.path) or {}
        if stored.get("run") != rundir.name:  # none yet, or of the run this folder was copied from
            alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
            stored = {"run_id": "".join(secrets.choice(alphabet) for _ in range(8)), "sent": -1}
        self.run_id, self.sent = str(stored["run_id"]), int(stored["sent"])
        self.torn = self.sent >= 0 and not stored.get("ended")
        """The mirror before was killed: the service may have other rows than were noted."""
        self._facts: dict[str, Any] = {"run": rundir.name, "attempt": attempt}

    def say(self, mode: str, alert: AlertEvent, where: str | None = None) -> None:
        """mode: online, offline, local, disabled or failed. alert: for the run's log."""
        said = {"level": alert.level, "key": alert.key, "values": alert.values, "text": alert.text}
        self._facts |= {"mode": mode, **said, "where": where}
        print(f"{mode}: {alert.text}", flush=True)
        self.write()

    def fail(self, why: Message | str) -> None:
        """Nothing more will be sent. Said at the start of the run or, when that is over, at its end."""
        if "mode" in self._facts:
            name, step = NAMES[self.service], max(self.sent, 0)
            self._facts["ending"] = Message("mirror.ending", service=name, step=step, why=why).stored()
        if self.service == WANDB:
            self.say("failed", AlertEvent.of("warn", "mirror_failed", why=why))
        else:
            self.say("failed", AlertEvent.of("warn", "mirror_local_failed", service=NAMES[self.service], why=why))

    def believe(self, there: int | None) -> bool:
        """Count as sent what the service's files hold (None: they are gone, and with them what could be known)."""
        before, self.sent = self.sent, self.sent if there is None else min(there, self.sent)
        return self.sent == before

    def write(self, ended: bool = False) -> None:
        notes.write(self.path, Identity.mine(), **self._facts, run_id=self.run_id, sent=self.sent, ended=ended)

    def end(self, there: int | None) -> None:
        """The service says it is done; not noted any more when the next attempt's mirror has begun.

        there: as for believe.
        """
        if (read_json(self.path) or {}).get("attempt") != self._facts["attempt"]:
            return
        if self.believe(there):
            self.write(ended=True)
        else:
            self.fail(Message("mirror.why.not_written"))
