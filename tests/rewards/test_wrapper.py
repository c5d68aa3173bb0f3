"""trainer.rewards.wrapper: the weighted sum, and what a bad component may and may not do."""

import math
from typing import Any

import pytest

from trainer.errors import RewardError
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward


def wrapper_of(
    monkeypatch: pytest.MonkeyPatch, *components: tuple[Any, dict[str, Any]], **reward: Any
) -> ComponentRewardWrapper:
    """A wrapper over functions that return fixed values."""
    made = []
    for number, (values, settings) in enumerate(components):
        name = f"fixed_{number}"
        monkeypatch.setitem(REWARDS, name, lambda values=values: lambda **columns: values)
        made.append(Component(function=name, **settings))
    return ComponentRewardWrapper(Reward(components=made, **reward))


def pay(wrapper: ComponentRewardWrapper, rows: int, **columns: Any) -> list[float | None]:
    return wrapper(prompts=["p"] * rows, completions=["c"] * rows, **columns)


def test_the_total_is_scale_then_clip_then_weight_then_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = wrapper_of(
        monkeypatch,
        ([1.0, 0.0], {"weight": 2.0}),
        ([10.0, -10.0], {"scale": 0.5, "clip": (-1.0, 3.0), "weight": 0.1}),
    )
    assert pay(wrapper, 2) == pytest.approx([2.3, -0.1])
    assert wrapper.last_components == {"fixed_0": [1.0, 0.0], "fixed_1": [3.0, -1.0]}
    assert wrapper.last_correct == [True, False]


def test_right_and_wrong_are_told_by_the_named_component(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = wrapper_of(
        monkeypatch,
        ([1.0, 1.0], {}),
        ([0.4, 0.6], {"name": "judge"}),
        correct="judge",
        correct_at=0.5,
    )
    pay(wrapper, 2)
    assert wrapper.last_correct == [False, True]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_no_value_leaves_the_component_out_of_that_row(monkeypatch: pytest.MonkeyPatch, value: float | None) -> None:
    wrapper = wrapper_of(monkeypatch, ([value, 1.0], {}), ([0.5, 0.5], {}))
    assert pay(wrapper, 2) == [0.5, 1.5]
    assert pay(wrapper_of(monkeypatch, ([value], {})), 1) == [None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "must return 2 values, one a completion; it returned 1 values"),
        (1.0, "it returned float"),
        (None, "it returned NoneType"),
        (["a", 1.0], "returned 'a', which is not a number"),
    ],
)
def test_a_broken_return_value_is_named(monkeypatch: pytest.MonkeyPatch, values: Any, message: str) -> None:
    with pytest.raises(RewardError, match=f"reward component fixed_0: .*{message}"):
        pay(wrapper_of(monkeypatch, (values, {})), 2)


def test_params_that_do_not_fit_are_named() -> None:
    with pytest.raises(RewardError, match="reward component exact_match: params do not fit exact_match"):
        ComponentRewardWrapper(Reward(components=[Component(function="exact_match", params={"colour": "red"})]))


def test_a_component_can_not_change_what_the_next_one_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def greedy(completions: list[str], **columns: Any) -> list[float]:
        values = [0.0] * len(completions)
        seen.append(len(completions))
        completions.clear()
        return values

    monkeypatch.setitem(REWARDS, "greedy", lambda: greedy)
    twice = Reward(components=[Component(function="greedy", name="a"), Component(function="greedy", name="b")])
    pay(ComponentRewardWrapper(twice), 2)
    assert seen == [2, 2]


def test_mean_and_std_of_every_component_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, float] = {}
    wrapper = wrapper_of(monkeypatch, ([0.0, 1.0, None], {"name": "a"}))
    pay(wrapper, 3, log_metric=logged.__setitem__)
    assert logged == {"rewards/a/mean": 0.5, "rewards/a/std": pytest.approx(math.sqrt(0.5))}
