"""Completions of each prompt within a fixed sum: against the formula and against everything there is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.sampling import group_size


@given(
    spreads=some.lists(some.floats(0, 2), min_size=1, max_size=12),
    least=some.integers(2, 5),
    room=some.integers(0, 9),
    place=some.floats(0, 1),
)
def test_sizes_keep_sum_and_bounds(spreads: list[float], least: int, room: int, place: float) -> None:
    most, count = least + room, len(spreads)
    total = least * count + round(place * room * count)
    found = group_size.in_proportion(spreads, total, least, most)
    assert sum(found) == total
    assert all(least <= size <= most for size in found)


@pytest.mark.parametrize("spreads", [[0.5, 0.25, 0.25], [0.4, 0.1, 0.0], [1.0, 1.0, 0.3]])
def test_no_other_division_has_a_smaller_variance(spreads: list[float]) -> None:
    total, least, most = 18, 2, 12

    def variance(sizes: tuple[int, ...]) -> float:
        return sum(spread**2 / size for spread, size in zip(spreads, sizes, strict=True))

    every = [s for s in itertools.product(range(least, most + 1), repeat=len(spreads)) if sum(s) == total]
    best = min(map(variance, every))
    found = tuple(group_size.in_proportion(spreads, total, least, most))
    assert variance(found) <= 1.02 * best, "rounding to whole completions is all that it loses"


def test_bounds_that_no_sizes_meet_are_refused() -> None:
    with pytest.raises(ValueError, match="never 40 together"):
        group_size.in_proportion([1.0, 1.0], 40, 2, 8)
    with pytest.raises(ValueError, match="never 3 together"):
        group_size.fitted([2, 2], [1.0, 1.0], 3, 2, 8)


def test_one_more_goes_to_those_that_want_it_most() -> None:
    assert group_size.fitted([4, 4, 4], [0.1, 0.9, 0.5], 14, 2, 8) == [4, 5, 5]
    assert group_size.fitted([4, 4, 4], [0.1, 0.9, 0.5], 10, 2, 8) == [3, 4, 3]
    assert group_size.fitted([9, 9, 0], [0.0, 0.0, 0.0], 18, 2, 8) == [8, 8, 2]
