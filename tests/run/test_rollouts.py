"""trainer.run.rollouts: what a group teaches, and the numbers of a step, against hand-computed values."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import batch
from trainer.run.rollouts import Plan, Step, advantage_stats, finite_or_none, group_stats, groups, outcome
from trainer.text import Message


@pytest.mark.parametrize(
    ("rewards", "correct", "kind"),
    [
        ([1.0, 0.0], [True, False], "spread"),
        ([1.5, 1.5], [True, True], "all_right"),
        ([0.0, 0.0], [False, False], "all_wrong"),
        ([0.5, 0.5], [True, False], "constant"),
        ([0.0, 0.0], [None, None], "constant"),  # nobody judged them
        ([0.1 + 0.2, 0.3], [True, True], "all_right"),  # a difference by rounding is no spread
        ([None, 1.0], [None, True], "all_right"),
        ([1000.0, 1000.5], [False, False], "spread"),
    ],
)
def test_outcome_of_a_group(rewards: list[float | None], correct: list[bool | None], kind: str) -> None:
    assert outcome(rewards, correct).kind == kind


@pytest.mark.parametrize(
    ("rewards", "steps", "kind"),
    [
        ([2.0, 1.0], [1.0, 1.0, 1.0], "all_right"),  # totals differ, steps do not
        ([1.0, 1.0], [1.0, 0.0, 1.0], "spread"),
        ([1.0, None], [1.0, None, None], "all_right"),
    ],
)
def test_with_steps_a_groups_spread_is_theirs(
    rewards: list[float | None], steps: list[float | None], kind: str
) -> None:
    assert outcome(rewards, [True, True], [steps]).kind == kind


@pytest.mark.parametrize(
    ("rewards", "plans", "kind"),
    [
        ([1.0, 0.0, 1.0, 0.0], (0, 0, 1, 1), "spread"),  # the plans are equal, what was made of each is not
        ([1.0, 1.0, 0.0, 0.0], (0, 0, 1, 1), "spread"),  # all that was made of a plan is equal, the plans are not
        ([1.0, 1.0, 1.0, 1.0], (0, 0, 1, 1), "all_right"),
        ([0.0, None, None, None], (0, 0, 1, 1), "all_wrong"),
        ([1.0, 0.0, 0.0, 1.0], (0, 1, 2, 3), "spread"),  # carried out once each
    ],
)
def test_with_plans_a_groups_spread_is_theirs_or_that_under_one_of_them(
    rewards: list[float | None], plans: tuple[int, ...], kind: str
) -> None:
    known = [[r for r, p in zip(rewards, plans, strict=True) if p == plan and r is not None] for plan in plans]
    told = [
        Plan(plan, 1, 2, sum(below) / len(below) if below else None, 0.5, -0.25)
        for plan, below in zip(plans, known, strict=True)
    ]
    right = [None if reward is None else reward == 1.0 for reward in rewards]
    (line,) = groups(replace(batch(), rewards=rewards, correct=right, plans=told), num_generations=4)
    assert line["outcome"] == kind
    said = {"number": 0, "text_end": 1, "tokens": 2, "advantage": 0.5, "rest_advantage": -0.25}
    assert line["completions"][0]["plan"] == said | {"reward": told[0].reward}


def test_the_mean_advantage_is_0_but_for_process_supervision() -> None:
    lines = groups(replace(batch(), advantages=[0.7071067, -0.7071068, 0.0, 0.0]), num_generations=2)
    found = advantage_stats(lines)
    assert found["train/advantage_mean"] == 0.0 and math.copysign(1, found["train/advantage_mean"]) == 1
    assert found["train/advantage_std"] == pytest.approx(math.sqrt(1 / 3), abs=1e-6)
    lines = groups(replace(batch(), advantages=[1.5, 0.5, 0.0, 0.0]), num_generations=2)
    assert advantage_stats(lines)["train/advantage_mean"] == 0.5


def test_a_line_holds_the_whole_group() -> None:
    first, second = groups(batch(), num_generations=2, first_id=5)
    assert (first["group"], second["group"]) == (5, 6)
    assert first["prompt"] == "p"
    assert first["columns"] == {"answer": "b"}
    assert (first["reward_mean"], first["outcome"]) == (0.5, "spread")
    assert first["group_std"] == pytest.approx(math.sqrt(0.5))
    assert second["completions"][1] == {
        "text": "d",
        "tokens": 4,
        "truncated": False,
        "components": {"correct": 1.0},
        "reward": 1.0,
        "advantage": 0.0,
        "correct": True,
    }


def test_steps_and_failures_are_written_where_they_are() -> None:
    steps = [[Step(1, 1, 0.0, -0.7)], [Step(1, 2, 1.0, 0.7)], [Step(1, 3, 1.0, 0.0)], [Step(1, 4, None, 0.0)]]
    judged = replace(batch(), steps=steps, failures=[{}, {}, {}, {"correct": Message.read("hung")}])
    lines = [line for group in groups(judged, num_generations=2) for line in group["completions"]]
    assert lines[1]["steps"] == [{"text_end": 1, "tokens": 2, "reward": 1.0, "advantage": 0.7}]
    assert [line.get("failed") for line in lines] == [None, None, None, {"correct": "hung"}]


def test_group_std_and_batch_std_are_different_things() -> None:
    stats = group_stats(groups(batch(), num_generations=2))
    assert stats["group_std"] == pytest.approx(math.sqrt(0.5) / 2)  # mean of 0.7071 and 0
    assert stats["batch_std"] == pytest.approx(0.5)  # of 0, 1, 1, 1
    assert stats["dead_frac"] == stats["all_right_frac"] == 0.5
    assert stats["all_wrong_frac"] == stats["constant_frac"] == 0.0
    assert stats["truncated_frac"] == 0.25


def test_no_reward_is_null_not_nan() -> None:
    values: list[Any] = finite_or_none([1.0, math.nan, math.inf])
    assert values == [1.0, None, None]
