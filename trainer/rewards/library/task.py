"""The verifier of the generator that a row was made by (data.task)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.library.extract import finder, or_none
from trainer.rewards.library.row_by_row import each_row
from trainer.tasks import verifier


def task(extract: str | None = None) -> RewardFunction:
    """What the verifier of a row's generator pays for the answer, 0 to 1; rows of data.task.

    extract: a regular expression with one group that finds the answer in the completion; of several matches the last
    counts, and where it finds nothing the completion gets 0. Without it the whole completion is the answer, without
    surrounding white space. `([^\\n]*)\\s*\\Z` is the last line, `<answer>(.*?)</answer>` what stands between tags.
    """
    find = finder(extract)

    def judge_row(completion: Completion, entry: str) -> Value:
        found = find(text_of(completion))
        return verifier.score(found, entry) if found else 0.0

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns["entry"])

    return RewardFunction(judge, columns=("entry",), answer=or_none(find), prepare=verifier.package)
