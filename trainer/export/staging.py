"""A folder that appears complete or not at all, and only where there is room for it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import ExportRefused, Problem
from trainer.rundir import sync_folder

PREFIX = ".exporting-"
SPARE_BYTES = 64 * 2**20
_STALE_S = 24 * 3600  # left by a process that was killed; no export takes that long


def refuse_taken(target: Path) -> None:
    """Raises ExportRefused when there is something at `target`."""
    if target.exists() or target.is_symlink():
        raise ExportRefused(Problem(str(target), "exists already", "--out ANOTHER_FOLDER, or delete it"))


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target` that takes its name when the body ends, and is gone when the body fails.

    Raises ExportRefused when the target is taken, before or after the body.
    """
    refuse_taken(target)
    made = _make_parents(target.parent)
    _sweep(target.parent)
    draft = target.parent / f"{PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        draft.mkdir()
        yield draft
        _sync(draft)
        refuse_taken(target)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # somebody else put something there in the meantime
                folder.rmdir()
        raise
    sync_folder(target.parent)


def need_room(folder: Path, need_bytes: int) -> None:
    """Raises ExportRefused when the disk of `folder` can not take that much and some spare."""
    free = shutil.disk_usage(folder).free
    if free < need_bytes + SPARE_BYTES:
        what = f"{free / 2**30:.2f} GiB free, the export needs {(need_bytes + SPARE_BYTES) / 2**30:.2f}"
        raise ExportRefused(Problem(f"disk of {folder}", what, "free some, or --out FOLDER on another disk"))


def _make_parents(folder: Path) -> list[Path]:
    """Make the folder; those that were missing, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    return missing


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
