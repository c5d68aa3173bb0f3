"""The generators of reasoning-gym that were checked, and those that are left out with the reason.

catalogue.json is written by tools/checked_tasks.py, which tries every generator. Imports nothing of the package.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from trainer.errors import Problem
from trainer.text import Message

PREFIX, PACKAGE = "reasoning_gym", "reasoning-gym"
FILE = Path(__file__).with_name("catalogue.json")

Kind = Literal["int", "float", "bool", "str", "list"]
_TAKES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "list": (list,),
}


@dataclass(frozen=True)
class Param:
    """A parameter of a generator. default: None where the generator decides."""

    name: str
    kind: Kind
    default: Any

    def takes(self, value: Any) -> bool:
        return isinstance(value, _TAKES[self.kind]) and isinstance(value, bool) == (self.kind == "bool")


@dataclass(frozen=True)
class Task:
    """has_difficulty: its rows say where they lie between the easiest and the hardest that the parameters allow."""

    name: str
    family: str
    params: Mapping[str, Param]
    has_difficulty: bool

    @property
    def title(self) -> str:
        """What data.task calls it."""
        return f"{PREFIX}:{self.name}"

    def whole(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters with their defaults, in one order."""
        known = {name: param.default for name, param in self.params.items() if param.default is not None}
        return dict(sorted((known | dict(given)).items()))


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return table


@functools.cache
def tasks() -> dict[str, Task]:
    """{what data.task calls it: a generator that can be used}."""
    found = {}
    for name, one in _table()["tasks"].items():
        params = {param: Param(param, kind, default) for param, (kind, default) in one["params"].items()}
        task = Task(name, one["family"], params, one["difficulty"])
        found[task.title] = task
    return found


@functools.cache
def excluded() -> dict[str, Message]:
    """{what data.task would call it: why it is left out}."""
    left_out = _table()["excluded"].items()
    return {f"{PREFIX}:{name}": Message(f"tasks.excluded.{why}", value=value) for name, (why, value) in left_out}


def checked_version() -> str:
    """Of the package, when the list was made."""
    return str(_table()["version"])


def installed_version() -> str | None:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def not_installed(name: str, key: str = "data.task") -> Problem:
    return Problem("tasks.not_installed", key, name=name, package=PACKAGE, version=checked_version())
