"""The reward math: equal answers, unequal ones, and gold answers that are none."""

import threading
import time
from typing import Any

import pytest

from trainer.rewards.library.math_answer import math_answer

HALVES = ["1/2", "0.5", r"\boxed{\frac{1}{2}}", "The answer is $\\frac{1}{2}$."]


@pytest.mark.parametrize("completion", HALVES)
@pytest.mark.parametrize("gold", ["1/2", "0.5", 0.5, r"\frac{1}{2}", r"\boxed{\frac{1}{2}}"])
def test_a_half_is_a_half_however_it_is_written(completion: str, gold: Any) -> None:
    assert math_answer()(completions=[completion], answer=[gold]) == [1.0]


@pytest.mark.parametrize(
    ("completion", "gold", "value"),
    [
        ("0.51", "1/2", 0.0),
        ("it is 1,000.", "1000", 1.0),
        ("first 5, then 42", "42", 1.0),
        ("42, then $5$", "42", 0.0),
        (r"so $\{2, 1\}$", "{1, 2}", 1.0),
        (r"so $\{2, 3\}$", "{1, 2}", 0.0),
        (r"\boxed{(x+1)^2}", "x^2 + 2x + 1", 1.0),
        (r"\boxed{(x-1)^2}", "x^2 + 2x + 1", 0.0),
        ("$50\\%$", "0.5", 1.0),
        ("it is 5", "5 dollars", 1.0),
        ("$0.00001$", 0.00001, 1.0),
        ("42", 42, 1.0),
        ("I do not know", "42", 0.0),
        ("", "42", 0.0),
        ("hello", "hello", None),
        ("5", "답은 없다", None),
        ("5", r"\frac{1}{", None),
        ("5", "", None),
        ("5", None, None),
    ],
)
def test_math(completion: str, gold: Any, value: float | None) -> None:
    assert math_answer()(completions=[completion], answer=[gold]) == [value]


def test_answers_are_found_by_patterns() -> None:
    made = math_answer(extract="<answer>(.*)</answer>", gold_extract=r"####\s*(\S+)")
    completions = [r"8 <answer>\frac{14}{2}</answer> 9", "7"]
    assert made(completions=completions, answer=["3 + 4 = 7 #### 7"] * 2) == [1.0, 0.0]


def test_equal_answers_are_one_vote() -> None:
    vote = math_answer().answer
    assert vote is not None
    assert {vote(text) for text in HALVES} == {"0.5"}
    assert vote(r"\boxed{(x+1)^2}") == vote("$x^2+2x+1$")
    assert vote(r"$\{2, 1\}$") == vote(r"$\{1, 2\}$") == "{1, 2}"
    assert vote("$x = 42$") == vote("42") == "42"
    assert vote("no number") is None


def test_a_formula_too_hard_to_compare_is_wrong_in_time() -> None:
    started = time.monotonic()
    assert math_answer()(completions=["$(10^8)!$"], answer=["5"]) == [0.0]
    assert time.monotonic() - started < 10


def test_another_thread_judges_too() -> None:
    values: list[Any] = []
    judge = math_answer()
    thread = threading.Thread(target=lambda: values.extend(judge(completions=["0.5"], answer=["1/2"])))
    thread.start()
    thread.join()
    assert values == [1.0]


@pytest.mark.parametrize(
    ("completion", "gold", "value"),
    [
        ("<answer>17</answer>", "17", 1.0),
        ("first 3, <answer>\n\\frac{3}{4}\n</answer> and 5", "0.75", 1.0),
        ("<answer>18</answer> or 17", "17", 0.0),
        ("so it is `17`.", "17", 1.0),
        ("`f(2)` gives\n`x^2 - 1`", "(x-1)(x+1)", 1.0),
        ("`8` and then 9", "9", 1.0),
        ("The pair is (3, -2).", "(3,-2)", 1.0),
        ("(3, -2)", "(-2, 3)", 0.0),
        ("\ub2f5\uc740 [2, 5)", "[2,5)", 1.0),
        ("so x < 7", "x<7", 1.0),
        ("x \u2265 7", "x >= 7", 1.0),
        ("x<8", "x<7", 0.0),
        ("we need 2 3/4 cups", "11/4", 1.0),
        ("2.75", "2 3/4", 1.0),
        ("-2 3/4", "-2.75", 1.0),
        ("2\u00be", "2.75", 1.0),
        ("23/4", "2 3/4", 0.0),
        ("\u221217", "-17", 1.0),
        ("it is 11/4.", "2.75", 1.0),
        ("3x + 1", "1 + 3x", 1.0),
        ("2 + 2 = 4", "4", 1.0),
        ("about 1 of 3, or 4", "4", 1.0),
    ],
)
def test_an_answer_is_found_without_dollars_and_patterns(completion: str, gold: str, value: float) -> None:
    assert math_answer()(completions=[completion], answer=[gold]) == [value]


@pytest.mark.parametrize(
    ("completion", "gold", "value"),
    [
        ("The answer is **1/2**.", "1/2", 1.0),
        ("so *(1,2)*", "(1,2)", 1.0),
        ("2**10", "1024", 1.0),
        ("2*x*3", "6x", 1.0),
        ("sqrt(8)", r"2\sqrt{2}", 1.0),
        ("so it is 2 \u221a2.", r"\sqrt{8}", 1.0),
        ("Area = \u03c0 r^2 = 4\u03c0", r"4\pi", 1.0),
        ("2pi", r"2\pi", 1.0),
        ("ln 2", r"\ln 2", 1.0),
        ("ln 3", r"\ln 2", 0.0),
        ("the log is 5", "5", 1.0),
        ("x\u00b2 + 1", "x^2+1", 1.0),
        ("The area is 5 m\u00b2.", "5", 1.0),
        ("10\u207b\u00b3", "0.001", 1.0),
        ("1.5e3", "1500", 1.0),
        ("1.5 \u00d7 10\u00b3", "1500", 1.0),
        ("\uff14\uff12", "42", 1.0),
        ("42", "\uff14\uff12", 1.0),
        ("3 \u00bd", "3.5", 1.0),
        ("3\u00a01/2", "3.5", 1.0),
        (r"we get 3\frac{1}{2}.", "3.5", 1.0),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", 1.0),
        ("(-\u221e, 1) \u222a (2, \u221e)", r"(-\infty,1)\cup(2,\infty)", 1.0),
        ("(-oo, 3)", r"(-\infty,3)", 1.0),
        ("\ub2f5\uc740 1/2\uc785\ub2c8\ub2e4.", "0.5", 1.0),
        ("\\boxed{10,000\uc6d0}", "10000", 1.0),
        ("1\u202f000", "1000", 1.0),
        ("12.5", r"\$12.50", 1.0),
        ("US$5", "5", 1.0),
        ("~5", "5", 1.0),
        (r"First \boxed{5}. Wait, it is \boxed{6}.", "6", 1.0),
        (r"First \boxed{5}. Wait, it is \boxed{6}.", "5", 0.0),
        (r"\boxed{5} or \boxed{6}", "{5, 6}", 1.0),
        ("<think>it is 4</think>5", "5", 1.0),
        ("ab", "ab", 1.0),
        ("ab", "ac", 0.0),
    ],
)
def test_an_answer_is_read_in_the_signs_and_marks_that_models_write(completion: str, gold: str, value: float) -> None:
    assert math_answer()(completions=[completion], answer=[gold]) == [value]
