"""Where the seconds of a step go: nested spans with total and self time.

A span is opened and closed by `with spans("name"):`. Spans of one step are summed by (name, parent). A span that an
exception leaves is closed with ok = false, and so is everything still open inside it. On a GPU the host clock runs
ahead of the device: pass `sync` (torch.cuda.synchronize) for exact attribution at the price of speed.

Standard library only; one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Span:
    """All calls of one name under one parent within a step; times in seconds."""

    name: str
    parent: str | None
    calls: int = 0
    total_s: float = 0.0
    self_s: float = 0.0
    ok: bool = True


@dataclass
class _Open:
    name: str
    started: float
    children_s: float = 0.0


class Spans:
    """Recorder of one training process."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, sync: Callable[[], Any] | None = None) -> None:
        self._clock = clock
        self._sync = sync
        self._stack: list[_Open] = []
        self._closed: dict[tuple[str, str | None], Span] = {}
        self.failed_in: str | None = None
        """Innermost span the newest exception left; None while all is well."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.open(name)
        depth = len(self._stack)
        ok = False
        try:
            yield
            ok = True
            self.failed_in = None  # whatever failed inside was dealt with there
        finally:
            self._close_down_to(depth, ok)

    def open(self, name: str) -> None:
        """Open a span that `close(name)` will end: for code that is entered and left by two callbacks."""
        self._stack.append(_Open(name, self._now()))

    def close(self, name: str, ok: bool = True) -> None:
        """Close the innermost span of that name and, as failed, whatever is still open inside; unknown: no effect."""
        for depth in range(len(self._stack), 0, -1):
            if self._stack[depth - 1].name == name:
                self._close_down_to(depth, ok)
                return

    def drain(self) -> list[Span]:
        """Spans closed since the last drain, parents after their children."""
        closed, self._closed = list(self._closed.values()), {}
        return closed

    def _now(self) -> float:
        if self._sync is not None:  # CUDA calls return when a kernel is queued, not when it is done
            self._sync()
        return self._clock()

    def _close_down_to(self, depth: int, ok: bool) -> None:
        """Close the span at `depth` (1 is the outermost) with `ok`, and everything above it as failed."""
        if not ok and self.failed_in is None:
            self.failed_in = self._stack[-1].name
        now = self._now()
        while len(self._stack) >= depth:
            is_target = len(self._stack) == depth
            opened = self._stack.pop()
            parent = self._stack[-1] if self._stack else None
            key = (opened.name, parent.name if parent else None)
            span = self._closed.setdefault(key, Span(*key))
            elapsed = now - opened.started
            span.calls += 1
            span.total_s += elapsed
            span.self_s += elapsed - opened.children_s  # so the self times of a step add up to the step's total
            span.ok &= ok and is_target
            if parent:
                parent.children_s += elapsed
