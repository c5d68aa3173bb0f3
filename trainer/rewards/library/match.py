"""Rewards that compare the answer with the gold one, character by character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trainer.errors import Unfit
from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.gold import Gold, spelled
from trainer.rewards.library.extract import finder, or_none
from trainer.rewards.library.gold_answers import gold_finder, texts_of
from trainer.rewards.library.row_by_row import each_row


def exact_match(
    answer_column: str = "answer",
    extract: str | None = None,
    gold_extract: str | None = None,
    normalise: bool = False,
    accepted_separator: str = "#",
) -> RewardFunction:
    """1 if the answer in the completion equals a gold answer, else 0; surrounding white space is ignored.

    extract, gold_extract: regular expressions with one group that find the answer in the completion and in the
    column; of several matches the last counts. A completion in which `extract` finds nothing gets 0.
    A gold text may hold several accepted answers with accepted_separator between them ("" for none); with gold_extract
    inside what it found: `####\\s*(\\S+)` finds 42 in "6 * 7 = 42 #### 42". A list holds one accepted answer an
    element, and is not cut. What is no text is compared by its meaning, see trainer.rewards.gold. A row without a gold
    answer cannot be judged.
    normalise: compare both sides as normalise_answer returns them, and let both patterns see them so: labels cut off,
    plain quotation marks, one line. NFC and a plain minus sign go without saying.
    """
    if not isinstance(accepted_separator, str):
        raise Unfit("rewards.unfit.separator", seen=repr(accepted_separator))
    find, clean = _spelled_finder(extract, normalise), finder(None, normalise)
    golds = gold_finder(_spelled_finder(gold_extract, normalise))

    def pieces(text: str) -> list[str]:
        return text.split(accepted_separator) if accepted_separator else [text]

    def accepted(gold: object) -> list[Gold]:
        found = golds(gold)
        if isinstance(gold, str):
            found = [Gold(clean(piece) or "") for one in found for piece in pieces(one.text)]
        # "" is no accepted answer: a completion in which `extract` finds nothing would be right.
        return [one for one in found if one.text]

    def judge_row(completion: Completion, gold: object) -> Value:
        right = accepted(gold)
        found = find(text_of(completion)) if right else None
        return float(found is not None and any(one.equals(found) for one in right)) if right else None

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    def cut(text: str) -> list[str]:
        return [piece for one in golds(text) for piece in pieces(one.text)]

    def whole(gold: Any) -> list[str]:
        # With gold_extract the column is a solution, which is written as it stands.
        return [one.text for one in accepted(gold)] if gold_extract is None else texts_of(gold)

    return RewardFunction(judge, columns=(answer_column,), answer=or_none(find), gold=whole, pieces=cut)


def position_match(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """Share of positions at which answer and gold have the same character, of the longer of the two lengths: 0 to 1.

    Of several gold answers (a list) the best; one that is no text and means the same as the answer gives 1. A row
    without a gold answer cannot be judged.
    """
    find, golds = _spelled_finder(extract), gold_finder(_spelled_finder(gold_extract))

    def judge_row(completion: Completion, gold: object) -> Value:
        answer = find(text_of(completion)) or ""
        values = [1.0 if one.equals(answer) else _overlap(answer, one.text) for one in golds(gold) if one.text]
        return max(values, default=None)

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    return RewardFunction(judge, columns=(answer_column,), answer=or_none(find), gold=texts_of)


def _spelled_finder(extract: str | None, normalise: bool = False) -> Callable[[str], str | None]:
    """A finder whose pattern sees NFC and plain minus signs: of a typographic one `-?` would find the number alone."""
    find = finder(extract, normalise)
    return lambda text: find(spelled(text))


def _overlap(answer: str, gold: str) -> float:
    # Over the longer one: neither a short answer nor a long one with the gold at its start gets all of it.
    equal = sum(a == g for a, g in zip(answer, gold, strict=False))
    return equal / max(len(answer), len(gold), 1)
