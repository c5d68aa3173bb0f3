"""trainer.data.render and preview: instructions by type, few-shot examples that are never the row itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trainer.data import preview, sources
from trainer.errors import DataError, SpecError
from trainer.presets import parse

TEXTS = {"a": "Add.", "b": "Take."}


def raw(folder: Path, rows: list[dict[str, Any]], **data: Any) -> dict[str, Any]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": {"name": "m"},
        "data": {"path": str(path), "prompt_template": "{instruction}\n{few_shot}\nQ: {prompt}",
                 "instruction": {"by": "kind", "texts": TEXTS}, "few_shot": {"by": "kind", "count": 2}, **data},
        "reward": {"components": [{"function": "exact_match"}]},
    }  # fmt: skip


def made(count: int = 8) -> list[dict[str, Any]]:
    return [{"kind": "ab"[n % 2], "prompt": f"<{n}>", "answer": str(n)} for n in range(count)]


def shown(folder: Path, rows: list[dict[str, Any]], **data: Any) -> dict[str, str]:
    """{prompt of a row: what is sent}"""
    sent = preview.preview(parse(raw(folder, rows, **data), "x.toml"), 100)
    return {row["prompt"][0]["content"].rpartition("Q: ")[2]: row["prompt"][0]["content"] for row in sent}


def test_examples_are_of_the_rows_type_and_never_the_row_itself(tmp_path: Path) -> None:
    for prompt, text in shown(tmp_path, made()).items():
        numbers = [int(n) for n in re.findall(r"<(\d+)>", text)]
        assert len(set(numbers)) == 3 and f"<{numbers[-1]}>" == prompt
        assert len({n % 2 for n in numbers}) == 1
        assert text.startswith(TEXTS["ab"[numbers[-1] % 2]])


def test_a_row_gets_the_same_examples_in_any_order_and_others_for_another_seed(tmp_path: Path) -> None:
    forwards = shown(tmp_path, made(20))
    assert shown(tmp_path, made(20)[::-1]) == forwards
    other = parse(raw(tmp_path, made(20)) | {"run": {"seed": 1}}, "x.toml")
    assert [row["prompt"][0]["content"] for row in preview.preview(other, 20)] != list(forwards.values())


def test_held_out_rows_are_no_examples(tmp_path: Path) -> None:
    held = {"prompt": "<99>", "kind": "a", "answer": "99"}
    (tmp_path / "held.jsonl").write_text(json.dumps(held))
    rows = [*made(), held]
    sent = shown(tmp_path, rows, eval_path=str(tmp_path / "held.jsonl"), leaks="drop")
    assert len(sent) == 8 and not any("<99>" in text for text in sent.values())


def test_examples_of_their_own_file_leave_the_row_out(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in made(6)))
    few_shot = {"by": "kind", "count": 2, "path": str(own)}
    for text in shown(tmp_path, made(6), few_shot=few_shot).values():
        assert len(set(re.findall(r"<(\d+)>", text))) == 3


@pytest.mark.parametrize("own", [False, True])
def test_too_few_examples_of_a_type_are_said_with_their_number(tmp_path: Path, own: bool) -> None:
    data: dict[str, Any] = {}
    if own:
        (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made(5)))
        data = {"few_shot": {"by": "kind", "count": 2, "path": str(tmp_path / "own.jsonl")}}
    with pytest.raises(DataError, match=r"rows.jsonl:2: there are 1 other examples of type 'b', 2 are wanted"):
        sources.inspect(parse(raw(tmp_path, made(5), **data), "x.toml"))


def test_a_row_of_an_unknown_type_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    rows = [*made(), {"kind": "c", "prompt": "x", "answer": "y"}]
    with pytest.raises(DataError, match=r"rows.jsonl:9: column kind is 'c', .* one of: a, b"):
        sources.inspect(parse(raw(tmp_path, rows), "x.toml"))


def test_columns_that_are_made_are_not_asked_for_and_those_of_rewards_are(tmp_path: Path) -> None:
    spec = parse(raw(tmp_path, made(), few_shot={"template": "{hint}"}), "x.toml")
    assert sources.needed_columns(spec) == ["prompt", "kind", "hint", "answer"]
    assert sources.needed_columns(spec, "data.eval_path") == ["prompt", "kind", "answer"]


@pytest.mark.parametrize("name", ["instruction", "few_shot"])
def test_what_is_made_must_be_named_by_the_template(tmp_path: Path, name: str) -> None:
    other = "few_shot" if name == "instruction" else "instruction"
    with pytest.raises(SpecError, match=f"data.{name}: is set, and data.prompt_template is"):
        parse(raw(tmp_path, made(), prompt_template=f"{{{other}}} {{prompt}}"), "x.toml")
