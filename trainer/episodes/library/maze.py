"""A maze in words."""

from __future__ import annotations

import random
from collections import deque
from typing import Literal

Cell = tuple[int, int]
WAYS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
LARGEST = 50  # cells along a side


class Maze:
    """A maze without circles, drawn anew for every prompt: from the north-west corner to the south-east one. Worth 1 at
    the exit, before it the share of the way that is behind, so that a step back costs what the step forth had earned.
    Column of a row: `size`, cells along a side, 3 where it is missing."""

    def reset(self, seed: int, size: int = 3) -> str:
        if not 2 <= int(size) <= LARGEST:
            raise ValueError(f"size is {size}: a maze has 2 to {LARGEST} cells along a side")
        self.at: Cell = (0, 0)
        self.exit: Cell = (int(size) - 1, int(size) - 1)
        self.open = _dug(random.Random(seed), int(size))
        self.left = _distances(self.open, self.exit)
        return f" {self._seen()}"

    def move(self, direction: Literal["north", "east", "south", "west"]) -> str:
        """Go one cell on.

        Args:
            direction: north, east, south or west.
        """
        if direction not in WAYS:
            raise ValueError("north, east, south or west")
        if self.at == self.exit:
            return "out"
        there = _beside(self.at, direction)
        if there not in self.open[self.at]:
            return "wall"
        self.at = there
        return "out" if there == self.exit else self._seen()

    def get_reward(self) -> float:
        return 1.0 - self.left[self.at] / self.left[(0, 0)]

    def _seen(self) -> str:
        return "open: " + ", ".join(way for way in WAYS if _beside(self.at, way) in self.open[self.at])


def _beside(cell: Cell, way: str) -> Cell:
    return cell[0] + WAYS[way][0], cell[1] + WAYS[way][1]


def _dug(draw: random.Random, size: int) -> dict[Cell, set[Cell]]:
    """{cell: cells that one can go to}: from cell to cell that was not dug yet, and back where there is none."""
    found: dict[Cell, set[Cell]] = {(x, y): set() for x in range(size) for y in range(size)}
    path, dug = [(0, 0)], {(0, 0)}
    while path:
        around = [there for way in WAYS if (there := _beside(path[-1], way)) in found and there not in dug]
        if not around:
            path.pop()
            continue
        there = draw.choice(around)
        found[path[-1]].add(there)
        found[there].add(path[-1])
        dug.add(there)
        path.append(there)
    return found


def _distances(ways: dict[Cell, set[Cell]], goal: Cell) -> dict[Cell, int]:
    """Steps from every cell to the goal."""
    found, waiting = {goal: 0}, deque([goal])
    while waiting:
        here = waiting.popleft()
        for there in ways[here] - found.keys():
            found[there] = found[here] + 1
            waiting.append(there)
    return found
