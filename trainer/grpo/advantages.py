"""Advantages that TRL 1.14.2 does not have, from the rewards of whole groups.

    rloo    A_i = r_i - mean of the other completions' rewards       (arXiv 2402.14740, equation 8)
    maxrl   A_i = (r_i - mean) / mean of the group, 0 where the mean is not above 0    (arXiv 2602.02710, algorithm 1)

Neither depends on the batch. Both are 0 for a group whose rewards are all the same.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["group_mean", "rloo", "maxrl"]


def of_groups(rewards: Tensor, group: int, kind: Kind) -> Tensor:
    """(N,) rewards, group after group of `group` completions -> (N,) advantages.

    A completion without a reward (NaN) is in no mean and has the advantage 0, as in TRL; so is one that is the only
    one of its group with a reward. Raises ValueError for a kind that is TRL's own.
    """
    rows = rewards.view(-1, group)
    known = ~rows.isnan()
    count = known.sum(dim=1, keepdim=True)
    total = rows.nansum(dim=1, keepdim=True)
    if kind == "rloo":
        values = rows - (total - rows) / (count - 1).clamp(min=1)
        usable = known & (count > 1)
    elif kind == "maxrl":
        mean = total / count.clamp(min=1)
        values = (rows - mean) / mean.where(mean > 0, 1.0)
        usable = known & (count > 1) & (mean > 0)
    else:
        raise ValueError(f"{kind} is computed by TRL")
    return torch.where(usable, values, 0.0).view(-1)
