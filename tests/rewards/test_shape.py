"""Rewards and penalties for the form, against tables written by hand."""

from typing import Any

import pytest

from trainer.rewards.library.shape import format_regex, length_penalty, overlong, repetition

TAGS = r"<answer>([^<]*)</answer>"
QUOTED = r'"[^"]+"(?:가|이) 옳다\. .+'


@pytest.mark.parametrize(
    ("completion", "params", "value"),
    [
        ("<answer>a</answer>", {"pattern": TAGS}, 1.0),
        ("<answer>a</answer> ", {"pattern": TAGS}, 0.0),
        ("x<answer>a</answer>", {"pattern": TAGS}, 0.0),
        ("", {"pattern": TAGS}, 0.0),
        ("x<answer>a</answer>", {"pattern": TAGS, "search": True}, 1.0),
        ("<answer>a", {"pattern": TAGS, "search": True}, 0.0),
        ("a\nb", {"pattern": "a.b"}, 1.0),
        ("답: \u201c나무\u201d가 옳다.\n이유", {"pattern": QUOTED}, 0.0),
        ("답: \u201c나무\u201d가 옳다.\n이유", {"pattern": QUOTED, "normalise": True}, 1.0),
        ("답: \u201c나무\u201d는 옳다.\n이유", {"pattern": QUOTED, "normalise": True}, 0.0),
    ],
)
def test_format_regex(completion: str, params: dict[str, Any], value: float) -> None:
    assert format_regex(**params)(completions=[completion]) == [value]


@pytest.mark.parametrize(
    ("text", "params", "value"),
    [
        ("a" * 10, {"start": 10, "end": 20}, 0.0),
        ("a" * 15, {"start": 10, "end": 20}, -0.5),
        ("나" * 20, {"start": 10, "end": 20}, -1.0),
        ("a" * 99, {"start": 10, "end": 20}, -1.0),
        ("", {"start": 10, "end": 20}, 0.0),
        ("a b  c\nd", {"start": 2, "end": 6, "unit": "words"}, -0.5),
        ("", {"start": 10, "end": 0}, -1.0),
        ("a" * 4, {"start": 10, "end": 2}, -0.75),
        ("a" * 10, {"start": 10, "end": 2}, 0.0),
        ("a" * 99, {"start": 10, "end": 2}, 0.0),
    ],
)
def test_length_penalty(text: str, params: dict[str, Any], value: float) -> None:
    assert length_penalty(**params)(completions=[text]) == [pytest.approx(value)]


@pytest.mark.parametrize(
    ("tokens", "value"), [(0, 0.0), (16384, 0.0), (16385, -1 / 4096), (18432, -0.5), (20480, -1.0), (30000, -1.0)]
)
def test_overlong_is_equation_13_of_dapo(tokens: int, value: float) -> None:
    made = overlong(max_tokens=20480, buffer=4096)
    assert made.from_trainer == ("completion_ids",)
    assert made(completions=["x"], completion_ids=[[7] * tokens]) == [pytest.approx(value)]


def test_overlong_says_nothing_of_a_text_without_tokens() -> None:
    assert overlong(max_tokens=8, buffer=4)(completions=["x", "y"]) == [None, None]


@pytest.mark.parametrize(
    ("text", "params", "value"),
    [
        ("a b c d", {}, 0.0),
        ("a b c", {}, 0.0),
        ("", {}, 0.0),
        ("a b c d a b c d", {}, -1 / 5),  # abcd bcda cdab dabc abcd
        ("no " * 103, {}, -0.99),  # 100 fourgrams, one of them distinct
        ("a a b", {"n": 1}, -1 / 3),
        ("하하하하", {"n": 1}, 0.0),
        ("하하하하", {"n": 1, "tokens": "syllable"}, -0.75),
        ("가 나, 가 나. 가 나", {"n": 2}, -3 / 5),  # 가나 나가 가나 나가 가나
    ],
)
def test_repetition(text: str, params: dict[str, Any], value: float) -> None:
    assert repetition(**params)(completions=[text]) == [pytest.approx(value)]
