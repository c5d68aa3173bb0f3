"""What the page knows of the runs: read from their event logs, a little further at each tick.

Nothing here is the truth about a run. The followers only save reading a log again from its start;
a page without them, or another server on the same outputs/, shows the same. Imports no gradio.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.machine.json_files import read_json
from trainer.run.queue_place import in_order
from trainer.run.rundir import NAME, RunDir, list_runs, outputs_dir
from trainer.run.start_adapter import called
from trainer.run.state import RunFollower, RunState
from trainer.run.status import LIVE, Status
from trainer.run.summary import summary
from trainer.show.downsampling import Points, smooth
from trainer.spec import Method, RunSpec
from trainer.ui.stamps import Stamp, stamp_of

KEEP = 8  # followers: runs that are looked at; each holds the columns of its run
MOST_ROWS = 200  # runs in the table, the newest
CURVE = 40  # points of the small line of a row
BUDGET_S = 0.5  # for reading runs the table has not seen yet; the rest comes at the next tick

Key = tuple[str, int, int]
Mark = tuple[Stamp | None, ...]


@dataclass(frozen=True)
class Seen:
    """One run at one moment. The state belongs to the follower: use it inside `KnownRuns.look` only."""

    rundir: RunDir
    spec: RunSpec | None
    """None when spec.json cannot be read."""
    state: RunState
    status: Status
    total: int | None
    """Optimizer steps planned."""

    @property
    def method(self) -> Method:
        """How it learns; of a run whose settings cannot be read GRPO is assumed."""
        return self.spec.run.method if self.spec is not None else "grpo"


@dataclass(frozen=True)
class RunRow:
    """A line of the table. status None: not read yet, or broken. title, model None: spec.json cannot be read."""

    name: str
    status: Status | None = None
    title: str | None = None
    model: str | None = None
    steps: int = 0
    total: int | None = None
    reward: tuple[float | None, float | None] = (None, None)
    """Of the first and the last ten steps."""
    curve: Points = field(default_factory=list)
    """(step, reward), smoothed, CURVE points at most."""
    correct: tuple[float | None, float | None] = (None, None)
    """Share of held-out rows answered right, before and after training."""
    held_out: tuple[float | None, float | None] = (None, None)
    """Mean reward of the held-out rows, before and after training."""
    seconds: float | None = None
    """That its attempts took, without the time between them."""
    started: float | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    """The title in other languages."""
    held: bool = False
    """It has finished, and its next stage could not be started."""
    broken: Problem | None = None
    """Why nothing is known of it: the run cannot be read."""
    openable: bool = True
    """Its folder has a name that a run can have."""


@dataclass(frozen=True)
class RunTable:
    rows: list[RunRow]
    hidden: int
    """Older runs that are not in `rows`."""
    queue: tuple[str, ...] = ()
    """Those that wait for others to end, the next one first."""


class KnownRuns:
    """Follows the runs under outputs/. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._followers: OrderedDict[Key, RunFollower] = OrderedDict()
        self._rows: dict[Key, tuple[Mark, RunRow]] = {}

    @contextlib.contextmanager
    def look(self, name: str) -> Iterator[Seen]:
        """The run of that name as it is now. Raises RunError when there is none, or it cannot be read."""
        rundir = RunDir.open(outputs_dir(), name)
        with self._lock:
            try:
                seen = self._see(rundir)
            except OSError as error:
                raise RunError(rundir.unreadable(error)) from error
            yield seen

    def copy(self, rundir: RunDir) -> RunFollower:
        """A follower for another thread, as far as the page's own has read: of a long run a copy takes a thirtieth of
        the time that reading its log takes."""
        with self._lock:
            follower = self._followers.get(_key(rundir))
            return RunFollower(rundir) if follower is None else copy.deepcopy(follower)

    def table(self, budget_s: float = BUDGET_S) -> RunTable:
        """All runs, newest first. Runs that ended and were read before cost a few stat calls."""
        deadline = time.monotonic() + budget_s
        found = list_runs(outputs_dir())
        with self._lock:
            rows, known = [], {}
            for rundir in found[:MOST_ROWS]:
                key, mark = _key(rundir), _mark(rundir)
                stored = self._rows.get(key)
                old = stored is not None and stored[0] == mark and stored[1].status not in LIVE
                if stored is not None and old:
                    row = stored[1]
                elif stored is None and time.monotonic() > deadline:
                    row = RunRow(rundir.name)
                else:
                    row = self._read(rundir)
                if row.status is not None:
                    known[key] = (mark, row)
                rows.append(row)
            self._rows = known
        return RunTable(rows, len(found) - len(rows), tuple(run.name for run in in_order(found)))

    def _read(self, rundir: RunDir) -> RunRow:
        try:
            rundir.check()
            return _row(self._see(rundir))
        except Exception as error:  # whatever lies in its folder: it costs this row and no other
            return RunRow(
                rundir.shown_name, broken=rundir.unreadable(error), openable=NAME.fullmatch(rundir.name) is not None
            )

    def _see(self, rundir: RunDir) -> Seen:
        key = _key(rundir)
        follower = self._followers.pop(key, None) or RunFollower(rundir)
        self._followers[key] = follower
        while len(self._followers) > KEEP:
            self._followers.popitem(last=False)
        status = launch.status_of(rundir, follower)
        return Seen(rundir, _spec(rundir), follower.state, status, _total(rundir, follower.state, status))


