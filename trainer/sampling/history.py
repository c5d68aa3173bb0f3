"""What is remembered of each row: its groups so far, the newest counting most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

FORGETS = 0.5
"""Weight that a row's earlier groups keep when it gets another: the policy has changed since."""
FADES = 0.995
"""Factor of the largest spread that was seen, a group at a time."""
PRIOR = 8.0
"""Completions that what is expected of a row counts for, beside its own; the same for rows that are alike."""
OF_ALIKE = 0.98
"""Weight that what rows that are alike have shown keeps when another of them has a group."""


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
    """Rows that were never drawn take no room. largest: spread of a group that was seen, fading; 0 before the first.

    alike: a number for each row, the same for rows that are expected to be alike; None where nothing is known.
    """

    def __init__(self, alike: Sequence[int] | None = None) -> None:
        self.rows: dict[int, Past] = {}
        self.largest = 0.0
        self._alike = alike
        self._of_alike: dict[int, list[float]] = {}  # completions, spread: discounted sums

    def add(self, seen: Seen) -> None:
        past = self.rows.setdefault(seen.row, Past())
        past.completions = FORGETS * past.completions + seen.completions
        past.right = FORGETS * past.right + (seen.right or 0)
        past.spread = FORGETS * past.spread + seen.std * seen.completions
        past.dead = 0 if seen.has_spread else past.dead + 1
        past.easy = seen.outcome == "all_right"
        past.size, past.last_std = seen.completions, seen.std
        self.largest = max(FADES * self.largest, seen.std)
        if self._alike is not None:
            completions, spread = self._of_alike.get(self._alike[seen.row], (0.0, 0.0))
            found = [OF_ALIKE * completions + seen.completions, OF_ALIKE * spread + seen.std * seen.completions]
            self._of_alike[self._alike[seen.row]] = found

    def of(self, row: int) -> Past:
        return self.rows.get(row) or Past()

    def spread(self, row: int) -> float:
        """Expected standard deviation of the row's rewards: its own; as long as little is known of it that of the rows
        that are alike; and as long as little is known of them the largest."""
        past, expected = self.of(row), self.largest or 1.0
        if self._alike is not None:
            completions, spread = self._of_alike.get(self._alike[row], (0.0, 0.0))
            expected = (spread + PRIOR * expected) / (completions + PRIOR)
        return (past.spread + PRIOR * expected) / (past.completions + PRIOR)

    def pass_rate(self, row: int) -> float | None:
        past = self.rows.get(row)
        return past.right / past.completions if past and past.completions else None

    def state(self) -> dict[str, Any]:
        rows = {str(row): astuple(past) for row, past in self.rows.items()}
        return {"rows": rows, "largest": self.largest, "alike": self._of_alike}

    def load(self, state: Mapping[str, Any]) -> None:
        self.rows = {int(row): Past(*values) for row, values in state["rows"].items()}
        self.largest = state["largest"]
        self._of_alike = {int(kind): list(sums) for kind, sums in state["alike"].items()}
