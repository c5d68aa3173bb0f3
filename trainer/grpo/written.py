"""What is written in a rollout phase: rows with their rewards, group after group; joined, and taken apart by rows.

Shapes: n completions; K reward functions that TRL sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from trainer.rewards.notes import Notes
from trainer.run.rollouts import Outcome

PROMPT_IDS, COMPLETION_IDS, COMPLETIONS = 0, 1, 3
"""Places in what TRL 1.14.2's `_generate` returns: (prompt_ids, completion_ids, tool_mask, completions, logps, ...)."""


@dataclass
class Written:
    """Rows that were written and scored, group after group.

    generated: as TRL's `_generate` returns it. rewards: (n, K). sizes, outcomes, picked: of each group its completions,
    what it taught, and which row of the data it is.
    """

    inputs: list[dict[str, Any]]
    generated: tuple[Any, ...]
    rewards: Tensor
    notes: Notes
    sizes: list[int]
    outcomes: list[Outcome] = field(default_factory=list)
    picked: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def rows_of_groups(self) -> list[range]:
        return [range(end - size, end) for end, size in zip(accumulate(self.sizes), self.sizes, strict=True)]

    def completions_with_spread(self) -> int:
        return sum(size for size, each in zip(self.sizes, self.outcomes, strict=True) if each.kind == "spread")


def joined(rounds: Sequence[Written]) -> Written:
    """Rounds, one after the other."""
    if len(rounds) == 1:
        return rounds[0]
    return Written(
        inputs=[row for each in rounds for row in each.inputs],
        generated=_all_of([each.generated for each in rounds]),
        rewards=torch.cat([each.rewards for each in rounds]),
        notes=Notes(**{f.name: _together([getattr(each.notes, f.name) for each in rounds]) for f in fields(Notes)}),
        sizes=[size for each in rounds for size in each.sizes],
        outcomes=[one for each in rounds for one in each.outcomes],
        picked=[row for each in rounds for row in each.picked],
        seconds=sum(each.seconds for each in rounds),
    )


def part(written: Written, rows: Sequence[int], sizes: list[int]) -> Written:
    """These rows of it, in groups of these sizes."""
    count = len(written.inputs)
    return Written(
        inputs=[written.inputs[row] for row in rows],
        generated=tuple(_some(part, rows, count) for part in written.generated),
        rewards=written.rewards[list(rows)],
        notes=Notes(**{f.name: _some(getattr(written.notes, f.name), rows, count) for f in fields(Notes)}),
        sizes=sizes,
    )


def followed(kept: Written, again: Sequence[Written]) -> Written:
    """Groups that come again behind those of the phase, whose notes are the only ones."""
    parts = [kept, *again]
    return replace(
        kept,
        inputs=[row for each in parts for row in each.inputs],
        generated=_all_of([each.generated for each in parts]),
        rewards=torch.cat([each.rewards.to(kept.rewards) for each in parts]),
        sizes=[size for each in parts for size in each.sizes],
    )


def _all_of(generated: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(_together(list(parts)) for parts in zip(*generated, strict=True))


def _together(parts: list[Any]) -> Any:
    """Lists of rows one after the other; of a table each column."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: _together([part[name] for part in parts]) for name in first}
    return [row for part in parts for row in part] if isinstance(first, list) else first


def _some(value: Any, rows: Sequence[int], count: int) -> Any:
    if isinstance(value, dict):
        return {name: _some(column, rows, count) for name, column in value.items()}
    return [value[row] for row in rows] if isinstance(value, list) and len(value) == count else value
