"""Rows that go through the model together: every row once, no dearer than any other way."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from trainer.fast.chunks import split

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=9)


def tokens(lengths: list[int], chunks: list[list[int]], cost: int) -> int:
    return sum(len(chunk) * max(lengths[row] for row in chunk) + cost for chunk in chunks)


def least(lengths: list[int], cost: int) -> int:
    """By trying all cuts of the sorted rows."""
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    places = range(1, len(rows))
    cuts = [[0, *cut, len(rows)] for n in range(len(rows)) for cut in combinations(places, n)]
    return min(tokens(lengths, [rows[a:b] for a, b in pairwise(cut)], cost) for cut in cuts)


@given(LENGTHS, st.integers(0, 40))
def test_no_way_takes_fewer_tokens(lengths: list[int], cost: int) -> None:
    chunks = split(lengths, cost)
    assert sorted(row for chunk in chunks for row in chunk) == list(range(len(lengths)))
    assert tokens(lengths, chunks, cost) == least(lengths, cost)


@given(LENGTHS, st.integers(0, 40), st.integers(1, 80))
def test_no_chunk_is_larger_than_may_be(lengths: list[int], cost: int, most: int) -> None:
    chunks = split(lengths, cost, most)
    assert sorted(row for chunk in chunks for row in chunk) == list(range(len(lengths)))
    assert all(len(chunk) == 1 or len(chunk) * max(lengths[row] for row in chunk) <= most for chunk in chunks)
