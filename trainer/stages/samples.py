"""Completions of the starting policy with their rewards, in a file of the run: written once, whatever interrupts it.

One JSON line a row of the data, in order, after a first line that says what they belong to and how many rows are a
part. The random numbers of a part follow from the run's seed and the part's number, so that a run which was killed
meanwhile goes on where the file ends and writes what it would have written. A line that was cut short is written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.dataset import prompt_ids
from trainer.evaluate.answering import answer, score
from trainer.evaluate.sampled import decoding, seed_at, seeded
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import RunSpec


@dataclass(frozen=True)
class Sample:
    """One completion. ids: its tokens. ended: it ends by itself. reward, correct: None where nobody could judge it."""

    text: str
    ids: list[int]
    reward: float | None
    correct: bool | None
    ended: bool


@dataclass(frozen=True)
class Sampled:
    """The completions of one row."""

    prompt_ids: list[int]
    completions: list[Sample]


class SampleFile:
    """facts: of what the samples depend on; a file of others is written anew. at_once: rows of a part, where the file
    does not say so already: another number would give other samples."""

    def __init__(self, path: Path, facts: dict[str, Any], at_once: int) -> None:
        self.path, self.facts, self.at_once = path, facts, at_once

    def read(self) -> list[Sampled]:
        """Those that are whole, and the file without the rest."""
        found: list[Sampled] = []
        good = 0
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file):
                    read = _read(line)
                    if read is None or not (self._is_mine(read) if number == 0 else _put(found, read)):
                        break
                    good += len(line)
        except FileNotFoundError:
            pass
        if good and good < self.path.stat().st_size:
            os.truncate(self.path, good)
        elif not good:
            self._start()
        return found

    def _is_mine(self, first: Any) -> bool:
        at_once = first.get("at_once") if isinstance(first, dict) else None
        if not isinstance(at_once, int) or at_once < 1 or first != self._first(at_once):
            return False
        self.at_once = at_once
        return True

    def _first(self, at_once: int) -> dict[str, Any]:
        return {**self.facts, "at_once": at_once}

    def _start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            _write(file, [self._first(self.at_once)])

    def add(self, rows: Sequence[Sampled]) -> None:
        with self.path.open("ab") as file:
            _write(file, [_line(row) for row in rows])


def _write(file: Any, lines: Sequence[dict[str, Any]]) -> None:
    file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8", "surrogatepass"))
    file.flush()
    os.fsync(file.fileno())


def _read(line: bytes) -> Any:
    """None for a line that is not whole."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _line(row: Sampled) -> dict[str, Any]:
    return {"prompt": row.prompt_ids, "completions": [vars(one) for one in row.completions]}


def _put(found: list[Sampled], line: Any) -> bool:
    """False for a line that is none of ours."""
    try:
        found.append(Sampled(line["prompt"], [Sample(**each) for each in line["completions"]]))
    except (LookupError, TypeError):
        return False
    return True


def rows_at_once(spec: RunSpec) -> int:
    """As many as an evaluation or a micro-batch has completions."""
    return max(1, max(spec.eval.batch_size, spec.optim.per_device_train_batch_size) // spec.generation.num_generations)


def sample(
    file: SampleFile,
    model: Any,
    tokenizer: Any,
    rows: Any,
    wrapper: ComponentRewardWrapper,
    spec: RunSpec,
    ends: set[int],
    check: Callable[[], None],
) -> list[Sampled]:
    """generation.num_generations completions of every row. check: called between two parts; raises to stop."""
    found = file.read()
    at_once = file.at_once
    begin = len(rows) if len(found) == len(rows) else len(found) // at_once * at_once
    for start in range(begin, len(rows), at_once):
        check()
        some = [rows[row] for row in range(start, min(start + at_once, len(rows)))]
        written = _part(model, tokenizer, some, wrapper, spec, ends, start // at_once)
        new = written[max(0, len(found) - start) :]
        file.add(new)
        found += new
    return found


def _part(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    wrapper: ComponentRewardWrapper,
    spec: RunSpec,
    ends: set[int],
    number: int,
) -> list[Sampled]:
    group, kwargs = spec.generation.num_generations, spec.trl.get("chat_template_kwargs")
    repeated = [row for row in rows for _ in range(group)]
    with seeded(model, seed_at(spec.run.seed, number)):
        answers = answer(
            model,
            tokenizer,
            [row["prompt"] for row in repeated],
            decoding(spec.generation) | (spec.trl.get("generation_kwargs") or {}),
            batch_size=len(repeated),
            chat_template_kwargs=kwargs,
        )
    assert answers is not None, "nobody interrupts one part"
    scored = score(wrapper, repeated, answers, batch_size=len(repeated))
    assert scored is not None
    found = []
    for place, row in enumerate(rows):
        some = range(place * group, (place + 1) * group)
        completions = [
            Sample(answers.texts[i], ids, scored.rewards[i], scored.correct[i], bool(ids) and ids[-1] in ends)
            for i in some
            for ids in [answers.ids[i]]
        ]
        found.append(Sampled(prompt_ids(row["prompt"], tokenizer, kwargs), completions))
    return found
