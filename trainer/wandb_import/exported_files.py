"""Exported W&B files -> rows of numbers. CSV and JSON, of a whole history or of a panel; no file is changed.

    history   one row a call of wandb.log: `_step`, `_timestamp`, `_runtime`, train/reward ... (run.history() and
              scan_history() as CSV, a list of objects, JSON lines, or JSON of pandas: {column: {row: value}})
    panel     "Export as CSV" of a chart: the x axis ("Step", "train/global_step" ...), then of each run
              "<run> - <metric>", "<run> - <metric>__MIN", "..__MAX"; one file a chart, several are merged on the axis

Numbers may be text. Empty cells, NaN and Infinity (W&B writes both as text in JSON) are missing values; tables, media
and other text are left out and counted. No third-party package. Knows nothing about what the numbers mean.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import DataError, Problem
from trainer.machine.regular_files import open_file, why

GLOBAL_STEP = "train/global_step"
_STEPS = (GLOBAL_STEP, "global_step")  # of the trainer; W&B's own are _ORDERS
_ORDERS = ("_step", "Step", "step")
_HOLDERS = ("history", "data", "rows")
_BANDS = ("__MIN", "__MAX")
_MISSING = {"", "nan", "null", "none", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
MOST_CELL = 131_072  # characters of a cell: larger ones are tables, which no history has
_PARQUET = b"PAR1"
_MILLISECONDS = 1e11  # a time above it is not in seconds

Record = dict[str, Any]


@dataclass
class ExportedRow:
    """One call of wandb.log, or one place on the x axis of a panel.

    order: W&B's own step, which counts calls. step: the trainer's, as far as the row has it. time: unix seconds.
    runtime: seconds since the run began. panel: it holds what several charts show there.
    """

    numbers: dict[str, float]
    order: float | None = None
    step: float | None = None
    time: float | None = None
    runtime: float | None = None
    panel: bool = False


@dataclass
class History:
    """All rows of all files. run: the name of the run, where a panel says it. ignored: {kind: how many}, the
    kinds those of `wandb_import.ignored` in trainer/text."""

    rows: list[ExportedRow] = field(default_factory=list)
    run: str | None = None
    ignored: Counter[str] = field(default_factory=Counter)


def read(paths: Sequence[Path], run: str | None = None) -> History:
    """The rows of the files. run: which one, where a panel has several. Raises DataError with every problem."""
    history, problems = History(), list[Problem]()
    panels, whole = list[ExportedRow](), list[ExportedRow]()
    for path in paths:
        try:
            records = _records(path)
            found, name = _one_run(path, records, run)
            rows = list(_rows(path, found, name is not None, history.ignored))
        except DataError as error:
            problems += error.problems
            continue
        (panels if name is not None else whole).extend(rows)
        if name is not None and history.run not in (None, name):
            problems.append(Problem("wandb_import.other_run", path.name, run=name, before=history.run))
        history.run = name or history.run
    problems += _mixed([*whole, *panels], paths)
    if problems:
        raise DataError(problems)
    history.rows = _in_order([*whole, *panels], history.ignored)
    return history


def _records(path: Path) -> list[Record]:
    try:
        with open_file(path) as file:
            content = file.read()
        text = "" if content.startswith(_PARQUET) else content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(_unreadable(path, error)) from error
    except UnicodeDecodeError as error:
        raise DataError(Problem("wandb_import.no_text", str(path))) from error
    if content.startswith(_PARQUET):  # what W&B gives where a CSV would be too long
        raise DataError(Problem("wandb_import.parquet", str(path), name=path.name, csv=f"{path.stem}.csv"))
    if not text.strip():
        raise DataError(Problem("wandb_import.empty", str(path)))
    records = _json(path, text) if text.lstrip()[0] in "[{" else _csv(path, text)
    if not records:
        raise DataError(Problem("wandb_import.no_rows", str(path)))
    return records


def _csv(path: Path, text: str) -> list[Record]:
    csv.field_size_limit(MOST_CELL)  # of the process: whoever reads another kind of file sets their own
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        records = [{key: cell for key, cell in row.items() if key} for row in reader]
    except csv.Error as error:
        raise DataError(Problem("wandb_import.no_csv", f"{path}:{reader.line_num}", said=str(error))) from error
    return [record for record in records if record]


def _json(path: Path, text: str) -> list[Record]:
    try:
        value = json.loads(text)
    except ValueError:
        value = list(_json_lines(path, text))
    holder = next((name for name in _HOLDERS if isinstance(value, dict) and isinstance(value.get(name), list)), None)
    if holder is not None:
        value = value[holder]
    elif isinstance(value, dict) and value and all(isinstance(column, dict) for column in value.values()):
        places = dict.fromkeys(place for column in value.values() for place in column)
        value = [{name: column.get(place) for name, column in value.items()} for place in places]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(Problem("wandb_import.no_list", str(path), holders=_HOLDERS))
    return value


def _json_lines(path: Path, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):  # texts hold U+2028 and the like
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(Problem("wandb_import.no_json", f"{path}:{number}", said=str(error))) from error


def _one_run(path: Path, records: list[Record], wanted: str | None) -> tuple[list[Record], str | None]:
    """The records with the columns of one run under their metrics' names, and its name; None of a whole history."""
    columns = dict.fromkeys(name for record in records for name in record)
    placed: dict[str, tuple[str, str]] = {}
    for column in columns:
        run, dash, metric = column.rpartition(" - ")
        if dash and run and metric:
            placed[column] = (run, metric)
    runs = list(dict.fromkeys(run for run, _ in placed.values()))
    axis = [column for column in columns if column not in placed]
    if not runs or len(axis) != 1:
        if wanted is not None:
            raise DataError(Problem("wandb_import.one_run", "--run", file=path.name))
        return records, None
    if wanted is None and len(runs) > 1:
        values = {"count": len(runs), "names": quoted(runs), "first": runs[0]}
        raise DataError(Problem("wandb_import.several_runs", path.name, **values))
    chosen = wanted if wanted is not None else runs[0]
    if chosen not in runs:
        raise DataError(Problem("wandb_import.no_run", "--run", file=path.name, seen=chosen, names=quoted(runs)))
    kept = {
        column: metric
        for column, (run, metric) in placed.items()
        if run == chosen and not metric.endswith(_BANDS)
    }  # fmt: skip
    kept |= {column: column for column in axis if column in (*_STEPS, *_ORDERS)}
    return [{kept[name]: cell for name, cell in record.items() if name in kept} for record in records], chosen


