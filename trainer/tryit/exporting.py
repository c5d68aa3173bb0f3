"""Exports that a page starts, each a process of its own (`python -m trainer export`), and what is known of them.

Its output goes to logs/export_NAME.log, its identity to control/exports/NAME.json. Whether it is done is read from
there: the command's last line ends, in every language, with where the export is. Torch-free.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from trainer.errors import ExportRefused, Problem
from trainer.export import gguf
from trainer.export.kinds import KINDS
from trainer.export.staging import PREFIX
from trainer.machine import notes, spawn
from trainer.machine.process import Lock
from trainer.machine.project import OUTPUTS_VARIABLE
from trainer.machine.regular_files import open_file
from trainer.run import checkpoints
from trainer.run.rundir import RunDir
from trainer.text import DEFAULT, LANGUAGE_VARIABLE

KEEP = 12  # exports that are remembered
TOOLS_S = 30.0
TAIL = 12  # lines of the log that are shown of one that failed
NAME = re.compile(r"\d{20}-(?:adapter|merged|gguf|hub)-\d{1,12}")
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FILE = FOLDER
REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_TAIL_BYTES = 16_384
_WAIT_S = 10.0


@dataclass(frozen=True)
class Export:
    """One that was started here. where: folder or address of one that is done. lines: the newest of its output."""

    name: str
    kind: str
    step: int
    state: Literal["running", "done", "failed"]
    t: float
    where: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class File:
    """bytes: its size."""

    folder: str
    name: str
    bytes: int


def start(
    rundir: RunDir, kind: str, step: int, repo: str | None = None, private: bool = True, language: str = DEFAULT
) -> subprocess.Popen[bytes]:
    """Start exporting the checkpoint of that step; the child. Raises ExportRefused before anything is started.

    repo, private: for kind hub; the token is the environment's. language: of its output, which the page shows. Room on
    the disk is looked at by the export itself.
    """
    _refuse(rundir, kind, step, repo)
    rundir.export_processes.mkdir(parents=True, exist_ok=True)
    with Lock(rundir.export_processes / "start.lock") as starting:
        if not starting.take(f"pid {os.getpid()}", _WAIT_S):
            raise ExportRefused(Problem("tryit.export_starting", run=rundir.name))
        if any(one.state == "running" and (one.kind, one.step) == (kind, step) for one in listed(rundir)):
            raise ExportRefused(Problem("tryit.exporting", f"{kind}-{step}"))
        name = f"{time.time_ns():020d}-{kind}-{step}"
        arguments = ["trainer", "export", rundir.name, "--to", kind, "--checkpoint", str(step)]
        if kind == "hub":
            arguments += ["--repo", str(repo), "--private" if private else "--public"]
        child = spawn.detached(
            arguments,
            rundir.export_log(name),
            {**os.environ, OUTPUTS_VARIABLE: str(rundir.path.parent), LANGUAGE_VARIABLE: language},
            append=False,
            note=rundir.export_processes / f"{name}.json",
        )
        _forget_old(rundir)
    return child


def _refuse(rundir: RunDir, kind: str, step: int, repo: str | None) -> None:
    if kind not in KINDS:
        raise ExportRefused(Problem("tryit.export_kind", seen=str(kind)[:40], kinds=KINDS))
    steps = [checkpoint.step for checkpoint in checkpoints.listed(rundir.checkpoints)]
    if step not in steps:
        raise ExportRefused(Problem("tryit.other_checkpoint", "checkpoint", seen=step, known=steps))
    if kind == "hub":
        from trainer.export import hub_upload

        if repo is None or not REPO.fullmatch(repo):
            raise ExportRefused(Problem("tryit.repository", seen=str(repo or "")[:80]))
        hub_upload.prepare(repo)
    elif (rundir.exports / f"{kind}-{step}").exists():
        raise ExportRefused(Problem("tryit.exported", f"{kind}-{step}"))
    if kind == "gguf" and (missing := missing_tools()):
        raise ExportRefused(missing)


def missing_tools() -> list[Problem]:
    """What of llama.cpp a GGUF export lacks here, as it was half a minute ago at most."""
    return list(_missing(int(time.monotonic() // TOOLS_S)))


@functools.lru_cache(maxsize=1)
def _missing(period: int) -> tuple[Problem, ...]:
    """Starts the converter where it is there, which takes a second; once a period."""
    try:
        gguf.find_tools(("q8_0",))
    except ExportRefused as refused:
        return tuple(refused.problems)
    return ()


def listed(rundir: RunDir) -> list[Export]:
    """Those that were started here, the newest first."""
    try:
        names = [path.stem for path in rundir.export_processes.iterdir() if path.suffix == ".json"]
    except OSError:  # not there, or no folder
        return []
    known = sorted((name for name in names if NAME.fullmatch(name)), reverse=True)
    return [_one(rundir, name) for name in known[:KEEP]]


def _one(rundir: RunDir, name: str) -> Export:
    identity = notes.process(rundir.export_processes / f"{name}.json")
    alive = identity is not None and identity.alive()  # before its log is read: it may end in between
    _, kind, step = name.split("-")
    lines = _tail(rundir.export_log(name))
    where = next((place for line in reversed(lines) if (place := _place(line, kind, step))), "")
    state: Literal["running", "done", "failed"] = "running" if alive else "done" if where else "failed"
    return Export(name, kind, int(step), state, int(name[:20]) / 1e9, where, lines[-TAIL:])


def _place(line: str, kind: str, step: str) -> str:
    """The address or the folder of an export that the line ends with, whatever words stand before it; "" if none."""
    last = line.rpartition(": ")[2]
    if kind == "hub":
        return last if re.fullmatch(r"https?://\S+", last) else ""
    return last if Path(last).is_absolute() and Path(last).name == f"{kind}-{step}" else ""


def _tail(path: Path) -> list[str]:
    try:
        with open_file(path) as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return []
    return [line for line in data.decode("utf-8", "replace").split("\n") if line.strip()]


def _forget_old(rundir: RunDir) -> None:
    for path in sorted(rundir.export_processes.glob("*.json"))[:-KEEP]:
        if NAME.fullmatch(path.stem) and _one(rundir, path.stem).state != "running":
            rundir.export_log(path.stem).unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def finished(rundir: RunDir) -> list[File]:
    """Files of complete exports, however they were made; those that can be downloaded."""
    found = []
    for folder in _folders(rundir):
        for entry in _entries(folder):
            if FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                found.append(File(folder.name, entry.name, entry.stat(follow_symlinks=False).st_size))
    return found


def _folders(rundir: RunDir) -> list[Path]:
    real = rundir.exports.is_dir() and not rundir.exports.is_symlink()
    return [
        Path(entry.path)
        for entry in _entries(rundir.exports)
        if real and FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
    ]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in it, by name; [] where it is no folder, or one may not look."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def opened(rundir: RunDir, folder: str, name: str) -> tuple[BinaryIO, int] | None:
    """(open file, bytes) of a file of an export, for who serves it; None when there is no such file.

    Names are checked and no link is followed, neither on the way nor at the end; only regular files are opened.
    """
    if not FOLDER.fullmatch(folder) or not FILE.fullmatch(name) or folder.startswith(PREFIX):
        return None
    for part in (rundir.exports, rundir.exports / folder):
        try:
            if not stat.S_ISDIR(part.lstat().st_mode):
                return None
        except OSError:
            return None
    path = rundir.exports / folder / name
    try:
        # O_NONBLOCK: a pipe of that name would wait for somebody to write.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or path.is_symlink():
        os.close(handle)
        return None
    return os.fdopen(handle, "rb"), found.st_size
