"""The reward that is proposed for some answers: which kind they are, and that it pays gold and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.rewards import check
from trainer.rewards.proposal import Kind, kind_of, proposal
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Reward

LONG = [
    "Wasser kocht auf Bergen bei niedrigerer Temperatur, weil dort der Luftdruck kleiner ist.",
    "The moon has phases because we see its lit half from different sides.",
]
ANSWERS: list[tuple[list[Any], Kind]] = [
    (["42", "-7", "3.5", "1,024", "1/2"], "number"),
    ([42, 0.5, 7], "number"),
    (["12 %", "$5", "3,5"], "number"),
    (["$\\frac{1}{2}$", "$x^2$", "2"], "number"),
    (["6 * 7 = 42\n#### 42", "2 + 2 = 4\n#### 4"], "worked"),
    (["yes", "No", "yes"], "yes_no"),
    (["예", "아니요"], "yes_no"),
    ([True, False, True], "yes_no"),
    ([["Bonn", "Berlin"], ["Rome"]], "several"),
    (["red, green", "blue, white, red", "green"], "list"),
    (["Berlin", "Paris", "São Paulo"], "short"),
    (["서울", "부산광역시"], "short"),
    (["C#", "F#"], "short"),
    (LONG, "long"),
]


@pytest.mark.parametrize(("answers", "kind"), ANSWERS)
def test_answers_are_of_a_kind(answers: list[Any], kind: Kind) -> None:
    assert kind_of(answers) == kind


@pytest.mark.parametrize(("answers", "kind"), ANSWERS)
def test_gold_earns_all_and_junk_nothing(answers: list[Any], kind: Kind) -> None:
    fits = proposal(answers)
    assert fits is not None
    raw = {"components": list(fits.components), "correct": "correct", "gold_template": fits.gold_template}
    wrapper = ComponentRewardWrapper(Reward.model_validate(raw))
    found = check.trial(wrapper, [{"prompt": "?", "answer": answer} for answer in answers])
    assert not found.problems
    paid = {what: [one.reward for one in found.tries if one.what == what] for what in ("gold", "empty", "junk")}
    assert paid["gold"] == [pytest.approx(1.2)] * len(answers)
    assert paid["empty"] == paid["junk"] == [0.0] * len(answers)


@pytest.mark.parametrize(("answers", "kind"), [case for case in ANSWERS if case[1] != "worked"])
def test_a_small_model_is_paid_for_the_bare_answer_and_charged_for_more_words(answers: list[Any], kind: Kind) -> None:
    fits = proposal(answers, is_small=True)
    assert fits is not None and (fits.form, fits.gold_template) == ("bare", "{answer}")
    raw = {"components": list(fits.components), "correct": "correct", "gold_template": fits.gold_template}
    wrapper = ComponentRewardWrapper(Reward.model_validate(raw))
    first = answers[0][0] if isinstance(answers[0], list) else answers[0]
    said = [str(first), f"{first}.", f"It is {first}.", "the " * 60]
    paid = [wrapper(prompts=["?"], completions=[text], answer=[answers[0]])[0] or 0.0 for text in said]
    assert paid[0] == pytest.approx(1.0) and paid[0] >= paid[1] > paid[2] > paid[3]
    assert paid[3] == pytest.approx(-0.5, abs=0.1)


def test_an_odd_row_does_not_change_the_kind_and_many_do() -> None:
    assert kind_of([*map(str, range(99)), "none"]) == "number"
    assert kind_of([*map(str, range(9)), "none"]) == "short"


def test_programs_are_run_on_their_tests() -> None:
    for tests, style in ((["assert f(1) == 2"], "assert"), ([[{"input": "1", "output": "2"}]], "stdin")):
        fits = proposal(["def f(x): return 2 * x"], tests)
        assert fits is not None and fits.components[0]["function"] == "code"
        assert fits.components[0]["params"] == {"style": style}


@pytest.mark.parametrize("tests", [['[{"input": "1", "output": "2"}]'], ["['assert f(1) == 2']"], ["1 -> 2"], [None]])
def test_tests_that_could_not_be_run_are_not_taken_for_some(tests: list[Any]) -> None:
    fits = proposal(["def f(x): return 2 * x"], tests)
    assert fits is not None and fits.components[0]["function"] != "code"


def test_chinese_words_are_told_apart() -> None:
    fits = proposal(["水在山上沸腾的温度较低。" * 4, "月亮有不同的形状是因为阳光。" * 4])
    assert fits is not None and fits.components[0]["params"]["tokens"] == "syllable"


def test_without_answers_nothing_is_proposed() -> None:
    assert proposal([]) is None and proposal([None, ""]) is None
