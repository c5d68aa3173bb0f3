"""Rows of micro-batches: which teach nothing, and in which order they share most. Tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Any]
"""A micro-batch of TRL: tensors of B rows, numbers for the whole batch, and None."""


def alive(inputs: Batch, advantages_decide: bool) -> list[int]:
    """The rows that change the weights.

    A completion whose every token is masked is in no term of any loss; with `advantages_decide` neither is one whose
    advantages, (B,) or (B, T), are all 0.
    """
    found = inputs["completion_mask"].any(1)
    if advantages_decide:
        advantages = inputs["advantages"]
        found &= (advantages != 0) if advantages.dim() == 1 else (advantages != 0).any(1)
    return torch.nonzero(found)[:, 0].tolist()  # type: ignore[no-any-return]


def without_spread(rewards: Tensor, sizes: Sequence[int]) -> Tensor:
    """(rows,), True in groups whose rewards are all the same. rewards: (rows,) of groups one after the other, sizes:
    the rows of each.

    TRL's advantage there is what rounding has left of reward - mean, 1e-8 before it is divided by the spread.
    """
    parts = rewards.split(list(sizes))
    return torch.cat([(part == part[0]).all().expand(len(part)) for part in parts])


def together(batches: list[Batch], window: int) -> list[Batch]:
    """The rows of each window of micro-batches anew: those of a prompt one after the other, short ones first.

    TRL has shuffled them. Each window keeps its rows and each micro-batch its number of rows, so a loss that weighs
    rows or tokens alike in a window has the same gradient as before. Images are not of a row each: with them the order
    stays.
    """
    if any(name in batches[0] for name in ("pixel_values", "image_grid_thw", "num_images")):
        return batches
    found: list[Batch] = []
    for start in range(0, len(batches), window):
        some = batches[start : start + window]
        sizes = [batch["prompt_ids"].shape[0] for batch in some]
        order = _order(some)
        anew = [dict(batch) for batch in some]
        for name in _by_row(some, sizes):
            parts = torch.cat([batch[name] for batch in some])[order].split(sizes)
            for batch, part in zip(anew, parts, strict=True):
                batch[name] = part
        found += anew
    return found


def _by_row(batches: list[Batch], sizes: list[int]) -> list[str]:
    return [
        name
        for name, value in batches[0].items()
        if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == sizes[0]
    ]


def _order(batches: list[Batch]) -> Tensor:
    prompts = torch.cat([batch["prompt_ids"] for batch in batches])
    masks = torch.cat([batch["prompt_mask"] for batch in batches])
    lengths = torch.cat([batch["completion_mask"].sum(1) for batch in batches])
    _, group = torch.unique(torch.cat([prompts * masks, masks], dim=1), dim=0, return_inverse=True)
    by_length = lengths.argsort(stable=True)
    return by_length[group[by_length].argsort(stable=True)]


def filled(values: Tensor, live: list[int], rows: int, others: Tensor | None) -> Tensor:
    """(live, T) -> (rows, T): what is given at the live rows, `others` (rows, T) or 0 elsewhere."""
    whole = values.new_zeros((rows, values.shape[1])) if others is None else others.to(values).clone()
    if not live:
        return whole
    return whole.index_copy(0, torch.tensor(live, device=values.device), values)
