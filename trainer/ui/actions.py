"""What every tab's buttons share: the run that is meant, and the processes this server started. No gradio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.launch import WorkerHandle
from trainer.machine.regular_files import why
from trainer.report import write as reports
from trainer.run.rundir import RunDir, list_runs, outputs_dir
from trainer.tryit import parent, reading


class Child(Protocol):
    """A process this server started."""

    def poll(self) -> int | None: ...


UNLOAD_S = 10.0

_children: list[Child] = []


def started(child: Child) -> None:
    """Ask this process now and then whether it has ended, so that it does not stay a zombie."""
    _children.append(child)


def reap() -> None:
    """Let go of processes that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


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


def resume(run: str | None) -> WorkerHandle:
    """Start another attempt. Raises RunError when it is running or finished."""
    rundir = opened(run)
    free_gpu()
    handle = launch.resume(rundir)
    started(handle)
    return handle


def report(run: str | None, language: str) -> str:
    """The report of a run as it is now, one HTML file. Raises RunError when there is no such run."""
    return reports.text_of([opened(run)], language, "html")


def free_gpu() -> None:
    """Let go of models that are only there to be tried (Try it): a run that is about to start needs their GPU.

    Waits until they have ended, UNLOAD_S at most; a worker that still finds the GPU in use says so by itself.
    """
    held = [rundir for rundir in list_runs(outputs_dir()) if _holds_gpu(rundir)]
    for rundir in held:
        parent.end(rundir)
    deadline = time.monotonic() + UNLOAD_S
    while any(map(_holds_gpu, held)) and time.monotonic() < deadline:
        time.sleep(0.1)


def _holds_gpu(rundir: RunDir) -> bool:
    process = reading.process(rundir)
    return process.at_work and process.device != "cpu"
