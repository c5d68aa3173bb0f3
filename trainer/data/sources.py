"""Rows of the local files of a run, each checked, every error with file:line.

`inspect` is what the parent process runs before a worker is started: no torch, no datasets, no network. A dataset on
the Hub can only be read by the worker (data/dataset.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.rows import Row, needed_columns
from trainer.data.survey import Feed, of_file, survey
from trainer.spec import RunSpec
from trainer.text import Message

__all__ = ["Feed", "Inspection", "Row", "feeds", "inspect", "needed_columns", "read_rows"]


@dataclass(frozen=True)
class Inspection:
    """What is known of the data before the start; None where it lies on the Hub. warnings: legal, but odd."""

    rows: int | None
    eval_rows: int | None
    warnings: list[Message] = field(default_factory=list)


def feeds(spec: RunSpec) -> tuple[Feed | None, Feed | None]:
    """(training rows, held-out rows) of local files; None for rows that lie elsewhere or are none."""
    data = spec.data
    train = of_file(spec, data.path, "data.path", data.max_rows) if data.path is not None else None
    held_out = of_file(spec, data.eval_path, "data.eval_path") if data.eval_path is not None else None
    return train, held_out


def inspect(spec: RunSpec) -> Inspection:
    """Read and check the local files of a run; raises DataError with every problem of all of them.

    Memory is bounded whatever the size of the files (survey.py); a file is read at most three times.
    """
    found = survey(spec, *feeds(spec))
    return Inspection(found.rows, found.held_out, found.warnings)


def read_rows(path: str | Path, spec: RunSpec, key: str) -> Iterator[Row]:
    """The sound rows of a file, one after another. key: `data.path`, `data.eval_path`, ...; it decides which columns
    are needed.

    Raises DataError naming file:line of the first ten bad rows, after the last row: use what was read only then.
    """
    return of_file(spec, str(path), key).rows(spec)
