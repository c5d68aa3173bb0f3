"""The reward that the environment of an episode gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, Value
from trainer.rewards.played import Played


def environment() -> RewardFunction:
    """What the environment of the episode pays: its `get_reward` when the episode has ended ([episode])."""

    def judge(completions: Sequence[Completion], environments: Sequence[Played] | None = None, **_: Any) -> list[Value]:
        return [one.reward for one in environments] if environments is not None else [None] * len(completions)

    # In this process: it only reads what has come from that of the environments.
    return RewardFunction(judge, from_trainer=("environments",), runs_in="trainer")
