"""python -m trainer rewards check: rewards on real rows, as a table.

Runs in the terminal's process; the functions run in theirs. Torch comes only with a reward that holds a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from trainer import presets, text
from trainer.console.printing import put
from trainer.console.tables import put_table
from trainer.data import preview, special_tokens
from trainer.errors import InputError, Problem, RewardError
from trainer.preflight import rewards as preflight
from trainer.rewards import check, own_file
from trainer.rewards.scan import scan
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import RunSpec
from trainer.text import forms

CELL = 48


def spec_of(
    file: Path | None, functions: Sequence[str], data: Path | None, preset: str | None, overrides: Sequence[str]
) -> RunSpec:
    """What to try: the functions of a file, on the rows of `data` or of the preset; without a file the preset's own.

    Raises InputError with what is missing or wrong.
    """
    if file is None and preset is None:
        raise InputError(Problem("console.no_rewards"))
    if file is not None and preset is None and data is None:
        raise InputError(Problem("console.no_rows", file=file.name))
    path = [] if data is None else [f"data.path={data}", *(f"data.{key}=" for key in _OTHER_ROWS)]
    if preset is not None:
        without = ["model.warm_start="] if data is not None else []  # it has other rows, under other names
        spec = presets.load(preset, [*path, *without, *overrides])
        return spec if file is None else spec.model_copy(update={"reward": _reward(spec, file, functions)})
    assert file is not None
    raw: dict[str, Any] = {
        "model": {"name": "builtin/tiny-qwen3"},
        "data": {},
        "reward": {"components": _components(file, functions)},
    }
    return presets.parse(presets.merge(raw, [*path, *overrides]), text.here()("console.command_line"))


_OTHER_ROWS = ("name", "config", "eval_path", "eval_split", "eval_fraction")


def _components(file: Path, functions: Sequence[str]) -> list[dict[str, Any]]:
    try:
        found = functions or own_file.rewards_in(str(file))
    except RewardError as error:  # what was typed is wrong: nothing has been tried yet
        raise InputError(error.problems) from error
    if not found:
        raise InputError(Problem("console.no_function", str(file)))
    return [{"function": name, "file": str(file.absolute())} for name in found]


def _reward(spec: RunSpec, file: Path, functions: Sequence[str]) -> Any:
    raw = spec.reward.model_dump() | {"components": _components(file, functions), "correct": None}
    return type(spec.reward).model_validate(raw)


def run(spec: RunSpec, rows: int, typed: Sequence[str], out: TextIO) -> bool:
    """Try, print, and say whether the rewards can be used. Raises TrainerError."""
    words = text.here()
    problems = list(preflight.problems(spec))
    if problems:
        raise InputError(problems)
    every = preview.rows(spec)
    shown = list(islice(every, rows))
    told = special_tokens.retelling(spec)
    wrapper = ComponentRewardWrapper(preflight.judging(spec), pooled=True)
    try:
        found = check.trial(wrapper, shown, typed, told)
        found.warnings += scan(wrapper, chain(shown, every), told)
    finally:
        wrapper.close()
    first = found.warnings[:1] if found.warnings and found.warnings[0].key in check.FIRST else []
    for note in first:
        put(words("rewards.try.warning", text=forms.printable(words.said(note))), out, end="\n\n")
    put_table([[forms.printable(cell)[:CELL] for cell in row] for row in check.table(found, words)], out)
    put(to=out)
    for name, seconds in found.seconds.items():
        put(words("rewards.try.time", name=name, ms=f"{seconds / len(found.tries) * 1000:.2f}"), out)
    for note in found.warnings[len(first) :]:
        put(words("rewards.try.warning", text=forms.printable(words.said(note))), out)
    for problem in found.problems:
        said = problem.said(words)
        put(words("rewards.try.error", text=forms.printable(f"{said.where}: {said.what}")), out)
    if not found.problems and not found.warnings:
        put(words("rewards.try.good"), out)
    return not found.problems
