"""trainer.rewards.wrapper: the weighted sum, and what a bad component may and may not do."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.errors import RewardError
from trainer.rewards.contract import Failure, RewardFunction
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import BATCHES, ComponentRewardWrapper
from trainer.spec import Component, Reward
from trainer.text import Message

Make = Callable[..., ComponentRewardWrapper]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """make((values or function, settings), ..., **reward): a wrapper over functions that return fixed values."""

    def wrapper(*components: tuple[Any, dict[str, Any]], **reward: Any) -> ComponentRewardWrapper:
        parts = []
        for number, (given, settings) in enumerate(components):
            name = f"fixed_{number}"
            call = given if callable(given) else lambda given=given, **columns: given
            monkeypatch.setitem(REWARDS, name, lambda call=call: RewardFunction(call))
            parts.append(Component(function=name, **settings))
        return ComponentRewardWrapper(Reward(components=parts, **reward))

    return wrapper


def pay(wrapper: ComponentRewardWrapper, rows: int, **columns: Any) -> list[float | None]:
    return wrapper(prompts=["p"] * rows, completions=["c"] * rows, **columns)


def test_the_total_is_scale_then_clip_then_weight_then_sum(make: Make) -> None:
    wrapper = make(
        ([1.0, 0.0], {"weight": 2.0}), ([10.0, -10.0], {"scale": 0.5, "clip": (-1.0, 3.0), "weight": 0.1}), divide_by=2
    )
    assert pay(wrapper, 2) == pytest.approx([1.15, -0.05])
    assert wrapper.last_components == {"fixed_0": [1.0, 0.0], "fixed_1": [3.0, -1.0]}
    assert wrapper.last_correct == [True, False]


def test_right_and_wrong_are_told_by_the_named_component(make: Make) -> None:
    wrapper = make(([1.0, 1.0], {}), ([0.4, 0.6], {"name": "judge"}), correct="judge", correct_at=0.5)
    pay(wrapper, 2)
    assert wrapper.last_correct == [False, True]


@pytest.mark.parametrize("value", [None, math.nan])
def test_no_value_leaves_the_component_out_of_that_row(make: Make, value: float | None) -> None:
    assert pay(make(([value, 1.0], {}), ([0.5, 0.5], {})), 2) == [0.5, 1.5]
    assert pay(make(([value], {})), 1) == [None]


@pytest.mark.parametrize(("policy", "paid"), [("none", [None, 1.5]), ("zero", [0.5, 1.5])])
def test_a_row_that_fails_is_paid_as_the_policy_says(make: Make, policy: str, paid: list[float | None]) -> None:
    wrapper = make(([math.inf, 1.0], {}), ([0.5, 0.5], {}), on_error=policy)
    assert pay(wrapper, 2) == paid
    assert [{name: str(why) for name, why in row.items()} for row in wrapper.last_reasons] == [
        {"fixed_0": "returned inf, and no reward may be beyond 1e+09"},
        {},
    ]
    assert wrapper.last_components["fixed_0"][0] == (None if policy == "none" else 0.0)


def test_a_row_that_was_not_reached_is_never_paid_0(make: Make) -> None:
    def late(completions: list[str], **columns: Any) -> list[Any]:
        return [Failure(Message("plain.text", text="was not reached"), tried=False), 1.0]

    assert pay(make((late, {}), ([0.5, 0.5], {}), on_error="zero"), 2) == [None, 1.5]


def test_with_the_policy_fail_one_bad_row_ends_the_run(make: Make) -> None:
    with pytest.raises(RewardError, match=r"fixed_0: returned inf.*prompt: p"):
        pay(make(([math.inf, 1.0], {}), on_error="fail"), 2)


def test_the_row_that_raises_is_found_and_the_others_are_judged(make: Make) -> None:
    def picky(completions: list[str], **columns: Any) -> list[float]:
        return [1.0 / (len(text) - 3) for text in completions]

    wrapper = make((picky, {}))
    assert wrapper(prompts=["p"] * 3, completions=["four", "abc", "fifth"]) == [1.0, None, 0.5]
    assert str(wrapper.last_reasons[1]["fixed_0"]).startswith("raised ZeroDivisionError")


@pytest.mark.parametrize(("rowwise", "paid"), [(True, [1.0, 1.0]), (False, [None, None])])
def test_values_found_alone_count_only_where_rows_are_not_compared(
    monkeypatch: pytest.MonkeyPatch, rowwise: bool, paid: list[float | None]
) -> None:
    def crowd(completions: list[str], **columns: Any) -> list[float]:
        if len(completions) > 1:
            raise ValueError("too many")
        return [1.0]

    monkeypatch.setitem(REWARDS, "crowd", lambda: RewardFunction(crowd, rowwise=rowwise))
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="crowd")]))
    assert wrapper.score(prompts=["p"] * 2, completions=["a", "b"]) == paid
    assert all(bool(row) != rowwise for row in wrapper.last_reasons)


def test_rows_that_are_compared_are_asked_together_again_without_the_bad_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def ranks(completions: list[str], **columns: Any) -> list[float]:
        return [rank / (text != "bad") for rank, text in enumerate(completions)]

    monkeypatch.setitem(REWARDS, "ranks", lambda: RewardFunction(ranks, rowwise=False))
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="ranks")]))
    assert wrapper.score(prompts=["p"] * 3, completions=["a", "bad", "b"]) == [0.0, None, 1.0]


def test_a_function_that_wants_trls_state_has_one_in_a_check_and_an_evaluation_too(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "def score(completions, trainer_state):\n"
        "    return [trainer_state.global_step / trainer_state.max_steps] * len(completions)\n"
    )
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="score", file=str(file))]))
    asked: dict[str, Any] = {"prompts": ["p"], "completions": ["a"]}
    assert wrapper.score(**asked) == wrapper.light(**asked)["score"] == [0.0]
    assert wrapper(**asked, trainer_state=SimpleNamespace(global_step=3, max_steps=4, log_history=[])) == [0.75]
    assert wrapper.score(**asked) == [0.75]


def test_a_function_that_never_worked_ends_the_run_at_once(make: Make) -> None:
    def broken(completions: list[str], **columns: Any) -> list[float]:
        raise KeyError("answer")

    with pytest.raises(RewardError, match="could judge no completion of its first batch"):
        pay(make((broken, {})), 2)


def test_a_function_that_stops_working_ends_the_run_after_some_batches(make: Make) -> None:
    calls: list[int] = []

    def fading(completions: list[str], **columns: Any) -> list[float]:
        calls.append(1)
        return [1.0 if len(calls) == 1 else math.inf] * len(completions)

    wrapper = make((fading, {}))
    assert pay(wrapper, 2) == [1.0, 1.0]
    for _ in range(BATCHES - 1):
        assert pay(wrapper, 2) == [None, None]
    with pytest.raises(RewardError, match=f"{BATCHES} batches in a row"):
        pay(wrapper, 2)


def test_batches_that_nobody_can_judge_end_the_run(make: Make) -> None:
    wrapper = make(([None, None], {}))
    for _ in range(BATCHES - 1):
        assert pay(wrapper, 2) == [None, None]
    with pytest.raises(RewardError, match="no completion had a reward"):
        pay(wrapper, 2)


def test_an_evaluation_is_not_relative_to_its_batch_and_ends_nothing(make: Make) -> None:
    wrapper = make(([1.0, 3.0], {"normalise": True}), ([math.inf, 1.0], {}), on_error="fail")
    assert wrapper.score(prompts=["p"] * 2, completions=["c"] * 2) == [None, 4.0]


def test_a_wrong_shape_ends_the_run_under_every_policy(make: Make) -> None:
    with pytest.raises(RewardError, match="reward fixed_0: returned 1 values for 2 completions"):
        pay(make(([1.0], {}), on_error="zero"), 2)


def test_params_that_do_not_fit_are_named() -> None:
    with pytest.raises(RewardError, match="reward component exact_match: params do not fit exact_match"):
        ComponentRewardWrapper(Reward(components=[Component(function="exact_match", params={"colour": "red"})]))


def test_a_component_can_not_change_what_the_next_one_sees(make: Make) -> None:
    seen: list[int] = []

    def greedy(completions: list[str], **columns: Any) -> list[float]:
        values = [0.0] * len(completions)
        seen.append(len(completions))
        completions.clear()
        return values

    pay(make((greedy, {"name": "a"}), (greedy, {"name": "b"})), 2)
    assert seen == [2, 2]


def test_mean_std_seconds_and_gaps_of_every_component_are_logged(make: Make) -> None:
    logged: dict[str, float] = {}
    pay(make(([0.0, 1.0, None], {"name": "a"})), 3, log_metric=logged.__setitem__)
    assert logged.pop("rewards/a/seconds") >= 0
    assert logged == {
        "rewards/a/mean": 0.5,
        "rewards/a/std": pytest.approx(math.sqrt(0.5)),
        "rewards/a/none": pytest.approx(1 / 3),
    }


def test_a_sum_has_metrics_of_its_own() -> None:
    part = Component(function="format_regex", params={"pattern": "c"})
    reward = Reward(components=[Component(function="sum", name="both", scale=0.5, components=[part])])
    logged: dict[str, float] = {}
    assert pay(ComponentRewardWrapper(reward), 2, log_metric=logged.__setitem__) == [0.5, 0.5]
    assert (logged["rewards/format_regex/mean"], logged["rewards/both/mean"]) == (1.0, 0.5)


def test_what_a_function_logs_reaches_the_trainer(make: Make) -> None:
    def talkative(completions: list[str], log_metric: Any, log_extra: Any, **columns: Any) -> list[float]:
        log_metric("words", 3)
        log_extra("first", [text[0] for text in completions])
        return [1.0] * len(completions)

    metrics: dict[str, float] = {}
    extras: dict[str, list[Any]] = {}
    pay(make((talkative, {})), 2, log_metric=metrics.__setitem__, log_extra=extras.__setitem__)
    assert metrics["words"] == 3.0
    assert extras == {"first": ["c", "c"]}


# ---- steps


def test_step_values_are_weighted_step_by_step_and_a_value_for_the_whole_counts_at_the_last(make: Make) -> None:
    def of_steps(steps: list[list[str]], **columns: Any) -> list[list[float]]:
        return [[float(len(text.strip())) for text in texts] for texts in steps]

    wrapper = make((of_steps, {"weight": 2.0}), ([10.0, 20.0], {}), supervision="process")
    paid = wrapper(prompts=["p", "p"], completions=["a\nbb\n", "ccc"], steps=None)
    assert wrapper.last_steps == [["a\n", "bb\n"], ["ccc"]]
    assert wrapper.last_step_rewards == [[2.0, 14.0], [26.0]]
    assert paid == [16.0, 26.0]
    assert wrapper.last_components == {"fixed_0": [3.0, 3.0], "fixed_1": [10.0, 20.0]}


def test_a_function_of_completions_can_be_asked_for_every_step(make: Make) -> None:
    def short(completions: list[str], answer: list[str], **columns: Any) -> list[float | None]:
        return [None if "?" in text else float(gold in text) for text, gold in zip(completions, answer, strict=True)]

    wrapper = make((short, {"per_step": True}), supervision="process")
    reads = wrapper._reads["fixed_0"]
    reads.add("answer")
    wrapper(prompts=["p", "p"], completions=["x\ny\n", "?\ny"], answer=["y", "y"])
    assert wrapper.last_step_rewards == [[0.0, 1.0], [None, 1.0]]


def test_a_step_that_fails_leaves_the_completion_without_reward(make: Make) -> None:
    def of_steps(steps: list[list[str]], **columns: Any) -> list[list[float]]:
        return [[1.0, math.inf], [1.0]]

    wrapper = make((of_steps, {}), supervision="process")
    assert wrapper(prompts=["p", "p"], completions=["a\nb", "c"]) == [None, 1.0]
    assert wrapper.last_step_rewards == [[None, None], [1.0]]


def test_a_column_may_be_called_environments(make: Make) -> None:
    """TRL passes its own under that name, of episodes alone."""
    wrapper = make(([1.0, 0.0], {}))
    assert pay(wrapper, 2, environments=["sea", "desert"]) == [1.0, 0.0]
    assert wrapper.score(["p"] * 2, ["c"] * 2, environments=["sea", "desert"]) == [1.0, 0.0]