def _rows(path: Path, records: list[Record], panel: bool, ignored: Counter[str]) -> Iterator[ExportedRow]:
    columns = list(dict.fromkeys(name for record in records for name in record))
    if not any(name in columns for name in (*_STEPS, *_ORDERS)):
        raise DataError(_without_step(path, columns, panel))
    media = tuple(f"{name.removesuffix('._type')}." for name in columns if name.endswith("._type"))  # a table's columns
    for record in records:
        if media:
            ignored["media"] += sum(name.startswith(media) for name in record)
            record = {name: cell for name, cell in record.items() if not name.startswith(media)}
        numbers = {name: value for name, cell in record.items() if (value := _number(cell, ignored)) is not None}
        row = ExportedRow({}, panel=panel)
        row.step = next((numbers[name] for name in _STEPS if name in numbers), None)
        row.order = next((numbers[name] for name in _ORDERS if name in numbers), None)
        row.runtime, row.time = numbers.get("_runtime"), numbers.get("_timestamp")
        if row.time is not None and row.time > _MILLISECONDS:
            row.time /= 1000
        for name, value in numbers.items():
            if name.startswith(("system.", "system/")):
                ignored["system"] += 1
            elif name not in _STEPS and name not in _ORDERS and not name.startswith("_"):
                row.numbers[name] = value
        yield row


def _number(cell: Any, ignored: Counter[str]) -> float | None:
    """The number in a cell; None where it is missing or no number."""
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in _MISSING:
            ignored["not_finite"] += bool(text) and text.lower() not in ("null", "none")
            return None
        try:
            cell = float(text) if "_" not in text else None
        except ValueError:
            cell = None
        if cell is None:
            ignored["no_number"] += 1
            return None
    if cell is None:
        return None
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        ignored["no_number"] += 1
        return None
    if not math.isfinite(cell):
        ignored["not_finite"] += 1
        return None
    return float(cell)


def _without_step(path: Path, columns: Sequence[str], panel: bool) -> Problem:
    if {"Name", "State"} <= set(columns):
        return Problem("wandb_import.table_of_runs", path.name)
    if panel:
        return Problem("wandb_import.chart_without_step", path.name, columns=quoted(columns), step=GLOBAL_STEP)
    known = (GLOBAL_STEP, "_step", "Step")
    return Problem("wandb_import.no_step_column", path.name, columns=quoted(columns), known=known)


def _unreadable(path: Path, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem("wandb_import.no_file", str(path))
    return Problem("wandb_import.unreadable", str(path), said=why(error))


def _mixed(rows: Sequence[ExportedRow], paths: Sequence[Path]) -> list[Problem]:
    """Rows of which some have only W&B's step and others only the trainer's cannot be put in one order."""
    only_order = any(row.order is not None and row.step is None for row in rows)
    if not only_order or not any(row.order is None and row.step is not None for row in rows):
        return []
    if any(row.order is not None and row.step is not None for row in rows):
        return []  # some rows know both: the others are placed by what they have
    names = ", ".join(path.name for path in paths)
    return [Problem("wandb_import.mixed_steps", names, step=GLOBAL_STEP)]


def _in_order(rows: Sequence[ExportedRow], ignored: Counter[str]) -> list[ExportedRow]:
    """In the order they were logged in where W&B's step says it; rows of one place of several files as one row."""
    ordered: dict[float, ExportedRow] = {}
    shown: dict[float, ExportedRow] = {}
    rest = []
    for row in rows:
        home, key = (ordered, row.order) if row.order is not None else (shown, row.step if row.panel else None)
        if key is None:
            rest.append(row)
        elif key in home:
            _merge(home[key], row, ignored)
        else:
            home[key] = row
    return [*(ordered[key] for key in sorted(ordered)), *rest, *(shown[key] for key in sorted(shown))]


def _merge(there: ExportedRow, row: ExportedRow, ignored: Counter[str]) -> None:
    twice = [name for name, value in row.numbers.items() if there.numbers.get(name, value) != value]
    ignored["twice"] += len(twice)
    there.numbers |= row.numbers
    there.step = row.step if row.step is not None else there.step
    there.time = row.time if row.time is not None else there.time
    there.runtime = row.runtime if row.runtime is not None else there.runtime


def quoted(names: Sequence[str]) -> list[str]:
    """Names as a problem lists them: blanks in them can be seen."""
    return [repr(name) for name in names]
