"""Rows -> the datasets the trainer and the evaluation use, with prompts rendered as they will be sent.

Imports `datasets`; no model. Everything dropped or cut is counted in the report it returns.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
from datasets import Dataset, Json, concatenate_datasets, load_dataset
from datasets.arrow_writer import ArrowWriter

from trainer.data import sources
from trainer.data.chat_template import ROW_CPU_S, ended, refuse_large
from trainer.data.decoding import Record
from trainer.data.keys import HELD_OUT, TRAIN
from trainer.data.render import Renderer, with_prompt
from trainer.data.survey import Feed, Survey, survey
from trainer.errors import DataError, Problem
from trainer.spec import RunSpec
from trainer.text import Message, storable

__all__ = ["DataReport", "Prepared", "load", "prompt_ids", "with_prompt"]

IN_MEMORY_BYTES = 64 * 2**20
"""JSON of the rendered rows up to which they stay in memory; the rows of more are in files that are mapped."""
Numbered = Iterator[tuple[int, dict[str, Any]]]
"""Rows with their number in their file, from 0."""


@dataclass
class DataReport:
    """What became of the rows; tokens are of the rendered prompts. longest_prompt_row counts the kept rows from 0."""

    rows: int = 0
    eval_rows: int = 0
    dropped: int = 0
    cut: int = 0
    eval_dropped: int = 0
    eval_cut: int = 0
    duplicates: int = 0
    """Rows whose prompt was there before; they stay in."""
    leaked: int = 0
    """Training rows whose prompt is also held out; left out when data.leaks is drop."""
    columns: list[str] = field(default_factory=list)
    """Of the training rows, `prompt` and what is made included."""
    warnings: list[Message] = field(default_factory=list)
    longest_prompt_tokens: int = 0
    longest_prompt_row: int = 0
    fingerprint: str = ""
    """SHA-256 over the rendered rows in their order: other rows or another template have another one."""

    held_out_fingerprint: str = ""
    """The same of the held-out rows."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"warnings": storable(self.warnings)}


class HeldOutRow(dict[str, Any]):
    """The columns of a held-out row. number: which row of its file it is, from 0; no column, so no reward sees it."""

    def __init__(self, columns: dict[str, Any], number: int) -> None:
        super().__init__(columns)
        self.number = number


class Prepared(NamedTuple):
    """Training dataset with `prompt` and the reward columns, held-out rows, and what became of the rows."""

    train: Dataset
    held_out: list[dict[str, Any]]
    """Each a HeldOutRow."""
    report: DataReport


def load(spec: RunSpec, tokenizer: Any, folder: Path | None = None) -> Prepared:
    """Read, render and fit the rows of a run; memory is bounded by IN_MEMORY_BYTES and the held-out rows used.

    folder: where rows that do not fit into memory are put until the process ends; None is the system's for such files.
    Raises DataError for what sources.inspect refuses (of a Hub dataset that is found here first), for chat without a
    chat template, and when nothing is left to train on, or to evaluate on where there are held-out rows.
    """
    train, held_out = feeds(spec)
    found = survey(spec, train, held_out)
    _refuse_chat_without_template(spec, tokenizer, found.messages)
    renderer = Renderer(spec, found.pool)
    report, of_held_out = DataReport(), DataReport()
    rows = ((number, renderer.row(columns)) for number, columns in _with_role(spec, train, found, TRAIN))
    kept = _Kept(folder, found.mixed)
    for _, row in _fitting(rows, spec, tokenizer, report):
        kept.add(row)
    if held_out is None:
        answered = _with_role(spec, train, found, HELD_OUT)
    else:
        answered = enumerate(row.columns for row in held_out.rows(spec))
    first = ((number, renderer.row(columns)) for number, columns in islice(answered, spec.eval.max_rows))
    held: list[dict[str, Any]] = [
        HeldOutRow(row, number) for number, row in _fitting(first, spec, tokenizer, of_held_out)
    ]
    report.eval_dropped, report.eval_cut = of_held_out.dropped, of_held_out.cut
    limit = spec.data.max_prompt_length
    if report.dropped and not kept.count:
        raise DataError(Problem("data.all_long", "data", count=report.dropped, most=limit))
    if report.eval_dropped and not held:
        raise DataError(Problem("data.all_held_out_long", "data", count=report.eval_dropped, most=limit))
    report.rows, report.eval_rows = kept.count, len(held)
    report.duplicates, report.leaked = found.duplicates, found.leaked
    report.columns, report.warnings = list(kept.columns), found.warnings
    report.fingerprint = kept.fingerprint()
    report.held_out_fingerprint = _Digest(held).hex() if held else ""
    return Prepared(kept.dataset(), held, report)


