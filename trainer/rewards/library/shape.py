"""Rewards and penalties for the form of a completion, whatever it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trainer.errors import Unfit
from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.library.extract import Pattern
from trainer.rewards.library.korean import normalise_answer, tokenizer
from trainer.rewards.library.row_by_row import each_row


def format_regex(pattern: str, normalise: bool = False, search: bool = False) -> RewardFunction:
    """1 if the whole completion matches the regular expression (`.` also matches line ends), else 0.

    search: a match anywhere in it is enough. normalise: the pattern sees what normalise_answer returns, one line
    without labels and with plain quotation marks.
    """
    compiled = Pattern(pattern)
    matches = compiled.is_in if search else compiled.is_whole

    def judge_row(completion: Completion) -> Value:
        text = text_of(completion)
        return float(matches(normalise_answer(text) if normalise else text))

    return RewardFunction(lambda completions, **columns: each_row(judge_row, completions))


_LENGTHS: dict[str, Callable[[str], int]] = {"characters": len, "words": lambda text: len(text.split())}


def length_penalty(start: float, end: float, unit: str = "characters") -> RewardFunction:
    """0 up to the length `start`, falling in a straight line to -1 at `end`, -1 beyond.

    With `end` below `start` it is shortness that costs: 0 from `start` up, -1 at `end` and below.
    unit: `characters`, or `words` (what white space separates). For tokens see overlong.
    """
    if start == end or min(start, end) < 0:
        raise Unfit("rewards.unfit.lengths", start=f"{start:g}", end=f"{end:g}")
    if unit not in _LENGTHS:
        raise Unfit("rewards.unfit.one_of", name="unit", seen=repr(unit), known=list(_LENGTHS))
    length = _LENGTHS[unit]

    def judge_row(completion: Completion) -> Value:
        return _slope(length(text_of(completion)), start, end)

    return RewardFunction(lambda completions, **columns: each_row(judge_row, completions))


def overlong(max_tokens: int, buffer: int) -> RewardFunction:
    """DAPO's soft over-long penalty (Yu et al. 2025, arXiv:2503.14476, equation 13), in tokens of the completion.

    0 up to max_tokens - buffer, falling in a straight line to -1 at max_tokens, -1 beyond. The paper takes 20480 and
    4096; here max_tokens is at most generation.max_completion_length, or -1 is never reached. Without the tokens (a
    text that no model wrote) a row cannot be judged.
    """
    if not 0 < buffer <= max_tokens:
        raise Unfit("rewards.unfit.buffer", buffer=buffer, most=max_tokens)

    # TRL passes completion_ids, B lists of tokens without padding, to every reward function.
    def judge(
        completions: Sequence[Completion], completion_ids: Sequence[Sequence[int]] | None = None, **columns: Any
    ) -> list[Value]:
        if completion_ids is None:
            return [None] * len(completions)
        return each_row(lambda ids: _slope(len(ids), max_tokens - buffer, max_tokens), completion_ids)

    return RewardFunction(judge, from_trainer=("completion_ids",))


def _slope(length: float, start: float, end: float) -> float:
    """0 at `start` and before it, -1 at `end` and past it, a straight line between."""
    # Works for end < start too: both differences change their sign.
    return max(-1.0, min(0.0, (start - length) / (end - start)))


def repetition(n: int = 4, tokens: str = "word") -> RewardFunction:
    """Minus the share of repeated n-grams: distinct / all - 1. 0 when none is there twice, near -1 for one in a loop.

    It is -seq-rep-n of Welleck et al. 2020 (arXiv:1908.04319, section 6). n: tokens of an n-gram; a completion with
    fewer tokens gets 0. tokens: `word` or `syllable`, see tokenizer; Chinese and Japanese, which write no blanks, need
    `syllable`.
    """
    if n < 1:
        raise Unfit("rewards.unfit.n", seen=n)
    split = tokenizer(tokens)

    def judge_row(completion: Completion) -> Value:
        words = split(text_of(completion))
        # All n-grams: the list against itself, moved on by 1 to n - 1 words.
        grams = list(zip(*(words[place:] for place in range(n)), strict=False))
        return len(set(grams)) / len(grams) - 1 if grams else 0.0

    return RewardFunction(lambda completions, **columns: each_row(judge_row, completions))
