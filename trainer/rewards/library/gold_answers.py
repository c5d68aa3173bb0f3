"""Gold answers of a column as a reward of the library compares them: alternatives, and in each what a pattern finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.rewards.gold import Gold, alternatives

Find = Callable[[str], str | None]


def gold_finder(find: Find, otherwise: Find = lambda text: None) -> Callable[[Any], list[Gold]]:
    """A value of the column -> its accepted answers, each cut down to what `find` finds in its text.

    otherwise: what a text stands for in which nothing is found, None being no answer. A number or date in which
    nothing is found is the answer already.
    """

    def one(gold: Gold) -> Gold | None:
        found = find(gold.text)
        if gold.value is not None and found in (None, gold.text):
            return gold
        found = otherwise(gold.text) if found is None else found
        return None if found is None else Gold(found)

    return lambda value: [found for gold in alternatives(value) if (found := one(gold)) is not None]


def texts_of(value: Any) -> list[str]:
    """What a person would write for it: RewardFunction.gold of a function that cuts no text."""
    return [gold.text for gold in alternatives(value)]
