"""Which level's rows are drawn, and when the next level comes.

After the last level come the rows of all levels, in passes over everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.sampling.passes import Passes

MOVES = 16
"""Groups over which a running pass rate is a mean, at least."""


class Rate:
    """A running mean of the share of right completions, over about the last `window` groups."""

    def __init__(self, window: int) -> None:
        self.window = max(MOVES, window)
        self.mean, self.count = 0.0, 0

    def add(self, share: float) -> None:
        self.count += 1
        self.mean += (share - self.mean) / min(self.count, self.window)

    def passes(self, bound: float) -> bool:
        return self.count >= self.window // 2 and self.mean >= bound


class Curriculum:
    """levels: rows of each, the easiest first. prompts: of a rollout phase.

    bound: running pass rate at which the next level comes, None where the steps decide; mix: share of the prompts from
    earlier levels; level_steps: optimizer steps of a level.
    """

    def __init__(
        self,
        levels: Sequence[Sequence[int]],
        *,
        seed: int,
        shuffled: bool,
        prompts: int,
        bound: float | None,
        mix: float,
        level_steps: int,
    ) -> None:
        self.seed, self.shuffled, self.prompts = seed, shuffled, prompts
        self.bound, self.mix, self.level_steps = bound, mix, level_steps
        self.made = 0
        """How often the levels were made."""
        self._make(levels)

    def _make(self, levels: Sequence[Sequence[int]]) -> None:
        self.level = 0
        self.levels = [list(rows) for rows in levels]
        self.owed = 0.0
        self.pools = [self._pool(rows, f"level {number}") for number, rows in enumerate(self.levels)]
        self.everything = self._pool(sorted(row for rows in self.levels for row in rows), "all")
        self.level_of = {row: number for number, rows in enumerate(self.levels) for row in rows}
        self.rates = [Rate(2 * self.prompts) for _ in self.levels]

    def _pool(self, rows: Sequence[int], name: str) -> Passes:
        return Passes(rows, f"{self.seed}:{self.made}:{name}", self.shuffled)

    def anew(self, levels: Sequence[Sequence[int]]) -> None:
        """Other levels, from the first on."""
        self.made += 1
        self._make(levels)

    @property
    def is_over(self) -> bool:
        return self.level == len(self.levels)

    def at(self, step: int) -> None:
        """Optimizer steps that are done, where they decide."""
        if self.bound is None:
            self.level = max(self.level, min(step // self.level_steps, len(self.levels)))

    def next(self, chance: float) -> int:
        """chance: uniform in [0, 1), for which of the earlier levels a row is drawn from."""
        if self.is_over:
            return self.everything.next()
        if self.level:
            self.owed += self.mix
        if self.owed < 1.0:
            return self.pools[self.level].next()
        self.owed -= 1.0
        # Each row of the earlier levels as likely as any other.
        number, left = 0, chance * sum(map(len, self.levels[: self.level]))
        while number < self.level - 1 and left >= len(self.levels[number]):
            left -= len(self.levels[number])
            number += 1
        return self.pools[number].next()

    def told(self, row: int, share: float | None) -> None:
        """share: of the completions that are right; None where nothing tells."""
        if share is not None:
            self.rates[self.level_of[row]].add(share)

    def after_a_round(self) -> None:
        """The next level, where it is time."""
        if self.bound is not None and not self.is_over and self.rates[self.level].passes(self.bound):
            self.level += 1

    def state(self) -> dict[str, Any]:
        return {
            "made": self.made,
            "level": self.level,
            "owed": self.owed,
            "levels": self.levels,
            "pools": [pool.state() for pool in (*self.pools, self.everything)],
            "rates": [[rate.mean, rate.count] for rate in self.rates],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.made = state["made"]
        self._make(state["levels"])
        self.level, self.owed = state["level"], state["owed"]
        for pool, saved in zip((*self.pools, self.everything), state["pools"], strict=True):
            pool.load(saved)
        for rate, (mean, count) in zip(self.rates, state["rates"], strict=True):
            rate.mean, rate.count = mean, count
