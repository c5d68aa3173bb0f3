"""The column a curriculum orders rows by: what is refused before anything heavy is loaded, in both languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import latin
from trainer import presets
from trainer.data import difficulty, sources
from trainer.errors import DataError
from trainer.spec.sampling import Sampling


def inspected(tmp_path: Path, values: list[Any], *settings: str) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"Reverse: {number}", "answer": str(number)} | ({} if value is ... else {"hard": value})
        for number, value in enumerate(values)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = [
        "sampling.curriculum=column",
        "sampling.difficulty=hard",
        f"data.path={path}",
        "data.eval_path=",
        *settings,
    ]
    found = sources.inspect(presets.load("tiny", [*chosen, "model.warm_start="]))
    assert found is not None and found.rows == len(values)


@pytest.mark.parametrize(
    ("values", "key", "place"),
    [
        ([1, ..., 2], "data.no_difficulty", "rows.jsonl:2"),
        (["easy", "hard", "easy"], "data.difficulty_no_number", "rows.jsonl:1"),
        (["1", "2", "three"], "data.difficulty_no_number", "rows.jsonl:3"),
        ([1.5, 1.5, 1.5], "data.difficulty_constant", "rows.jsonl"),
        ([True, False, True], "data.difficulty_no_number", "rows.jsonl:1"),
        (["nan", "1", "2"], "data.difficulty_no_number", "rows.jsonl:1"),
    ],
)
def test_a_column_that_orders_nothing_is_refused(tmp_path: Path, values: list[Any], key: str, place: str) -> None:
    with pytest.raises(DataError) as caught:
        inspected(tmp_path, values)
    (problem,) = caught.value.problems
    assert (problem.key, problem.place) == (key, place)
    assert latin.left_in(problem) == []
    assert "sampling." in str(problem)


def test_the_order_that_is_proposed_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        inspected(tmp_path, ["easy", "hard", "easy"])
    assert """--set 'sampling.difficulty_order=["easy", "hard"]'""" in str(caught.value)
    inspected(tmp_path, ["easy", "hard", "easy"], 'sampling.difficulty_order=["easy", "hard"]')


def test_a_text_that_the_order_does_not_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"which sampling\.difficulty_order does not name"):
        inspected(tmp_path, ["easy", "hard", "odd"], 'sampling.difficulty_order=["easy", "hard"]')


def test_numbers_in_texts_are_numbers(tmp_path: Path) -> None:
    inspected(tmp_path, ["1", "2", "10"])
    assert difficulty.numbers(["1", 2, 3.5], Sampling()) == [1.0, 2.0, 3.5]
    assert difficulty.numbers(["1", "easy"], Sampling()) is None
    assert difficulty.numbers(["hard", "easy"], Sampling(difficulty_order=["easy", "hard"])) == [1.0, 0.0]


def test_group_sizes_need_the_column_that_is_named(tmp_path: Path) -> None:
    by_size = ("sampling.curriculum=off", "sampling.group_size=spread")
    with pytest.raises(DataError) as caught:
        inspected(tmp_path, [1, ..., 2], *by_size)
    assert [problem.key for problem in caught.value.problems] == ["data.no_difficulty"]
    inspected(tmp_path, [1, 1, 1], *by_size)
    inspected(tmp_path, [..., ..., ...], *by_size, "sampling.difficulty=difficulty")


def test_nothing_is_looked_at_without_a_curriculum(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        inspected(tmp_path, [..., ..., ...])
    inspected(tmp_path, [..., ..., ...], "sampling.curriculum=off")
