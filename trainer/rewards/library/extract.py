"""Finding the answer in a text, with patterns that people type.

The module `regex` reads what `re` reads and takes a time limit. `re` has none: (a|aa)+$ on a line of sixty letters
would hold the training for days.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import regex

from trainer.errors import Unfit
from trainer.rewards.library.korean import normalise_answer
from trainer.text import Message

T = TypeVar("T")
LIMIT_S = 1.0
"""Of processor time, which is what `regex` counts."""


class TooSlow(TimeoutError):
    """A pattern ran out of time. message: that in words."""

    def __init__(self) -> None:
        super().__init__()
        self.message = Message("rewards.failed.pattern_slow", seconds=f"{LIMIT_S:g}")

    def __str__(self) -> str:
        return str(self.message)


class Pattern:
    """A regular expression in which `.` also matches line ends, with a time limit of LIMIT_S on every call.

    groups: how many groups it needs. Raises ValueError when it is no expression or has fewer. Calls that run out of
    time raise TooSlow.
    """

    def __init__(self, pattern: str, groups: int = 0) -> None:
        try:
            self._compiled = regex.compile(pattern, regex.DOTALL)
        except regex.error as error:
            raise Unfit("rewards.unfit.pattern", pattern=repr(pattern), said=str(error)) from error
        if self._compiled.groups < groups:
            raise Unfit("rewards.unfit.pattern_group", pattern=repr(pattern))

    def is_whole(self, text: str) -> bool:
        """Whether all of the text matches."""
        return self._in_time(lambda: self._compiled.fullmatch(text, timeout=LIMIT_S)) is not None

    def is_in(self, text: str) -> bool:
        """Whether some part of the text matches."""
        return self._in_time(lambda: self._compiled.search(text, timeout=LIMIT_S)) is not None

    def last(self, text: str) -> str | None:
        """Of the last match the first group that took part in it; None without a match. A match of nothing is the last
        one only where it is the only one: `(.*)` matches the text, and nothing at its end."""
        # All matches for the last one: neither re nor regex searches from the end.
        every = self._in_time(lambda: list(self._compiled.finditer(text, timeout=LIMIT_S)))
        found = [match for match in every if match[0]] or every
        return next((group for group in found[-1].groups() if group is not None), None) if found else None

    def _in_time(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except TimeoutError:
            raise TooSlow from None


def finder(pattern: str | None, normalise: bool = False) -> Callable[[str], str | None]:
    """Text -> the first group of the last match (a model may think aloud before it answers), None without a match.

    Without a pattern it is the whole text. Stripped of white space; with `normalise` the pattern sees the text as
    normalise_answer returns it, which is one line, and what is found is normalised again.
    The finder raises TooSlow when the pattern takes too long; a bad pattern raises ValueError here.
    """
    # Normalised before the pattern: a person writes it for plain quotation marks and one line.
    clean = normalise_answer if normalise else str.strip
    if pattern is None:
        return clean
    compiled = Pattern(pattern, groups=1)

    def find(text: str) -> str | None:
        found = compiled.last(clean(text) if normalise else text)
        return None if found is None else clean(found)

    return find


def or_none(find: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """The same finder for callers that want no reason: None where the pattern takes too long."""

    def find_in_time(text: str) -> str | None:
        try:
            return find(text)
        except TooSlow:
            return None

    return find_in_time
