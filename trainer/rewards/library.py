"""Reward functions by name, each usable from TOML with parameters.

The contract is TRL's: fn(prompts, completions, **columns) -> one float a completion. A completion is a string or a
list with one assistant message. A function returns None for a row it can not judge; any exception ends the run.
Every entry of REWARDS is a factory: its keyword arguments are the `params` of the component.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

Completion = str | list[dict[str, Any]]
RewardFunction = Callable[..., list[float | None]]


def text_of(completion: Completion) -> str:
    """The text of a completion in either of TRL's forms."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def exact_match(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """1 if the answer in the completion equals the gold answer, else 0; surrounding white space is ignored.

    extract, gold_extract: regular expressions with one group that find the answer in the completion and in the
    column. A completion in which `extract` finds nothing gets 0. Several accepted answers are separated by `#`
    unless `gold_extract` is given.
    """
    find, find_gold = _finder(extract), _finder(gold_extract)

    def exact_match(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        golds = columns[answer_column]
        return [_equal(find(text_of(c)), g, find_gold, gold_extract) for c, g in zip(completions, golds, strict=True)]

    return exact_match


def _equal(
    answer: str | None,
    gold: object,
    find_gold: Callable[[str], str | None],
    gold_extract: str | None,
) -> float:
    accepted = [find_gold(str(gold))] if gold_extract else [part.strip() for part in str(gold).split("#")]
    return float(answer is not None and answer in accepted)


def position_match(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """Share of positions at which answer and gold have the same character, over the longer of the two lengths."""
    find, find_gold = _finder(extract), _finder(gold_extract)

    def position_match(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        golds = (find_gold(str(gold)) or "" for gold in columns[answer_column])
        return [_overlap(find(text_of(c)) or "", g) for c, g in zip(completions, golds, strict=True)]

    return position_match


def _overlap(answer: str, gold: str) -> float:
    equal = sum(a == g for a, g in zip(answer, gold, strict=False))
    return equal / max(len(answer), len(gold), 1)


def format_regex(pattern: str) -> RewardFunction:
    """1 if the whole completion matches the regular expression (`.` also matches line ends), else 0."""
    compiled = re.compile(pattern, re.DOTALL)

    def format_regex(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        return [float(compiled.fullmatch(text_of(completion)) is not None) for completion in completions]

    return format_regex


def _finder(pattern: str | None) -> Callable[[str], str | None]:
    """Text -> stripped first group of the last match (a model may think aloud before it answers); None without one."""
    if pattern is None:
        return str.strip
    compiled = re.compile(pattern, re.DOTALL)

    def find(text: str) -> str | None:
        found = [match.group(1) for match in compiled.finditer(text)]
        return found[-1].strip() if found else None

    return find


REWARDS: dict[str, Callable[..., RewardFunction]] = {
    "exact_match": exact_match,
    "position_match": position_match,
    "format_regex": format_regex,
}
