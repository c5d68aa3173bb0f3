"""only_if: a component that is paid only where another one was earned, against tables worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.rewards import check
from trainer.rewards.arithmetic import held, plain, total
from trainer.rewards.contract import Failure, RewardFunction
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward
from trainer.spec.conditions import Condition, conditions
from trainer.text import Message, words


def leaf(name: str, only_if: str | None = None, **settings: Any) -> Component:
    return Component(function="f", name=name, only_if=only_if, **settings)


def summed(name: str, *parts: Component, **settings: Any) -> Component:
    return Component(function="sum", name=name, components=list(parts), **settings)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("form", [Condition("form")]),
        (" two words ", [Condition("two words")]),
        ("rouge1>=0.5", [Condition("rouge1", ">=", 0.5)]),
        ("len < -1e-3", [Condition("len", "<", -0.001)]),
        ("a and b <= 2 and  sand", [Condition("a"), Condition("b", "<=", 2.0), Condition("sand")]),
    ],
)
def test_what_is_written_and_what_it_means(written: str, meant: list[Condition]) -> None:
    assert conditions(written) == meant


@pytest.mark.parametrize(
    "written", ["", "  ", "a >", "a > b", "> 1", "a >> 1", "a > nan", "a > inf", "a and > 1", "1 < a < 2"]
)
def test_what_is_no_condition(written: str) -> None:
    with pytest.raises(ValueError):
        conditions(written)


RIGHT, FORM, FAILED = [1.0, 0.0, 1.0, None], [1.0, 1.0, 0.0, 1.0], Failure(Message("plain.text", text="hung"))


@pytest.mark.parametrize(
    ("components", "leaves", "rewards"),
    [
        ([leaf("right"), leaf("form", "right", weight=0.5)], {"right": RIGHT, "form": FORM}, [1.5, 0.0, 1.0, None]),
        ([leaf("right"), leaf("form", "right <= 0")], {"right": RIGHT, "form": FORM}, [1.0, 1.0, 1.0, None]),
        # What is looked at may come later, weigh nothing, and is scaled and clipped first.
        ([leaf("a", "b >= 2"), leaf("b", weight=0.0, scale=2.0)], {"a": [3.0, 3.0], "b": [1.0, 0.9]}, [3.0, 0.0]),
        ([leaf("a", "b > 1"), leaf("b", weight=0.0, clip=(0.0, 1.0))], {"a": [3.0], "b": [9.0]}, [0.0]),
        # 0 is what is not paid, also of a penalty and below a clip.
        ([leaf("a", "b", clip=(0.5, 1.0)), leaf("b")], {"a": [0.7, 0.7], "b": [1.0, 0.0]}, [1.7, 0.0]),
        ([leaf("long", "b"), leaf("b")], {"long": [-1.0, -1.0], "b": [1.0, 0.0]}, [0.0, 0.0]),
        # A chain looks at what was paid: c only where b was, b only where a was.
        ([leaf("c", "b"), leaf("b", "a"), leaf("a")], {n: [1.0, 1.0] for n in "bc"} | {"a": [1.0, 0.0]}, [3.0, 0.0]),
        # Several: one that does not hold is enough; one that cannot be known takes the value away.
        (
            [leaf("x", "a and b"), leaf("a", weight=0.0), leaf("b", weight=0.0)],
            {"x": [5.0] * 4, "a": [1.0, 1.0, None, None], "b": [1.0, 0.0, 0.0, 1.0]},
            [5.0, 0.0, 0.0, 0.0],
        ),
        # A sum as a whole, by one of its parts, and a part by another sum.
        ([summed("s", leaf("a"), leaf("b"), only_if="a > 1", scale=0.5)], {n: [2.0, 1.0] for n in "ab"}, [2.0, 0.0]),
        ([leaf("x", "s >= 3"), summed("s", leaf("a"), leaf("b"))], {n: [2.0, 1.0] for n in "xab"}, [6.0, 2.0]),
        # None and a failure stay what they are.
        ([leaf("a", "b"), leaf("b")], {"a": [None, FAILED], "b": [0.0, 0.0]}, [0.0, FAILED]),
        ([leaf("a", "b"), leaf("b")], {"a": [1.0], "b": [FAILED]}, [FAILED]),
    ],
)  # fmt: skip
def test_what_is_paid(components: list[Component], leaves: dict[str, Any], rewards: list[Any]) -> None:
    assert total(components, leaves, training=True) == rewards
    assert total(components, leaves, training=False) == rewards


def test_what_is_not_paid_is_0_among_what_is_normalised_and_is_not_pulled_up() -> None:
    leaves = {"a": [4.0, 2.0, 9.0], "b": [1.0, 1.0, 0.0]}
    b = leaf("b", weight=0.0)
    assert total([leaf("a", "b", normalise=True), b], leaves, True) == [1.0, 0.0, -1.0]  # of 4, 2 and 0
    pulled = total([leaf("a", "b", clip_percentiles=(50.0, 100.0)), b], leaves, True)
    assert pulled == [4.0, 3.0, 0.0]  # the median of what is paid is 3


def test_a_condition_looks_at_a_whole_completion() -> None:
    """Two completions of two steps: the whole answer's value stands at the last step."""
    parts = [leaf("right"), leaf("tidy", "right", per_step=True)]
    leaves: dict[str, Any] = {"right": [None, 1.0, None, 0.0], "tidy": [1.0, 1.0, 1.0, 1.0]}
    holds = held(parts, leaves, [2, 2])
    assert holds == {"tidy": [True, True, False, False]}
    assert total(parts, leaves, True, holds) == [1.0, 2.0, 0.0, 0.0]
    assert plain(parts[1], leaves, holds) == [1.0, 1.0, 0.0, 0.0]


