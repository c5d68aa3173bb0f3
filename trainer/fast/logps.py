"""Log-probabilities of completions that share their prompts: each prompt goes through the model once.

What TRL 1.14.2 computes from (B, P + T) rows (grpo_trainer.py `_full_logits_logps`), from a pass over the distinct
prompts and (k, t) rows of completions behind it: k rows of similar length, t their longest.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from trl.trainer.utils import selective_log_softmax, selective_log_softmax_and_entropy

from trainer.fast import chunks
from trainer.fast.prefixes import Prefixes, Prompt, with_cache


class Rows(NamedTuple):
    """Rows of a micro-batch, unpadded.

    prompts: one a row. completions: (B, T), right-padded. lengths: tokens of each completion.
    """

    prompts: list[Prompt]
    completions: Tensor
    lengths: list[int]

    @classmethod
    def of(cls, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int) -> Rows:
        """From TRL's rows: (B, P + T), left-padded prompts, right-padded completions of T = logits_to_keep tokens."""
        split = input_ids.shape[1] - logits_to_keep
        lengths = attention_mask[:, split:].sum(1).tolist()
        starts = (split - attention_mask[:, :split].sum(1)).tolist()
        on_host = input_ids[:, :split].cpu().numpy()
        prompts = [
            Prompt(on_host[row, start:].tobytes(), input_ids[row, start:split]) for row, start in enumerate(starts)
        ]
        return cls(prompts, input_ids[:, split:], lengths)

    def tokens(self, free: Collection[Hashable] = ()) -> tuple[int, int]:
        """That go through the model as TRL does it, and here at best. free: prompts that others pay for."""
        longest = max((len(prompt.ids) for prompt in self.prompts), default=0)
        theirs = len(self.prompts) * (longest + self.completions.shape[1])
        once = {prompt.key: len(prompt.ids) - 1 for prompt in self.prompts if prompt.key not in free}
        return theirs, sum(once.values()) + sum(self.lengths)


class Asked(NamedTuple):
    """What is wanted of each token: temperature of sampling; its entropy as well, and with a gradient."""

    temperature: float
    entropy: bool = False
    entropy_gradient: bool = False


def compute(
    model: Any, prefixes: Prefixes, rows: Rows, live: Sequence[int], asked: Asked, at_once: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """(len(live), T) log-probabilities in nats and entropies of the live rows' tokens, 0 where they are padding.

    at_once: rows that TRL would take at once, where there is no gradient. Then no more memory is held than there: keys
    and values of at most so many rows or of one prompt, which are forgotten before the next.
    """
    width = rows.completions.shape[1]
    most = None if at_once is None else at_once * width
    order: list[int] = []
    parts: list[tuple[Tensor, Tensor | None]] = []
    for places in [list(range(len(live)))] if at_once is None else _of_whole_prompts(rows, live, at_once):
        prefixes.open(model, [rows.prompts[live[place]] for place in places], most)
        for chunk in chunks.split([rows.lengths[live[place]] for place in places], prefixes.cost, most):
            some = [live[places[number]] for number in chunk]
            parts.append(_padded(_chunk(model, prefixes, rows, some, asked), width))
            order += [places[number] for number in chunk]
        if at_once is not None:
            prefixes.forget()
    back = torch.tensor(order, device=rows.completions.device).argsort()
    logps = torch.cat([part for part, _ in parts]).index_select(0, back)
    entropies = [part for _, part in parts if part is not None]
    return logps, torch.cat(entropies).index_select(0, back) if entropies else None


def _of_whole_prompts(rows: Rows, live: Sequence[int], most: int) -> list[list[int]]:
    """Places in `live`, by prompts of like length: of one prompt, or of several with at most so many rows together."""
    by_prompt: dict[Hashable, list[int]] = {}
    for place, row in enumerate(live):
        by_prompt.setdefault(rows.prompts[row].key, []).append(place)
    found: list[list[int]] = []
    for places in sorted(by_prompt.values(), key=lambda some: len(rows.prompts[live[some[0]]].ids)):
        if found and len(found[-1]) + len(places) <= most:
            found[-1] += places
        else:
            found.append(places)
    return found


def _chunk(
    model: Any, prefixes: Prefixes, rows: Rows, some: Sequence[int], asked: Asked
) -> tuple[Tensor, Tensor | None]:
    """Of these rows, (k, t) with t the longest of them."""
    lengths = [rows.lengths[row] for row in some]
    longest = max(lengths)
    written = rows.completions[list(some), :longest]
    last = torch.stack([rows.prompts[row].ids[-1] for row in some])[:, None]
    ids = torch.cat([last, written[:, :-1]], dim=1)  # the token before each one that is predicted
    before, front_length = prefixes.front([rows.prompts[row].key for row in some])
    places = torch.arange(longest, device=ids.device)
    known = torch.tensor([len(rows.prompts[row].ids) - 1 for row in some], device=ids.device)[:, None]
    masked = {}
    if int(known.min()) < front_length:
        columns = torch.arange(front_length + longest, device=ids.device)
        masked["attention_mask"] = (columns >= front_length - known).long()
    with with_cache(model):
        logits = model(
            input_ids=ids, position_ids=known + places, past_key_values=before, use_cache=True, **masked
        ).logits
    mask = (places < torch.tensor(lengths, device=ids.device)[:, None]).long()
    return said(logits, written, asked, mask)


def said(logits: Tensor, written: Tensor, asked: Asked, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities and entropies of these tokens, (k, t), 0 where the mask is. logits: (k, t, V)."""
    if not asked.entropy:
        return selective_log_softmax(logits, written, temperature=asked.temperature, row_mask=mask), None
    logps, entropies = selective_log_softmax_and_entropy(
        logits,
        written,
        entropy_requires_grad=asked.entropy_gradient,
        temperature=asked.temperature,
        row_mask=mask,
    )
    return logps, entropies


def _padded(found: tuple[Tensor, Tensor | None], width: int) -> tuple[Tensor, Tensor | None]:
    logps, entropies = (None if each is None else nn.functional.pad(each, (0, width - each.shape[1])) for each in found)
    assert logps is not None
    return logps, entropies
