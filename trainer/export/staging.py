"""A folder that appears complete or not at all, and only where there is room for it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import ExportError, ExportRefused, Problem
from trainer.machine.json_files import sync_folder

PREFIX = ".exporting-"
SPARE_BYTES = 64 * 2**20
_STALE_S = 24 * 3600  # left by a process that was killed; no export takes that long


def refuse_taken(target: Path) -> None:
    """Raises ExportRefused when there is something at `target`."""
    if target.exists() or target.is_symlink():
        raise ExportRefused(Problem("export.exists", str(target)))


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target` that takes its name when the body ends, and is gone when the body fails.

    Raises ExportRefused when the target is taken, before or after the body, or cannot be made; ExportError when the
    disk fails while the body writes.
    """
    made: list[Path] = []
    draft = target.parent / f"{PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        try:
            refuse_taken(target)
            _make_parents(target.parent, made)
            _sweep(target.parent)
            draft.mkdir()
        except OSError as error:
            raise ExportRefused(Problem("export.not_made", str(target), reason=error.strerror)) from error
        try:
            yield draft
            _sync(draft)
            refuse_taken(target)
            draft.rename(target)
        except OSError as error:
            if not _of_the_disk(error, draft):
                raise
            raise ExportError(Problem("export.not_written", str(target), reason=error.strerror)) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # somebody else put something there in the meantime
                folder.rmdir()
        raise
    sync_folder(target.parent)


def need_room(target: Path, need_bytes: int) -> None:
    """Raises ExportRefused when the disk that `target` will be on cannot take that much and some spare."""
    free = shutil.disk_usage(target.parent).free
    if free < need_bytes + SPARE_BYTES:
        need = need_bytes + SPARE_BYTES
        raise ExportRefused(Problem("export.no_room", str(target), free=free / 2**30, need=need / 2**30))


def _of_the_disk(error: OSError, draft: Path) -> bool:
    """Whether it comes from writing the export and not from reading what it is made of."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or str(error.filename).startswith(str(draft))


def _make_parents(folder: Path, made: list[Path]) -> None:
    """Make the folder and those above it; `made` gets each one that was missing, outermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)


def _sync(folder: Path) -> None:
    """Every byte on the disk before the name is."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            with path.open("rb+") as file:  # Windows syncs only what is open for writing
                os.fsync(file.fileno())
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def _sweep(parent: Path) -> None:
    for leftover in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > _STALE_S:
                shutil.rmtree(leftover, ignore_errors=True)
