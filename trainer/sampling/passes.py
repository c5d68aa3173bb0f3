"""The rows of a pool, each once before any comes again."""

from __future__ import annotations

import random
from collections.abc import Sequence


class Passes:
    """seed: of the order, another one in each pass. shuffled: else the rows come as they are given, in every pass.

    number: passes that are done; place: rows of this one that have come.
    """

    def __init__(self, rows: Sequence[int], seed: str, shuffled: bool = True) -> None:
        if not rows:
            raise ValueError("a pool without rows")
        self.rows, self.seed, self.shuffled = list(rows), seed, shuffled
        self.number = self.place = 0
        self._order = self._of_pass()

    def _of_pass(self) -> list[int]:
        order = list(self.rows)
        if self.shuffled:
            random.Random(f"{self.seed}:{self.number}").shuffle(order)
        return order

    def next(self) -> int:
        if self.place == len(self._order):
            self.number, self.place = self.number + 1, 0
            self._order = self._of_pass()
        self.place += 1
        return self._order[self.place - 1]

    def state(self) -> list[int]:
        return [self.number, self.place]

    def load(self, state: Sequence[int]) -> None:
        self.number, self.place = state
        self._order = self._of_pass()
