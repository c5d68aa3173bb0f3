"""Rows of a local JSONL file, each checked, every error with file:line.

`inspect` is what the parent process runs before a worker is started: no torch, no datasets, no network. A dataset on
the Hub can only be read by the worker (data/dataset.py).

Standard library only.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from trainer.errors import DataError, Problem
from trainer.spec import Data, RunSpec

MAX_PROBLEMS = 10  # listed one by one; the rest is counted
RESERVED = {
    "prompts",
    "completions",
    "completion_ids",
    "completion",
    "trainer_state",
    "log_extra",
    "log_metric",
}


@dataclass(frozen=True)
class Inspection:
    """What is known of the data before the start; None where it lies on the Hub."""

    rows: int | None
    eval_rows: int | None


@dataclass(frozen=True)
class Row:
    """One row with its columns renamed to ours. line counts from 1."""

    line: int
    columns: dict[str, Any]


def inspect(spec: RunSpec) -> Inspection:
    """Read and check the local files of a run; raises DataError with every problem of both."""
    problems: list[Problem] = []
    counts: dict[str, int | None] = {"path": None, "eval_path": None}
    for key in counts:
        path = getattr(spec.data, key)
        if path is not None:
            try:
                counts[key] = len(read_rows(path, spec, f"data.{key}"))
            except DataError as error:
                problems += error.problems
    if spec.model.warm_start is not None and not Path(spec.model.warm_start.path).is_file():
        problems.append(_missing("model.warm_start.path", spec.model.warm_start.path))
    if problems:
        raise DataError(problems)
    rows, eval_rows = counts["path"], counts["eval_path"]
    if rows is not None:
        rows, held_out = split_counts(rows, spec.data)
        eval_rows = held_out or eval_rows
    return Inspection(rows, eval_rows)


def split_counts(rows: int, data: Data) -> tuple[int, int]:
    """(training rows, held-out rows) after max_rows and eval_fraction."""
    rows = min(rows, data.max_rows or rows)
    held_out = max(1, round(rows * data.eval_fraction)) if data.eval_fraction else 0
    return rows - held_out, held_out


def read_rows(path: str | Path, spec: RunSpec, key: str) -> list[Row]:
    """All rows of a JSONL file. Raises DataError naming file:line of the first ten bad ones."""
    path = Path(path)
    if not path.is_file():
        raise DataError(_missing(key, str(path)))
    rows: list[Row] = []
    problems: list[Problem] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    rows.append(
                        Row(number, rename(_parse(line, f"{path.name}:{number}", first=number == 1), spec.data))
                    )
                except DataError as error:
                    problems += error.problems
    check_rows(rows, path.name, spec, problems)
    if not rows:
        raise DataError(Problem(key, f"{path} has no rows", 'one object a line: {"prompt": "...", "answer": "..."}'))
    return rows


def check_rows(rows: list[Row], name: str, spec: RunSpec, problems: Sequence[Problem] = ()) -> None:
    """Raise DataError for rows that can not be trained on, beside `problems` found before; name: of file or dataset."""
    found = list(problems)
    kinds: dict[str, tuple[type, int]] = {}
    absent = [column for column in needed_columns(spec) if not any(column in row.columns for row in rows)]
    if rows and absent:  # said once, not for every row
        has = f"one of: {', '.join(map(str, rows[0].columns))}"
        found += [
            Problem(f"{name}:{rows[0].line}", f"has no column {c}", f"--set data.columns.{c}=COLUMN, {has}")
            for c in absent
        ]
    for row in rows:
        where = f"{name}:{row.line}"
        found += _check(row.columns, where, spec, set(absent))
        for column, value in row.columns.items():
            kind, line = kinds.setdefault(column, (type(value), row.line)) if value is not None else (None, 0)
            if kind not in (None, type(value)):  # Arrow would turn 42 into 42.0, or refuse the whole file
                what = f"column {column} is {type(value).__name__}, in line {line} it is {kind.__name__}"
                found.append(Problem(where, what, "one type a column: put numbers in quotes"))
    if found:
        raise DataError(_shortened(sorted(found, key=_place), name))


def _place(problem: Problem) -> int:
    return int(problem.where.rpartition(":")[2])


def _missing(key: str, path: str) -> Problem:
    return Problem(key, f"no file {path}", f"--set {key}=PATH (relative paths start at {Path.cwd().name}/)")


def _shortened(problems: list[Problem], name: str) -> list[Problem]:
    rest = len(problems) - MAX_PROBLEMS
    return problems if rest <= 0 else [*problems[:MAX_PROBLEMS], Problem(name, f"and {rest} more bad rows")]


def _refuse(where: str, what: str, fix: str = "") -> NoReturn:
    raise DataError(Problem(where, what, fix))


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse(line: bytes, where: str, *, first: bool) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        _refuse(where, f"is not UTF-8 (byte {error.start + 1})", "save the file as UTF-8")
    try:
        value = json.loads(text, parse_constant=_constant)
    except json.JSONDecodeError as error:
        _refuse(
            where,
            f"is not JSON: {error.msg} at column {error.colno}",
            "one JSON object a line, in double quotes",
        )
    except (ValueError, RecursionError) as error:
        _refuse(where, f"is not JSON: {error}")
    if not isinstance(value, dict):
        _refuse(
            where,
            f"is {type(value).__name__}, not an object",
            'write {"prompt": "...", "answer": "..."}',
        )
    return value


def rename(columns: dict[str, Any], data: Data) -> dict[str, Any]:
    """Columns under our names: `data.columns` maps ours = theirs, and wins over a column that has our name already."""
    kept = {name: value for name, value in columns.items() if name not in {*data.columns, *data.columns.values()}}
    return kept | {ours: columns[theirs] for ours, theirs in data.columns.items() if theirs in columns}


def _check(columns: dict[str, Any], where: str, spec: RunSpec, absent: set[str]) -> list[Problem]:
    problems = [
        Problem(
            where,
            f"column {name} is a word TRL keeps for itself",
            f'--set data.columns.my_{name}="{name}"',
        )
        for name in sorted(RESERVED & columns.keys())
    ]
    problems += [
        Problem(where, f"column {name} {wrong}") for name, value in columns.items() if (wrong := _unusable(value))
    ]
    for name in needed_columns(spec):
        if name in absent:
            continue
        if name not in columns:
            fix = f"--set data.columns.{name}=COLUMN, one of: {', '.join(map(str, columns))}"
            problems.append(Problem(where, f"has no column {name}", fix))
        elif columns[name] is None:
            problems.append(Problem(where, f"column {name} is null", "leave the row out or fill it in"))
    problem = _prompt_problem(columns.get("prompt", "?"), where)
    if problem and not problems:
        problems.append(problem)
    return problems


def _unusable(value: Any) -> str:
    """Why a value can be neither stored nor tokenised; empty when it can."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "is a number of more than 64 bits: put it in quotes"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a character (a lone surrogate)"
    return ""


