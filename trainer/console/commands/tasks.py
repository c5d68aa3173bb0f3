"""python -m trainer tasks: rows that need no data of one's own, made by generators with their own verifiers"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("tasks", help="ready-made tasks for data.task: what there is, what a row looks like")
    parser.add_argument("name", nargs="?", metavar="TASK", help="one of them: its parameters and a row")
    parser.add_argument("params", nargs="*", metavar="PARAMETER=VALUE", help="for that row")
    parser.set_defaults(call=tasks)


def tasks(name: str | None, *, params: Sequence[str]) -> int:
    """List them, or show one; imports nothing heavy."""
    from trainer import launch
    from trainer.console import task_lines

    task_lines.put_list() if name is None else task_lines.put_task(name, params)
    return launch.EXIT_FINISHED
