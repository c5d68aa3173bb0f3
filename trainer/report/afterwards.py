"""The report a run leaves by itself: written by a process of its own (trainer.report.__main__) once the worker has
written its final event, so that the GPU is free at once, however long the run was.

For the worker, which starts it, and the console, which waits for it. Imports nothing of what writes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from trainer.machine import notes, spawn
from trainer.run.rundir import RunDir


def start(rundir: RunDir, attempt: int, environment: Mapping[str, str] = os.environ) -> None:
    """Start writing it. Where that fails it is said on stderr: how the run ended is in its event log already."""
    try:
        spawn.detached(
            ["trainer.report", str(rundir.path)], rundir.log_file(attempt), environment, note=rundir.report_writer
        )
    except OSError as error:
        print(f"the report could not be written: {error}", file=sys.stderr, flush=True)


def at_work(rundir: RunDir) -> bool:
    """Is the report of this run being written?"""
    writer = notes.process(rundir.report_writer)
    return writer is not None and writer.alive()
