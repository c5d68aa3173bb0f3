"""trainer.rewards.contract: everything a reward function may return, and what becomes of it.

The table is that of the thirty return values measured on stock trainers; those that never return are in test_pool.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from trainer.errors import RewardError
from trainer.rewards.contract import Failure, checked, text_of
from trainer.text import Message


def twice(first: Any) -> list[Any]:
    return [first, 0.5]


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        ([1.0, 0.5], [1.0, 0.5]),
        ((1.0, 0.5), [1.0, 0.5]),
        ([1, True], [1.0, 1.0]),
        (twice(None), [None, 0.5]),
        (twice(math.nan), [None, 0.5]),
        ([None, None], [None, None]),
        ((value for value in (1.0, 0.5)), [1.0, 0.5]),
        (range(2), [0.0, 1.0]),
        (np.array([1.0, 0.5]), [1.0, 0.5]),
        (np.array([1.0, np.nan]), [1.0, None]),
        ([np.float32(1.0), np.int64(2)], [1.0, 2.0]),
        (torch.tensor([1.0, 0.5]), [1.0, 0.5]),
        (torch.tensor([1.0, 0.5], requires_grad=True), [1.0, 0.5]),
        ([torch.tensor(1.0), torch.tensor(0.5)], [1.0, 0.5]),
        (twice(Fraction(1, 4)), [0.25, 0.5]),
        (
            twice(Failure(Message("plain.text", text="no answer"))),
            [Failure(Message("plain.text", text="no answer")), 0.5],
        ),
    ],
)
def test_what_can_be_read_is_read(returned: Any, wanted: list[Any]) -> None:
    assert checked(returned, 2, "mine") == wanted


@pytest.mark.parametrize("bad", [math.inf, -math.inf, 1e38, -1e10, 10**39, 10**400])
def test_a_value_the_optimizer_can_not_bear_is_a_failure_of_its_row(bad: float) -> None:
    values = checked([bad, 0.5], 2, "mine")
    assert isinstance(values[0], Failure)
    assert values[0].reason.startswith("returned ")
    assert values[1] == 0.5


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned NoneType None"),
        (1.0, "returned float 1.0"),
        ("1.0", "returned str '1.0'"),
        ([], "returned 0 values for 2 completions"),
        ([1.0], "returned 1 values for 2 completions"),
        ([1.0, 2.0, 3.0], "returned 3 values for 2 completions"),
        (torch.tensor(1.0), "returned float 1.0"),
        ({0: 1.0, 1: 0.5}, "returned a dict: its keys would be taken for rewards"),
        ({1.0, 0.5}, "returned set"),
        (["1.0", 0.5], "returned str '1.0' for completion 0, which is not a number"),
        ([0.5, 1 + 2j], "returned complex"),
        ([[1.0], [0.5]], "returned list [1.0] for completion 0"),
        (torch.tensor([[1.0], [0.5]]), "returned list [1.0] for completion 0"),
        ([object(), 0.5], "for completion 0, which is not a number"),
    ],
)
def test_what_can_not_be_told_apart_names_the_function_and_what_to_return(returned: Any, words: str) -> None:
    with pytest.raises(RewardError) as caught:
        checked(returned, 2, "mine")
    assert caught.value.problems[0].where == "reward mine"
    assert words in caught.value.problems[0].what
    assert "return" in caught.value.problems[0].fix


def test_steps_may_be_judged_one_by_one_or_as_a_whole() -> None:
    assert checked([[1.0, None], 0.5], 2, "mine", steps=[2, 1]) == [[1.0, None], 0.5]
    assert checked([1.0, 0.5], 2, "mine", steps=[2, 1]) == [1.0, 0.5]


def test_a_wrong_number_of_steps_names_the_row() -> None:
    with pytest.raises(RewardError, match="mine, completion 1: returned 3 values for 1 steps"):
        checked([[1.0, 1.0], [1.0, 1.0, 1.0]], 2, "mine", steps=[2, 1])


@pytest.mark.parametrize("form", [lambda text: text, lambda text: [{"role": "assistant", "content": text}]])
def test_the_text_of_a_completion_in_both_forms(form: Callable[[str], Any]) -> None:
    assert text_of(form("42")) == "42"