@pytest.fixture
def wrapper(monkeypatch: pytest.MonkeyPatch) -> ComponentRewardWrapper:
    """right, form only_if right, and a sum of `tidy` only_if form; of "rf" right and form are earned."""
    for name in ("right", "form", "tidy"):
        letter = name[0]
        function = RewardFunction(
            lambda completions, letter=letter, **_: [float(letter in text) for text in completions]
        )
        monkeypatch.setitem(REWARDS, name, lambda function=function: function)
    parts = [
        Component(function="right", weight=2.0),
        Component(function="form", only_if="right"),
        summed("look", Component(function="tidy"), only_if="form"),
    ]
    return ComponentRewardWrapper(Reward(components=parts, correct="form", gold_template="f"))


def test_what_is_not_paid_is_seen_as_such(wrapper: ComponentRewardWrapper) -> None:
    logged: dict[str, float] = {}
    rewards = wrapper(prompts=["p"] * 4, completions=["rft", "ft", "rt", ""], log_metric=logged.__setitem__)
    assert rewards == [4.0, 0.0, 2.0, 0.0]
    assert wrapper.last_components == {"right": [1, 0, 1, 0], "form": [1, 0, 0, 0], "tidy": [1, 0, 0, 0]}
    assert wrapper.last_unpaid == [{}, {"form": 1.0, "tidy": 1.0}, {"tidy": 1.0}, {"form": 0.0, "tidy": 0.0}]
    assert wrapper.last_correct == [True, True, False, False]  # what is found, paid or not
    # What metrics show, weighed and summed, is the reward.
    assert 2 * logged["rewards/right/mean"] + logged["rewards/form/mean"] + logged["rewards/look/mean"] == 6 / 4
    assert {name: logged[f"rewards/{name}/unpaid"] for name in ("form", "look", "tidy")} == {
        "form": 0.5,
        "look": 0.75,
        "tidy": 0.75,
    }
    assert "rewards/right/unpaid" not in logged
    assert wrapper.score(prompts=["p"] * 4, completions=["rft", "ft", "rt", ""]) == rewards


def test_the_check_shows_what_is_not_paid_and_doubts_a_condition_that_gold_does_not_meet(
    wrapper: ComponentRewardWrapper,
) -> None:
    found = check.trial(wrapper, [{"prompt": "p"}], ["rf"])
    lines = check.table(found, words("en"))
    assert lines[1] == ["0", "gold", "0", "0", "1, not paid", "0, not paid"]
    assert lines[-1][1:] == ["typed: rf", "3", "1", "1", "0"]
    assert "row 0: only_if lets form, tidy count 0 on the gold answer: can the condition hold?" in map(
        str, found.warnings
    )


@pytest.mark.parametrize(("only_if", "doubted"), [("right >= 0", True), ("right", False), ("right <= 0", False)])
def test_the_check_doubts_a_condition_that_holds_for_everything(only_if: str, doubted: bool) -> None:
    right = Component(function="exact_match", name="right")
    form = Component(function="format_regex", name="form", params={"pattern": ".*"}, only_if=only_if)
    made = ComponentRewardWrapper(Reward(components=[right, form]))
    found = check.trial(made, [{"prompt": "p", "answer": "4"}])
    assert ("rewards.note.always_paid" in [said.key for said in found.warnings]) is doubted
