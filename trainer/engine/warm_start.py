"""Supervised training that gives a built-in model something to start from: GRPO can only reinforce what is sampled.

Prompts and answers are tokenised exactly as GRPO will tokenise them. Only the answer's tokens carry a loss.
"""

from __future__ import annotations

import math
import random
from typing import Any

import torch
from torch import Tensor

from trainer.data import dataset
from trainer.data.render import Renderer
from trainer.data.survey import survey, warm_start_rows
from trainer.errors import EngineError, Problem
from trainer.rewards.gold_completion import GoldCompletion
from trainer.spec import RunSpec, WarmStart

IGNORE = -100  # label without a loss
RAMP_STEPS = 20  # linear warm-up of the learning rate
WINDOW = 5  # steps over which the loss is averaged for `until_loss`


def train(model: Any, tokenizer: Any, warm: WarmStart, spec: RunSpec) -> float:
    """Train `model` in place; the mean loss of the last steps, in nats a token. Deterministic by warm.seed.

    Raises EngineError when the loss is not a number.
    """
    examples = [_tokens(tokenizer, *texts) for texts in rendered(warm, spec)]
    order = random.Random(warm.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=warm.learning_rate, weight_decay=0.0)
    losses = [math.inf]
    model.train()
    for step in range(warm.steps):
        rows = [examples[order.randrange(len(examples))] for _ in range(warm.batch_size)]
        for group in optimizer.param_groups:
            group["lr"] = warm.learning_rate * min(1.0, (step + 1) / RAMP_STEPS)
        loss = model(**_batch(rows, tokenizer.pad_token_id)).loss  # mean over the tokens that have a label
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses = [*losses[-WINDOW + 1 :], loss.item()] if step else [loss.item()]
        if not math.isfinite(losses[-1]):
            raise EngineError(Problem("engine.warm_start", "model.warm_start", loss=losses[-1], step=step + 1))
        if step >= WINDOW and sum(losses) / len(losses) < warm.until_loss:
            break
    model.eval()
    return sum(losses) / len(losses)


def rendered(warm: WarmStart, spec: RunSpec) -> list[tuple[Any, str]]:
    """(prompt as GRPO sends it, answer) of every row of the warm start's file, except those that are held out.

    Few-shot examples are drawn from the same pool as in the training. Raises DataError as data.dataset.load does.
    """
    found = survey(spec, *dataset.feeds(spec))
    renderer, gold = Renderer(spec, found.pool), GoldCompletion(spec.reward)
    return [
        (renderer.row(row.columns)["prompt"], warm.completion_template.format_map(gold.columns(row.columns)))
        for row in warm_start_rows(spec, warm.path, found)
    ]


def _tokens(tokenizer: Any, prompt: Any, answer: str) -> tuple[list[int], list[int]]:
    """(prompt tokens, answer tokens with the end of turn)."""
    ids = tokenizer(text=answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    return dataset.prompt_ids(prompt, tokenizer), ids


def _batch(rows: list[tuple[list[int], list[int]]], pad: int) -> dict[str, Tensor]:
    """Right-padded (rows, longest) tensors of tokens, mask and labels; labels of prompts and padding are IGNORE."""
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), IGNORE)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, (prompt, answer) in enumerate(rows):
        length = len(prompt) + len(answer)
        # Unshifted labels: transformers' loss compares the logits at place t with the label at place t + 1.
        ids[number, :length] = torch.tensor(prompt + answer)
        labels[number, len(prompt) : length] = torch.tensor(answer)
        mask[number, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
