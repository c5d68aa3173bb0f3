"""Advantages that TRL 1.14.2 does not have, from the rewards of whole groups.

    rloo    A_i = r_i - mean of the other completions' rewards       (arXiv 2402.14740, equation 8)
    maxrl   A_i = (r_i - mean) / mean of the group, 0 where the mean is not above 0    (arXiv 2602.02710, algorithm 1)

    online_rft  A_i = 1 for a right completion, 0 for another: no baseline     (arXiv 2402.03300, appendix A.1.3)

None depends on the batch. The first two are 0 for a group whose rewards are all the same. `group_mean` is TRL's own,
here for groups of several sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["group_mean", "rloo", "maxrl", "online_rft"]
EPSILON = 1e-4
"""What TRL adds to a standard deviation before it divides by it."""


def of_groups(rewards: Tensor, sizes: Sequence[int], kind: Kind, scale: Literal["group", "batch", "none"]) -> Tensor:
    """(N,) rewards, group after group, and the completions of each group -> (N,) advantages.

    scale: as scale_rewards, with group_mean. A completion without a reward (NaN) is in no mean and has the advantage 0,
    as in TRL; so is one that is the only one of its group with a reward.
    """
    groups = _Groups(rewards, sizes)
    if kind == "rloo":
        values = rewards - (groups.total - groups.given) / (groups.count - 1).clamp(min=1)
        usable = groups.known & (groups.count > 1)
    elif kind == "maxrl":
        values = (rewards - groups.mean) / groups.mean.where(groups.mean > 0, 1.0)
        usable = groups.known & (groups.count > 1) & (groups.mean > 0)
    else:
        values = rewards - groups.mean
        if scale != "none":
            values = values / (EPSILON + (groups.std if scale == "group" else _std(rewards[groups.known])))
        usable = groups.known & (groups.count > 1)
    return torch.where(usable, values, 0.0)


def of_right_ones(correct: Sequence[bool | None]) -> Tensor:
    """(N,) coefficients of online RFT; a completion that could not be judged has 0."""
    return torch.tensor([1.0 if right else 0.0 for right in correct])


def weights(sizes: Sequence[int], mean_size: int) -> Tensor:
    """(N,) factors with which every prompt counts as with groups of one size, whatever its own.

    The mean of a group holds each completion itself, so the n terms (r_i - mean) grad log p_i of a prompt have the
    expectation (n - 1) grad J: the factor (G - 1) / (n - 1) makes it that of G completions. Without it a prompt of 8
    completions would count as much as seven of 2.
    """
    factors = [(mean_size - 1) / (size - 1) if size > 1 else 0.0 for size in sizes]
    return torch.tensor(factors).repeat_interleave(torch.tensor(sizes))


class _Groups:
    """Of each row its group's: count and total of the rewards that are known, mean, standard deviation (n - 1)."""

    def __init__(self, rewards: Tensor, sizes: Sequence[int]) -> None:
        self.known = ~rewards.isnan()
        self.given = rewards.where(self.known, 0.0)
        many = torch.tensor(sizes, device=rewards.device)
        self._of = torch.arange(len(sizes), device=rewards.device).repeat_interleave(many)
        self._number = len(sizes)
        self.count = self._sum(self.known.to(rewards.dtype))
        self.total = self._sum(self.given)
        self.mean = self.total / self.count.clamp(min=1)
        apart = (self.given - self.mean).where(self.known, 0.0)
        self.std = (self._sum(apart * apart) / (self.count - 1).clamp(min=1)).sqrt()

    def _sum(self, values: Tensor) -> Tensor:
        return values.new_zeros(self._number).index_add(0, self._of, values)[self._of]


def _std(values: Tensor) -> Tensor:
    return values.std() if len(values) > 1 else values.new_zeros(())
