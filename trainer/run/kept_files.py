"""Files that are kept with a run: what lies where it may go away is copied into the run's folder when it is made.

That is what somebody chose on the page, rows that a task made, and what belongs to another run, which may be deleted.
Every other file keeps its path. Knows which settings name files (trainer.spec.files), and nothing about what is in
them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from trainer.machine.project import PROJECT
from trainer.spec import RunSpec, files

FOLDER = "files"


def taken_in(spec: RunSpec, passing: Sequence[Path], draft: Path, final: Path) -> RunSpec:
    """Copy the files of a spec that lie in one of the folders `passing` into FOLDER of `draft`, which will be `final`;
    the spec that names them there."""
    raw, moved = spec.model_dump(mode="json"), dict[str, str]()
    homes = [Path(os.path.realpath(folder)) for folder in passing]
    for _, path in files.named(raw):
        source = Path(os.path.realpath(PROJECT / path))
        if path not in moved and source.is_file() and any(source.is_relative_to(home) for home in homes):
            name = _free(source.name, {Path(each).name for each in moved.values()})
            (draft / FOLDER).mkdir(exist_ok=True)
            _copy(source, draft / FOLDER / name)
            moved[path] = str(final / FOLDER / name)
    if not moved:
        return spec
    return RunSpec.model_validate_json(json.dumps(files.renamed(raw, moved)))


def found_again(path: str, folder: Path) -> Path | None:
    """Where a file that was kept with the run in `folder` is now: the run may have been moved."""
    known = Path(path)
    here = folder / FOLDER / known.name
    return here if known.parent.name == FOLDER and not known.exists() and here.is_file() else None


def _free(name: str, taken: set[str]) -> str:
    stem, suffix = os.path.splitext(name)
    names = [name, *(f"{stem} ({number}){suffix}" for number in range(2, len(taken) + 2))]
    return next(each for each in names if each not in taken)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
