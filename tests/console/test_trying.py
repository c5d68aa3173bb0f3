"""python -m trainer rewards check, as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.machine.project import PROJECT
from trainer.presets import PRESETS_DIR
from trainer.text import LANGUAGE_VARIABLE
from trainer.text.layout import width

ROWS = str(PRESETS_DIR / "data" / "reverse_train.jsonl")
SOUND = """
def right(completions, answer, **columns):
    return [float(c[-1]["content"].strip() == gold) for c, gold in zip(completions, answer)]

def _hidden(completions): return None
def helper(text): return text
"""


def typed(*words: str) -> Any:
    command = [sys.executable, "-m", "trainer", "rewards", "check", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=120)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOUND)
    return path


def test_a_sound_file_is_shown_as_a_table(file: Path) -> None:
    done = typed(str(file), "--data", ROWS, "--rows", "2", "--text", "abc")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ROW", "COMPLETION", "REWARD", "right"]
    assert [line.split() for line in lines if " gold " in line] == [["0", "gold", "1", "1"], ["1", "gold", "1", "1"]]
    assert sum("typed: abc" in line for line in lines) == 2
    assert lines[-1] == "no problems found"


def test_the_columns_of_the_table_are_straight_in_korean(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LANGUAGE_VARIABLE, "ko")
    head, gold, empty, *_ = typed(str(file), "--data", ROWS, "--rows", "1").stdout.splitlines()
    assert any(ord(letter) > 0x1100 for letter in gold)
    starts = {width(head[: head.rindex("right")]), *(width(line[: line.rindex(" ") + 1]) for line in (gold, empty))}
    assert len(starts) == 1


def test_rewards_of_a_preset_are_tried_on_its_rows() -> None:
    done = typed("--preset", "tiny", "--rows", "1")
    assert done.returncode == 0
    assert ["0", "gold", "1.5", "1", "1"] in [line.split() for line in done.stdout.splitlines()]


def test_a_file_on_the_rows_and_prompts_of_a_preset(file: Path) -> None:
    done = typed(str(file), "--preset", "tiny", "--rows", "1", "--set", "reward.gold_template={answer}")
    assert (done.returncode, done.stderr) == (0, "")
    assert ["0", "gold", "1", "1"] in [line.split() for line in done.stdout.splitlines()]


def test_a_reward_that_hangs_is_shown_and_ends_in_time(file: Path) -> None:
    file.write_text(
        "def right(completions, answer):\n    while '' in [c[-1]['content'] for c in completions]: pass\n"
        "    return [float(c[-1]['content'] == g) for c, g in zip(completions, answer)]\n"
    )
    done = typed(str(file), "--data", ROWS, "--rows", "1", "--set", "reward.deadline_s=4")
    assert done.returncode == 0
    assert "warn: right: fails on empty: hung" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "has neither FILE nor --preset"),
        (("FILE",), 2, "has no rows to try mine.py on"),
        (("FILE", "--data", "nowhere.jsonl"), 2, "nowhere.jsonl"),
        (("FILE", "--data", ROWS, "--function", "wrong"), 2, "mine.py has no function wrong  ->  one of: right"),
        (("nowhere.py", "--data", ROWS), 2, "nowhere.py cannot be read"),
        (("--preset", "gemma27b"), 2, "is on the Hub"),
    ],
)
def test_what_can_not_be_tried_is_said_in_a_line(file: Path, words: tuple[str, ...], code: int, text: str) -> None:
    done = typed(*(str(file) if word == "FILE" else word for word in words))
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reward_that_fails_on_gold_ends_with_1(file: Path) -> None:
    file.write_text("def right(completions): return [1 / 0 for _ in completions]\n")
    done = typed(str(file), "--data", ROWS, "--rows", "1")
    assert done.returncode == 1
    assert "error: reward component right: fails on the gold answer of row 0: raised ZeroDivisionError" in done.stdout
