"""exact_match and position_match against tables written by hand."""

from typing import Any

import pytest

from trainer.rewards.library.match import exact_match, position_match

TAGS = r"<answer>([^<]*)</answer>"
GSM8K = r"####\s*(\S+)"
QUOTED = r'^"([^"]+)"(?:가|이) 옳다\.'


@pytest.mark.parametrize(
    ("completion", "answer", "params", "value"),
    [
        ("42", "42", {}, 1.0),
        ("  42\n", "42", {}, 1.0),
        ("43", "42", {}, 0.0),
        ("", "42", {}, 0.0),
        ("42", 42, {}, 1.0),
        ("cat", "dog#cat", {}, 1.0),
        ("cat", "dog # cat", {}, 1.0),
        ("dog#cat", "dog#cat", {}, 0.0),
        ("", "cat#", {}, 0.0),
        ("", "", {}, None),
        ("None", None, {}, None),
        ("<answer>cat</answer>", "cat", {"extract": TAGS}, 1.0),
        ("cat", "cat", {"extract": TAGS}, 0.0),
        ("<answer>dog</answer> no: <answer>cat</answer>", "cat", {"extract": TAGS}, 1.0),
        ("the Answer is yes", "yes", {"extract": "answer: (.+)|Answer is (.+)"}, 1.0),
        ("so it is #### 42", "6 * 7 = 42 #### 42", {"extract": GSM8K, "gold_extract": GSM8K}, 1.0),
        ("#### 7", "either #### 42#7", {"extract": GSM8K, "gold_extract": GSM8K}, 1.0),
        ("#### 4", "either #### 42#7", {"extract": GSM8K, "gold_extract": GSM8K}, 0.0),
        ("no number", "no gold", {"extract": GSM8K, "gold_extract": GSM8K}, None),
        ("답: 나무", "나무", {}, 0.0),
        ("답: 나무", "정답: 나무", {"normalise": True}, 1.0),
        ("나무  집", "나무\n집", {"normalise": True}, 1.0),
        ("\u1102\u1161\u1106\u116e", "나무", {"normalise": True}, 1.0),  # NFD, as macOS writes it
    ],
)
def test_exact_match(completion: str, answer: Any, params: dict[str, Any], value: float | None) -> None:
    assert exact_match(**params)(completions=[completion], answer=[answer]) == [value]


GOLD = '"날이 갤 듯하다.#날이 갤듯하다."가 옳다. 보조 용언은 띄어 쓴다.'


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ('"날이 갤 듯하다."가 옳다. 이유는 이렇다.', 1.0),
        ('"날이 갤듯하다."이 옳다. 이유는 이렇다.', 1.0),
        ("\u201c날이 갤 듯하다.\u201d가 옳다. 둥근 따옴표.", 1.0),
        ('**답변:** "날이  갤 듯하다."가 옳다.\n이유', 1.0),
        ('"날이 개일 듯하다."가 옳다. 이유', 0.0),
        ('날이 갤 듯하다."가 옳다. 이유', 0.0),
        ("날이 갤 듯하다.", 0.0),
    ],
)
def test_the_quoted_sentence_of_a_contest_answer_is_compared(completion: str, value: float) -> None:
    made = exact_match(extract=QUOTED, gold_extract=QUOTED, normalise=True)
    assert made(completions=[completion], answer=[GOLD]) == [value]


def test_the_answer_for_votes_is_what_is_compared() -> None:
    made = exact_match(extract=QUOTED, normalise=True)
    assert made.answer is not None
    assert made.answer("답: \u201c갤  듯\u201d이 옳다. 이유") == "갤 듯"
    assert made.answer("모르겠다") is None


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
    assert position_match()(completions=[completion], answer=[answer]) == [pytest.approx(value)]


@pytest.mark.parametrize(
    ("extract", "completion", "value"),
    [
        ("(.*)", "42", 1.0),
        (r"(-?\d*)", "it is 41, no: 42 apples", 1.0),
        (r"(\d*)", "no number", 0.0),
        ("<answer>(.*?)</answer>", "<answer>42</answer> <answer></answer>", 0.0),
    ],
)
def test_a_match_of_nothing_is_not_the_last_one(extract: str, completion: str, value: float) -> None:
    assert exact_match(extract=extract)(completions=[completion], answer=["42"]) == [value]
