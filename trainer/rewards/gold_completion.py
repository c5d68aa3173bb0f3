"""The perfect completion to a row, as a person would write it: reward.gold_template with the row's gold answers.

Imports the library of rewards, whose own imports are light.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from trainer.errors import Unfit
from trainer.rewards import building
from trainer.rewards.contract import RewardFunction
from trainer.rewards.gold import written
from trainer.spec import Reward


def gold_columns(reward: Reward) -> dict[str, list[RewardFunction]]:
    """{column: the functions of the library that compare answers with it}."""
    found: dict[str, list[RewardFunction]] = {}
    for function in (building.make(leaf) for leaf in reward.leaves() if leaf.file is None):
        if function.gold is not None:
            found.setdefault(function.columns[0], []).append(function)
    return found


class GoldCompletion:
    """Writes the gold completions of one reward's rows."""

    def __init__(self, reward: Reward) -> None:
        self._parts = list(string.Formatter().parse(reward.gold_template))
        self._columns = gold_columns(reward)

    def of(self, row: Mapping[str, Any]) -> str | None:
        """None when the template names a column that the row lacks, or that holds no answer."""
        texts = []
        for literal, name, form, conversion in self._parts:
            texts.append(literal)
            if not name:
                continue
            value = row.get(name)
            if value is None or (isinstance(value, list) and not any(each is not None for each in value)):
                return None
            asked = form or conversion
            texts.append(_formatted(value, form or "", conversion) if asked else self.answer(name, value))
        return "".join(texts)

    def columns(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its gold answers as text, for other templates: a list would be written with its brackets."""
        golds = {name: row.get(name) for name in self._columns}
        return {**row, **{name: self.answer(name, gold) for name, gold in golds.items() if not _is_text(gold)}}

    def answer(self, column: str, value: Any) -> str:
        """The value of one column as it is written into a completion: the first of several accepted answers."""
        try:
            read = [function.gold(value) for function in self._columns.get(column, ()) if function.gold is not None]
        except Unfit:
            return written(value)
        accepted = max(read, key=len, default=[])  # one that cuts a text at its separator knows of more
        return accepted[0] if accepted else written(value)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _formatted(value: Any, form: str, conversion: str | None) -> str:
    formatter = string.Formatter()
    return str(formatter.format_field(formatter.convert_field(value, conversion) if conversion else value, form))
