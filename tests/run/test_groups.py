"""Rollout files: written by trainer.run.rollouts, and whatever is in one, its four readers read the same of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.export.source import Source
from trainer.machine.secrets import Redactor
from trainer.mirrors import completions
from trainer.report import material
from trainer.run.groups import DEAD, OUTCOMES, Plan, read_groups
from trainer.run.rollouts import write
from trainer.run.rundir import RunDir
from trainer.ui.groups.step_files import StepFiles

MakeRun = Callable[..., RunDir]
STEP = {"kind": "step", "step": 1, "of": 1}
WROTE = {"kind": "rollouts", "step": 1, "file": "step_000001.jsonl"}


def line(text: str, **more: Any) -> bytes:
    completion = {"text": text, "tokens": 2, "truncated": False, "components": {"exact": 1.0}, "reward": 1.0}
    said = {"step": 1, "group": 0, "prompt": "1+1?", "outcome": "spread", "completions": [completion | more]}
    return json.dumps(said).encode() + b"\n"


def changed(text: str, **more: Any) -> bytes:
    return json.dumps(json.loads(line(text)) | more).encode() + b"\n"


# (what is in the file, first completions of its groups, damaged lines)
FILES = {
    "whole": (line("a") + line("b"), ["a", "b"], 0),
    "torn": (line("a") + line("b")[:40], ["a"], 1),
    "torn in the middle": (line("a") + line("b")[:40] + b"\n" + line("c"), ["a", "c"], 1),
    "half a character": (line("a") + line("x").replace(b"x", b"\xed\x95") + line("c"), ["a", "c"], 1),
    "an unknown field": (changed("a", of_a_later_version=[1]) + line("b", mood="good"), ["a", "b"], 0),
    "a missing field": (changed("a", group=None, prompt_tokens=None) + line("b", reward=None), ["a", "b"], 0),
    "values of other kinds": (line("a", reward="1", components=[], tokens=-1, truncated=1), ["a"], 0),
    "no completions": (changed("a", completions=[]) + line("b"), ["b"], 1),
    "an unknown outcome": (changed("a", outcome="mixed") + line("b"), ["b"], 1),
    "no object": (b"[1]\n" + line("b"), ["b"], 1),
    "blank lines": (b"\n" + line("a") + b"  \n", ["a"], 0),
    "nothing": (b"", [], 0),
}


@pytest.mark.parametrize("name", FILES)
def test_page_report_mirror_and_export_read_the_same(make_run: MakeRun, name: str) -> None:
    content, texts, damaged = FILES[name]
    run = make_run("tiny-1", WROTE, STEP)
    run.rollouts_file(1).write_bytes(content)
    page = StepFiles().read(run.rollouts_file(1))
    mirrored = completions.read(run, 1, Redactor({}))
    exported = Source(run, run.read_spec(), run.checkpoint(1), 1, {}).prompts(10)
    column = completions.COLUMNS.index("completion")
    assert [group.completions[0].text for group in page.groups] == texts
    assert [group.completions[0].text for group in material.of(run).groups(1)] == texts
    assert [row[column] for row in mirrored.rows] if mirrored else texts == []
    assert exported == [("1+1?", text) for text in texts]
    assert (page.damaged, read_groups(run.rollouts_file(1)).damaged) == (damaged, damaged)
    assert mirrored is None or mirrored.damaged == damaged


def test_what_is_written_is_read_and_a_step_made_again_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "step_000001.jsonl"
    said = [json.loads(line("\ud55c\uae00 \udcff"))]  # with half a character from a tokenizer
    write(path, 1, said, more=False)
    write(path, 1, said, more=True)
    assert [group.completions[0].text for group in read_groups(path).groups] == ["\ud55c\uae00 ?"] * 2
    write(path, 1, said, more=False)
    assert len(read_groups(path).groups) == 1
    assert json.loads(path.read_text())["step"] == 1


@pytest.mark.parametrize(("written", "read"), [(True, True), (False, False), (1, False), ("yes", False), (None, False)])
def test_a_group_was_thrown_away_where_its_line_says_so_and_nowhere_else(
    tmp_path: Path, written: Any, read: bool
) -> None:
    path = tmp_path / "step_000001.jsonl"
    path.write_bytes(changed("a", thrown=written) + line("b"))
    assert [group.thrown for group in read_groups(path).groups] == [read, False]


PLAN = {"number": 1, "text_end": 2, "tokens": 2, "reward": 0.5, "advantage": 0.7, "rest_advantage": -0.1}


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        ({}, Plan(1, 2, 0.5, 0.7, -0.1)),
        ({"text_end": 3}, Plan(1, 3, 0.5, 0.7, -0.1)),
        ({"text_end": 4}, None),  # beyond the text
        ({"text_end": -1}, None),
        ({"text_end": 1.0}, None),
        ({"number": True}, None),
        ({"number": None}, None),
        ({"reward": None, "advantage": "x", "rest_advantage": math.nan}, Plan(1, 2, None, None, None)),
    ],
)
def test_a_plan_is_read_as_it_was_written_and_a_damaged_one_is_none(
    tmp_path: Path, damage: dict[str, Any], read: Plan | None
) -> None:
    path = tmp_path / "step_000001.jsonl"
    path.write_bytes(line("abc", plan=PLAN | damage) + line("b") + line("c", plan=[1]))
    assert [group.completions[0].plan for group in read_groups(path).groups] == [read, None, None]


def test_page_report_and_mirror_tell_the_same_plan(make_run: MakeRun) -> None:
    run = make_run("tiny-1", WROTE, STEP)
    run.rollouts_file(1).write_bytes(line("abc", plan=PLAN) + line("b"))
    mirrored = completions.read(run, 1, Redactor({}))
    assert mirrored is not None
    columns = [mirrored.columns.index(name) for name in completions.PLAN]
    assert [[row[column] for column in columns] for row in mirrored.rows] == [[1, 0.5, 0.7, -0.1], [None] * 4]
    (page, _), (report, _) = StepFiles().read(run.rollouts_file(1)).groups, material.of(run).groups(1)
    assert page.completions[0].plan == report.completions[0].plan == Plan(1, 2, 0.5, 0.7, -0.1)


def test_outcomes_are_named_in_one_place() -> None:
    """A module that spells all of them would need to know when there is one more."""
    root = Path(__file__).parents[2] / "trainer"
    listed = re.compile(r"[({]\s*\"spread\", (\"all_|\*)")
    found = [str(path.relative_to(root)) for path in root.rglob("*.py") if listed.search(path.read_text())]
    assert found == ["run/groups.py"] and set(DEAD) < set(OUTCOMES)
