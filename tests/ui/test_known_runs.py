"""What the page knows of all runs, read from their logs a little further each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.builders import began, finished, step
from trainer.errors import RunError
from trainer.run.rundir import RunDir
from trainer.ui.known_runs import CURVE, KnownRuns

MakeRun = Callable[..., RunDir]


def test_runs_not_read_in_time_come_at_the_next_tick(make_run: MakeRun) -> None:
    for name in ("a", "b", "c"):
        make_run(name, *finished())
    runs = KnownRuns()
    assert [row.status for row in runs.table(budget_s=-1).rows] == [None, None, None]
    assert {row.status for row in runs.table().rows} == {"finished"}
    assert {row.status for row in runs.table(budget_s=-1).rows} == {"finished"}


def test_a_run_made_anew_under_the_same_name_is_read_anew(make_run: MakeRun) -> None:
    runs = KnownRuns()
    old = make_run("tiny-1", *finished())
    assert runs.table().rows[0].status == "finished"
    shutil.rmtree(old.path)
    with pytest.raises(RunError), runs.look("tiny-1"):
        pass
    make_run("tiny-1", began(), step(1, of=7), {"kind": "run_stopped", "step": 1})
    with runs.look("tiny-1") as seen:
        assert (seen.status, seen.total) == ("stopped", 7)


def test_a_row_holds_what_the_run_came_to_and_a_short_line_of_its_reward(make_run: MakeRun) -> None:
    make_run("tiny-1", *finished(1000))
    (row,) = KnownRuns().table().rows
    assert (row.title, row.model, row.steps, row.total) == ("A small one", "builtin/tiny-qwen3", 1000, 1000)
    assert (row.correct, row.held_out) == ((0.25, 0.75), (0.5, 0.5))
    assert row.seconds == pytest.approx(1004.0)
    assert 10 < len(row.curve) <= CURVE
    assert row.curve[-1][0] == 1000
    assert row.curve == sorted(row.curve, key=lambda point: point[1])
