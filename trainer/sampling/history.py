"""What is remembered of each row: its groups so far, the newest counting most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

FORGETS = 0.5
"""Weight that a row's earlier groups keep when it gets another: the policy has changed since."""
FADES = 0.995
"""Factor of the largest spread that was seen, a group at a time."""
PRIOR = 4.0
"""Completions that the hope for a large spread counts for, beside those of the row itself."""


@dataclass(frozen=True)
class Seen:
    """A group that was written for a row. right: completions that are right; None where nothing tells.

    std: of the rewards. outcome: one of trainer.run.groups.OUTCOMES.
    """

    row: int
    completions: int
    right: int | None
    std: float
    outcome: str

    @property
    def has_spread(self) -> bool:
        return self.outcome == "spread"


@dataclass
class Past:
    """Of one row. completions, right, spread: sums, earlier groups discounted; spread of a group is its standard
    deviation times its completions. dead: groups without spread in a row. Of the last group: easy, all right; size, its
    completions; last_std, of its rewards."""

    completions: float = 0.0
    right: float = 0.0
    spread: float = 0.0
    dead: int = 0
    easy: bool = False
    size: int = 0
    last_std: float = 0.0


class History:
    """Rows that were never drawn take no room. largest: spread of a group that was seen, fading; 0 before the first."""

    def __init__(self) -> None:
        self.rows: dict[int, Past] = {}
        self.largest = 0.0

    def add(self, seen: Seen) -> None:
        past = self.rows.setdefault(seen.row, Past())
        past.completions = FORGETS * past.completions + seen.completions
        past.right = FORGETS * past.right + (seen.right or 0)
        past.spread = FORGETS * past.spread + seen.std * seen.completions
        past.dead = 0 if seen.has_spread else past.dead + 1
        past.easy = seen.outcome == "all_right"
        past.size, past.last_std = seen.completions, seen.std
        self.largest = max(FADES * self.largest, seen.std)

    def of(self, row: int) -> Past:
        return self.rows.get(row) or Past()

    def spread(self, row: int) -> float:
        """Expected standard deviation of the row's rewards: its own, and as long as little is known the largest."""
        past, hoped = self.of(row), self.largest or 1.0
        return (past.spread + PRIOR * hoped) / (past.completions + PRIOR)

    def pass_rate(self, row: int) -> float | None:
        past = self.rows.get(row)
        return past.right / past.completions if past and past.completions else None

    def state(self) -> dict[str, Any]:
        return {"rows": {str(row): astuple(past) for row, past in self.rows.items()}, "largest": self.largest}

    def load(self, state: Mapping[str, Any]) -> None:
        self.rows = {int(row): Past(*values) for row, values in state["rows"].items()}
        self.largest = state["largest"]
