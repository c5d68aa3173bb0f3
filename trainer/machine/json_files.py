"""Small JSON files that are replaced whole or not at all, also over a power cut. Knows nothing about runs."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trainer.machine.regular_files import read_file


def write_json(path: Path, value: Any) -> None:
    """Replace the file by the value as JSON, whole or not at all, also over a power cut."""
    text = json.dumps(_plain(value), ensure_ascii=False, indent=2, default=_plain) + "\n"
    write_whole(path, text.encode("utf-8", "replace"))


def write_whole(path: Path, data: bytes) -> None:
    """Replace what lies there by a file with that in it, whole or not at all, also over a power cut. Raises OSError."""
    if path.is_dir():  # said of it, not of the draft
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when it is not there, no file, not to be read, or was damaged from outside."""
    try:
        value = json.loads(read_file(path))
    except (ValueError, RecursionError):
        return None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # ours, and of a moment: it says nothing about the file
            raise
        return None
    return value if isinstance(value, dict) else None


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut, where the system can."""
    with contextlib.suppress(PermissionError):  # Windows does not open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict | list | str):
        return value
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")
