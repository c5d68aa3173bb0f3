"""Greedy answers on held-out rows, judged by the run's own rewards.

Greedy decoding draws no random number, so an evaluation between two steps does not change the run.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.evaluate.answering import GREEDY, Answers, Interrupted, answer, score
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run.records import EvalEvent, SampledScores
from trainer.text import Message


@dataclass(frozen=True)
class Score:
    """Means over the rows. reward is the weighted total; correct_frac the share that reached reward.correct_at;
    None where no row could be judged. reward_std: of the rows' rewards (n - 1), None below two of them.
    failed: rows that a component could not judge, failure: why the first of them.
    texts, rewards, correct: the answers, row by row."""

    reward: float | None
    correct_frac: float | None
    components: dict[str, float]
    rows: int
    reward_std: float | None = None
    failed: int = 0
    failure: Message | None = None
    texts: list[str] = field(default_factory=list, compare=False, repr=False)
    rewards: list[float | None] = field(default_factory=list, compare=False, repr=False)
    correct: list[bool | None] = field(default_factory=list, compare=False, repr=False)

    def event(
        self, at: str, step: int, seconds: float | None = None, sampled: SampledScores | None = None
    ) -> EvalEvent:
        return EvalEvent(
            at=at,
            step=step,
            reward=self.reward,
            correct_frac=self.correct_frac,
            components=dict(self.components),
            rows=self.rows,
            reward_std=self.reward_std,
            seconds=seconds,
            sampled=sampled,
            failed=self.failed or None,
        )


def evaluate(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    wrapper: ComponentRewardWrapper,
    *,
    max_completion_length: int,
    batch_size: int,
    reward_batch_size: int,
    chat_template_kwargs: dict[str, Any] | None = None,
    interrupted: Interrupted = lambda: False,
) -> Score | None:
    """Answer `rows`, `batch_size` at once, and judge the answers; None when `interrupted` between two batches.

    reward_batch_size: see trainer.evaluate.answering.score.
    """
    answers = answer(
        model,
        tokenizer,
        [row["prompt"] for row in rows],
        GREEDY | {"max_new_tokens": max_completion_length},
        batch_size=batch_size,
        chat_template_kwargs=chat_template_kwargs,
        interrupted=interrupted,
    )
    return judged(rows, answers, wrapper, reward_batch_size, interrupted)


def judged(
    rows: Sequence[dict[str, Any]],
    answers: Answers | None,
    wrapper: ComponentRewardWrapper,
    reward_batch_size: int,
    interrupted: Interrupted = lambda: False,
) -> Score | None:
    """What the rewards say of answers that are there; None without them, or when `interrupted`."""
    if answers is None:
        return None
    scored = score(wrapper, rows, answers, batch_size=reward_batch_size, interrupted=interrupted)
    if scored is None:
        return None
    rewards = [value for value in scored.rewards if value is not None]
    correct = [flag for flag in scored.correct if flag is not None]
    return Score(
        reward=statistics.fmean(rewards) if rewards else None,
        correct_frac=statistics.fmean(correct) if correct else None,
        components={
            name: statistics.fmean(known)
            for name, values in scored.components.items()
            if (known := [value for value in values if value is not None])
        },
        rows=len(rows),
        reward_std=statistics.stdev(rewards) if len(rewards) > 1 else None,
        failed=scored.failed,
        failure=scored.first_failure,
        texts=answers.texts,
        rewards=scored.rewards,
        correct=scored.correct,
    )
