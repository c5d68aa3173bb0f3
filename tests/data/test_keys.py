"""trainer.data.keys: what is held out is on one side only; equal prompts are refused, alike ones are said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trainer.data import sources
from trainer.data.keys import HELD_OUT, TRAIN
from trainer.data.survey import survey
from trainer.errors import DataError
from trainer.spec import RunSpec


def written(path: Path, prompts: Sequence[str]) -> str:
    path.write_text("".join(json.dumps({"prompt": text, "answer": "1"}) + "\n" for text in prompts))
    return str(path)


def spec_for(path: str, **data: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": path, **data},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


ALIKE = [
    ("Reverse: Abc", "Reverse: aBC"),
    ("x\u00b2 = 4", "x2 = 4"),
    ("!p && q", "p && q"),
    ("f(x) = 'a'", "f(x) = a"),
    ("Don't", "Dont"),
    ("갤듯하다", "갤 듯하다"),
]


@pytest.mark.parametrize(("train", "held"), ALIKE)
def test_what_is_only_alike_is_said_and_not_refused(tmp_path: Path, train: str, held: str) -> None:
    path, other = written(tmp_path / "a.jsonl", ["other", train]), written(tmp_path / "b.jsonl", [held])
    for policy in ("error", "warn"):
        found = sources.inspect(spec_for(path, eval_path=other, leaks=policy))
        (said,) = map(str, found.warnings)
        assert said.startswith("a.jsonl:2: 1 training rows equal a held-out row but for case") and "lines 2" in said
        assert found.rows == 2
    dropped = sources.inspect(spec_for(path, eval_path=other, leaks="drop"))
    assert dropped.rows == 1
    assert "1 training rows are left out: their prompts are held out, 1 of them but" in str(dropped.warnings[0])


@pytest.mark.parametrize(("train", "held"), [("???", "..."), ("'", "\u201c")])
def test_marks_alone_are_never_alike(tmp_path: Path, train: str, held: str) -> None:
    path, other = written(tmp_path / "a.jsonl", ["other", train]), written(tmp_path / "b.jsonl", [held])
    assert sources.inspect(spec_for(path, eval_path=other)).warnings == []


@pytest.mark.parametrize(("train", "held"), [("Who? ", "\nWho?"), ("\ub458", "\u1103\u116e\u11af"), ("...", "...")])
def test_equal_prompts_are_refused_with_both_ways_out(tmp_path: Path, train: str, held: str) -> None:
    path, other = written(tmp_path / "a.jsonl", ["other", train]), written(tmp_path / "b.jsonl", ["x", held])
    with pytest.raises(DataError, match=r"a\.jsonl:2: its prompt is also held out, in b\.jsonl:2") as caught:
        sources.inspect(spec_for(path, eval_path=other))
    assert "data.leaks=drop" in str(caught.value) and "data.leaks=warn" in str(caught.value)


@pytest.mark.parametrize("seed", range(10))
def test_rows_that_are_there_twice_fall_on_one_side(tmp_path: Path, seed: int) -> None:
    texts = [f"Question {n % 12}" if n < 20 else f"question  {n % 12}?" for n in range(30)]
    spec = spec_for(written(tmp_path / "a.jsonl", texts), eval_fraction=0.3)
    spec = spec.model_copy(update={"run": spec.run.model_copy(update={"seed": seed})})
    roles = survey(spec, *sources.feeds(spec)).roles
    sides = {role: {n % 12 for n in range(30) if roles[n] == role} for role in (TRAIN, HELD_OUT)}
    assert not sides[TRAIN] & sides[HELD_OUT]
    assert 7 <= roles.count(HELD_OUT) <= 9  # groups of two and three rows


def test_without_duplicates_the_split_is_the_fraction_and_another_for_another_seed(tmp_path: Path) -> None:
    spec = spec_for(written(tmp_path / "a.jsonl", [f"q{n}" for n in range(40)]), eval_fraction=0.25)
    other = spec.model_copy(update={"run": spec.run.model_copy(update={"seed": 7})})
    first, second = (survey(one, *sources.feeds(one)).roles for one in (spec, other))
    assert first.count(HELD_OUT) == second.count(HELD_OUT) == 10
    assert first != second


@pytest.mark.parametrize(("prompts", "fraction", "message"), [
    (["a"], 0.1, "is 0.1: of 1 rows none is left"),
    (["a", "b"], 0.99, "is 0.99: of 2 rows none is left"),
    (["a", "A", "a?"], 0.5, "is 0.5: of 3 rows none is left"),
])  # fmt: skip
def test_a_fraction_that_takes_every_row_is_refused(
    tmp_path: Path, prompts: list[str], fraction: float, message: str
) -> None:
    with pytest.raises(DataError, match=rf"data\.eval_fraction: {message}"):
        sources.inspect(spec_for(written(tmp_path / "a.jsonl", prompts), eval_fraction=fraction))


@pytest.mark.parametrize("change", ["append", "shorten", "edit"])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path, change: str, limit: int | None) -> None:
    path = written(tmp_path / "a.jsonl", [f"q{n}" for n in range(5)])
    spec = spec_for(path, max_rows=limit)
    train, _ = sources.feeds(spec)
    assert train is not None and len(list(train.rows(spec))) == (limit or 5)
    texts = {
        "append": ["q0", "q1", "q2", "q3", "q4", "q5"],
        "shorten": ["q0"],
        "edit": ["q0", "q1", "q2", "q3", "qqq4"],
    }
    written(Path(path), texts[change])
    with pytest.raises(DataError, match=r"a\.jsonl was changed while it was read"):
        train.rows(spec)


@pytest.mark.parametrize(("held", "copies", "warns"), [(1, 1, True), (2, 2, False), (6, 3, True), (6, 4, False)])
def test_a_copied_run_of_words_is_seen_among_few_held_out_rows(
    tmp_path: Path, held: int, copies: int, warns: bool
) -> None:
    run = " ".join(f"w{n}" for n in range(13))
    path = written(tmp_path / "a.jsonl", ["something else", f"start {run} end"])
    other = written(tmp_path / "b.jsonl", [f"{n} {run}" if n < copies else f"question {n}" for n in range(held)])
    assert bool(sources.inspect(spec_for(path, eval_path=other)).warnings) == warns
