"""The file of a task's rows: made once, in the cache (making.py).

    chain_sum-0.1.25-3fa1c2d4e5b6.jsonl     generator, version of the package, hash of parameters, size and seed

The same parameters, size and seed give the same file wherever it is made with the same version. What was refused is
remembered by this process: a form asks again at every key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.errors import DataError, Problem
from trainer.machine.project import cache_dir
from trainer.tasks import catalogue, making
from trainer.tasks.catalogue import Task

FORMAT = 1
"""Raise when the rows are written otherwise."""
_NAME = re.compile(r"\w+-[\w.+]+-[0-9a-f]{12}\.jsonl")
_refused: dict[Path, Problem] = {}


def folder() -> Path:
    return cache_dir() / "tasks"


def file(task: Task, params: Mapping[str, Any], size: int, seed: int) -> Path:
    """Its rows, made now if they are not there. Raises DataError: package not installed, parameters refused, failed;
    not made yet, where somebody does not want to wait (making.waiting)."""
    version = catalogue.installed_version()
    if version is None:
        raise DataError(catalogue.not_installed(task.title))
    path = folder() / f"{task.name}-{version}-{_hash(task, params, size, seed)}.jsonl"
    if not path.is_file():
        request = {"task": task.name, "params": dict(params), "size": size, "seed": seed}
        problem = _refused.get(path) or making.made(request, path)
        if problem is not None:
            if problem.key == "tasks.refused":
                _refused[path] = problem
            raise DataError(problem)
    return path


def is_of(path: str, task: Task, params: Mapping[str, Any], size: int, seed: int) -> bool:
    """Whether a file that is there holds the rows of this task, made with whatever version: a run keeps its rows."""
    name, end = Path(path).name, f"-{_hash(task, params, size, seed)}.jsonl"
    return name.startswith(f"{task.name}-") and name.endswith(end) and os.path.isfile(path)


def is_made(path: str) -> bool:
    """Whether a path has the name of a file that was made here."""
    return _NAME.fullmatch(Path(path).name) is not None


def version_of(path: str) -> str | None:
    """Of the package that made a file."""
    return Path(path).name.split("-")[1] if is_made(path) else None


def rows(path: Path, most: int | None = None) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as found:
        for line in islice(found, most):
            yield json.loads(line)


def _hash(task: Task, params: Mapping[str, Any], size: int, seed: int) -> str:
    said = json.dumps([FORMAT, task.name, task.whole(params), size, seed])
    return hashlib.sha256(said.encode()).hexdigest()[:12]
