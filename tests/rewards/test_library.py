"""trainer.rewards.library against tables written by hand."""

import re
from typing import Any

import pytest

from trainer.rewards.library import REWARDS

TAGS = r"<answer>([^<]*)</answer>"
GSM8K = r"####\s*(\S+)"


def pay(function: str, completion: str, answer: Any = "x", **params: Any) -> float | None:
    return REWARDS[function](**params)(prompts=["p"], completions=[completion], answer=[answer])[0]


@pytest.mark.parametrize(
    ("completion", "answer", "params", "value"),
    [
        ("42", "42", {}, 1.0),
        ("  42\n", "42", {}, 1.0),
        ("43", "42", {}, 0.0),
        ("", "42", {}, 0.0),
        ("42", 42, {}, 1.0),
        ("cat", "dog#cat", {}, 1.0),
        ("dog#cat", "dog#cat", {}, 0.0),
        ("<answer>cat</answer>", "cat", {"extract": TAGS}, 1.0),
        ("cat", "cat", {"extract": TAGS}, 0.0),
        ("<answer>dog</answer> no: <answer>cat</answer>", "cat", {"extract": TAGS}, 1.0),
        ("so it is #### 42", "6 * 7 = 42 #### 42", {"extract": GSM8K, "gold_extract": GSM8K}, 1.0),
        ("no number", "no gold", {"extract": GSM8K, "gold_extract": GSM8K}, 0.0),
    ],
)
def test_exact_match(completion: str, answer: Any, params: dict[str, str], value: float) -> None:
    assert pay("exact_match", completion, answer, **params) == value


@pytest.mark.parametrize(
    ("completion", "answer", "value"),
    [
        ("abcd", "abcd", 1.0),
        ("abdc", "abcd", 0.5),
        ("abcdx", "abcd", 0.8),
        ("", "abcd", 0.0),
        ("ab", "abcd", 0.5),
    ],
)
def test_position_match(completion: str, answer: str, value: float) -> None:
    assert pay("position_match", completion, answer) == pytest.approx(value)


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<answer>a</answer>", 1.0),
        ("<answer>a</answer> ", 0.0),
        ("x<answer>a</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format_regex_wants_the_whole_completion(completion: str, value: float) -> None:
    assert pay("format_regex", completion, pattern=TAGS) == value


def test_chat_completions_are_read_from_their_message() -> None:
    function = REWARDS["exact_match"]()
    chat = [[{"role": "assistant", "content": "42"}]]
    assert function(prompts=["p"], completions=chat, answer=["42"]) == [1.0]


def test_a_bad_pattern_is_refused_when_the_reward_is_made() -> None:
    with pytest.raises(re.error):
        REWARDS["format_regex"](pattern="(")
