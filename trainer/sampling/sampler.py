"""What comes next: rows, and how many completions each gets; and what is learnt from what became of them.

    picks = sampler.next(completions, step)     before each round of a rollout phase
    sampler.told(seen)                          after it, what its groups were like
    sampler.state(), sampler.load(state)        all that the next pick follows from: JSON, in every checkpoint

Random choices are hashed from the seed and the number of choices so far, so a state needs no generator's.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from trainer.sampling import group_size, levels
from trainer.sampling.curriculum import Curriculum
from trainer.sampling.history import History, Seen
from trainer.sampling.passes import Passes
from trainer.sampling.skipping import Skipping
from trainer.spec.sampling import Sampling

KINDS = 20
"""Of rows by how hard they are, at most."""
UNKNOWN = 0.5
"""Pass rate of a row that was never drawn."""


class Pick(NamedTuple):
    """A row of the training rows, and completions that are written for it."""

    row: int
    completions: int


class Size(NamedTuple):
    """What a rollout phase is. rows: of the data. group: num_generations. prompts: of a phase. steps: of the run."""

    rows: int
    group: int
    prompts: int
    steps: int


class Sampler:
    """hardness: of each row, low is easy, where a column says it: `curriculum = "column"` needs it, and rows that are
    equally hard are expected to be alike. shuffled: data.shuffle_dataset."""

    def __init__(
        self,
        settings: Sampling,
        size: Size,
        seed: int,
        shuffled: bool = True,
        hardness: Sequence[float] | None = None,
    ) -> None:
        self.settings, self.size, self.seed = settings, size, seed
        self.history = History(_alike(hardness) if hardness is not None else None)
        self.chances = 0
        self._pool = Passes(range(size.rows), f"{seed}:rows", shuffled)
        self._skipping = Skipping(settings.explore) if settings.skip_dead else None
        self._curriculum: Curriculum | None = None
        self.awaits_rates = settings.measures
        """Pass rates of all rows are to be measured before the first pick."""
        if settings.curriculum != "off":
            of_column = hardness if settings.curriculum == "column" else None
            known = [list(range(size.rows))] if of_column is None else levels.of(of_column, settings.levels)
            self._curriculum = Curriculum(
                known,
                seed=seed,
                shuffled=shuffled,
                prompts=size.prompts,
                bound=settings.pass_bound if settings.pace == "success" else None,
                mix=settings.mix,
                level_steps=settings.level_steps or max(1, size.steps // (2 * len(known))),
            )

    def measured(self, rates: Sequence[float]) -> None:
        """The share of right completions of each row, before training."""
        assert self._curriculum is not None
        self.awaits_rates = False
        self._relevel([1 - rate for rate in rates])

    def _relevel(self, hardness: Sequence[float]) -> None:
        assert self._curriculum is not None
        found = levels.of(hardness, self.settings.levels)
        self._curriculum.anew(found)
        if self.settings.level_steps is None:
            self._curriculum.level_steps = max(1, self.size.steps // (2 * len(found)))

    def _chance(self) -> float:
        self.chances += 1
        return random.Random(f"{self.seed}:chance {self.chances}").random()

    # ---- what comes next

    def next(self, completions: int, step: int) -> list[Pick]:
        """Picks of `completions` together, a multiple of num_generations. step: optimizer steps that are done."""
        if self._curriculum is not None:
            self._curriculum.at(step)
        prompts, rest = divmod(completions, self.size.group)
        if rest or not prompts:
            raise ValueError(f"{completions} completions are no groups of {self.size.group}")
        rows = [self._row() for _ in range(prompts)]
        return [Pick(*pair) for pair in zip(rows, self._sizes(rows, completions), strict=True)]

    def _row(self) -> int:
        """The next row that is not skipped; where all are, the first that was."""
        first = row = self._draw()
        if self._skipping is None:
            return row
        for _ in range(self.size.rows):
            if not self._skipping.skips(self.history.of(row), self._chance()):
                return row
            row = self._draw()
        return first

    def _draw(self) -> int:
        return self._pool.next() if self._curriculum is None else self._curriculum.next(self._chance())

    def _sizes(self, rows: Sequence[int], total: int) -> list[int]:
        settings, group = self.settings, self.size.group
        least, most = settings.min_generations, settings.most(group)
        if settings.group_size == "fixed":
            return [group] * len(rows)
        spreads = [self.history.spread(row) for row in rows]
        if settings.group_size == "spread":
            return group_size.in_proportion(spreads, total, least, most)
        return group_size.fitted([self._stepped(row) for row in rows], spreads, total, least, most)

    def _stepped(self, row: int) -> int:
        past = self.history.of(row)
        if not past.size:
            return self.size.group
        return past.size + (1 if past.last_std > self.settings.spread_threshold else -1)

    # ---- what became of it

    def told(self, seen: Sequence[Seen]) -> None:
        """The groups of one round, in the order of its picks."""
        if self._skipping is not None:
            self._skipping.told(seen, [replace(self.history.of(each.row)) for each in seen])
        for each in seen:
            self.history.add(each)
            if self._curriculum is not None:
                share = None if each.right is None else each.right / each.completions
                self._curriculum.told(each.row, share)
        if self._curriculum is None:
            return
        self._curriculum.after_a_round()
        if self.settings.curriculum == "pass_rate" and not self.settings.measure:
            self._learn()

    def _learn(self) -> None:
        """Levels from what is known of the rows, each time all of them have come."""
        assert self._curriculum is not None
        everything = self._curriculum.everything
        only = len(self._curriculum.levels) == 1
        pool = self._curriculum.pools[0] if only and not self._curriculum.is_over else everything
        if pool.place == len(pool.rows) or pool.number:
            rates = [self.history.pass_rate(row) for row in range(self.size.rows)]
            self._relevel([1 - (UNKNOWN if rate is None else rate) for rate in rates])

    def metrics(self) -> dict[str, float]:
        """What a chart shows of the newest round. level: from 1; one more than there are where all rows come."""
        found: dict[str, float] = {}
        if self._curriculum is not None:
            found["level"] = self._curriculum.level + 1
            for number, rate in enumerate(self._curriculum.rates, 1):
                if rate.count:
                    found[f"pass_rate/level_{number}"] = rate.mean
        if self._skipping is not None:
            drawn, skipped = self._skipping.taken()
            found["skipped_frac"] = skipped / drawn if drawn else 0.0
            found["explore_easy"], found["explore_hard"] = self._skipping.easy, self._skipping.hard
        return found

    @property
    def levels(self) -> list[list[int]]:
        """Rows of each, the easiest first; [] without a curriculum."""
        return self._curriculum.levels if self._curriculum is not None else []

    @property
    def filter_is_idle(self) -> bool:
        """Skipping has brought nothing so far (Skipping.brings_nothing)."""
        return self._skipping is not None and self._skipping.brings_nothing()

    # ---- a checkpoint

    def state(self) -> dict[str, Any]:
        return {
            "rows": self.size.rows,
            "by": self.settings.curriculum,
            "chances": self.chances,
            "pool": self._pool.state(),
            "history": self.history.state(),
            "awaits_rates": self.awaits_rates,
            "curriculum": self._curriculum.state() if self._curriculum else None,
            "skipping": self._skipping.state() if self._skipping else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """What was not chosen by then, or is of other rows, begins anew: --force goes on with other settings."""
        if state.get("rows", self.size.rows) != self.size.rows:
            return
        self.chances = state["chances"]
        self._pool.load(state["pool"])
        self.history.load(state["history"])
        same = state.get("by", self.settings.curriculum) == self.settings.curriculum
        if self._curriculum is not None and state["curriculum"] is not None and same:
            self.awaits_rates = state["awaits_rates"]
            self._curriculum.load(state["curriculum"])
        if self._skipping is not None and state["skipping"] is not None:
            self._skipping.load(state["skipping"])


def _alike(hardness: Sequence[float]) -> list[int]:
    """A number for each row, the same for rows that are about equally hard."""
    found = [0] * len(hardness)
    for number, rows in enumerate(levels.of(hardness, KINDS)):
        for row in rows:
            found[row] = number
    return found
