"""Which of a group's completions are compared: the best with the worst, the second best with the second worst, ...

Imports no library.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar


class Judged(Protocol):
    """A completion of a group. reward: None where nobody could judge it. ended: it was not cut."""

    @property
    def text(self) -> str: ...
    @property
    def reward(self) -> float | None: ...
    @property
    def ended(self) -> bool: ...


class Candidate(NamedTuple):
    """Such a completion; row: its place in the phase."""

    text: str
    reward: float | None
    ended: bool
    row: int


J = TypeVar("J", bound=Judged)


def best_with_worst(
    group: Iterable[J], most: int, least: float = 0.0, cut_may_be_better: bool = False
) -> list[tuple[J, J]]:
    """(the better, the worse), at most `most`, whose rewards differ by more than `least`; of equal texts one counts.

    cut_may_be_better: for a judge, which learns what a completion is worth. Whoever learns to write them would learn
    from a better one that was cut to go on without an end.
    """
    there = ((one.reward, one) for one in distinct(group) if one.reward is not None)
    judged = sorted(there, key=lambda each: each[0], reverse=True)
    good = [each for each in judged if each[1].ended or cut_may_be_better]
    couples = list(zip(good, reversed(judged), strict=False))[:most]
    return [(best, worst) for (high, best), (low, worst) in couples if high - low > least]


def distinct(group: Iterable[J]) -> list[J]:
    """One of each text: that has ended before one that was cut, a judged one before an unjudged."""
    found: dict[str, J] = {}
    for one in group:
        if one.text not in found or _use(one) > _use(found[one.text]):
            found[one.text] = one
    return list(found.values())


def _use(one: Judged) -> tuple[bool, bool]:
    return one.reward is not None, one.ended
