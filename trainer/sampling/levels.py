"""Rows by how hard they are: levels of about the same size, the easiest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def of(hardness: Sequence[float], count: int) -> list[list[int]]:
    """At most `count` levels, each a list of places in `hardness`; what is equally hard is in one level.

    hardness: of each row, low is easy. Fewer levels where fewer values differ.
    """
    many = Counter(hardness)
    values = sorted(many)
    level_of: dict[float, int] = {}
    level, size, left = 0, 0, len(hardness)
    for place, value in enumerate(values):
        levels_left, values_left = count - level, len(values) - place
        wanted = (size + left) / levels_left
        # The next level begins where this one is nearer to its share without the value than with it, or where there
        # are as many levels left as values.
        full = size + many[value] / 2 > wanted or values_left < levels_left
        if size and level < count - 1 and full:
            level, size = level + 1, 0
        level_of[value] = level
        size += many[value]
        left -= many[value]
    found: list[list[int]] = [[] for _ in range(level + 1)]
    for row, value in enumerate(hardness):
        found[level_of[value]].append(row)
    return found
