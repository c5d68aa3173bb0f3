"""Rows -> the datasets the trainer and the evaluation use, with prompts rendered as they will be sent.

Imports `datasets`; no model. Everything dropped or cut is counted in the report it returns.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from datasets import Dataset, load_dataset

from trainer.data import sources
from trainer.errors import DataError, Problem
from trainer.spec import Data, RunSpec


@dataclass
class DataReport:
    """What became of the rows; tokens are of the rendered prompts. longest_prompt_row counts the kept rows from 0."""

    rows: int = 0
    eval_rows: int = 0
    dropped: int = 0
    cut: int = 0
    eval_dropped: int = 0
    eval_cut: int = 0
    longest_prompt_tokens: int = 0
    longest_prompt_row: int = 0
    fingerprint: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Prepared(NamedTuple):
    """Training dataset with `prompt` and the reward columns, held-out rows, and what became of the rows."""

    train: Dataset
    held_out: list[dict[str, Any]]
    report: DataReport


def load(spec: RunSpec, tokenizer: Any) -> Prepared:
    """Read, render and fit the rows of a run.

    Raises DataError when nothing is left to train on.
    """
    rows, held_out = _read(spec)
    report = DataReport()
    rows = _fitting(rows, spec, tokenizer, report)
    of_held_out = DataReport()
    held_out = _fitting(held_out[: spec.eval.max_rows], spec, tokenizer, of_held_out)
    report.eval_dropped, report.eval_cut = of_held_out.dropped, of_held_out.cut
    if not rows:
        raise DataError(
            Problem(
                "data",
                f"all {report.dropped} prompts are longer than {spec.data.max_prompt_length} tokens",
                "--set data.max_prompt_length=N",
            )
        )
    report.rows, report.eval_rows = len(rows), len(held_out)
    report.fingerprint = hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()
    columns = dict.fromkeys(column for row in rows for column in row)  # from_list takes those of the first row only
    train = Dataset.from_list([{column: row.get(column) for column in columns} for row in rows])
    return Prepared(train, held_out, report)


def _read(spec: RunSpec) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and held-out rows with prompts in TRL's form, before any length check."""
    data = spec.data
    if data.path is not None:
        rows = [row.columns for row in sources.read_rows(data.path, spec, "data.path")]
    else:
        rows = _from_hub(spec, data.split)
    rows = rows[: data.max_rows]
    if data.eval_path is not None:
        held_out = [row.columns for row in sources.read_rows(data.eval_path, spec, "data.eval_path")]
    elif data.eval_split is not None:
        held_out = _from_hub(spec, data.eval_split)
    elif data.eval_fraction is not None:
        count = sources.split_counts(len(rows), data)[1]
        chosen = set(random.Random(spec.run.seed).sample(range(len(rows)), count))
        held_out = [row for index, row in enumerate(rows) if index in chosen]
        rows = [row for index, row in enumerate(rows) if index not in chosen]
    else:
        held_out = []
    return [with_prompt(row, data) for row in rows], [with_prompt(row, data) for row in held_out]


def _from_hub(spec: RunSpec, split: str) -> list[dict[str, Any]]:
    data = spec.data
    try:
        dataset = load_dataset(data.name, data.config, split=split)
    except (OSError, ValueError) as error:  # not found, gated, no network, no such config or split
        fix = "--set data.path=FILE.jsonl for a local file; check data.name, data.config, data.split and the network"
        raise DataError(Problem("data.name", f"{data.name} ({split}) can not be read: {error}", fix)) from error
    rows = [sources.Row(number, sources.rename(row, data)) for number, row in enumerate(dataset, 1)]
    sources.check_rows(rows, f"{data.name} {split}", spec)
    return [row.columns for row in rows]


def with_prompt(row: dict[str, Any], data: Data) -> dict[str, Any]:
    """The row with `prompt` as TRL wants it: messages for a chat, else text."""
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        return row
    text = data.prompt_template.format_map(row)
    if not data.chat:
        return row | {"prompt": text}
    system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
    return row | {"prompt": [*system, {"role": "user", "content": text}]}


def prompt_ids(prompt: Any, tokenizer: Any, chat_template_kwargs: dict[str, Any] | None = None) -> list[int]:
    """Tokens of a prompt exactly as TRL 1.14.2 tokenises it (`GRPOTrainer._tokenize_prompts`)."""
    if isinstance(prompt, str):
        return list(tokenizer(text=prompt)["input_ids"])
    rendered = tokenizer.apply_chat_template(
        prompt,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **(chat_template_kwargs or {}),
    )
    return list(rendered["input_ids"])


def _fitting(rows: list[dict[str, Any]], spec: RunSpec, tokenizer: Any, report: DataReport) -> list[dict[str, Any]]:
    """Rows whose prompt has at most max_prompt_length tokens, after dropping or cutting the others."""
    limit, kwargs = spec.data.max_prompt_length, spec.trl.get("chat_template_kwargs")
    kept: list[dict[str, Any]] = []
    for row in rows:
        tokens = len(prompt_ids(row["prompt"], tokenizer, kwargs))
        if tokens > limit and spec.data.overlong == "cut":
            row, tokens = _cut(row, tokens - limit, limit, tokenizer, kwargs)
            report.cut += 1
        if tokens > limit:
            if spec.data.overlong == "error":
                fix = f"--set data.max_prompt_length={tokens} or --set data.overlong=drop"
                raise DataError(Problem("data.overlong", f"a prompt has {tokens} tokens, {limit} are allowed", fix))
            report.dropped += 1
            continue
        if tokens > report.longest_prompt_tokens:
            report.longest_prompt_tokens, report.longest_prompt_row = tokens, len(kept)
        kept.append(row)
    return kept


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