def _refuse_chat_without_template(spec: RunSpec, tokenizer: Any, messages: bool) -> None:
    if (spec.data.chat or messages) and not getattr(tokenizer, "chat_template", None):
        if messages:
            raise DataError(Problem("data.messages_no_template", "data"))
        raise DataError(Problem("data.no_template", "data.chat"))


def feeds(spec: RunSpec) -> tuple[Feed, Feed | None]:
    """(training rows, held-out rows), those of the Hub too."""
    train, held_out = sources.feeds(spec)
    if train is None:
        train = _of_hub(spec, spec.data.split, spec.data.max_rows)
    if spec.data.eval_split is not None:
        held_out = _of_hub(spec, spec.data.eval_split)
    return train, held_out


def _of_hub(spec: RunSpec, split: str, limit: int | None = None) -> Feed:
    """A split of a Hub dataset; its "lines" are rows, counted from 1."""
    data = spec.data
    try:
        dataset = load_dataset(data.name, data.config, split=split)
    except (OSError, ValueError) as error:  # not found, gated, no network, no such config or split
        problem = Problem("data.hub_unreadable", "data.name", name=data.name, split=split, said=str(error))
        raise DataError(problem) from error
    return Feed(
        f"{data.name} {split}",
        "data.path" if split == data.split else "data.eval_path",
        lambda: (Record(number, dict(row)) for number, row in enumerate(dataset, 1)),
        limit,
    )


def _with_role(spec: RunSpec, train: Feed, found: Survey, role: int) -> Numbered:
    """Columns of the training feed's rows that are trained on, or held out by eval_fraction."""
    if role in found.roles:
        for number, (row, its) in enumerate(zip(train.rows(spec), found.roles, strict=True)):
            if its == role:
                yield number, row.columns


def prompt_ids(prompt: Any, tokenizer: Any, chat_template_kwargs: dict[str, Any] | None = None) -> list[int]:
    """Tokens of a prompt exactly as TRL 1.14.2 tokenises it (`GRPOTrainer._tokenize_prompts`).

    Raises DataError where the chat template does not end, or makes more than fits.
    """
    if isinstance(prompt, str):
        return list(tokenizer(text=prompt)["input_ids"])
    kwargs = {"add_generation_prompt": True, **(chat_template_kwargs or {})}
    with ended(tokenizer.name_or_path):
        # Its text first: gigabytes of it would be tokenised for minutes, which nothing interrupts.
        refuse_large(tokenizer.apply_chat_template(prompt, tokenize=False, **kwargs), tokenizer.name_or_path)
        rendered = tokenizer.apply_chat_template(prompt, tokenize=True, return_dict=True, **kwargs)
    return list(rendered["input_ids"])


class _Digest:
    """SHA-256 of the JSON of the list of all rows."""

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self._digest, self._before = hashlib.sha256(b"["), b""
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> int:
        """The bytes of a row."""
        text = json.dumps(row, sort_keys=True, default=str).encode()
        self._digest.update(self._before + text)
        self._before = b", "
        return len(text)

    def hex(self) -> str:
        whole = self._digest.copy()
        whole.update(b"]")
        return whole.hexdigest()


