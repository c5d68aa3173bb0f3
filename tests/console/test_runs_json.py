"""python -m trainer runs --json: a line of JSON a run, whatever lies in its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.reading import page, parts
from trainer.__main__ import main
from trainer.run.rundir import RunDir

MakeRun = Callable[..., RunDir]


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["runs", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_without_runs_there_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys) == []


def test_a_run_with_its_state_and_scores(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    step = {"kind": "step", "of": 9, "seconds": 1.0, "metrics": {"train/reward": 0.25}}
    steps = [step | {"step": number} for number in (1, 2)]
    final = {"kind": "run_stopped", "step": 2, "seconds": 3.0}
    evaluated = {"kind": "eval", "at": "during", "step": 2, "reward": 0.5, "correct_frac": 0.75}
    run = make_run("tiny-1", {"kind": "run_started"}, *steps, evaluated, final)
    (found,) = listed(capsys)
    assert (found["run"], found["status"], found["path"]) == ("tiny-1", "stopped", str(run.path))
    assert (found["steps"], found["steps_total"], found["reward_last"]) == (2, 9, 0.25)
    assert (found["eval_after"], found["correct_after"], found["eval_before"]) == (0.5, 0.75, None)
    assert found["model"] == run.read_spec().model.name and found["error"] is None
    assert isinstance(found["started_t"], float)


def test_a_damaged_run_costs_its_line_only(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    make_run("good-1")
    make_run("odd-1").spec.write_text("{")
    found = {line["run"]: line for line in listed(capsys)}
    assert found.keys() == {"good-1", "odd-1"}
    assert found["good-1"]["error"] is None
    assert found["odd-1"]["error"] and found["odd-1"]["model"] is None


def test_every_field_is_documented(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    make_run("good-1")
    (found,) = listed(capsys)
    told = set(re.findall(r"`(\w+)`", parts(page("docs/commands.md"))["python -m trainer runs"]))
    assert found.keys() <= told
