"""Some rows as they will be sent, without a tokenizer: for a page and for trying rewards out. No torch."""

from __future__ import annotations

from itertools import islice
from typing import Any

from trainer.data import sources
from trainer.data.keys import TRAIN
from trainer.data.render import Renderer
from trainer.data.survey import survey
from trainer.errors import DataError, Problem
from trainer.spec import RunSpec


def preview(spec: RunSpec, count: int = 8) -> list[dict[str, Any]]:
    """The first `count` training rows: every column, `prompt` rendered as messages (data.chat) or text.

    Raises DataError with all that sources.inspect refuses, and for a dataset that does not lie on this machine.
    """
    train, held_out = sources.feeds(spec)
    if train is None:
        fix = "--set data.path=FILE.jsonl; rows of the Hub are read when the run starts"
        raise DataError(Problem("data.name", f"{spec.data.name} lies on the Hub and can not be shown", fix))
    found = survey(spec, train, held_out)
    renderer = Renderer(spec, found.pool)
    rows = (row for row, role in zip(train.rows(spec), found.roles, strict=True) if role == TRAIN)
    return [renderer.row(row.columns) for row in islice(rows, count)]
