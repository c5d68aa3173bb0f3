"""trainer.rewards.own_file: what reading a person's file tells, and what running it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.errors import RewardError
from trainer.rewards import own_file
from trainer.rewards.contract import RewardFunction

COMPONENT = "mine"


def load(path: Path, params: dict[str, Any]) -> RewardFunction:
    return own_file.load(str(path), own_file.read(str(path)), "reward", params)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def reward(completions): pass", None),
        ("async def reward(completions): pass", None),
        ("from somewhere import reward", None),
        ("from somewhere import other as reward", None),
        ("reward = max", None),
        ("from somewhere import *", None),
        ("if True:\n    def reward(completions): pass", None),
        ("def reword(completions): pass", "mine.py has no function reward  ->  one of: reword"),
        ("", "->  def reward(prompts, completions, **columns): ..."),
        ("def reward(:\n", "mine.py:1: is not Python: invalid syntax"),
        ("x = 1\ny = (\n", "mine.py:2: is not Python: '(' was never closed"),
        ("x = 1\x00", "is not Python: source code string cannot contain null bytes"),
    ],
)
def test_what_reading_the_file_tells(tmp_path: Path, text: str, words: str | None) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    found = own_file.problems(str(path), "reward", COMPONENT)
    assert (not found) if words is None else (words in str(found[0]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def score(answer):\n    return 1\n", "has score, but a reward is a function that takes completions"),
        ("x = 1\n", "has no function: a reward is one that takes completions"),
    ],
)
def test_a_file_without_rewards_is_shown_what_one_is(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    said = str(own_file.without_rewards(str(path)))
    assert words in said and own_file.EXAMPLE in said
    path.write_text(own_file.EXAMPLE)
    assert own_file.rewards_in(str(path)) == ["brief"]
    brief = own_file.load(str(path), own_file.read(str(path)), "brief", {})
    assert brief(completions=["a", "b" * 200], prompts=["", ""]) == [1.0, 0.0]


def test_reading_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef reward(completions): pass\n")
    assert own_file.problems(str(path), "reward", COMPONENT) == []
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there_names_its_component(tmp_path: Path) -> None:
    found = own_file.problems(str(tmp_path / "none.py"), "reward", COMPONENT)
    assert str(found[0]).startswith("reward component mine: ")
    assert "No such file" in str(found[0])


def test_params_are_added_and_neighbours_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("BASE = 10\n")
    path = tmp_path / "mine.py"
    path.write_text(
        "import neighbour_of_mine\n"
        "def reward(completions, factor): return [neighbour_of_mine.BASE * factor for _ in completions]\n"
    )
    function = load(path, {"factor": 2})
    assert function(completions=["a"], prompts=["p"], answer=["x"]) == [20]
    assert not function.rowwise


def test_params_the_function_does_not_take_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def reward(completions, factor=1): return [1.0]\n")
    with pytest.raises(RewardError, match="takes no argument colour; it takes completions, factor"):
        load(path, {"colour": "red"})


def test_neighbours_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same_neighbour.py").write_text(f"VALUE = {value}\n")
        text = "import same_neighbour\ndef reward(completions): return [same_neighbour.VALUE]\n"
        (tmp_path / name / f"{name}.py").write_text(text)
    functions = [load(tmp_path / name / f"{name}.py", {}) for name in "ab"]
    assert [function(completions=["x"]) for function in functions] == [[1.0], [2.0]]


def test_a_neighbour_can_be_imported_inside_the_function(tmp_path: Path) -> None:
    (tmp_path / "late_neighbour.py").write_text("VALUE = 3.0\n")
    path = tmp_path / "mine.py"
    path.write_text("def reward(completions):\n    import late_neighbour\n    return [late_neighbour.VALUE]\n")
    assert load(path, {})(completions=["x"]) == [3.0]


def test_two_files_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"def reward(completions): return [{value}]\n")
    found = [load(tmp_path / name / "mine.py", {})(completions=["x"]) for name in "ab"]
    assert found == [[1.0], [2.0]]
