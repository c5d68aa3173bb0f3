"""Has a file changed since it was read? Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[int, int, int]
"""Inode, size and time of the last change in nanoseconds."""


def stamp_of(path: str | Path) -> Stamp | None:
    """None when there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # the latter of a name no file can have
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
