"""The place of a run that waits for others to end: control/queued.json in its folder. The queue is all of these notes.

A note names the attempt that is waited for: once that was begun, by whoever, it means nothing, whether or not somebody
came to remove it. So no run is started twice from the queue, wherever a process was killed. Torch-free.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from trainer.machine.json_files import read_json, write_json
from trainer.run.groups import number
from trainer.run.rundir import RunDir
from trainer.text import Message


@dataclass(frozen=True)
class QueuePlace:
    """order: the smaller one comes first. refused: why it could not be started when it was its turn."""

    order: float
    refused: Message | None = None


def place_of(rundir: RunDir) -> QueuePlace | None:
    """None for a run that does not wait, or was begun since."""
    if not rundir.queued.is_file():  # of most runs, and asked at every look
        return None
    stored = read_json(rundir.queued) or {}
    attempt, order, refused = stored.get("attempt"), number(stored.get("order")), stored.get("refused")
    if not isinstance(attempt, int) or order is None or rundir.newest_attempt() >= attempt:
        return None
    return QueuePlace(order, Message.read(refused) if refused else None)


def take_place(rundir: RunDir, order: float, refused: Message | None = None) -> None:
    said = refused.stored() if refused is not None else None
    attempt = rundir.newest_attempt() + 1
    write_json(rundir.queued, {"attempt": attempt, "order": order, "refused": said, "t": round(time.time(), 3)})


def leave(rundir: RunDir) -> None:
    rundir.queued.unlink(missing_ok=True)


def in_order(rundirs: Iterable[RunDir]) -> list[RunDir]:
    """Those of them that wait, the next one first; what could not be started does not hold up the others."""
    places = [(place, rundir) for rundir in rundirs if (place := place_of(rundir)) is not None]
    found = sorted(places, key=lambda one: (one[0].refused is not None, one[0].order, one[1].name))
    return [rundir for _, rundir in found]
