"""events.jsonl of a run: the one truth about it. One writer, many readers.

Each line is one JSON object {"t": unix seconds, "kind": ..., "attempt": n, ...}; what a kind carries is its record in
trainer.run.records, which is a closed set. The worker is the only writer; page, console, report and mirrors read.
`step` counts finished optimizer steps.

No third-party package but msgspec, which reads a line and checks its types in the time orjson takes to read it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Union

import msgspec

from trainer.errors import EventLogError, Problem
from trainer.machine.regular_files import is_text, open_file
from trainer.run.records import KINDS, CheckpointEvent, EndEvent, Event, Record, RunStartedEvent

# A person may pull the plug right after one of these was on screen; the others may be lost with the
# machine, because the run then goes on from the last checkpoint anyway.
SYNCED = (EndEvent, RunStartedEvent, CheckpointEvent)
LINE_BYTES = 8192
"""A line stays below this, newline included."""

Line = dict[str, Any]
_HEAD = ("t", "kind", "attempt")
_SHORTEST = 32  # characters a shortened string keeps at least
_NAMES = 20  # paths listed in _dropped and _shortened; of further ones only the number
_CHUNK = 1 << 20  # bytes read at once
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # the last on Windows
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Union[tuple(KINDS.values())])  # noqa: UP007


class EventWriter:
    """Appends events. Safe to use from several threads; one process only.

    clock: says the time of an event; of a run that is imported, the time at which it happened.
    Raises EventLogError when the log cannot be written: a run nobody can see must stop.
    """

    def __init__(self, path: Path, attempt: int, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.attempt = attempt
        self._clock = clock
        self._lock = threading.Lock()
        self._torn = False
        try:
            self._fd = os.open(path, _OPEN, 0o666)
            self._torn = self._ends_torn()
        except OSError as error:
            raise self._error(error) from error

    def emit(self, event: Event) -> None:
        """Append one event; non-finite numbers are dropped, long strings cut, and both named. Says t and attempt."""
        head: Line = {"t": round(self._clock(), 3), "kind": event.kind, "attempt": self.attempt}
        line = _encode(head | {name: value for name, value in _fields(event).items() if name not in _HEAD})
        with self._lock:
            try:
                self._write(line)
                if isinstance(event, SYNCED):
                    os.fsync(self._fd)
            except OSError as error:
                raise self._error(error) from error

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ends_torn(self) -> bool:
        """Does the file end inside a line (a worker killed while writing, a full disk)?"""
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if size == 0:
            return False
        os.lseek(self._fd, size - 1, os.SEEK_SET)
        return os.read(self._fd, 1) != b"\n"

    def _write(self, line: bytes) -> None:
        if os.fstat(self._fd).st_nlink == 0:  # deleted under us: writes would succeed, unseen
            raise FileNotFoundError(errno.ENOENT, "the file was deleted while the run was going")
        data = b"\n" + line if self._torn else line
        self._torn = True
        while data:
            data = data[os.write(self._fd, data) :]
        self._torn = False

    def _error(self, error: OSError) -> EventLogError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return EventLogError(
            Problem("run.log_full" if full else "run.log_unwritable", str(self.path), said=error.strerror)
        )


class EventReader:
    """Reads new whole events from a growing log. Never repeats one; never fails on what it holds.

    skipped: lines that were no event (malformed, of a kind this version does not know, a field of another type).
    not_text: those of them that hold bytes which are not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.skipped = 0
        self.not_text = 0
        self._in_garbage = False

    def read(self) -> list[Event]:
        """Events completed since the last call; [] while the file is not there. Raises OSError: it cannot be read."""
        return list(self.stream())

    def stream(self) -> Iterator[Event]:
        """The same one after the other: a log of any length is read in little memory."""
        try:
            file = open_file(self.path)
        except FileNotFoundError:
            return
        with file:
            file.seek(self.offset)
            while chunk := file.read(_CHUNK):
                lines = chunk.split(b"\n")
                rest = lines.pop()
                if not lines:
                    if len(chunk) < _CHUNK:
                        break  # half-written last line: left for the next call
                    rest = b""  # no writer of ours makes a line this long
                    self._in_garbage = True
                elif self._in_garbage:  # the end of a line that began in an earlier chunk
                    self._in_garbage = False
                    self.skipped += 1
                    del lines[0]
                self.offset += len(chunk) - len(rest)
                file.seek(self.offset)
                yield from self._events(lines)

    def _events(self, lines: Sequence[bytes]) -> Iterator[Event]:
        """One at a time: a list of them would keep the garbage collector busy."""
        for line in lines:
            try:
                event = _DECODER.decode(line)
            except (ValueError, RecursionError):  # no JSON, an unknown kind, a field of another type, too deep
                self.skipped += 1
                self.not_text += not is_text(line)
                continue
            if event.attempt < 0 or math.isnan(event.t):  # it does not say which attempt, or when
                self.skipped += 1
            else:
                yield event


