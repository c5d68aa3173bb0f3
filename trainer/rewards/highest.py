"""The most and the least that a completion can be paid, as far as the settings tell.

Imports no library that a reward needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.rewards.library import RANGES
from trainer.spec import Component, Reward

Range = tuple[float, float]


def highest(reward: Reward) -> float | None:
    """The largest total; None where a component has no bound: a function of one's own, a reward model, values that are
    normalised, steps that are paid one by one."""
    found = _bounds(reward)
    return None if found is None else found[1]


def lowest(reward: Reward) -> float | None:
    """The smallest total; None as for the largest."""
    found = _bounds(reward)
    return None if found is None else found[0]


def _bounds(reward: Reward) -> Range | None:
    found = None if reward.supervision == "process" else _sum(reward.components)
    return None if found is None else (found[0] / reward.divide_by, found[1] / reward.divide_by)


def _sum(parts: Sequence[Component]) -> Range | None:
    lows, highs = 0.0, 0.0
    for part in parts:
        found = _range(part)
        if found is None:
            return None
        low, high = sorted(edge * part.weight for edge in found)
        lows, highs = lows + low, highs + high
    return lows, highs


def _range(part: Component) -> Range | None:
    """Of its value before the weight, in the order in which it is made: scale, clip, only_if, normalise."""
    if part.normalise:
        return None
    found = _sum(part.components) if part.components else None if part.file else RANGES.get(part.function)
    if found is not None:
        low, high = sorted(edge * part.scale for edge in found)
        found = low, high
    if part.clip is not None:
        low, high = part.clip
        low_of, high_of = found or part.clip
        found = min(max(low_of, low), high), min(max(high_of, low), high)
    if found is not None and part.only_if is not None:
        found = min(found[0], 0.0), max(found[1], 0.0)
    return found
