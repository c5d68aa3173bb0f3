"""Files in places where anybody may have put something else: what is no file is refused, and never waited for.

Opening a named pipe waits for the other end and reading a device may never end; both are looked at first, and the file
that was opened again. Knows nothing about runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from io import BufferedReader, BufferedWriter
from pathlib import Path

from trainer.text import Message

MOST_BYTES = 64 * 2**20
"""Of a file that is read whole."""

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS: tuple[tuple[str, Callable[[int], bool]], ...] = (
    ("directory", stat.S_ISDIR),
    ("pipe", stat.S_ISFIFO),
    ("socket", stat.S_ISSOCK),
    ("device", lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode)),
)


class NotAFile(OSError):
    """message: what it is instead."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(errno.EINVAL, kind, str(path))
        self.message = Message(f"file.{kind}")


def open_file(path: Path) -> BufferedReader:
    """The file, opened for reading. Raises OSError, NotAFile for whatever is none; never waits."""
    _refuse(path, os.stat(path).st_mode)
    return os.fdopen(handle_of(path, os.O_RDONLY), "rb")


def open_to_write(path: Path, *, append: bool) -> BufferedWriter:
    """The file, made where it is missing, to be written from its end or from its start. Raises as open_file."""
    with contextlib.suppress(FileNotFoundError):
        _refuse(path, os.stat(path).st_mode)
    way = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    return os.fdopen(handle_of(path, way), "ab" if append else "wb")


def handle_of(path: Path, way: int) -> int:
    """os.open that neither waits nor gives a handle of what is no file. Raises as open_file."""
    handle = os.open(path, way | _AT_ONCE, 0o666)
    try:
        _refuse(path, os.fstat(handle).st_mode)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """All of it. Raises OSError, also for more than `most` bytes."""
    with open_file(path) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return found


def is_text(line: bytes) -> bool:
    """Is all of it UTF-8?"""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def why(error: BaseException) -> Message:
    """Why a file could not be read, to be put into a problem."""
    if isinstance(error, NotAFile):
        return error.message
    said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return Message("plain.text", text=str(said))


def _refuse(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFile(path, next((kind for kind, is_it in _KINDS if is_it(mode)), "other"))
