"""Rewards that compare the answer with the gold one, character by character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.library.extract import finder, or_none
from trainer.rewards.library.row_by_row import each_row


def exact_match(
    answer_column: str = "answer",
    extract: str | None = None,
    gold_extract: str | None = None,
    normalise: bool = False,
) -> RewardFunction:
    """1 if the answer in the completion equals a gold answer, else 0; surrounding white space is ignored.

    extract, gold_extract: regular expressions with one group that find the answer in the completion and in the
    column; of several matches the last counts. A completion in which `extract` finds nothing gets 0.
    Several accepted answers are separated by `#`; with gold_extract inside what it found: `####\\s*(\\S+)` finds 42
    in "6 * 7 = 42 #### 42". A row without a gold answer cannot be judged.
    normalise: compare both sides as normalise_answer returns them, and let both patterns see them so: labels cut off,
    plain quotation marks, one line.
    """
    find, find_gold = finder(extract, normalise), finder(gold_extract, normalise)
    clean = finder(None, normalise)

    def judge_row(completion: Completion, gold: object) -> Value:
        found = None if gold is None else find_gold(str(gold))
        # "" is no accepted answer: a completion in which `extract` finds nothing would be right.
        accepted = [part for part in map(clean, (found or "").split("#")) if part]
        return float(find(text_of(completion)) in accepted) if accepted else None

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    return RewardFunction(judge, columns=(answer_column,), answer=or_none(find))


def position_match(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """Share of positions at which answer and gold have the same character, of the longer of the two lengths: 0 to 1."""
    find, find_gold = finder(extract), finder(gold_extract)

    def judge_row(completion: Completion, gold: object) -> Value:
        return _overlap(find(text_of(completion)) or "", find_gold(str(gold)) or "")

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    return RewardFunction(judge, columns=(answer_column,), answer=or_none(find))


def _overlap(answer: str, gold: str) -> float:
    # Over the longer one: neither a short answer nor a long one with the gold at its start gets all of it.
    equal = sum(a == g for a, g in zip(answer, gold, strict=False))
    return equal / max(len(answer), len(gold), 1)
