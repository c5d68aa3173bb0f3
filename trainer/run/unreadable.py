"""What is said, and how much is known, of a folder of a run that cannot be read. Knows no other file names."""

from __future__ import annotations

import os
from pathlib import Path

from trainer.errors import Problem, TrainerError
from trainer.machine.regular_files import why
from trainer.text import forms


def shown(name: str) -> str:
    """A name as it can be shown: what is not UTF-8 in it, or moves a cursor, is replaced."""
    return forms.printable(os.fsencode(name).decode("utf-8", "replace"))


def problem(folder: Path, error: BaseException, path: Path | None) -> Problem:
    """Why the run in `folder` cannot be read. path: of its file that cannot; as the error says when it is None."""
    if isinstance(error, TrainerError):
        return error.problems[0]
    named = path or Path(str(getattr(error, "filename", None) or folder))
    return Problem("run.unreadable", name=shown(folder.name), file=named.name, why=why(error))


def is_there(spec: Path) -> bool:
    """Is there a spec.json, whatever that is? Where one may not look, there may be one."""
    try:
        spec.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def made(spec: Path) -> float:
    """When the run was created, unix seconds. Raises FileNotFoundError when it has gone since."""
    try:
        return spec.stat().st_mtime
    except OSError:  # a link that leads nowhere or in a circle, a folder one may not look into
        return spec.parent.stat().st_mtime
