"""python -m trainer tasks: the generators that data.task takes, as lines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from trainer import presets, text
from trainer.console.printing import put
from trainer.console.tables import put_table
from trainer.errors import InputError, Problem
from trainer.presets import task_rows
from trainer.presets.explain import shown
from trainer.tasks import catalogue, generated
from trainer.tasks.catalogue import Param, Task
from trainer.text import forms
from trainer.text.layout import wrapped

WIDTH = 110
SHOWN_ROWS = 3
"""Rows that are made: the first of them is shown."""


def put_list() -> None:
    """Every generator with its parameters, and those that are left out with the reason."""
    say = text.here()
    found = sorted(catalogue.tasks().values(), key=lambda task: (task.family, task.name))
    put(_source(len(found)))
    for family, members in groupby(found, lambda task: task.family):
        put()
        put(f"{family}:")
        for task in members:
            given = ", ".join(f"{param.name}={_default(param)}" for param in task.params.values())
            mark = "*" if task.has_difficulty else ""
            put(wrapped(f"{task.name}{mark} ({given})" if given else f"{task.name}{mark}", WIDTH, "  ", "      "))
    put()
    put(say("console.tasks.marked"))
    put()
    put(say("console.tasks.left_out"))
    for title, why in catalogue.excluded().items():
        put(wrapped(f"{title.partition(':')[2]}: {say.said(why)}", WIDTH, "  ", "      "))
    put()
    put(say("console.tasks.how"))


def put_task(name: str, given: Sequence[str]) -> None:
    """One generator: parameters, a row, how to train on it. Raises InputError for what there is not."""
    say = text.here().under("console.tasks")
    task = task_rows.find(name if ":" in name else f"{catalogue.PREFIX}:{name}", "TASK")
    if isinstance(task, Problem):
        raise InputError(task)
    if wrong := [one for one in given if "=" not in one]:
        raise InputError(Problem("tasks.bad_pair", one, name=task.name) for one in wrong)
    chosen = [f"data.task={task.title}", *(f"data.task_params.{one}" for one in given)]
    raw: dict[str, Any] = presets.merge({"data": {}}, [*chosen, f"data.task_size={SHOWN_ROWS}"])
    placed, problems = task_rows.put_in(raw)
    if problems:
        raise InputError(problems)
    row = next(generated.rows(Path(placed["data"]["path"])))
    put(f"{task.title}   {_source(len(catalogue.tasks()))}")
    put()
    put(say("params" if task.params else "none"))
    if task.params:
        put_table(list(_params(task)))
    put()
    put(say("row"))
    for key in ("prompt", "answer"):
        put(f"  {key}: " + "\n    ".join(forms.printable(line) for line in str(row[key]).splitlines()))
    put(f"  {say('difficulty')}: {row['difficulty']}" if "difficulty" in row else f"  {say('no_difficulty')}")
    put()
    put(say("train"))
    typed = [word for one in chosen for word in ("--set", one)]
    put("  " + shlex.join(["python", "app.py", "--headless", "--preset", "smollm2", *typed]))


def _source(count: int) -> str:
    say = text.here().under("console.tasks")
    version, installed = catalogue.checked_version(), catalogue.installed_version()
    told = say("source", count=count, package=catalogue.PACKAGE, version=version)
    return told if installed in (version, None) else f"{told}; {say('installed', version=installed)}"


def _params(task: Task) -> Iterator[list[str]]:
    say = text.here()
    for param in task.params.values():
        yield [f"  {param.name}", say.said(task_rows.kind_of(param)), _default(param)]


def _default(param: Param) -> str:
    if param.default is None:
        return "-"
    return json.dumps(param.default, ensure_ascii=False) if isinstance(param.default, list) else shown(param.default)
