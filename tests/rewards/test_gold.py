"""Gold values that are no text, and the rewards of the library that compare answers with them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from trainer.errors import Unfit
from trainer.rewards.contract import Failure, RewardFunction
from trainer.rewards.gold import alternatives, written
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.library.bertscore import bertscore
from trainer.rewards.library.match import exact_match, position_match
from trainer.rewards.library.math_answer import math_answer
from trainer.rewards.library.overlap import rouge1
from trainer.spec import Component, Reward

UTC = datetime.UTC
NOON = datetime.datetime(2031, 7, 4, 12, 30)


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (["pear", "quince"], ["quince", " pear "], ["['pear', 'quince']", "apple", "pear, quince"]),
        (["C#", None, "F#"], ["C#"], ["C", "None"]),
        ([7, "seven"], ["7.0", "seven"], ["8"]),
        (19.0, ["19", "19.00", "+19", "1.9e1", "19."], ["19.1", "1_9", "nineteen", ""]),
        (0.0, ["0", "-0.0", "0.00"], ["", ".", "1e-400000"]),
        (2500, ["2,500", "2500.0"], ["25,00", "2.500"]),
        (-3, ["\u22123", "-3.0", "\u20133"], ["3"]),
        (0.1 + 0.2, ["0.3", "0.30"], ["0.31"]),
        (float(np.float32(0.7)), ["0.7"], ["0.7001"]),
        (np.float32(0.7), ["0.7"], ["0.71"]),
        (np.array([4, 5]), ["5"], ["6"]),
        (900719925474.0, ["900719925474"], ["900719925475"]),
        (2.0**60, [str(2**60), "1152921504606847000"], [str(2**60 + 10**8)]),
        (10**30, ["1e30", str(10**30)], [str(10**30 + 1)]),
        (Decimal("2.50"), ["2.5", "2.500"], ["2.05"]),
        (Decimal("1E+3"), ["1000", "1,000"], ["1"]),
        (True, ["true", "YES", "True"], ["1", "no"]),
        (np.False_, ["False", "no"], ["yes", "0"]),
        (datetime.date(2031, 7, 4), ["2031-07-04", "20310704"], ["July 4", "2031-04-07"]),
        (datetime.datetime(2031, 7, 4), ["2031-07-04", "2031-07-04T00:00"], ["2031-07-05"]),
        (NOON, ["2031-07-04 12:30", "2031-07-04T12:30:00"], ["2031-07-04"]),
        (NOON.replace(tzinfo=UTC), ["2031-07-04T14:30+02:00", "2031-07-04 12:30Z"], ["2031-07-04T12:30"]),
        (datetime.time(9, 5), ["09:05", "09:05:00"], ["9"]),
        ("1.50", ["1.50"], ["1.5"]),  # a text is a text: it may be a version
        ("007", ["007"], ["7"]),
        ("cafe\u0301", ["caf\u00e9"], ["cafe"]),
        ("\u22125", ["-5", "\u20135"], ["5"]),
        ("1914\u20131918", ["1914\u20131918"], ["1914-1918"]),
    ],
)
def test_what_a_gold_value_accepts(gold: Any, right: list[str], wrong: list[str]) -> None:
    texts = [*right, *wrong]
    assert exact_match()(completions=texts, answer=[gold] * len(texts)) == [1.0] * len(right) + [0.0] * len(wrong)


@pytest.mark.parametrize(
    ("gold", "why"),
    [
        ([], "a list without an answer"),
        ([None, " "], "a list without an answer"),
        ([["a"], ["b"]], "a list inside a list"),
        ([{"a": 1}], "is dict"),
        (float("nan"), "is nan"),
        (Decimal("-Infinity"), "is -Infinity"),
        (datetime.timedelta(days=1), "is timedelta"),
        (b"x", "is bytes"),
    ],
)
def test_what_means_nothing_is_refused_and_never_paid(gold: Any, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        alternatives(gold)
    for function in (exact_match(), position_match(), rouge1(), math_answer()):
        (value,) = function(completions=["x"], answer=[gold])
        assert isinstance(value, Failure) and why in value.reason


@pytest.mark.parametrize(
    ("gold", "text"),
    [(42.0, "42"), (1e-7, "0.0000001"), (-0.0, "0"), (0.1 + 0.2, "0.3"), (2.0**60, "1152921504606847000"),
     (Decimal("0.50"), "0.5"), (True, "True"), (["b", "a"], '["b", "a"]'), (["\ud55c"], "\ud55c"),
     (datetime.datetime(2031, 7, 4), "2031-07-04"), (NOON, "2031-07-04T12:30:00"), ({"a": 1}, "{'a': 1}")],
)  # fmt: skip
def test_a_value_is_written_as_a_person_would(gold: Any, text: str) -> None:
    assert written(gold) == text


MAKERS: list[Callable[..., RewardFunction]] = [
    position_match,
    rouge1,
    lambda **params: bertscore(encoder="builtin/tiny-bert", **params),
    math_answer,
]


@pytest.mark.parametrize("make", MAKERS)
def test_every_comparing_function_takes_the_best_of_a_list_and_numbers_by_their_size(make: Any) -> None:
    golds = [["3", "12"], 12.0, Decimal("12.00"), [5, None, 12], None]
    values = make()(completions=["12", "12.0", "12", "12", "12"], answer=golds)
    assert values == [1.0, 1.0, 1.0, 1.0, None]
    assert make()(completions=["13"], answer=[12.0])[0] < 1


def test_a_pattern_for_golds_leaves_what_is_no_text_whole() -> None:
    made = exact_match(gold_extract=r"####\s*(\S+)")
    assert made(completions=["42", "42", "7"], answer=["so #### 42", 42.0, [8, "#### 7"]]) == [1.0, 1.0, 1.0]
    assert exact_match(gold_extract=r"(\d{4})-")(completions=["2031"], answer=[datetime.date(2031, 7, 4)]) == [1.0]


@pytest.mark.parametrize(
    ("separator", "gold", "completion", "value"),
    [
        ("#", "C#", "C", 1.0),
        ("", "C#", "C", 0.0),
        ("", "C#", "C#", 1.0),
        ("|", "C#|F#", "F#", 1.0),
        (" or ", "a or b", "b", 1.0),
        ("|", "a#b", "a", 0.0),
        ("#", ["a#b"], "a", 0.0),
    ],
)
def test_the_separator_of_accepted_answers_is_a_param(separator: str, gold: Any, completion: str, value: float) -> None:
    assert exact_match(accepted_separator=separator)(completions=[completion], answer=[gold]) == [value]


def test_a_pattern_sees_a_plain_minus_sign() -> None:
    made = exact_match(extract=r"(-?\d+)")
    assert made(completions=["it is \u22127", "it is \u22127"], answer=["7", "-7"]) == [0.0, 1.0]
    assert position_match()(completions=["\u221212"], answer=["-12"]) == [1.0]
    assert position_match()(completions=["e\u0301a"], answer=["\u00e9b"]) == [0.5]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"answer": "cat#dog"}, "<a>cat</a>"),
        ({"answer": ["dog", "cat"]}, "<a>dog</a>"),
        ({"answer": 3.0}, "<a>3</a>"),
        ({"answer": []}, None),
        ({"answer": None}, None),
        ({"question": "?"}, None),
    ],
)
def test_the_gold_completion_is_what_a_person_would_write(row: dict[str, Any], text: str | None) -> None:
    reward = Reward(components=[Component(function="exact_match")], gold_template="<a>{answer}</a>")
    assert GoldCompletion(reward).of(row) == text


def test_a_solution_with_the_answer_in_it_is_written_whole() -> None:
    params = {"gold_extract": r"####\s*(\S+)"}
    reward = Reward(components=[Component(function="exact_match", params=params)])
    assert GoldCompletion(reward).of({"answer": "6 * 7 = 42 #### 42"}) == "6 * 7 = 42 #### 42"
