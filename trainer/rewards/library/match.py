"""Rewards that compare the answer with the gold one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, text_of
from trainer.rewards.library.extract import finder


def exact_match(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """1 if the answer in the completion equals the gold answer, else 0; surrounding white space is ignored.

    extract, gold_extract: regular expressions with one group that find the answer in the completion and in the
    column. A completion in which `extract` finds nothing gets 0. Several accepted answers are separated by `#`
    unless `gold_extract` is given.
    """
    find, find_gold = finder(extract), finder(gold_extract)

    def judge(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        golds = columns[answer_column]
        return [_equal(find(text_of(c)), g, find_gold, gold_extract) for c, g in zip(completions, golds, strict=True)]

    return RewardFunction(judge, columns=(answer_column,), answer=find)


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
    find, find_gold = finder(extract), finder(gold_extract)

    def judge(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        golds = (find_gold(str(gold)) or "" for gold in columns[answer_column])
        return [_overlap(find(text_of(c)) or "", g) for c, g in zip(completions, golds, strict=True)]

    return RewardFunction(judge, columns=(answer_column,), answer=find)


def _overlap(answer: str, gold: str) -> float:
    equal = sum(a == g for a, g in zip(answer, gold, strict=False))
    return equal / max(len(answer), len(gold), 1)
