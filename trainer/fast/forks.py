"""Completions of two levels: a plan, and several ways on from it. Where a plan ends, and which rows go on from it.

A prompt's rows lie plan after plan, `ways` of each; the first row of a plan writes it for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Ends = Callable[[Sequence[Sequence[int]]], list[bool]]
"""The last tokens of some rows, `window` at most -> of each, does the end of a plan stand in them."""


class Forks:
    """ways: rows of a plan. longest: tokens of a plan at most. window: how many tokens `ends` has to be given.

    Of the newest batch: lengths, tokens of the plan of each row, and cut, whether it had come to no end when it was
    that long.
    """

    def __init__(self, ways: int, longest: int, ends: Ends, window: int) -> None:
        self.ways, self.longest, self.ends, self.window = ways, longest, ends, window
        self.is_on = False
        self.lengths: list[int] = []
        self.cut: list[bool] = []

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What is generated meanwhile has plans."""
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False

    def begin(self, rows: int) -> None:
        """Forget the batch before. Raises ValueError where the rows are no whole plans."""
        if rows % self.ways:
            raise ValueError(f"{rows} rows are no whole plans of {self.ways}")
        self.lengths, self.cut = [0] * rows, [False] * rows

    def ended(self, row: int, length: int, cut: bool = False) -> range:
        """The plan that this row writes has so many tokens; the rows that have it."""
        rows = range(row, row + self.ways)
        for each in rows:
            self.lengths[each], self.cut[each] = length, cut
        return rows

    def over(self, written: Sequence[Sequence[int]], length: int) -> list[tuple[bool, bool]]:
        """Of plans of `length` tokens, of which `written` has the last ones: is it over, and was it cut."""
        found = self.ends(written)
        return [(end or length >= self.longest, not end and length >= self.longest) for end in found]
