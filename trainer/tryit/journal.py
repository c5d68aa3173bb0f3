"""answers.jsonl: what was asked and answered, one JSON object a line, the newest last.

    {"kind": "begin", "id": ..., "request": {...}, "step": 150}     from here on it is being answered
    {"kind": "row", "id": ..., "prompt": ..., "gold": ..., "row": 3, "rows": 128}   of a held-out row
    {"kind": "piece", "id": ..., "side": "base", "text": "..."}     a few of these a second
    {"kind": "side", "id": ..., "side": "base", "text": ..., "tokens": 7, "seconds": 1.2, "truncated": false, ...}
    {"kind": "end", "id": ..., "state": "done", "problems": []}     or cancelled, failed, lost

Only the process that answers writes. Between two answers it lets go of the oldest, so that the file stays small.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.machine.regular_files import read_file

Line = dict[str, Any]

MOST_BYTES = 2 * 2**20
"""A file that is larger after an answer is written again with the newest answers only."""
KEEP_BYTES = 2**20
KEEP = 40


class Journal:
    """Appends to the file at `path`, which need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not path.is_file():  # a folder, a pipe: what lies there is no journal
            path.rename(path.with_name(f"{path.name}.{time.time_ns()}"))
        self._file = path.open("ab")
        if self._file.tell() and not _ends_whole(path):  # the process before this one was killed in a line
            self._file.write(b"\n")

    def write(self, kind: str, id: str, **values: Any) -> None:
        self._file.write(_encoded({"kind": kind, "id": id, **values}))
        self._file.flush()

    def shorten(self) -> None:
        """Let go of what is old, if there is much of it. Readers find the old file or the new one."""
        if self._file.tell() <= MOST_BYTES:
            return
        kept: list[bytes] = []
        size = 0
        for lines in reversed(list(answers(read(self.path)).values())):
            data = b"".join(_encoded(line) for line in lines if line["kind"] != "piece")
            if len(kept) == KEEP or (kept and size + len(data) > KEEP_BYTES):
                break
            kept.append(data)
            size += len(data)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        draft.write_bytes(b"".join(reversed(kept)))
        self._file.close()
        draft.replace(self.path)
        self._file = self.path.open("ab")

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Line]:
    """Whole lines of the file, those that are none left out; nothing without a file."""
    try:
        data = read_file(path)
    except OSError:
        return
    for line in data.split(b"\n")[:-1]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("kind"), str) and isinstance(found.get("id"), str):
            yield found


def answers(lines: Iterator[Line]) -> dict[str, list[Line]]:
    """The lines of each answer, the oldest first; of one that was begun twice only from the second beginning on."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line["kind"] == "begin":
            found.pop(line["id"], None)
            found[line["id"]] = [line]
        elif line["id"] in found:
            found[line["id"]].append(line)
    return found


def _encoded(line: Line) -> bytes:
    return json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
