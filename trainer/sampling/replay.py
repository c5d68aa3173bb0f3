"""Groups with spread that were written before, to come again where one without spread would be trained on.

    buffer.take(missing, step)      groups of earlier steps, at most so many completions together, the newest first
    buffer.add(group)               a group of this step
    buffer.state(), buffer.load(state)

A group comes again once: a second time it would say the same of a policy that is further away. What is in a group is
its writer's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Remembered:
    """step: optimizer steps that were done when it was written. completions: how many. content: plain values and
    tensors."""

    row: int
    step: int
    completions: int
    content: dict[str, Any]


class Replay:
    """groups: at most so many are remembered. steps: a group that was written more optimizer steps ago is forgotten."""

    def __init__(self, groups: int, steps: int) -> None:
        self.groups, self.steps = groups, steps
        self.remembered: list[Remembered] = []

    def take(self, missing: int, step: int, without: Sequence[int] = ()) -> list[Remembered]:
        """Groups that come again at this step, and are forgotten. without: rows that are in the phase already."""
        self.remembered = [group for group in self.remembered if step - group.step <= self.steps]
        taken, rows = [], set(without)
        for group in reversed(self.remembered):
            if group.step < step and group.completions <= missing and group.row not in rows:
                taken.append(group)
                rows.add(group.row)
                missing -= group.completions
        chosen = {id(group) for group in taken}
        self.remembered = [group for group in self.remembered if id(group) not in chosen]
        return taken

    def add(self, group: Remembered) -> None:
        self.remembered = [*self.remembered, group][-self.groups :]

    def state(self) -> list[dict[str, Any]]:
        return [dict(vars(group)) for group in self.remembered]

    def load(self, state: Sequence[dict[str, Any]]) -> None:
        self.remembered = [Remembered(**group) for group in state][-self.groups :]