class _Kept:
    """Rendered rows: in memory while they are few, then in Arrow files of one batch each that are mapped."""

    def __init__(self, place: Path | None, mixed: Iterable[str] = ()) -> None:
        self.count = 0
        self.columns: dict[str, None] = {}
        self._batch: list[dict[str, Any]] = []
        self._bytes = 0
        self._parts: list[Path] = []
        self._digest = _Digest()
        self._place, self._mixed = place, frozenset(mixed)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, row: dict[str, Any]) -> None:
        self._bytes += self._digest.add(row)
        self.count += 1
        self.columns.update(dict.fromkeys(row))
        self._batch.append(row)
        if self._bytes >= IN_MEMORY_BYTES:
            self._write()

    def fingerprint(self) -> str:
        return self._digest.hex()

    def _write(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="rows-", dir=self._place, ignore_cleanup_errors=True)
            atexit.register(self._folder.cleanup)  # the dataset reads from it until the process ends
        part = Path(self._folder.name) / f"{len(self._parts)}.arrow"
        _write(part, self._in_memory().data.table)
        self._parts.append(part)
        self._batch, self._bytes = [], 0

    def _in_memory(self) -> Dataset:
        alike = [column for column in self.columns if column not in self._mixed]
        # from_list takes the columns of the first row only
        made = Dataset.from_list([{column: row.get(column) for column in alike} for row in self._batch])
        for column in self.columns.keys() & self._mixed:  # Arrow has one kind a column
            made = made.add_column(column, [json.dumps(row.get(column)) for row in self._batch])
            made = made.cast_column(column, Json())
        return made.select_columns(list(self.columns))

    def dataset(self) -> Dataset:
        if not self._parts:
            return self._in_memory()
        if self._batch:
            self._write()
        self._make_alike()
        return concatenate_datasets([Dataset.from_file(str(part)) for part in self._parts])

    def _make_alike(self) -> None:
        """Write again the parts whose columns are not those of all: without a key, with int for float."""
        schemas = [Dataset.from_file(str(part)).data.schema.remove_metadata() for part in self._parts]
        whole = pyarrow.unify_schemas(schemas, promote_options="permissive")
        for part, schema in zip(self._parts, schemas, strict=True):
            if schema != whole:
                rows = Dataset.from_file(str(part)).to_list()
                texts = [row | {name: json.dumps(row[name]) for name in self._mixed & row.keys()} for row in rows]
                _write(part, pyarrow.Table.from_pylist(texts, schema=whole))


def _write(part: Path, table: Any) -> None:
    with ArrowWriter(path=str(part)) as writer:
        writer.write_table(table)
        writer.finalize()


def _fitting(rows: Numbered, spec: RunSpec, tokenizer: Any, report: DataReport) -> Numbered:
    """Rows whose prompt has at most max_prompt_length tokens, after dropping or cutting the others."""
    limit, kwargs = spec.data.max_prompt_length, spec.trl.get("chat_template_kwargs")
    kept = 0
    for number, row in rows:
        tokens = len(_ids_of_row(number, row["prompt"], tokenizer, kwargs))
        if tokens > limit and spec.data.overlong == "cut":
            row, tokens = _cut(row, tokens - limit, limit, tokenizer, kwargs)
            report.cut += 1
        if tokens > limit:
            if spec.data.overlong == "error":
                raise DataError(Problem("data.overlong", "data.overlong", tokens=tokens, most=limit))
            report.dropped += 1
            continue
        if tokens > report.longest_prompt_tokens:
            report.longest_prompt_tokens, report.longest_prompt_row = tokens, kept
        kept += 1
        yield number, row


def _ids_of_row(number: int, prompt: Any, tokenizer: Any, kwargs: dict[str, Any] | None) -> list[int]:
    """Raises DataError naming the row whose messages the chat template refuses, or does not end with."""
    try:
        return prompt_ids(prompt, tokenizer, kwargs)
    except DataError as error:
        key = "template.row_large" if error.problems[0].key == "template.large" else "template.row_endless"
        raise DataError(Problem(key, "data", row=number + 1, seconds=ROW_CPU_S)) from error
    except Exception as error:  # a chat template is a program that came with the model: it may raise anything
        if isinstance(prompt, str):
            raise
        roles = [message["role"] for message in prompt]
        raise DataError(Problem("template.row", "data", row=number + 1, roles=roles, said=str(error))) from error


def _cut(
    row: dict[str, Any], excess: int, limit: int, tokenizer: Any, kwargs: dict[str, Any] | None
) -> tuple[dict[str, Any], int]:
    """Shorten the last message (or the text) from its start until the rendered prompt fits."""
    prompt = row["prompt"]
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    ids = tokenizer(text=text, add_special_tokens=False)["input_ids"]
    while True:
        shorter = tokenizer.decode(ids[excess:], skip_special_tokens=True)
        cut = shorter if isinstance(prompt, str) else [*prompt[:-1], prompt[-1] | {"content": shorter}]
        tokens = len(prompt_ids(cut, tokenizer, kwargs))
        # Cutting can merge tokens differently; a prompt whose template alone is too long is left for dropping.
        if tokens <= limit or excess >= len(ids):
            return row | {"prompt": cut}, tokens
        excess += tokens - limit
