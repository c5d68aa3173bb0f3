"""Which of a group's completions are compared: the best with the worst, the second best with the second worst, ...

A completion that was cut never is the better one: it would teach to go on without an end. Imports no library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Judged(NamedTuple):
    """A completion of a group. value: None where nobody could judge it. ended: it was not cut."""

    text: str
    value: float | None
    ended: bool


def best_with_worst(group: Sequence[Judged], most: int, least: float = 0.0) -> list[tuple[int, int]]:
    """(place of the better, place of the worse), at most `most`, whose values differ by more than `least`.

    Of equal texts one counts: one that has ended before one that was cut, a judged one before an unjudged.
    """
    there = [(value, place) for place in _once(group) if (value := group[place].value) is not None]
    judged = sorted(there, key=lambda each: each[0], reverse=True)
    good = [each for each in judged if group[each[1]].ended]
    couples = list(zip(good, reversed(judged), strict=False))[:most]
    return [(best, worst) for (high, best), (low, worst) in couples if high - low > least]


def _once(group: Sequence[Judged]) -> list[int]:
    found: dict[str, int] = {}
    for place, one in enumerate(group):
        if one.text not in found or _use(one) > _use(group[found[one.text]]):
            found[one.text] = place
    return list(found.values())


def _use(one: Judged) -> tuple[bool, bool]:
    return one.value is not None, one.ended
