"""The first rows of a Hub dataset, fetched by a process of its own when somebody asks for them. No gradio.

Where rows of one's own are chosen by a path, a Hub dataset is `hub:NAME|CONFIG|SPLIT`, the last two often empty.
"""

from __future__ import annotations

from typing import Any

from trainer.data.guess import Table
from trainer.errors import DataError, Problem
from trainer.spec import Component, Data, Model, Reward, RunSpec
from trainer.ui.train import aside, rows

PREFIX = "hub:"
FETCHED = 200  # rows
FETCH_S = 60.0


def settings(path: str) -> dict[str, str]:
    """The keys of `data` that such a path stands for; {} for a file's."""
    if not path.startswith(PREFIX):
        return {}
    name, config, split = [*path.removeprefix(PREFIX).split("|"), "", ""][:3]
    named = {"name": name.strip(), "config": config.strip(), "split": split.strip()}
    return {key: value for key, value in named.items() if value or key == "name"}


def table(path: str) -> Table:
    """As guess.table has it for a file. Raises TrainerError."""
    spec = RunSpec(
        model=Model(name="builtin/tiny-qwen3"),  # only the rows are asked for
        data=Data.model_validate(settings(path)),
        reward=Reward(components=[Component(function="exact_match")]),
    )
    found = fetched(spec)
    if not found:
        raise DataError(Problem("data.no_rows", "data.name", name=spec.data.name or "", example="-"))
    return Table(found)


def fetched(spec: RunSpec) -> list[dict[str, Any]]:
    """The first rows of the spec's dataset, also those that were fetched before. Raises WorkError."""
    known = rows.fetched(spec)
    if known is not None:
        return known.rows
    found: list[dict[str, Any]] = aside.run("rows", spec, {"count": FETCHED}, FETCH_S)["rows"]
    rows.keep_fetched(spec, found)
    return found
