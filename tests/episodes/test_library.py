"""The environments of the library and the words of a transcript, by hand."""

from __future__ import annotations

import pytest

from trainer.episodes import transcript
from trainer.episodes.library.calculator import Calculator
from trainer.episodes.library.guess import Guess


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
