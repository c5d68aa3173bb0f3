"""At which steps a prompt was asked, and how it went: read from all rollout files once, a little at each look.

No text is kept: of a group its prompt's key, its line, its mean, its spread and its best completion, 44 bytes. Reading
ends when its time is spent and goes on at the next call, in the middle of a file if need be.
"""

from __future__ import annotations

import contextlib
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.machine.regular_files import open_file
from trainer.run.groups import OUTCOMES, Group, best_of, group_of, key_of, lines_of, number, raw_group
from trainer.run.rundir import RunDir
from trainer.ui.stamps import Stamp, stamp_of

BUDGET_S = 0.2
KEEP_RUNS = 3
MOST_GROUPS = 1_000_000  # of a run
CHECKED = 4000  # files whose stamp is looked at in one call, the newest
_NAN = float("nan")


@dataclass(frozen=True)
class Appearance:
    """One group of a prompt. place: its line in the file of the step. best: its best completion's number."""

    step: int
    place: int
    offset: int
    mean: float | None
    std: float | None
    outcome: str
    best: int


@dataclass
class _File:
    """One rollout file as far as it is read. Columns, one value a group."""

    stamp: Stamp
    read: int = 0
    done: bool = False
    lines: int = 0
    keys: array[int] = field(default_factory=lambda: array("Q"))
    places: array[int] = field(default_factory=lambda: array("l"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    means: array[float] = field(default_factory=lambda: array("d"))
    stds: array[float] = field(default_factory=lambda: array("d"))
    kinds: array[int] = field(default_factory=lambda: array("b"))
    bests: array[int] = field(default_factory=lambda: array("h"))

    def take(self, line: bytes, end: int) -> None:
        """end: where the next line begins."""
        raw = raw_group(line)
        if raw is not None:
            mean, std = number(raw.get("reward_mean")), number(raw.get("group_std"))
            self.keys.append(int(key_of(raw.get("prompt")), 16))
            self.places.append(self.lines)
            self.offsets.append(self.read)
            self.means.append(_NAN if mean is None else mean)
            self.stds.append(_NAN if std is None else std)
            self.kinds.append(OUTCOMES.index(raw["outcome"]))
            self.bests.append(min(32767, best_of([number(one.get("reward")) for one in raw["completions"]])))
        self.lines += 1
        self.read = end

    def appearances(self, step: int, key: int) -> Iterable[Appearance]:
        for n, found in enumerate(self.keys) if key in self.keys else ():
            if found == key:
                mean, std = self.means[n], self.stds[n]
                yield Appearance(
                    step,
                    self.places[n],
                    self.offsets[n],
                    None if mean != mean else mean,
                    None if std != std else std,
                    OUTCOMES[self.kinds[n]],
                    self.bests[n],
                )


class PromptIndex:
    """The index of one run."""

    def __init__(self, rundir: RunDir) -> None:
        self._rundir = rundir
        self._files: dict[int, _File] = {}

    def advance(self, steps: Sequence[int], budget_s: float = BUDGET_S) -> float:
        """Read on, at least one line; the share of the files of `steps` that is read."""
        deadline = time.monotonic() + budget_s
        wanted = set(steps)
        for gone in [step for step in self._files if step not in wanted]:
            del self._files[gone]
        for step in steps[-CHECKED:]:
            file = self._files.get(step)
            if file is not None and file.stamp != stamp_of(self._rundir.rollouts_file(step)):
                del self._files[step]  # written again by a resumed attempt
        groups = sum(len(file.keys) for file in self._files.values())
        for step in reversed(steps):  # the newest first: that is what one looks at
            file = self._files.get(step)
            if (file is not None and file.done) or groups > MOST_GROUPS:
                continue
            groups += self._read(step, deadline)
            if time.monotonic() > deadline:
                break
        done = sum(file.done for file in self._files.values())
        return 1.0 if groups > MOST_GROUPS else done / max(1, len(steps))

    def _read(self, step: int, deadline: float) -> int:
        """Groups that were found."""
        path = self._rundir.rollouts_file(step)
        file = self._files.get(step)
        if file is None:
            file = self._files[step] = _File(stamp_of(path) or (0, 0, 0))
        before = len(file.keys)
        try:
            with open_file(path) as lines:
                lines.seek(file.read)
                for line in lines_of(lines):
                    file.take(line, lines.tell())
                    if time.monotonic() > deadline:
                        return len(file.keys) - before
        except OSError:
            pass  # it is gone: nothing more to be found
        file.done = True
        return len(file.keys) - before

    def appearances(self, key: str) -> list[Appearance]:
        """Where the prompt was asked, as far as the files are read, in order."""
        found = int(key, 16)
        return [one for step in sorted(self._files) for one in self._files[step].appearances(step, found)]

    def group(self, one: Appearance) -> Group | None:
        """That group with its texts; None when the file has changed."""
        try:
            with open_file(self._rundir.rollouts_file(one.step)) as file:
                file.seek(one.offset)
                return group_of(next(lines_of(file), b""), one.place)
        except OSError:
            return None


class Indexes:
    """The newest few runs' indexes. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int], PromptIndex] = OrderedDict()

    @contextlib.contextmanager
    def of(self, rundir: RunDir) -> Iterator[PromptIndex]:
        key = rundir.path, (stamp_of(rundir.spec) or (0, 0, 0))[0]
        with self._lock:
            index = self._kept.pop(key, None) or PromptIndex(rundir)
            self._kept[key] = index
            while len(self._kept) > KEEP_RUNS:
                self._kept.popitem(last=False)
            yield index
