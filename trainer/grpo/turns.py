"""The baseline of each turn: an advantage for every token of an episode, from the rewards of its turn and later ones.

    r_k   what turn k has earned: by how much the environment's get_reward rose over it, times its weight; the last turn
          also has all that the other components pay
    z_k   (r_k - mean) / (std + 1e-4) over the completions of the group that have a turn k
    A_k   z_k + z_k+1 + ... + z_last: of every token that the model wrote in turn k

As process supervision has it for steps (DeepSeekMath, arXiv 2402.03300, section 4.1.3), with a mean of each turn in
place of one of all steps. With one turn it is TRL's advantage, bit by bit: the same operations on the same numbers.

Shapes: N completions, group after group, of G each; K turns of the longest; T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from trl.trainer.utils import nanstd

from trainer.grpo.advantages import EPSILON


def spans(mask: Sequence[int]) -> list[tuple[int, int]]:
    """[first, end) of the tokens of each turn. mask: TRL's, 1 for a token of the model, 0 for one of a tool."""
    edges = [place for place in range(1, len(mask)) if mask[place] != mask[place - 1]]
    starts, ends = [0, *edges], [*edges, len(mask)]
    return [(first, end) for first, end in zip(starts, ends, strict=True) if first < end and mask[first]]


def earned(total: float, ratings: Mapping[int, float], count: int, factor: float) -> list[float]:
    """r_k of `count` turns; they add up to `total`, and all are NaN where it is: of an episode that was lost nothing is
    known. ratings: {turn: get_reward after it}, factor: its weight."""
    if math.isnan(total):
        return [total] * count
    found, before = [], 0.0
    for turn in range(count - 1):
        now = ratings.get(turn, before)
        found.append(factor * (now - before))
        before = now
    return [*found, total - sum(found)]


def table(rows: Sequence[Sequence[float]]) -> Tensor:
    """(N, K), NaN where a completion has no such turn."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[torch.nan] * (longest - len(row))] for row in rows])


def normalised(rewards: Tensor, group: int, scale: Literal["group", "batch", "none"], exact: bool) -> Tensor:
    """(N, K) -> (N, K): z_k, 0 where there is no such turn, no reward, or no other completion that has the turn.

    scale: as scale_rewards. exact: 0 also where rounding has left something of equal rewards.
    """
    columns = []
    for column in rewards.unbind(1):
        grouped = column.view(-1, group)
        values = column - torch.nanmean(grouped, dim=1).repeat_interleave(group, dim=0)
        if scale == "group":
            values = values / (nanstd(grouped, dim=1).repeat_interleave(group, dim=0) + EPSILON)
        elif scale == "batch":
            values = values / (nanstd(column) + EPSILON)
        if exact:
            least = grouped.nan_to_num(torch.inf).amin(1) == grouped.nan_to_num(-torch.inf).amax(1)
            values = values.masked_fill(least.repeat_interleave(group, dim=0), 0.0)
        columns.append(values.nan_to_num(0.0))
    return torch.stack(columns, dim=1)


def credited(values: Tensor) -> Tensor:
    """(N, K) z -> (N, K) A: of each turn the sum from it to the last."""
    return values.flip(1).cumsum(1).flip(1)


def over_tokens(values: Tensor, places: Sequence[Sequence[tuple[int, int]]], tokens: int) -> Tensor:
    """(N, K) -> (N, T): of every token of a turn its advantage, 0 for tokens of tools and padding."""
    found = torch.zeros(len(places), tokens)
    for row, turns in enumerate(places):
        for turn, (first, end) in enumerate(turns):
            found[row, first:end] = values[row, turn]
    return found
