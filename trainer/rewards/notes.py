"""What a ComponentRewardWrapper found in a call, to be kept beside what was written."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.text import Message


@dataclass(frozen=True)
class Notes:
    """What the newest call of a wrapper found, row by row; each as the wrapper's `last_` of that name, the objectives
    by the titles of their components."""

    components: dict[str, list[float | None]]
    unpaid: list[dict[str, float]]
    objectives: dict[str, list[float | None]]
    correct: list[bool | None]
    reasons: list[dict[str, Message]]
    steps: list[list[str]]
    step_rewards: list[list[float | None]]
