"""Process supervision in the loss: an advantage for every token, from the steps that end at or after it.

DeepSeekMath (arXiv:2402.03300, section 4.1.3). trainer.rewards.steps has the arithmetic of steps; here they meet the
tokens. TRL 1.14.2 `_compute_loss` takes advantages of shape (B, T) beside (B,).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from trainer.run.rollouts import Step

UNFINISHED = "\ufffd"
"""What a tokenizer gives for bytes that are no whole character yet."""
WINDOW = 16
"""Tokens that are decoded together at most. A character has four bytes, so more can only be no text at all."""


def token_ends(ids: Sequence[int], tokenizer: Any, steps: Sequence[str]) -> list[int]:
    """How many tokens of a completion there are up to each step's end, the one that holds its last character included.

    steps: joined they are the completion's text, or a part of it that TRL's response parser took. A token that holds
    the end of one step and the beginning of the next belongs to the first. What follows the text (the end token)
    belongs to the last step.
    """
    text = tokenizer.decode(ids, skip_special_tokens=True)
    # The response parser may have taken a part of the text: steps are counted from where that part begins.
    before = max(0, text.find("".join(steps)))
    first = begins(ids, tokenizer)
    ends = [bisect_left(first, before + end) for end in accumulate(map(len, steps))]
    return [*ends[:-1], len(ids)]  # the end token gets the last step's advantage: it is part of the policy as well


def begins(ids: Sequence[int], tokenizer: Any) -> list[int]:
    """Characters of the text that are whole before each token. Decodes a few tokens at a time, behind a few others:
    a tokenizer may write a token differently at the beginning of a text.
    """

    def read(first: int, end: int) -> str:
        return str(tokenizer.decode(ids[first:end], skip_special_tokens=True))

    found = [0]
    whole = context = window = known = 0  # known: characters of ids[context:window]; whole: of ids[:window]
    for end in range(1, len(ids) + 1):
        # From the same first token as what `known` counts, so that the two texts differ at their end only.
        text = read(context, end)
        finished = text.rstrip(UNFINISHED)
        found.append(max(found[-1], whole + len(finished) - known))
        if (len(text) > known and finished == text) or end - window == WINDOW:
            whole += len(text) - known
            context, window = window, end
            known = len(read(context, window))
    return found[:-1]


def recorded(
    steps: Sequence[Sequence[str]],
    rewards: Sequence[Sequence[float | None]],
    advantages: Sequence[Sequence[float]],
    completion_ids: Sequence[Sequence[int]],
    tokenizer: Any,
) -> list[list[Step]]:
    """The steps of each completion, for the loss and for the rollouts."""
    return [
        [
            Step(*step)
            for step in zip(accumulate(map(len, texts)), token_ends(ids, tokenizer, texts), given, values, strict=True)
        ]
        for texts, given, values, ids in zip(steps, rewards, advantages, completion_ids, strict=True)
    ]


def advantages(rows: Sequence[Sequence[Step]], completion_mask: Tensor) -> Tensor:
    """(B, T), as the mask: each token has the advantage of its step, padding 0.

    completion_mask: (B, T), 1 for tokens of a completion. Source: DeepSeekMath (arXiv 2402.03300), section 4.1.3: the
    advantage of a token is the sum of the normalised rewards of the steps that end at or after it; `Step.advantage`
    is that sum already (trainer.rewards.steps.advantages_of_steps).
    """
    values = torch.zeros(completion_mask.shape, dtype=torch.float32)
    for row, steps in enumerate(rows):
        first = 0
        for step in steps:
            values[row, first : step.tokens] = step.advantage
            first = step.tokens
    return values.to(completion_mask.device)


def left_packed(inputs: dict[str, Any], pad_token_id: int) -> Tensor:
    """The advantages of a micro-batch where Unsloth's loss has its tokens: (B, T) -> (B, T + padding of prompts).

    It moves every row to the left, over the padding before its prompt, and keeps as many columns as the old or the
    reference log-probabilities have (unsloth_zoo 2026.10.7, rl_replacements.py `grpo_accumulated_loss`).
    """
    from unsloth_zoo import rl_replacements as zoo

    length = inputs["completion_ids"].shape[1]
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    padding = zoo.calculate_pad_tokens_in_prompt(ids, length, pad_token_id)
    # `max_left_pad` of grpo_accumulated_loss: from log-probabilities of (B, T + padding) if it has any, else from rows.
    given = [inputs[name] for name in ("old_per_token_logps", "ref_per_token_logps") if inputs.get(name) is not None]
    most = given[0].shape[1] - length if given else int(padding.max())
    packed = zoo.left_pack_padding(ids, pad_token_id)[:, -(length + most) :]
    # Columns of a prompt's end, which are before the completion of a row with less padding, are masked.
    mask = zoo.create_completion_attention_mask(packed, padding, most, pad_token_id)
    aligned: Tensor = zoo.align_logprobs_with_mask(inputs["advantages"], mask.long())
    return aligned
