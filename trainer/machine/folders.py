"""Folders that hold what is one person's: prompts, answers, weights, logs. Knows nothing about runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

OTHERS = 0o077


def make_private(folder: Path, *, named: bool) -> None:
    """Make the folder, for this user alone. Raises OSError, FileExistsError where a file is in its place.

    named: a person chose it. One that is there already may be shared on purpose and keeps its mode, as does a link or a
    mount; any other was made by this program, and is narrowed. On Windows folders are made as everywhere there.
    """
    if os.name == "nt":  # a mode of 0700 would replace the list of who may enter
        folder.mkdir(parents=True, exist_ok=True)
        return
    try:
        folder.mkdir(0o700, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise
        if not (named or folder.is_symlink() or folder.is_mount()) and folder.stat().st_uid == os.getuid():
            with contextlib.suppress(OSError):  # a disk that knows no modes
                folder.chmod(folder.stat().st_mode & 0o7700)


def is_open(path: Path) -> bool:
    """Whether a folder or file is there that lets other users of this machine in; never on Windows, where the mode does
    not tell."""
    return os.name != "nt" and path.exists() and bool(path.stat().st_mode & OTHERS)
