"""Hierarchical GRPO: plans of a prompt are compared with each other, and so are the ways one plan is carried out.

    r_ij  reward of way j on from plan i; m plans of a prompt, n ways on from each
    R_i   mean of r_ij over j: what plan i is worth; rows without a reward are in no mean
    A_i   (R_i - mean of R) / (std of R + 1e-4): of every token of plan i, in all its n rows
    a_ij  (r_ij - R_i) / (std of r_i + 1e-4): of every token behind the plan

Each level is GRPO's advantage (DeepSeekMath, arXiv 2402.03300, equation 3 ff.) of its own group, as turns.normalised
has it. A plan's tokens stand in n rows with the same advantage: their share of a loss that is a mean over rows is the
mean over plans.

Shapes: N completions, prompt after prompt and plan after plan, m x n of each prompt.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainer.grpo import turns


class Levels(NamedTuple):
    """means: (N / n,) R_i, NaN where no way on has a reward. values: (N, 2), A_i and a_ij of each row."""

    means: Tensor
    values: Tensor


def compared(rewards: Tensor, plans: int, ways: int, scale: Literal["group", "batch", "none"]) -> Levels:
    """(N,) rewards, NaN where there is none -> both advantages of each row, 0 where nothing is known.

    plans: m. ways: n. scale: as scale_rewards; "batch" divides the plans by the spread of all R_i, the ways on by that
    of all rewards. What is equal has exactly 0, with run.fast = "off" too: TRL has no plans to be the same as.
    """
    # In double precision: the same rewards in another order have the same mean.
    means = rewards.double().view(-1, ways).nanmean(dim=1).to(rewards.dtype)
    of_plans = turns.normalised(means[:, None], plans, scale, exact=True)[:, 0]
    behind = turns.normalised(rewards[:, None], ways, scale, exact=True)[:, 0]
    return Levels(means, torch.stack([of_plans.repeat_interleave(ways), behind], dim=1))


def places(lengths: Sequence[int], whole: Sequence[int]) -> list[list[tuple[int, int]]]:
    """[first, end) of the tokens of each row's plan and of what is behind it. lengths: tokens of the plan; whole: of
    the completion."""
    return [[(0, plan), (plan, end)] for plan, end in zip(lengths, whole, strict=True)]


def spread(means: Tensor, plans: int) -> float:
    """Mean over prompts of the standard deviation of R_i, those left out that have less than two; 0 where all have."""
    groups = [[value for value in group if value == value] for group in means.view(-1, plans).tolist()]
    found = [statistics.stdev(group) for group in groups if len(group) > 1]
    return statistics.fmean(found) if found else 0.0
