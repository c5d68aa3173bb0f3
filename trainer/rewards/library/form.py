"""Rewards for the form of a completion, whatever it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, text_of


def format_regex(pattern: str) -> RewardFunction:
    """1 if the whole completion matches the regular expression (`.` also matches line ends), else 0."""
    compiled = re.compile(pattern, re.DOTALL)

    def judge(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        return [float(compiled.fullmatch(text_of(completion)) is not None) for completion in completions]

    return RewardFunction(judge)
