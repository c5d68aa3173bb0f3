"""The rollout files of the newest steps that were looked at. Read by trainer.run.groups."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.run.groups import Group, read_groups
from trainer.ui.stamps import Stamp, stamp_of

KEEP_BYTES = 48 * 2**20
"""Of files whose groups are kept; the newest one is kept whatever its size."""
MOST_BYTES = 64 * 2**20
"""Read of one file."""


@dataclass(frozen=True)
class StepFile:
    """damaged: lines that are no group. cut: the file goes on beyond MOST_BYTES. missing: there is no file."""

    groups: Sequence[Group] = ()
    damaged: int = 0
    cut: bool = False
    missing: bool = False
    stamp: Stamp = (0, 0, 0)


class StepFiles:
    """Reads files of steps and keeps the newest few. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, StepFile] = OrderedDict()

    def read(self, path: Path) -> StepFile:
        """Of a file that has not changed this costs one stat call."""
        stamp = stamp_of(path)
        if stamp is None:
            return StepFile(missing=True)
        with self._lock:
            kept = self._kept.pop(path, None)
            if kept is None or kept.stamp != stamp:
                kept = _read(path, stamp)
            self._kept[path] = kept
            while len(self._kept) > 1 and sum(file.stamp[1] for file in self._kept.values()) > KEEP_BYTES:
                self._kept.popitem(last=False)
            return kept


def _read(path: Path, stamp: Stamp) -> StepFile:
    try:
        found = read_groups(path, MOST_BYTES)
    except OSError:
        return StepFile(missing=True)
    return StepFile(found.groups, found.damaged, found.cut, stamp=stamp)
