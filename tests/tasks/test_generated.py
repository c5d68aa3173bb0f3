"""The file of a task's rows: made once, the same for the same settings, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.errors import DataError
from trainer.tasks import catalogue, child, generated, making
from trainer.text import words

SUM = catalogue.tasks()["reasoning_gym:chain_sum"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))


def test_the_same_settings_give_the_same_file_and_others_another() -> None:
    first = generated.file(SUM, {"max_terms": 3}, 20, 7)
    content = first.read_bytes()
    first.unlink()
    again = generated.file(SUM, {"max_terms": 3}, 20, 7)
    assert again == first and again.read_bytes() == content
    others = [generated.file(SUM, {"max_terms": 3}, 20, 8), generated.file(SUM, {"max_terms": 4}, 20, 7)]
    assert len({content, *(path.read_bytes() for path in others)}) == 3
    assert not [path for path in generated.folder().iterdir() if path.name.startswith(".")]


def test_defaults_that_are_typed_are_the_same_task() -> None:
    default = SUM.params["max_terms"].default
    made = generated.file(SUM, {}, 3, 7)
    assert generated.file(SUM, {"max_terms": default}, 3, 7) == made


def test_a_row_has_what_the_prompt_the_reward_and_a_curriculum_need() -> None:
    rows = list(generated.rows(generated.file(SUM, {"min_terms": 2, "max_terms": 6}, 30, 7)))
    assert len(rows) == 30 and list(rows[0]) == ["prompt", "answer", "difficulty", "entry"]
    hard = {len(row["prompt"].rpartition(":")[2].split()): row["difficulty"] for row in rows}
    assert all(0 <= row["difficulty"] <= 1 for row in rows) and len(hard) > 2
    entry = json.loads(rows[0]["entry"])
    assert (entry["task"], entry["params"]["max_terms"], entry["answer"]) == ("chain_sum", 6, rows[0]["answer"])


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        ({"terms": 4, "difficulty": {"terms": (2, 6)}}, 0.5),
        ({"terms": 2, "digits": 4, "difficulty": {"terms": (2, 6), "digits": (1, 4)}}, 0.5),
        ({"numbers": [1, 2, 3], "difficulty": {"numbers": (1, 3)}}, 1.0),
        ({"terms": 9, "difficulty": {"terms": (2, 6)}}, 1.0),
        ({"terms": 3, "difficulty": {"terms": (3, 3)}}, None),
        ({"terms": 3, "difficulty": {"terms": 3}}, None),
        ({"difficulty": {"terms": (2, 6)}}, None),
        ({"terms": 3}, None),
    ],
)
def test_difficulty_is_the_place_in_the_ranges_that_rows_are_drawn_from(metadata: dict, place: float | None) -> None:
    assert child.difficulty(metadata) == place


def test_what_the_generator_refuses_is_said_in_one_line_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as refused:
        generated.file(SUM, {"min_terms": 9, "max_terms": 2}, 5, 7)
    (problem,) = refused.value.problems
    assert problem.place == "data.task_params" and "max_terms" in problem.what and "\n" not in problem.what
    assert "chain_sum" in problem.said(words("ko")).what
    monkeypatch.setattr(making, "start", lambda: pytest.fail("asked twice"))
    with pytest.raises(DataError, match="max_terms"):
        generated.file(SUM, {"min_terms": 9, "max_terms": 2}, 5, 7)


def test_without_the_package_it_is_said_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "installed_version", lambda: None)
    with pytest.raises(DataError, match=f"pip install -c constraints.txt reasoning-gym=={catalogue.checked_version()}"):
        generated.file(SUM, {}, 5, 7)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(DataError, match="made no rows"):
        generated.file(SUM, {}, 5, 7)


def test_a_file_is_known_by_its_name_whatever_made_it(tmp_path: Path) -> None:
    made = generated.file(SUM, {}, 5, 7)
    older = tmp_path / made.name.replace(catalogue.checked_version(), "0.1.9")
    older.write_bytes(made.read_bytes())
    assert generated.is_of(str(older), SUM, {}, 5, 7) and generated.version_of(str(older)) == "0.1.9"
    assert not generated.is_of(str(older), SUM, {}, 5, 8)
    assert not generated.is_made("/somewhere/rows.jsonl") and generated.version_of("/somewhere/rows.jsonl") is None
