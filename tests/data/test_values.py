"""trainer.data.values: one kind a column all the way down, and nothing that Arrow or a tokenizer cannot take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.data import sources
from trainer.data.values import MAX_DEPTH, MAX_KEYS, Unusable, kind_of, merged
from trainer.errors import DataError
from trainer.spec import RunSpec


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def spec_for(path: Path, **data: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path), **data},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


@pytest.mark.parametrize(("value", "kind"), [
    (None, None),
    (True, "bool"),
    (2**53, "int"),
    (2**53 + 1, "int of more than 53 bits"),
    ([], ("list", None)),
    ([None, [1], []], ("list", ("list", "int"))),
    ([1, 0.5], ("list", "float")),
    ([{"a": 1}, {"b": "x"}], ("list", {"a": "int", "b": "str"})),
])  # fmt: skip
def test_kinds_of_values(value: Any, kind: Any) -> None:
    assert kind_of(value, strict=False) == kind


@pytest.mark.parametrize(("first", "other", "strict", "both"), [
    (1, 0.5, False, "float"),
    (0.5, 1, False, "float"),
    (1, 0.5, True, None),
    (2**60, 0.5, False, None),
    (1, 2**60, True, "int of more than 53 bits"),
    (1, True, False, None),
    ("a", None, True, "str"),
    ({"a": [1]}, {"a": [], "b": 2}, True, {"a": ("list", "int"), "b": "int"}),
    ({"a": [1]}, {"a": ["x"]}, True, None),
    ({"a": 1}, [1], True, None),
])  # fmt: skip
def test_kinds_of_a_column(first: Any, other: Any, strict: bool, both: Any) -> None:
    if both is None:
        with pytest.raises(Unusable, match=r"holds .* and "):
            merged(kind_of(first), kind_of(other), strict)
    else:
        assert merged(kind_of(first), kind_of(other), strict) == both


CASES: list[tuple[str, Any, str]] = [
    ("list of two types", [1, "a"], "column x holds int and str"),
    ("objects of two types", [{"a": 1}, {"a": "b"}], "column x holds int and str"),
    ("long number inside", {"a": {"b": 10**30}}, "column x is a number of more than 64 bits"),
    ("nesting", nested(400), f"column x is nested more than {MAX_DEPTH} deep"),
    ("half a character in a list", ["a", "\ud800"], "column x holds half a character"),
    ("half a character in a key", {"\udfff": 1}, "column x holds half a character"),
    ("other type than line 1", 5, "column x is int, in line 1 it is list"),
    ("other type inside", ["a"], "column x holds float and str, counted from line 1 on"),
    ("keys without end", [{str(n): 1} for n in range(MAX_KEYS + 1)], "column x is an object, with more than 1000 keys"),
]


@pytest.mark.parametrize(("name", "value", "message"), CASES, ids=[case[0] for case in CASES])
def test_what_can_not_be_stored_is_named_with_its_line(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": "a", "answer": "b", "x": [0.5]}, {"prompt": "c", "answer": "d", "x": value}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(path))
    said = str(caught.value)
    assert f"rows.jsonl:2: {message}" in said
    said.encode()


@pytest.mark.parametrize("row", [
    {"prompt": [{"role": "user", "content": "\ud800"}], "answer": "b"},
    {"prompt": "a", "answer": "b", "\ud800": 1},
    {"\ud800": "a", "answer": "b"},
])  # fmt: skip
def test_half_a_character_anywhere_is_said_in_text_that_can_be_printed(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"rows\.jsonl:1: column .* holds half a character") as caught:
        sources.inspect(spec_for(path))
    str(caught.value).encode()


def test_nul_in_a_message_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": [{"role": "user", "content": "a\0"}], "answer": "b"}))
    assert "column prompt holds NUL" in str(sources.inspect(spec_for(path)).warnings[0])


def test_numbers_may_mix_unless_a_template_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": "a", "answer": 1, "diff": 1}, {"prompt": "b", "answer": 2, "diff": 0.5}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert sources.inspect(spec_for(path)) == sources.Inspection(rows=2, eval_rows=None)
    with pytest.raises(DataError, match=r"rows\.jsonl:2: column diff is float, in line 1 it is int"):
        sources.inspect(spec_for(path, prompt_template="{prompt} {diff}"))
