"""Which process works in a folder, noted in a file of that folder; a copy of the folder has no process.

A note names the process (its Identity) and the folder it was made for: by path, and by file number for a folder that
is renamed while the process works. Knows nothing about runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.machine.json_files import read_json, write_json
from trainer.machine.process import Identity


def place(folder: Path) -> dict[str, Any]:
    """What tells this folder from a copy of it, as it is stored."""
    found = folder.stat()
    return {"folder": str(folder.resolve()), "folder_id": f"{found.st_dev}-{found.st_ino}"}


def made_for(folder: Path, named: str | None, number: str | None) -> bool:
    """Do `named` and `number`, as `place` gives them, mean this folder? Yes where an older version stored neither."""
    if not named:
        return True
    try:
        here = place(folder)
    except OSError:
        return False
    return bool(named == here["folder"] or number == here["folder_id"])  # some file systems count files anew


def write(path: Path, identity: Identity, /, **beside: Any) -> None:
    write_json(path, {**beside, **identity.stored(), **place(path.parent)})


def process(path: Path) -> Identity | None:
    """The process a note names; None where there is no note, or one that came with a copy of another folder."""
    return None if copied(path) else Identity.read(read_json(path))


def copied(path: Path) -> bool:
    """Did the note come with a copy of its folder?"""
    stored = read_json(path) or {}
    return not made_for(path.parent, stored.get("folder"), stored.get("folder_id"))
