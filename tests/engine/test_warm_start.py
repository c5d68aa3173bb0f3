"""trainer.engine.warm_start: it learns from no row that is held out, and from the prompts GRPO will send."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trainer.data import sources
from trainer.data.dataset import load
from trainer.engine import builtin, warm_start
from trainer.errors import DataError
from trainer.presets import parse
from trainer.spec import RunSpec


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"prompt": f"<{number}>", "answer": f"is {number}"} for number in numbers]


def spec_for(folder: Path, warm: str, **data: Any) -> RunSpec:
    path = written(folder / "rows.jsonl", rows(*range(20)))
    raw = {
        "model": {"name": "builtin/tiny-qwen3", "warm_start": {"path": warm}},
        "data": {"path": path, **data},
        "reward": {"components": [{"function": "exact_match"}]},
    }
    return parse(raw, "x.toml")


def answers(spec: RunSpec) -> list[str]:
    assert spec.model.warm_start is not None
    return [answer for _, answer in warm_start.rendered(spec.model.warm_start, spec)]


def test_rows_that_a_fraction_holds_out_are_not_learnt(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, str(tmp_path / "rows.jsonl"), eval_fraction=0.2)
    train, held, _ = load(spec, builtin.make_tokenizer())
    assert len(held) == 4
    assert sorted(answers(spec)) == sorted(train["answer"])
    assert sources.inspect(spec).warnings == []


def test_rows_of_another_file_that_are_held_out_are_left_out_and_said(tmp_path: Path) -> None:
    held = written(tmp_path / "held.jsonl", rows(50, 51))
    spec = spec_for(tmp_path, written(tmp_path / "warm.jsonl", rows(1, 50, 60)), eval_path=held)
    assert answers(spec) == ["is 1", "is 60"]
    (said,) = map(str, sources.inspect(spec).warnings)
    assert said.startswith("warm.jsonl:2: 1 rows of the warm start are left out: their questions are held out")


def test_examples_are_those_of_the_training(tmp_path: Path) -> None:
    data = {"prompt_template": "{few_shot}\n\n{prompt}", "few_shot": {"count": 2}, "eval_fraction": 0.2}
    spec = spec_for(tmp_path, str(tmp_path / "rows.jsonl"), **data)
    train, held, _ = load(spec, builtin.make_tokenizer())
    assert spec.model.warm_start is not None
    made = warm_start.rendered(spec.model.warm_start, spec)
    assert [(row["prompt"], row["answer"]) for row in train] == made
    hidden = {row["answer"] for row in held}
    assert not hidden & set(re.findall(r"is \d+", json.dumps(made)))


@pytest.mark.parametrize(("content", "message"), [
    ('{"prompt": "a"}', "warm.jsonl:1: has no column answer"),
    ("42", "warm.jsonl:1: is int, not an object"),
    (None, "model.warm_start.path: no file"),
    ('{"prompt": "<50>", "answer": "x"}', "model.warm_start.path: all 1 rows of warm.jsonl are held out"),
])  # fmt: skip
def test_a_file_that_can_not_be_learnt_from_is_refused_before_the_start(
    tmp_path: Path, content: str | None, message: str
) -> None:
    warm = tmp_path / "warm.jsonl"
    if content is not None:
        warm.write_text(content)
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(tmp_path, str(warm), eval_path=written(tmp_path / "held.jsonl", rows(50))))
    assert message in str(caught.value)


def test_weights_have_another_name_when_a_row_they_come_from_is_held_out(tmp_path: Path) -> None:
    warm = written(tmp_path / "warm.jsonl", rows(50, 60))
    files = [written(tmp_path / f"held{number}.jsonl", rows(number)) for number in (70, 71, 60)]
    names = [builtin.cache_key(spec_for(tmp_path, warm, eval_path=path)) for path in files]
    assert names[0] == names[1] != names[2]


def test_a_bad_row_of_a_file_for_both_is_said_once(tmp_path: Path) -> None:
    spec = spec_for(tmp_path, str(tmp_path / "rows.jsonl"))
    (tmp_path / "rows.jsonl").write_text("42\n" + json.dumps(rows(1)[0]))
    with pytest.raises(DataError) as caught:
        sources.inspect(spec)
    assert [problem.where for problem in caught.value.problems] == ["rows.jsonl:1"]