def needed_columns(spec: RunSpec) -> list[str]:
    """Columns a row must have: the prompt, what its template names, what the rewards read."""
    fields = [field for _, field, _, _ in string.Formatter().parse(spec.data.prompt_template) if field]
    answers = [
        str(component.params.get("answer_column", "answer"))
        for component in spec.reward.components
        if component.function in ("exact_match", "position_match")
    ]
    return list(dict.fromkeys([*(fields or ["prompt"]), *answers]))


def _prompt_problem(prompt: Any, where: str) -> Problem | None:
    """A prompt is text, or chat messages the last of which is not the assistant's."""
    if isinstance(prompt, str):
        return None if prompt.strip() else Problem(where, "prompt is empty")
    if isinstance(prompt, list) and prompt and all(isinstance(message, dict) for message in prompt):
        if not all({"role", "content"} <= message.keys() for message in prompt):
            return Problem(where, "a message of prompt has no role or no content")
        if not all(isinstance(message["content"], str) and message["content"] for message in prompt):
            return Problem(where, "a message of prompt has no text as its content")
        if prompt[-1]["role"] == "assistant":
            return Problem(where, "the last message of prompt is the assistant's", "end with a user message")
        return None
    return Problem(where, f"prompt is {type(prompt).__name__}", "text, or a list of {role, content}")
