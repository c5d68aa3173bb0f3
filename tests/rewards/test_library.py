"""trainer.rewards.library: what all its functions keep to."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.rewards.contract import Failure, RewardFunction, checked
from trainer.rewards.library import REWARDS

PROJECT = Path(__file__).resolve().parents[2]
TEXT_REWARDS: dict[str, dict[str, Any]] = {
    "exact_match": {},
    "position_match": {},
    "format_regex": {"pattern": r"\d+"},
    "rouge1": {},
    "math": {},
    "length_penalty": {"start": 10, "end": 20},
    "overlong": {"max_tokens": 8, "buffer": 4},
    "repetition": {},
}
NEVER_ENDS = r"((a|aa)+)$"
HANGS = "a" * 60 + "b"


def pay(name: str, params: dict[str, Any], completions: list[Any], answers: list[Any]) -> list[Any]:
    ids = [[0] * 6 for _ in completions]
    made = REWARDS[name](**params)
    return list(made(prompts=["p"] * len(completions), completions=completions, answer=answers, completion_ids=ids))


@pytest.mark.parametrize(("name", "params"), TEXT_REWARDS.items())
def test_a_row_is_judged_alike_alone_or_among_others_as_text_or_as_a_message(name: str, params: dict[str, Any]) -> None:
    completions = ["42", "", "the answer is 43, not 42", "나무가 있다. 😀", "a b c d a b c d"]
    answers = ["42", "42", "43", "7", "8"]
    together = pay(name, params, completions, answers)
    assert together == [pay(name, params, [c], [a])[0] for c, a in zip(completions, answers, strict=True)]
    assert together == pay(name, params, [[{"role": "assistant", "content": c}] for c in completions], answers)
    assert together == checked(together, 5, name)
    low, high = (-1, 0) if name in ("length_penalty", "overlong", "repetition") else (0, 1)
    assert all(value is not None and low <= value <= high for value in together)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("format_regex", {"pattern": "("}, "not a regular expression"),
        ("format_regex", {"pattern": "[a"}, "not a regular expression"),
        ("exact_match", {"extract": "(a"}, "not a regular expression"),
        ("exact_match", {"gold_extract": "a+"}, "has no group"),
        ("position_match", {"extract": "a+"}, "has no group"),
        ("rouge1", {"extract": "*"}, "not a regular expression"),
        ("rouge1", {"tokens": "letter"}, "must be one of: word, syllable"),
        ("math", {"extract": "a+"}, "has no group"),
        ("length_penalty", {"start": 5, "end": 5}, "two different lengths"),
        ("length_penalty", {"start": -5, "end": 5}, "neither below 0"),
        ("length_penalty", {"start": 5, "end": 9, "unit": "tokens"}, "must be one of: characters, words"),
        ("overlong", {"max_tokens": 8, "buffer": 0}, "0 < buffer <= max_tokens"),
        ("overlong", {"max_tokens": 8, "buffer": 9}, "0 < buffer <= max_tokens"),
        ("repetition", {"n": 0}, "must be 1 or more"),
    ],
)
def test_params_that_do_not_fit_are_refused_when_the_function_is_made(
    name: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        REWARDS[name](**params)


def test_a_pattern_that_never_ends_costs_one_second_and_that_row_only() -> None:
    slow, fine = pay("format_regex", {"pattern": NEVER_ENDS, "search": True}, [HANGS, "aa"], ["aa", "aa"])
    assert isinstance(slow, Failure) and slow.reason == "the pattern took longer than 1 s"
    assert fine == 1.0


def test_a_vote_on_a_text_whose_pattern_never_ends_is_no_vote() -> None:
    made: RewardFunction = REWARDS["exact_match"](extract=NEVER_ENDS)
    assert made.answer is not None
    assert [made.answer(HANGS), made.answer("b aa")] == [None, "aa"]


def test_importing_the_library_brings_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "sympy", "math_verify", "httpx", "datasets")
    script = f"import sys, trainer.rewards.library; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
