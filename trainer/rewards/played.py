"""What an environment says of an episode, as rewards are given it.

TRL passes reward functions the environments of a batch, one a completion (`environments`); what they hold is in another
process, so that of each only this is passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.rewards.calls import Answer
from trainer.rewards.contract import Failure
from trainer.text import Message


@dataclass(frozen=True)
class Played:
    """reward: of `get_reward`, None where it has none. lost: why the episode cannot be judged."""

    reward: float | None = None
    lost: Message | None = None

    def played(self) -> Played:
        """Of an environment: this."""
        return self


def of(environments: Any) -> list[Played]:
    """[] where there are none: a column of the data may have that name as well."""
    there = environments if isinstance(environments, Sequence) else ()
    return [each.played() for each in there if callable(getattr(each, "played", None))]


def without_lost(answers: dict[str, Answer], played: Sequence[Played]) -> dict[str, Answer]:
    """Whatever a function says of an episode that was lost, nobody knows what it would have been."""
    lost = {row: Failure(one.lost, tried=False) for row, one in enumerate(played) if one.lost is not None}
    if not lost:
        return answers
    return {
        name: replace(answer, values=[lost.get(row, value) for row, value in enumerate(answer.values)])
        for name, answer in answers.items()
    }
