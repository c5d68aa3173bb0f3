"""Plans without the fast way: one call of `generate` writes them, a second one what follows each.

The same distribution as trainer.fast.decoding has with forks; prompts and plans are read once for every row.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from trainer.fast.forks import Forks
from trainer.fast.prefixes import left_padded


class _PlanEnds(StoppingCriteria):  # type: ignore[misc]  # Any: transformers is not read by mypy
    """Of each row by itself, behind a prompt that is `width` columns wide."""

    def __init__(self, forks: Forks, width: int) -> None:
        self.forks, self.width = forks, width

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        written = input_ids[:, self.width :]
        found = self.forks.ends(written[:, -self.forks.window :].tolist())
        return torch.tensor(found, dtype=torch.bool, device=input_ids.device)


def in_two_calls(generate: Callable[..., Tensor], kwargs: dict[str, Any], forks: Forks) -> Tensor:
    """(N, P + T) tokens of `generate(**kwargs)`, plans first: one for the rows that share it, then each row's way on.

    kwargs: input_ids and attention_mask of (N, P), left-padded, and generation_config. The same distribution as in one
    call; only `min_new_tokens` is counted from the shortest plan.
    """
    ids, mask, config = kwargs["input_ids"], kwargs["attention_mask"], kwargs["generation_config"]
    (rows, width), most = ids.shape, int(config.max_new_tokens)
    forks.begin(rows)
    planning = _config(config, min(forks.longest, most), 0)
    first = {"input_ids": ids[:: forks.ways], "attention_mask": mask[:: forks.ways], "generation_config": planning}
    ending = StoppingCriteriaList([_PlanEnds(forks, width)])
    found = generate(**kwargs | first, stopping_criteria=ending)[:, width:]
    ends = _ends(config)
    plans = [_plan(row, ends, forks, number * forks.ways) for number, row in enumerate(found.tolist())]
    going = [row for row in range(rows) if plans[row // forks.ways][-1] not in ends]
    out = ids.new_full((rows, most), config.pad_token_id or 0)
    for row in range(rows):
        out[row, : forks.lengths[row]] = ids.new_tensor(plans[row // forks.ways])
    if going:
        asked = left_padded([torch.cat([ids[row][mask[row].bool()], out[row, : forks.lengths[row]]]) for row in going])
        begun = min(forks.lengths[row] for row in going)
        second = {
            "input_ids": asked["input_ids"],
            "attention_mask": asked.get("attention_mask", torch.ones_like(asked["input_ids"])),
            "generation_config": _config(config, most - begun, begun),
        }
        rest = generate(**kwargs | second)[:, asked["input_ids"].shape[1] :]
        for row, tokens in zip(going, rest, strict=True):
            room = out[row, forks.lengths[row] :]
            room[: len(tokens)] = tokens[: len(room)]
    return torch.cat([ids, out], 1)


def _config(config: Any, most: int, written: int) -> Any:
    """For `most` tokens more, behind so many."""
    made = copy.deepcopy(config)
    made.max_new_tokens = most
    if made.min_new_tokens:
        made.min_new_tokens = min(most, max(0, made.min_new_tokens - written))
    return made


def _ends(config: Any) -> set[int]:
    found = config.eos_token_id
    return set() if found is None else set(found) if isinstance(found, Sequence) else {found}


def _plan(tokens: list[int], ends: set[int], forks: Forks, row: int) -> list[int]:
    """The tokens of the plan that this row begins, without the padding behind it."""
    for length in range(1, len(tokens) + 1):
        if tokens[length - 1] in ends:
            forks.ended(row, length)
            return tokens[:length]
        ((over, cut),) = forks.over([tokens[max(0, length - forks.window) : length]], length)
        if over:
            forks.ended(row, length, cut)
            return tokens[:length]
    forks.ended(row, len(tokens), cut=True)  # by another bound of the user's, as max_time in trl.generation_kwargs
    return tokens
