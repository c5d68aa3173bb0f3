"""trainer.run.held_out_texts: a few held-out questions with their answers over time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from trainer.run import held_out_texts
from trainer.run.held_out_texts import MOST_CHARACTERS, MOST_EVALUATIONS, MOST_ROWS, Answer, note, read
from trainer.run.rundir import RunDir

ASKED = [("Reverse: abc", "cba"), ("Reverse: de", None)]


@pytest.fixture
def run(make_run: Callable[..., RunDir]) -> RunDir:
    return make_run()


def said(*texts: str) -> list[Answer]:
    return [Answer(text, float(len(text)), text == "cba") for text in texts]


def test_a_run_that_recorded_none_has_none(run: RunDir) -> None:
    assert read(run, range(100)) == []


def test_answers_are_read_as_they_were_written(run: RunDir) -> None:
    note(run, 0, ASKED, said("ab", ""))
    note(run, 10, ASKED, [Answer("cba", None, None), *said("ed")])
    first, second = read(run, {0, 10})
    assert (first.question, first.gold, second.gold) == ("Reverse: abc", "cba", None)
    assert first.answers == {0: Answer("ab", 2.0, False), 10: Answer("cba", None, None)}
    assert [answer.text for answer in second.answers.values()] == ["", "ed"]
    assert list(read(run, {10})[0].answers) == [10]  # the evaluation at 0 does not count any more


def test_an_attempt_that_goes_back_takes_back_what_came_later(run: RunDir) -> None:
    for step in (0, 10, 20):
        note(run, step, ASKED, said(f"at {step}", ""))
    note(run, 10, ASKED, said("again", ""))
    assert {step: answer.text for step, answer in read(run, range(100))[0].answers.items()} == {0: "at 0", 10: "again"}
    note(run, 20, ASKED[:1], said("other rows"))
    assert list(read(run, range(100))[0].answers) == [20]


def test_the_file_stays_small_however_long_the_run_is(run: RunDir) -> None:
    many = [(f"{n}" * 9000, "g" * 9000) for n in range(40)]
    for step in range(3 * MOST_EVALUATIONS):
        note(run, step, many, said(*["x" * 9000] * 40))
    found = read(run, range(10_000))
    steps = list(found[0].answers)
    assert len(found) == MOST_ROWS and len(steps) <= MOST_EVALUATIONS
    assert steps[0] == 0 and steps[-1] == 3 * MOST_EVALUATIONS - 1
    assert len(found[0].question) == len(found[0].answers[0].text) == MOST_CHARACTERS
    assert run.held_out.stat().st_size < held_out_texts.MOST_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"questions": 1, "evaluations": {}}',
        '{"questions": [1, {}], "evaluations": [1, {"step": "x"}]}',
        '{"questions": [{"question": "q"}], "evaluations": [{"step": 1, "answers": [7]}]}',
    ],
)
def test_a_damaged_file_is_no_answers(run: RunDir, text: str) -> None:
    run.held_out.write_text(text, encoding="utf-8")
    assert read(run, range(100)) == []
    note(run, 1, ASKED, said("ab", "cd"))
    assert json.loads(run.held_out.read_text(encoding="utf-8"))["evaluations"][0]["step"] == 1
