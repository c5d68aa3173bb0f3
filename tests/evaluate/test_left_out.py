"""python -m trainer evaluate where a run had to leave held-out rows out: the rest is scored, and how many is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluate.made import FORMULA, MALPYEONG, evaluate, told
from trainer.data.dataset import HeldOutRow
from trainer.evaluate import answers
from trainer.machine.json_files import read_json
from trainer.run.rundir import RunDir
from trainer.spec import Data, RunSpec

LINES = MALPYEONG.read_text(encoding="utf-8").splitlines(True)[:8]


@pytest.fixture
def spec(spec: RunSpec, tmp_path: Path) -> RunSpec:
    path = tmp_path / "right.jsonl"
    path.write_text("".join(LINES), encoding="utf-8")
    return spec.model_copy(update={"reward": FORMULA, "data": Data(path="rows.jsonl", eval_path=str(path))})


def answered(make_run: Callable[..., RunDir], dropped: int) -> RunDir:
    """A run whose log says that so many rows were too long, and which answered all labels but 0 and 5."""
    rundir = make_run("short-1", {"kind": "plan", "data": {"eval_dropped": dropped}})
    labels = [json.loads(line) for line in LINES]
    kept = [
        (HeldOutRow(row, number), text)
        for number, (row, text) in enumerate(zip(labels, told(labels, 3), strict=True))
        if number not in (0, 5)
    ]
    answers.write(rundir, "1", [row for row, _ in kept], [text for _, text in kept])
    return rundir


def test_answers_have_the_number_of_their_row_in_the_file(make_run: Callable[..., RunDir]) -> None:
    written = json.loads(answered(make_run, 2).inference_file("1").read_bytes())
    assert [entry["id"] for entry in written] == [1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize("dropped", [2, 3])  # the labels may be fewer than the run's rows
def test_labels_of_rows_that_were_too_long_are_left_out(
    make_run: Callable[..., RunDir], capsys: pytest.CaptureFixture[str], dropped: int
) -> None:
    rundir = answered(make_run, dropped)
    assert evaluate("short-1") == 0
    assert f"Left out: too long for the run ({dropped} held-out rows" in capsys.readouterr().out
    written = read_json(rundir.scores)
    assert written is not None and written["best"]["rows"] == 6


def test_more_labels_without_an_answer_than_were_left_out_are_refused(
    make_run: Callable[..., RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    answered(make_run, 1)
    assert evaluate("short-1") == 2
    assert "id 0: is in the labels and has no answer" in capsys.readouterr().err
