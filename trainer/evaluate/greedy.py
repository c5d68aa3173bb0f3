"""Greedy answers on held-out rows, paid by the run's own rewards.

Greedy decoding draws no random number, so an evaluation between two steps does not change the run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.data.dataset import prompt_ids
from trainer.grpo.guard import generation_mode
from trainer.rewards.wrapper import ComponentRewardWrapper


@dataclass(frozen=True)
class Score:
    """Means over the rows. reward is the weighted total; correct_frac the share that reached reward.correct_at;
    None where no row could be judged."""

    reward: float | None
    correct_frac: float | None
    components: dict[str, float]
    rows: int


def evaluate(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    wrapper: ComponentRewardWrapper,
    *,
    max_completion_length: int,
    batch_size: int,
    chat_template_kwargs: dict[str, Any] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Score | None:
    """Answer `rows` and pay the answers; None when `interrupted` between two batches."""
    completions: list[Any] = []
    with generation_mode(model), torch.no_grad():
        for start in range(0, len(rows), batch_size):
            if interrupted():
                return None
            batch = rows[start : start + batch_size]
            ids = [prompt_ids(row["prompt"], tokenizer, chat_template_kwargs) for row in batch]
            completions += _answers(model, tokenizer, ids, max_completion_length)
    prompts = [row["prompt"] for row in rows]
    if not isinstance(prompts[0], str):  # a chat is paid for a chat, as in training
        completions = [[{"role": "assistant", "content": text}] for text in completions]
    columns = {key: [row[key] for row in rows] for key in rows[0] if key != "prompt"}
    rewards = [value for value in wrapper(prompts=prompts, completions=completions, **columns) if value is not None]
    correct = [flag for flag in wrapper.last_correct if flag is not None]
    return Score(
        reward=statistics.fmean(rewards) if rewards else None,
        correct_frac=statistics.fmean(correct) if correct else None,
        components={
            name: statistics.fmean(known)
            for name, values in wrapper.last_components.items()
            if (known := [value for value in values if value is not None])
        },
        rows=len(rows),
    )


def _answers(model: Any, tokenizer: Any, ids: list[list[int]], max_new_tokens: int) -> list[str]:
    """Greedy completions of a left-padded batch, as text."""
    padded = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(model.device)
    output = model.generate(
        **padded,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        max_new_tokens=max_new_tokens,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    texts: list[str] = tokenizer.batch_decode(output[:, padded["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts
