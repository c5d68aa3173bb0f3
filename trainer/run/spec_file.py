"""spec.json and the copy of it in control/: how a run's settings are written and read, and that damage is found.

Files of the project are named relative to it there (trainer.spec.files). The copy is what spec.json said when the run
was made, extended or last agreed to go on; only this module writes the two.
"""

from __future__ import annotations

import copy as copying
import json
import os
import shlex
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.errors import Problem, RunError
from trainer.machine.json_files import write_json, write_whole
from trainer.machine.project import PROJECT
from trainer.machine.regular_files import read_file, why
from trainer.presets.explain import RENAMED
from trainer.spec import RunSpec, files


def tables(spec: RunSpec) -> dict[str, Any]:
    """The settings as they are stored."""
    return files.relative(spec.model_dump(mode="json"), PROJECT)


def write(path: Path, copy: Path, spec: RunSpec) -> None:
    """Replace both; says when the run was created, as before. Cut short, no copy contradicts spec.json."""
    made = path.stat() if path.exists() else None
    copy.unlink(missing_ok=True)
    write_json(path, tables(spec))
    if made is not None:
        os.utime(path, ns=(made.st_atime_ns, made.st_mtime_ns))
    agree(path, copy)


def agree(path: Path, copy: Path) -> None:
    """From now on the run goes on with what spec.json says."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    write_whole(copy, read_file(path))


def parse(data: bytes) -> RunSpec:
    """Raises ValueError where it is no spec of this version."""
    try:
        raw = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    if isinstance(raw, dict):
        raw = files.absolute(in_new_words(raw), PROJECT)
    return RunSpec.model_validate_json(json.dumps(raw))


def in_new_words(raw: dict[str, Any]) -> dict[str, Any]:
    """Stored tables with the keys of earlier versions under the names they have now."""
    raw = copying.deepcopy(raw)
    for old, new in RENAMED.items():
        (section, key), (home, name) = old.split("."), new.split(".")
        if isinstance(raw.get(section), dict) and key in raw[section] and isinstance(raw.get(home), dict):
            value = raw[section].pop(key)
            raw[home].setdefault(name, value)
    return raw


def copied(copy: Path) -> RunSpec | None:
    """None where there is no copy, or none that can be read."""
    try:
        return parse(read_file(copy))
    except (OSError, ValueError):
        return None


def read(path: Path, copy: Path, name: str) -> RunSpec:
    """The settings of run `name`. Raises RunError when they cannot be read, FileNotFoundError when there are none."""
    try:
        return parse(read_file(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(Problem("run.spec_unreadable", name=name, said=why(error))) from error
    except ValueError as error:
        whole = copied(copy) is not None
        if whole:
            where = _where(error)
            problem = Problem(
                "run.spec_damaged", name=name, where=where, restore=shlex.join(["cp", str(copy), str(path)])
            )
        elif isinstance(error, ValidationError):
            problem = Problem("run.spec_other_version", name=name)
        else:
            problem = Problem("run.spec_broken", name=name)
        raise RunError(problem) from error


def _where(error: ValueError) -> str:
    """The key or the place that cannot be read."""
    if isinstance(error, ValidationError):
        return ".".join(str(step) for step in error.errors()[0]["loc"]) or "spec.json"
    if isinstance(error, json.JSONDecodeError):
        return f"spec.json:{error.lineno}:{error.colno}"
    return "spec.json"
