"""trainer.episodes.check: a scripted conversation before training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.episodes.made import GOOD, host_of, written
from trainer.episodes import check, own
from trainer.episodes.check import Trial
from trainer.episodes.host import Host
from trainer.episodes.library import ENVIRONMENTS
from trainer.episodes.own import Recipe
from trainer.rewards import sandbox

ROWS = [{"prompt": "a"}, {"prompt": "b"}]


def tried(folder: Path, source: str, deadline_s: float = 10.0) -> Trial:
    host = host_of(folder, source=source, deadline_s=deadline_s)
    try:
        return check.trial(host, ROWS)
    finally:
        host.close()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_library_passes(name: str) -> None:
    if name == "python" and (missing := sandbox.available()) is not None:
        pytest.skip(missing)
    host = Host(Recipe.of(name, None), 10.0, 4.0)
    found = check.trial(host, ROWS)
    host.close()
    assert (found.problems, found.notes) == ([], [])


SIMPLE = '''
import time
class Steps:
    def reset(self, seed): RESET
    def go(self, to: str) -> str:
        """Go.

        Args:
            to: Where.
        """
        CALL
    def get_reward(self): REWARD
'''


def simple(reset: str = "pass", call: str = "return 'ok'", reward: str = "return 1.0") -> str:
    return SIMPLE.replace("RESET", reset).replace("CALL", call).replace("REWARD", reward)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (simple(reset="raise ValueError('no')"), "row 0: reset raised ValueError: no"),
        (simple(reset="time.sleep(60)"), "row 0: reset took longer than"),
        (simple(call="time.sleep(60) if to != '1' else 0\n        return 'ok'"), "row 0: go took longer than"),
        (simple(call="pass"), "row 0: go returned NoneType where a text is expected"),
        (simple(call="import os; os._exit(1)"), "row 0: go ended its process"),
        (simple(reward="return [1]"), "row 0: get_reward returned"),
        (simple(reward="raise KeyError('x')"), "row 0: get_reward raised KeyError"),
    ],
    ids=range(7),
)
def test_what_cannot_be_used_is_named_with_its_row(tmp_path: Path, source: str, said: str) -> None:
    found = tried(tmp_path, source, 1.0)
    assert said in str(found.problems[0])


def test_chance_and_tools_that_raise_are_noted(tmp_path: Path) -> None:
    found = tried(tmp_path, simple(call="return str(time.time_ns())"))
    assert not found.problems
    assert [note.key for note in found.notes] == ["episodes.note.random"]
    found = tried(tmp_path, simple(call="raise ValueError('not so')"))
    assert not found.problems
    assert {note.key for note in found.notes} == {"episodes.note.tool_raises"}
    assert "given plausible arguments, raised ValueError: not so (own.py:" in str(found.notes[0])
    found = tried(tmp_path, simple(call="raise ValueError('a' * 9000 + chr(10) + 'b')"))
    assert len(str(found.notes[0])) < 500


def test_a_file_is_read_before_it_is_run(tmp_path: Path) -> None:
    assert own.problems("Steps", written(tmp_path)) == []
    (problem,) = own.problems("Nothing", written(tmp_path))
    assert problem.key == "episodes.no_class" and "Steps" in str(problem)
    (problem,) = own.problems("Steps", str(tmp_path / "none.py"))
    assert problem.key == "episodes.no_file"
    (problem,) = own.problems("Steps", written(tmp_path, GOOD + "\n  x = (", "wrong.py"))
    assert problem.key == "rewards.not_python"
