"""The report a run leaves by itself: written by a process of its own (trainer.report.__main__) once the worker has said
its last word, so that the GPU is free at once, however long the run was.

For the worker, which starts it, and the console, which waits for it. Standard library and rundir only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from trainer.json_files import read_json, write_json
from trainer.process import Identity
from trainer.rundir import PROJECT, RunDir


def start(rundir: RunDir, attempt: int, environment: Mapping[str, str] = os.environ) -> None:
    """Start writing it. Where that fails it is said on stderr: how the run ended is in its event log already."""
    try:
        with rundir.log_file(attempt).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "trainer.report", str(rundir.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env={**environment, "PYTHONUTF8": "1"},
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
            )
        identity = Identity.of(process.pid)
        if identity is not None:
            write_json(rundir.report_writer, identity.stored())
    except OSError as error:
        print(f"the report could not be written: {error}", file=sys.stderr, flush=True)


def at_work(rundir: RunDir) -> bool:
    """Is the report of this run being written?"""
    writer = Identity.read(read_json(rundir.report_writer))
    return writer is not None and writer.alive()
