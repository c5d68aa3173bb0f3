"""What every tab's buttons share: the run that is meant, and the processes this server started. No gradio."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.launch import WorkerHandle
from trainer.machine.regular_files import why
from trainer.report import write as reports
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import RunFollower
from trainer.text import Message
from trainer.tryit import parent


class Child(Protocol):
    """A process this server started."""

    def poll(self) -> int | None: ...


MOST_STEPS = 1_000_000  # that a run can be extended by at once
HOW = ("queue", "beside")


@dataclass(frozen=True)
class Extension:
    """What extending a run would do. steps: asked for; before, after: planned; notes: what to know first."""

    steps: int
    before: int
    after: int
    notes: list[Message]


class Beside(Exception):
    """Other runs train on the same device: whoever starts one says whether it waits for them. names: theirs."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


_children: list[Child] = []


def started(child: Child) -> None:
    """Ask this process now and then whether it has ended, so that it does not stay a zombie."""
    _children.append(child)


def reap() -> None:
    """Let go of processes that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def tend() -> None:
    """See to it that runs that wait are started, whoever has begun it."""
    with suppress(OSError, RunError):
        launch.queue.tend(outputs_dir())


@contextmanager
def on_disk() -> Iterator[None]:
    """Around what a button does: what the disk refuses is said as any other problem. Raises RunError for an OSError."""
    try:
        yield
    except OSError as error:
        raise RunError(Problem("page.disk", str(error.filename or outputs_dir()), said=why(error))) from error


def opened(run: str | None) -> RunDir:
    """The run of that name, as a browser sent it. Raises RunError when there is none."""
    if not run:
        raise RunError(Problem("page.no_run"))
    return RunDir.open(outputs_dir(), run)


def resume(run: str | None, how: str | None = None) -> WorkerHandle | None:
    """Start another attempt, or let it wait for its turn (None). Raises RunError when it is running or finished. Of a
    run that has finished and whose next stage nobody has begun it starts that one.

    how: `beside` others or in the `queue` behind them; without it Beside is raised where there are others.
    """
    rundir = opened(run)
    others = _others(rundir)
    if others and how not in HOW:
        raise Beside(others)
    if next_stage(rundir) is not None:
        return _start_next_stage(rundir, how, beside=bool(others))
    if how == "queue":
        launch.queue.add(rundir)
        return None
    free_gpu()
    handle = launch.resume(rundir, beside=bool(others))
    started(handle)
    return handle


def next_stage(rundir: RunDir) -> RunDir | None:
    """The run that a resume starts in place of this one, which has finished."""
    follower = RunFollower(rundir)
    held = launch.chain.held(rundir, launch.status_of(rundir, follower), follower.state)
    return held.stage.rundir if held is not None else None


def _start_next_stage(rundir: RunDir, how: str | None, beside: bool) -> WorkerHandle | None:
    begun: list[WorkerHandle] = []

    def begin(after: RunDir) -> None:
        if how == "queue":
            launch.queue.add(after)
        else:
            begun.append(launch.start(after, beside=beside))

    free_gpu()
    launch.chain.go_on(rundir, begin)
    for handle in begun:
        started(handle)
    return begun[0] if begun else None


def _others(rundir: RunDir) -> list[str]:
    """Runs that train on the device of this one. Raises TrainerError when its settings cannot be read."""
    return launch.queue.beside(rundir.read_spec(), rundir.path.parent, rundir.name)


def train_change(run: str, changes: Sequence[str]) -> str:
    """For Frame.change: the form of Train with the settings of that run, and these `section.key=value` instead.

    Says something else every time: the same wish twice is told twice.
    """
    return json.dumps({"base": {"run": run}, "changes": list(changes), "nonce": time.time_ns()})


def report(run: str | None, language: str) -> str:
    """The report of a run as it is now, one HTML file. Raises RunError when there is no such run."""
    return reports.text_of([opened(run)], language, "html")


def extension(run: str, steps: Any) -> Extension:
    """What `extend` would do, changing nothing. steps None: as many again as are planned. Raises TrainerError."""
    rundir = opened(run)
    spec = rundir.read_spec()
    before, after = launch.extended_total(rundir, 1 if steps is None else checked_steps(steps))
    if steps is None:
        steps = min(before, MOST_STEPS)
        before, after = launch.extended_total(rundir, steps)
    notes = launch.extension_notes(spec, before, after)
    return Extension(checked_steps(steps), before, after, notes)


def extend(run: str, steps: Any, how: str | None = None) -> WorkerHandle | None:
    """Plan so many steps more and go on, as resume does. Raises TrainerError; when it cannot go on, the longer plan
    stays. Nothing is changed when Beside is raised."""
    rundir, more = opened(run), checked_steps(steps)
    others = _others(rundir)
    if others and how not in HOW:
        raise Beside(others)
    launch.extend(rundir, more)
    return resume(run, how or "beside")


def checked_steps(told: Any) -> int:
    """Raises RunError for anything but a whole number of steps."""
    text = str(told).strip()[:20]
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_STEPS):
        raise RunError(Problem("page.more_steps", seen=text, most=MOST_STEPS))
    return int(text)


def free_gpu() -> None:
    """Let go of models that are only there to be tried (Try it): a run that is about to start needs their GPU."""
    parent.free_gpu(outputs_dir())
