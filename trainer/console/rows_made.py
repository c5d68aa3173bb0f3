"""How far the rows of a task are, on standard error, while a command waits for them (trainer.tasks.making)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from trainer import text
from trainer.console.screen import Screen
from trainer.tasks import making
from trainer.tasks.making import Progress

SILENT_S = 3.0  # most rows are there by then
EVERY_S = 10.0  # a line, where none can be drawn anew


@contextmanager
def told() -> Iterator[None]:
    if sys.stderr is None:
        yield
        return
    teller = _Teller()
    try:
        with making.waiting(tell=teller.tell):
            yield
    finally:
        teller.screen.status("")


class _Teller:
    def __init__(self) -> None:
        self.screen = Screen(sys.stderr)
        self._next = 0.0
        self._name = ""

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.name != self._name:
            self._name, self._next = progress.name, now + SILENT_S
        if now < self._next:
            return
        said = text.here().said(progress.message())
        if self.screen.terminal:
            self.screen.status(said)
        else:
            self.screen.line(said)
            self._next = now + EVERY_S
