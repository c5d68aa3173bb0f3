"""Rewards for the words two texts share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.gold import Gold
from trainer.rewards.library.extract import finder
from trainer.rewards.library.gold_answers import gold_finder, texts_of
from trainer.rewards.library.korean import tokenizer
from trainer.rewards.library.row_by_row import each_row


def rouge1(
    answer_column: str = "answer",
    extract: str | None = None,
    gold_extract: str | None = None,
    normalise: bool = False,
    tokens: str = "word",
) -> RewardFunction:
    """ROUGE-1: F1 of the tokens shared by the completion and the gold text, 0 to 1 (Lin 2004, ROUGE-N with N = 1).

    A token that stands in both counts as often as in the text that has it less often; F1 as rouge-score 0.1.2 takes
    it, the harmonic mean of precision and recall. The gold is one text: `#` does not separate. Of several (a list) the
    best counts; one that is no text and means the same as the answer gives 1.
    extract, gold_extract: regular expressions with one group that find the part to judge, e.g. the reason after the
    answer. A text in which they find nothing is judged whole.
    normalise: both texts as normalise_answer returns them, before the patterns see them.
    tokens: `word` or `syllable`, see tokenizer. A row whose gold has no token cannot be judged.
    """
    find, find_gold = finder(extract, normalise), lru_cache(maxsize=64)(finder(gold_extract, normalise))
    golds = gold_finder(find_gold, otherwise=lambda text: text)
    split = tokenizer(tokens)
    wanted_in = lru_cache(maxsize=64)(split)  # the completions of a group share their gold

    def value_of(answer: str, gold: Gold) -> Value:
        wanted = wanted_in(gold.text)
        if not wanted:
            return None
        return 1.0 if gold.value is not None and gold.equals(answer) else f1(split(answer), wanted)

    def judge_row(completion: Completion, gold: object) -> Value:
        text = text_of(completion)
        part = find(text)
        answer = text if part is None else part
        found = [value_of(answer, one) for one in golds(gold)]
        return max((value for value in found if isinstance(value, float)), default=None)

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    return RewardFunction(judge, columns=(answer_column,), gold=texts_of)


def f1(tokens: Sequence[str], wanted: Sequence[str]) -> float:
    """Harmonic mean of precision, shared / len(tokens), and recall, shared / len(wanted): 2 P R / (P + R) is
    2 shared / (len(tokens) + len(wanted)) (Lin 2004, section 2, with N = 1).
    """
    # & of counters keeps the smaller count: a token that is repeated counts as often as the gold has it.
    shared = (Counter(tokens) & Counter(wanted)).total()
    return 2 * shared / (len(tokens) + len(wanted)) if shared else 0.0
