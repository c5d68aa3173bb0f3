"""Which rows go through the model together, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Sequence


def split(lengths: Sequence[int], cost: int, most: int | None = None) -> list[list[int]]:
    """Rows by length, in chunks that take the fewest tokens: rows x longest of each, plus `cost` for each chunk.

    lengths: tokens of each row. cost: what a call of the model costs beside its tokens, in tokens. most: tokens of a
    chunk at most, padding counted; a single longer row is a chunk. The least of all ways, by dynamic programming over
    the different lengths.
    """
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    ends = [place for place in range(1, len(rows) + 1) if place == len(rows) or _differ(lengths, rows, place)]
    if most is not None:  # a long run of equal rows may have to be cut as well
        ends = _fine(ends, [lengths[rows[end - 1]] for end in ends], most)
    best: list[tuple[int, int]] = [(0, 0)]  # of the first ends: tokens, and where the last chunk begins
    starts = [0, *ends]
    for number, end in enumerate(ends, 1):
        longest = lengths[rows[end - 1]]
        ways = (
            (best[before][0] + (end - starts[before]) * longest + cost, before)
            for before in range(number)
            if most is None or before == number - 1 or (end - starts[before]) * longest <= most
        )
        best.append(min(ways))
    chunks, number = [], len(ends)
    while number:
        before = best[number][1]
        chunks.append(rows[starts[before] : starts[number]])
        number = before
    return chunks[::-1]


def _differ(lengths: Sequence[int], rows: Sequence[int], place: int) -> bool:
    return lengths[rows[place - 1]] != lengths[rows[place]]


def _fine(ends: Sequence[int], lengths: Sequence[int], most: int) -> list[int]:
    cut, start = [], 0
    for end, length in zip(ends, lengths, strict=True):
        each = max(1, most // max(1, length))
        cut += [*range(start + each, end, each), end]
        start = end
    return cut
