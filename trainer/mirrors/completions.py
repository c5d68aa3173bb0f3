"""The completions of one step as rows of a table, bounded in number and length.

Reads through trainer.run.groups.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from trainer.machine.secrets import Redactor
from trainer.run.groups import Completion, Group, read_groups
from trainer.run.rundir import RunDir

# A browser draws a table of a step at once, and every step has one: 64 rows of two texts of 4,000 characters are half
# a megabyte. The rollout files of the run keep everything.
MAX_ROWS = 64
MAX_CHARACTERS = 4000
COLUMNS = ("step", "group", "prompt", "completion", "reward", "advantage", "tokens", "truncated", "outcome")
THROWN = "thrown"  # a column of its own, where a group was written and not trained on
PLAN = ("plan", "plan_reward", "plan_advantage", "rest_advantage")  # columns where completions carry out plans
PAID = "rewards/"  # before the name of a component: it can then not be taken for another column


@dataclass
class Completions:
    """columns, rows; left_out: rows beyond MAX_ROWS; cut: texts beyond MAX_CHARACTERS, which say so at their end.

    damaged: lines of the file that could not be read.
    """

    columns: list[str]
    rows: list[list[Any]]
    left_out: int
    cut: int
    damaged: int

    def missing(self) -> dict[str, int]:
        """What the table does not show, as numbers of its row; none of what is whole."""
        found = {"rows_left_out": self.left_out, "texts_cut": self.cut, "lines_damaged": self.damaged}
        return {f"completions/{name}": count for name, count in found.items() if count}


def read(rundir: RunDir, step: int, redactor: Redactor) -> Completions | None:
    """None when the file is not there or holds nothing that can be read."""
    found: list[dict[str, Any]] = []
    total = cut = 0
    names: dict[str, None] = {}
    try:
        file = read_groups(rundir.rollouts_file(step))
    except FileNotFoundError:
        return None
    for group in sorted(file.groups, key=lambda group: group.thrown):  # what is trained on comes first
        prompt, shortened = _bounded(redactor.text(as_text(group.asked)))
        for completion in group.completions:
            total += 1
            if total > MAX_ROWS:
                continue
            row, more = _row(step, group, completion, redactor)
            names.update(dict.fromkeys(name for name in row if name.startswith(PAID)))
            found.append(row | {"prompt": prompt})
            cut += more + shortened
    if not found:
        return None
    last = [THROWN] if any(group.thrown for group in file.groups) else []
    plans = PLAN if any(PLAN[0] in row for row in found) else ()
    columns = [*COLUMNS[:5], *names, *COLUMNS[5:], *plans, *last]
    return Completions(
        columns, [[row.get(name) for name in columns] for row in found], total - len(found), cut, file.damaged
    )


def _row(step: int, group: Group, completion: Completion, redactor: Redactor) -> tuple[dict[str, Any], bool]:
    text, cut = _bounded(redactor.text(completion.text))
    row = {
        "step": step,
        "group": group.number,
        "completion": text,
        "outcome": group.outcome,
        "reward": completion.reward,
        "advantage": completion.advantage,
        "tokens": completion.tokens,
        "truncated": completion.truncated,
        THROWN: group.thrown,
    }
    if (plan := completion.plan) is not None:
        row |= dict(zip(PLAN, (plan.number, plan.reward, plan.advantage, plan.rest), strict=True))
    return row | {f"{PAID}{redactor.text(name)}": value for name, value in completion.components.items()}, cut


def as_text(prompt: Any) -> str:
    """A prompt as one reads it: text, or chat messages each under its role."""
    if isinstance(prompt, list) and all(isinstance(message, dict) for message in prompt):
        return "\n".join(f"{message.get('role', '')}: {_content(message.get('content'))}" for message in prompt)
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def _content(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _bounded(text: str) -> tuple[str, bool]:
    more = len(text) - MAX_CHARACTERS
    return (text, False) if more <= 0 else (f"{text[:MAX_CHARACTERS]} ... [{more} more characters]", True)
