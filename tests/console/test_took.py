"""What a run took is said beside what was expected of it, where the two can be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from trainer.console import lines
from trainer.run.rundir import RunDir
from trainer.run.state import state_of
from trainer.run.summary import summary
from trainer.text import words

ENDED = {"kind": "run_finished", "t": 140.0, "attempt": 1, "step": 4}


def took(run: RunDir, expected: Any = 50.0) -> str:
    run.env.write_text(json.dumps({"expected_s": expected}))
    return lines.took(summary(state_of(run), run), words("en"))


def test_what_was_expected_stands_beside_what_it_took(make_run: Callable[..., RunDir]) -> None:
    run = make_run("tiny-1", {"kind": "run_started"}, ENDED)
    assert took(run) == "took 40 s in all; 50 s were expected, 1.25 times that"


@pytest.mark.parametrize("expected", [None, 0, "long"])
def test_where_nothing_was_expected_nothing_is_said(make_run: Callable[..., RunDir], expected: Any) -> None:
    assert took(make_run("tiny-1", {"kind": "run_started"}, ENDED), expected) == ""


def test_a_run_that_was_interrupted_cannot_be_compared(make_run: Callable[..., RunDir]) -> None:
    again = {"kind": "run_started", "t": 120.0, "attempt": 2}
    assert took(make_run("tiny-1", {"kind": "run_started"}, again, ENDED | {"attempt": 2})) == ""
    assert took(make_run("tiny-2", {"kind": "run_started"})) == ""
