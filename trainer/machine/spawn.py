"""The one way to start a detached process: a worker, its mirror, a report, an export, the process that answers.

Each is a fresh interpreter in a session of its own, without standard input, that writes to a file and never to a pipe:
closing the page or killing its server does not touch it. Torch-free; knows nothing about runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trainer.machine import gpu, leftovers, notes
from trainer.machine.process import Identity
from trainer.machine.project import PROJECT, in_full_everywhere
from trainer.machine.regular_files import open_to_write

ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",  # its threads and the forked reward processes deadlock
    "PYTHONUTF8": "1",  # TRL writes its model card in the locale's encoding, and it holds more than ASCII
    "PYTHONIOENCODING": "utf-8",  # a terminal's would win over it: the log and what functions print into it are UTF-8
    "PYTHONUNBUFFERED": "1",  # the log shows what happened last, also after a kill
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # the log is read by people
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def detached(
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str] = os.environ,
    *,
    append: bool = True,
    signals_wait: bool = False,
    note: Path | None = None,
    noted: Mapping[str, Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `python -m ARGUMENTS`. Raises OSError.

    log: gets all it prints, behind what is there (append) or in its place. signals_wait: SIGTERM and SIGINT wait until
    the process calls `let_signals_through`. environment: what a shell left there for other trainers stays out
    (leftovers.py). note: a JSON file that gets the Identity of the process, the time and what
    is in `noted`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open_to_write(log, append=append) as out, _signals_wait() if signals_wait else nullcontext():
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
            env={**in_full_everywhere(leftovers.without(environment)), **ENVIRONMENT},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
    identity = Identity.of(process.pid)
    if note is not None and identity is not None:
        notes.write(note, identity, **(noted or {}), t=round(time.time(), 3))
    return process


@contextmanager
def _signals_wait() -> Iterator[None]:
    """A child inherits the mask: a signal that comes while it is still importing would end it silently."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_through() -> None:
    """For a process started with signals_wait that has put its handlers in place: what came until now arrives now."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def one_gpu() -> dict[str, str]:
    """Environment of a process that sees one GPU, as a worker must: transformers would split every batch over two, and
    the plan would be wrong."""
    card, named = gpu.chosen(), os.environ.get(gpu.VISIBLE)
    visible = named.split(",")[0].strip() if named is not None else card.uuid if card else None
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # NVML's, so that a number means the same GPU to both
    return order if visible is None else {**order, gpu.VISIBLE: visible}
