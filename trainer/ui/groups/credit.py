"""Which part of a completion a reward looked at, as far as its settings say.

A component with `extract` rewards the first group of the last match; one with `pattern` and `search` for the match,
without `search` for the whole text. As trainer.rewards.library.extract and form find them, with less time: of a
component that changes the text before it looks, and of a pattern that takes longer, nothing is said.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex

from trainer.run.groups import Completion
from trainer.spec import Component

LIMIT_S = 0.05
"""Of processor time for one pattern on one text."""
MOST_CHARACTERS = 20_000  # of a text that is searched


@dataclass(frozen=True)
class Span:
    """Characters [start, end) that `component` read. earned: its value was above 0. whole: the text as a whole."""

    start: int
    end: int
    component: str
    earned: bool
    whole: bool = False


def spans(completion: Completion, leaves: dict[str, Component]) -> list[Span]:
    """What each component read of it, in the order of the preset."""
    found = []
    for name, value in completion.components.items():
        leaf = leaves.get(name)
        if leaf is None or leaf.file is not None or leaf.per_step or leaf.params.get("normalise") is True:
            continue
        place = _place(completion.text, leaf.params)
        if place is not None:
            whole = place == (0, len(completion.text)) and "pattern" in leaf.params
            found.append(Span(*place, name, value is not None and value > 0, whole))
    return found


def _place(text: str, params: dict[str, Any]) -> tuple[int, int] | None:
    extract, pattern = params.get("extract"), params.get("pattern")
    expression = extract if isinstance(extract, str) else pattern
    compiled = _compiled(expression) if isinstance(expression, str) else None
    if compiled is None or not text or len(text) > MOST_CHARACTERS:
        return None
    try:
        if expression is extract:
            return _last(compiled, text)
        look = compiled.search if params.get("search") is True else compiled.fullmatch
        found = look(text, timeout=LIMIT_S)
    except TimeoutError:
        return None
    return found.span() if found and found.end() > found.start() else None


def _last(compiled: Any, text: str) -> tuple[int, int] | None:
    """The first group that took part in the last match."""
    found = None
    for match in compiled.finditer(text, timeout=LIMIT_S):
        found = match
    if found is None:
        return None
    spans: Sequence[tuple[int, int]] = [found.span(n) for n in range(1, compiled.groups + 1)]
    return next(((start, end) for start, end in spans if 0 <= start < end), None)


@functools.lru_cache(maxsize=64)
def _compiled(expression: str) -> Any:
    try:
        return regex.compile(expression, regex.DOTALL)
    except regex.error:
        return None
