"""Room for the files that people choose on the page, in the state folder. No gradio.

A run takes a copy of such a file when it is made (trainer/run/kept_files.py), a form of Train only names it. So what
no run names and no form was about for KEPT_S may go when room is needed, the longest unused first; nothing else is
deleted.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer import launch
from trainer.machine.json_files import read_json
from trainer.run.rundir import list_runs, outputs_dir
from trainer.spec import files

KEPT_S = 7 * 86_400.0


def used(raw: Mapping[str, Any]) -> None:
    """A form is about the files these tables name: they are kept for a while from now. The folder of a file, which
    holds nothing else, says when it was used: the file's own time is that of its rows."""
    home = launch.state_dir() / launch.CHOSEN
    for _, path in files.named(raw):
        place = Path(path).parent
        if place.parent == home:
            with suppress(OSError):
                os.utime(place)


def make_room(home: Path, most: int) -> bool:
    """Delete what may go until no more than `most` bytes are kept; False where that is not enough."""
    left = size(home)
    if left <= most:
        return True
    named = set(_named_by_runs())
    for place in sorted(_unused(home), key=lambda each: each.stat().st_mtime):
        if Path(os.path.realpath(place)) in named:
            continue
        left -= size(place)
        shutil.rmtree(place, ignore_errors=True)
        if left <= most:
            break
    return size(home) <= most


def size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def _unused(home: Path) -> Iterator[Path]:
    for place in home.iterdir():
        if place.is_dir() and not place.is_symlink() and place.stat().st_mtime < time.time() - KEPT_S:
            yield place


def _named_by_runs() -> Iterator[Path]:
    """Folders of files that a run names: one that was made by an earlier version, or by hand."""
    for rundir in list_runs(outputs_dir()):
        for _, path in files.named(read_json(rundir.spec) or {}):
            yield Path(os.path.realpath(path)).parent
