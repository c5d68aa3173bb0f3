"""trainer.rewards.highest: the most a completion can be paid."""

from __future__ import annotations

from typing import Any

import pytest

from trainer import presets
from trainer.rewards.highest import highest
from trainer.rewards.library import RANGES, REWARDS
from trainer.spec import Reward

RIGHT: dict[str, Any] = {"function": "exact_match"}
FORM: dict[str, Any] = {"function": "format_regex", "params": {"pattern": "x"}}


@pytest.mark.parametrize(
    ("reward", "most"),
    [
        ({"components": [RIGHT, FORM | {"weight": 0.5}]}, 1.5),
        ({"components": [RIGHT, {"function": "sum", "weight": 2, "components": [FORM, RIGHT]}], "divide_by": 5}, 1.0),
        ({"components": [RIGHT, {"function": "overlong", "weight": 3}]}, 1.0),
        ({"components": [RIGHT, FORM | {"weight": -0.5}]}, 1.0),
        ({"components": [RIGHT | {"scale": 10, "clip": (0, 4)}]}, 4.0),
        ({"components": [{"function": "mine", "file": "mine.py", "clip": (-1, 2)}]}, 2.0),
        ({"components": [{"function": "mine", "file": "mine.py"}]}, None),
        ({"components": [RIGHT, {"function": "reward_model"}]}, None),
        ({"components": [RIGHT | {"normalise": True}]}, None),
        ({"components": [RIGHT], "supervision": "process"}, None),
        ({"components": [{"function": "repetition", "weight": -1, "only_if": "right"}]}, 1.0),
    ],
)
def test_the_most_that_is_paid_follows_from_the_settings(reward: dict[str, Any], most: float | None) -> None:
    assert highest(Reward.model_validate(reward)) == most


def test_ranges_are_of_functions_that_there_are() -> None:
    assert set(RANGES) < set(REWARDS)
    assert highest(presets.load("tiny", []).reward) == 1.5
