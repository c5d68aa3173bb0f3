"""Which settings name a file, and where the file is: relative to the project in spec.json, absolute everywhere else.

A run of a project that was moved or renamed finds what was shipped with it; a person's own files keep their path.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Key = tuple[str | int, ...]

_NAMES = ("path", "eval_path", "file")  # of every section
_FREE = ("trl", "params", "task_params", "columns", "texts", "titles")  # tables whose keys are not ours


def may_name(key: str) -> bool:
    """Can this key of a spec say where something lies? Folders of models are named as models are."""
    steps = key.strip().split(".")
    return steps[-1] in _NAMES or steps == ["model", "name"] or "params" in steps


def named(raw: Any, at: Key = ()) -> Iterator[tuple[Key, str]]:
    """(key, path) of every file that the tables of a spec name."""
    parts = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for step, value in parts:
        if step in _NAMES and isinstance(value, str) and value:
            yield (*at, step), value
        elif step not in _FREE:
            yield from named(value, (*at, step))


def relative(raw: dict[str, Any], project: Path) -> dict[str, Any]:
    """The tables with what lies in the project named from there."""

    def shortened(path: str) -> str:
        return Path(path).relative_to(project).as_posix() if Path(path).is_relative_to(project) else path

    return _changed(raw, shortened)


def absolute(raw: dict[str, Any], project: Path) -> dict[str, Any]:
    """The tables with the path of every file of the project in full; what is not there stays as it is named."""
    return _changed(raw, lambda path: str(project / path) if os.path.exists(project / path) else path)


def renamed(raw: dict[str, Any], moved: Mapping[str, str]) -> dict[str, Any]:
    """The tables with other paths for some of the files."""
    return _changed(raw, lambda path: moved.get(path, path))


def _changed(raw: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    raw = copy.deepcopy(raw)
    for (*way, last), path in list(named(raw)):
        here: Any = raw
        for step in way:
            here = here[step]
        here[last] = change(path)
    return raw
