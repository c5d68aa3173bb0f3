"""A number to be guessed."""

from __future__ import annotations

import random


class Guess:
    """A number from `low` to `high` is drawn; every guess is answered by higher, lower or right. Worth 1 when it was
    found, else 0. Columns of a row: `low` and `high`, 1 and 7 where they are missing."""

    def reset(self, seed: int, low: int = 1, high: int = 7) -> None:
        self.number = random.Random(seed).randint(low, high)
        self.found = False

    def guess(self, number: int) -> str:
        """Guess the number.

        Args:
            number: Your guess.
        """
        if self.found:
            return "over"
        self.found = int(number) == self.number
        return "right" if self.found else "higher" if int(number) < self.number else "lower"

    def get_reward(self) -> float:
        return float(self.found)
