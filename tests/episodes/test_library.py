"""The environments of the library and the words of a transcript, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer import preflight, presets
from trainer.episodes import transcript
from trainer.episodes.library.calculator import Calculator
from trainer.episodes.library.guess import Guess
from trainer.episodes.library.maze import WAYS, Maze, _beside
from trainer.episodes.library.python import Python
from trainer.errors import Problem, RewardError
from trainer.rewards import sandbox


def test_a_guess_is_answered_and_paid() -> None:
    game = Guess()
    game.reset(seed=3, low=1, high=7)
    number = game.number
    assert 1 <= number <= 7
    assert game.guess(number - 1) == "higher" and game.guess(number + 1) == "lower"
    assert game.get_reward() == 0.0
    assert game.guess(number) == "right" and game.get_reward() == 1.0
    assert game.guess(number) == "over"
    game.reset(seed=3, low=1, high=7)
    assert (game.number, game.found) == (number, False)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("37*58", "2146"),
        ("(3 + 4) * 5", "35"),
        ("7/2", "3.5"),
        ("8/2", "4"),
        ("-2**2", "-4"),
        ("7 // 2 % 2", "1"),
        (12, "12"),
    ],
)
def test_a_calculator_calculates(expression: str, value: str) -> None:
    assert Calculator().calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["9**9**9", "__import__('os')", "a", "1/0", "", "1+", "'a'*9", "True", "10**16", "1" * 300, "(-1)**0.5"],
)
def test_a_calculator_refuses_what_is_no_arithmetic(expression: str) -> None:
    with pytest.raises((ValueError, SyntaxError, ZeroDivisionError)):
        Calculator().calculate(expression)


def test_a_maze_has_one_way_and_every_step_of_it_pays() -> None:
    maze = Maze()
    move: Any = maze.move
    said = maze.reset(seed=4, size=4)
    assert said.startswith(" open: ")
    assert sum(map(len, maze.open.values())) == 2 * (4 * 4 - 1)  # as many passages as a tree has
    assert len(maze.left) == 16
    steps, before = maze.left[(0, 0)], maze.get_reward()
    assert before == 0.0
    for step in range(steps):
        ways = {way: _beside(maze.at, way) for way in WAYS}
        closed = [way for way, there in ways.items() if there not in maze.open[maze.at]]
        assert not closed or move(closed[0]) == "wall"
        (way,) = [
            way for way, there in ways.items() if there in maze.open[maze.at] and maze.left[there] < maze.left[maze.at]
        ]
        answer = move(way)
        assert (answer == "out") == (step == steps - 1)
        assert maze.get_reward() - before == pytest.approx(1 / steps)
        before = maze.get_reward()
    assert maze.get_reward() == 1.0 and maze.move("north") == "out"
    other = Maze()
    assert other.reset(seed=4, size=4) == said and other.open == maze.open
    for wrong in (1, 51):
        with pytest.raises(ValueError, match="2 to 50"):
            other.reset(seed=1, size=wrong)


@pytest.mark.skipif(sandbox.available() is not None, reason=sandbox.available() or "")
def test_programs_run_in_the_sandbox_and_say_what_went_wrong(tmp_path: Path) -> None:
    tool = Python()
    tool.reset()
    assert tool.run("print(6 * 7)") == "42\n"
    assert tool.run("x = 1") == "it printed nothing"
    assert "ZeroDivisionError" in tool.run("1 / 0")
    assert "No such file" in tool.run(f"open({str(tmp_path)!r} + '/x', 'w')")
    assert tool.run("print('a' * 10**6)") == "stopped: it printed too much"
    assert len(tool.run("print('a' * 5000)")) == 4000


def test_without_a_sandbox_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "trouble", lambda: Problem("rewards.sandbox_trial", how="x", said="y"))
    with pytest.raises(RewardError):
        Python().reset()
    spec = presets.load("tiny-tool", ["episode.environment=python"])
    assert [problem.place for problem in preflight.rewards.problems(spec)] == ["episode.environment"]


def call(name: str, **arguments: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_transcript_has_every_turn_with_its_calls_and_answers() -> None:
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call("guess", number=4), call("look")]},
        {"role": "tool", "name": "guess", "content": "higher"},
        {"role": "tool", "name": "look", "content": "seven"},
        {"role": "assistant", "content": "so", "tool_calls": [call("guess", number="a\n")]},
        {"role": "tool", "name": "guess", "content": "{'error': 'no'}"},
        {"role": "assistant", "content": "", "tool_calls": [call("guess", number=7)]},
    ]
    turns = transcript.turns_of(messages)
    assert [(turn.said, [(one.text, one.result) for one in turn.calls]) for turn in turns] == [
        ("", [("guess(number=4)", "higher"), ("look()", "seven")]),
        ("so", [('guess(number="a\\n")', "{'error': 'no'}")]),
        ("", [("guess(number=7)", None)]),
    ]
    assert transcript.text(turns) == (
        "guess(number=4)\n-> higher\nlook()\n-> seven\nso\nguess(number=\"a\\n\")\n-> {'error': 'no'}\nguess(number=7)"
    )


def test_one_turn_without_tools_is_its_text() -> None:
    for completion in ("hello", [{"role": "assistant", "content": "hello"}]):
        assert transcript.text(transcript.turns_of(completion)) == "hello"
    assert transcript.text(transcript.turns_of([{"role": "assistant", "content": ""}])) == ""
    odd = [{"role": "assistant", "tool_calls": ["x", {"function": {"name": "a", "arguments": "b"}}]}]
    assert transcript.text(transcript.turns_of(odd)) == '?("x")\na(b)'


def test_what_a_parser_splits_off_as_thinking_is_kept_apart() -> None:
    """TRL's parsers name it reasoning_content, that of LFM2.5 thinking."""
    messages = [
        {"role": "assistant", "reasoning_content": "hm", "content": "4"},
        {"role": "assistant", "thinking": "so", "content": "5"},
        {"role": "assistant", "reasoning_content": None, "content": "6"},
    ]
    turns = transcript.turns_of(messages)
    assert [(turn.thought, turn.said) for turn in turns] == [("hm", "4"), ("so", "5"), ("", "6")]
    assert transcript.text(turns) == "4\n5\n6"