def _total(rundir: RunDir, state: RunState, status: Status) -> int | None:
    """Steps planned: as the newest step says; of a run that was extended since, as plan.json says."""
    if state.steps_total is not None and (status in LIVE or not launch.more_is_asked(rundir, state)):
        return state.steps_total
    plan = read_json(rundir.plan) or state.plan or {}
    steps = plan.get("optimizer_steps")
    return steps if isinstance(steps, int) else state.steps_total


def _key(rundir: RunDir) -> Key:
    """Tells a run from a later one of the same name."""
    try:
        found = rundir.spec.stat()
    except OSError:
        return rundir.name, 0, 0
    return rundir.name, found.st_ino, found.st_mtime_ns


def _mark(rundir: RunDir) -> Mark:
    """Changes whenever the row of a run that has ended could change."""
    files = (rundir.events, rundir.identity, rundir.stop_request, rundir.plan, rundir.queued, rundir.next_stage)
    return tuple(map(stamp_of, files))


def _spec(rundir: RunDir) -> RunSpec | None:
    try:
        return rundir.read_spec()
    except (OSError, ValueError):  # written by another version, or damaged: the rest is still shown
        return None


def _row(seen: Seen) -> RunRow:
    state, spec = seen.state, seen.spec
    found = summary(state, seen.rundir, seen.status)
    width = max(1, len(state.steps) // CURVE)
    return RunRow(
        name=seen.rundir.name,
        status=seen.status,
        title=None if spec is None else spec.title or called(spec.model.name),
        titles={} if spec is None else spec.titles,
        model=None if spec is None else called(spec.model.name),
        steps=state.last_step,
        total=seen.total,
        reward=(found["reward_first"], found["reward_last"]),
        curve=smooth(state.steps, state.metrics.get("train/reward", []), width, points=CURVE),
        correct=(found["correct_before"], found["correct_after"]),
        held_out=(found["eval_before"], found["eval_after"]),
        seconds=found["wall_seconds"] if found["wall_seconds"] >= 1 else None,  # else it has just begun
        started=min((first for first, _ in state.attempt_t.values()), default=None),
        held=_is_held(seen),
    )


def _is_held(seen: Seen) -> bool:
    """Its next stage could not be started, and has not been since."""
    if seen.status != "finished" or not launch.chain.refused(seen.rundir):
        return False
    return launch.chain.held(seen.rundir, seen.status, seen.state) is not None