def _fields(record: Record) -> Line:
    """As it is written, objects inside as they are; without what is not known, and what a writer would have changed."""
    names = zip(record.__struct_fields__, record.__struct_encode_fields__, strict=True)
    found = {written: getattr(record, name) for name, written in names}
    return {name: value for name, value in found.items() if not (value is None or isinstance(value, tuple))}


def _plain(value: Any) -> Any:
    """For json: a record as an object, a number of NumPy or torch as Python's own, anything else as text."""
    if isinstance(value, Record):
        return _fields(value)
    try:
        return value.item()
    except (AttributeError, ValueError, RuntimeError):  # no scalar; the last is torch's word for it
        return str(value)


_FAST = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _bytes(event: Line) -> bytes:
    # A lone surrogate (from a tokenizer that cut a character) has no UTF-8 form: it becomes "?".
    return _FAST.encode(event).encode("utf-8", "replace") + b"\n"


def _encode(event: Line) -> bytes:
    """One line below LINE_BYTES."""
    try:
        line = _bytes(event)
    except ValueError:  # the encoder's word for a non-finite number
        dropped: list[str] = []
        event = _finite(event, "", dropped)
        line = _bytes(event | {"_dropped": _listed(dropped)})
        event["_dropped"] = _listed(dropped)
    return line if len(line) < LINE_BYTES else _fit(event)


def _finite(value: Any, path: str, dropped: list[str]) -> Any:
    """A copy without non-finite numbers; in a list None stays, so that the others keep place."""
    if isinstance(value, dict):
        kept = {str(key): _finite(part, f"{path}.{key}", dropped) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part is not _GONE}
    if isinstance(value, list | tuple):
        parts = [_finite(part, f"{path}.{index}", dropped) for index, part in enumerate(value)]
        return [None if part is _GONE else part for part in parts]
    if not isinstance(value, str | int | float | None):
        return _finite(_plain(value), path, dropped)
    if isinstance(value, float) and not math.isfinite(value):
        dropped.append(path.removeprefix("."))
        return _GONE
    return value


_GONE = object()


def _fit(event: Line) -> bytes:
    """Halve the longest strings, then the largest lists and fields, until the line is short."""
    event = json.loads(_bytes(event))  # a copy of plain values that may be changed in place
    strings = sorted(_strings(event, ""), key=lambda found: len(found[2]), reverse=True)
    shortened: list[str] = []
    while len(line := _bytes(event)) >= LINE_BYTES and strings:
        home, key, text, path = strings[0]
        if len(text) <= _SHORTEST:
            break
        half = max(_SHORTEST, len(text) // 2) - 5
        # Both ends stay: a message begins with what happened, a traceback ends with it.
        text = f"{text[: half // 2]} ... {text[-(half - half // 2) :]}"
        home[key] = text
        strings[0] = (home, key, text, path)
        strings.sort(key=lambda found: len(found[2]), reverse=True)
        if path not in shortened:
            shortened.append(path)
            event["_shortened"] = _listed(shortened)
    dropped: list[str] = list(event.get("_dropped", []))
    while len(line := _bytes(event)) >= LINE_BYTES:
        droppable = [name for name in event if name not in _HEAD and name != "_dropped"]
        if not droppable:
            event.pop("_dropped")
            continue
        largest = max(droppable, key=lambda name: len(_bytes({name: event[name]})))
        value = event[largest]
        if isinstance(value, list) and len(value) > 1:
            event[largest] = value[: len(value) // 2]
        else:
            del event[largest]
        dropped += [] if largest in dropped else [largest]
        event["_dropped"] = _listed(dropped)
    return line


def _strings(value: Any, path: str) -> list[tuple[Any, Any, str, str]]:
    """(container, key, text, path) of every string that may be shortened."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = [(key, part) for key, part in value.items() if path or key not in _HEAD]
    elif isinstance(value, list):
        items = list(enumerate(value))
    found = []
    for key, part in items:
        here = f"{path}.{key}".removeprefix(".")
        if isinstance(part, str):
            found.append((value, key, part, here))
        else:
            found += _strings(part, here)
    return found


def _listed(paths: list[str]) -> list[str]:
    """At most _NAMES paths, each short, and how many more there are."""
    names = [path[:80] for path in paths[:_NAMES]]
    return [*names, f"and {len(paths) - _NAMES} more"] if len(paths) > _NAMES else names
