"""Where Unsloth has put its own update in place of TRL's: what it is given.

It shares prompts by itself when whole groups lie one after the other in a micro-batch (unsloth 2026.10.9,
utils/prefix_grouper.py), which TRL's shuffle undoes and rows.together restores. Here groups without an advantage are
left out before its loss, which divides by the rows that it sees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.engine.unsloth_engine import PATCHED
from trainer.fast.rows import Batch

BY_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""Losses that are a mean over the rows of a micro-batch (unsloth_zoo rl_replacements.py `grpo_compute_loss`). The
others but bnpo divide by the tokens of the generation batch, which `num_items_in_batch` says."""


def is_unsloths(trainer: Any) -> bool:
    return any(cls.__name__ == PATCHED for cls in type(trainer).__mro__)


def live_groups(inputs: Batch) -> list[int]:
    """Rows of prompts that have a row with an advantage: whole groups, or Unsloth would share nothing of the rest."""
    alive = inputs["advantages"] != 0
    padded = torch.cat([inputs["prompt_ids"] * inputs["prompt_mask"], inputs["prompt_mask"]], 1)
    _, group = torch.unique(padded, dim=0, return_inverse=True)
    lively = torch.zeros(int(group.max()) + 1, dtype=torch.bool, device=alive.device).index_put(
        (group[alive],), alive[alive]
    )
    return torch.nonzero(lively[group])[:, 0].tolist()  # type: ignore[no-any-return]


def without(inputs: Batch, live: list[int], loss_type: str) -> Batch:
    """The micro-batch of these rows alone, with the advantages that give the gradient of all of them.

    A mean over fewer rows is larger. Every loss is proportional to the advantages where there is no term beside them,
    so they are made smaller; a factor of the loss itself would be lost in Unsloth's own backward.
    """
    count = len(inputs["advantages"])
    some = {
        name: value[live] if isinstance(value, Tensor) and value.dim() and len(value) == count else value
        for name, value in inputs.items()
    }
    share = len(live) / count if loss_type in BY_ROWS else 1.0
    return some | {"advantages": some["advantages"] * share}


def nothing(model: torch.nn.Module) -> Tensor:
    """A loss of 0 that backward accepts and that reaches no weight, for a micro-batch without a live row."""
    return torch.zeros((), device=next(model.parameters()).device, requires_grad=True)
