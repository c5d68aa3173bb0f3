"""From the values of the functions to the reward of a completion: scale, clip, normalise, weigh, add.

    B  completions of one call: P prompts * G completions each (while training a generation batch)
    C  cells of them: what one value belongs to, a completion, or with process supervision one step of it

Every list here has C entries. In a sum a component that said None is left out; a Failure anywhere makes the cell a
Failure, because a row that lacks one of its parts would be compared with rows that have it.

For each component with values v, in this order, as TRL has only the weight (`reward_weights`, TRL 1.14.2):

    v = scale * v;  v = clip(v, low, high);  v = clip(v, percentiles of the call);  v = (v - mean) / std of the call
    reward = sum over components of weight * v

Imports the spec; nothing heavy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from trainer.rewards.contract import Failure, Value
from trainer.spec import Component


def total(components: Sequence[Component], leaves: Mapping[str, Sequence[Value]], training: bool) -> list[Value]:
    """(C,): weighted sum of components; `leaves` holds the (C,) values of every function by its component's title.

    training: apply what depends on the batch (clip_percentiles, normalise); an evaluation must not: the score of one
    held-out completion would change with the others that are scored beside it.
    """
    columns = [_weighted(component, leaves, training) for component in components]
    return [_sum(cell) for cell in zip(*columns, strict=True)]


def plain(component: Component, leaves: Mapping[str, Sequence[Value]]) -> list[Value]:
    """(C,): values of a component as metrics show them: scaled and clipped, not yet relative to the batch, not
    weighted. So the curve of a component keeps its meaning when a weight is changed.
    """
    values = total(component.components, leaves, False) if component.components else leaves[component.title]
    return [_clipped(value, component) for value in values]


def _weighted(component: Component, leaves: Mapping[str, Sequence[Value]], training: bool) -> list[Value]:
    values = total(component.components, leaves, training) if component.components else leaves[component.title]
    values = [_clipped(value, component) for value in values]
    # Percentiles first: one outlier would stretch the deviation that `normalise` divides by.
    if training and component.clip_percentiles is not None:
        values = _within_percentiles(values, *component.clip_percentiles)
    if training and component.normalise:
        values = _normalised(values)
    # After normalising: the weight is then the share of the spread that the component has in the sum.
    return [value * component.weight if isinstance(value, float) else value for value in values]


def _clipped(value: Value, component: Component) -> Value:
    if value is None or isinstance(value, Failure):
        return value
    value *= component.scale  # before the clip, whose bounds are of the scaled value
    if component.clip is not None:
        value = min(max(value, component.clip[0]), component.clip[1])
    return value


def _sum(cell: Sequence[Value]) -> Value:
    failed = next((value for value in cell if isinstance(value, Failure)), None)
    if failed is not None:
        return failed
    # None is left out and not 0: TRL drops it by nansum, and a component that cannot judge must not cost reward.
    known = [value for value in cell if isinstance(value, float)]
    return math.fsum(known) if known else None


def _known(values: Sequence[Value]) -> list[float]:
    return [value for value in values if isinstance(value, float)]


def _within_percentiles(values: Sequence[Value], low: float, high: float) -> list[Value]:
    known = sorted(_known(values))
    if not known:
        return list(values)
    bottom, top = percentile(known, low), percentile(known, high)
    return [min(max(value, bottom), top) if isinstance(value, float) else value for value in values]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of n numbers in ascending order, `percent` from 0 to 100: linear between the two nearest, at position
    percent / 100 * (n - 1). It is numpy.percentile's default, method 7 of Hyndman and Fan 1996.
    """
    position = percent / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _normalised(values: Sequence[Value]) -> list[Value]:
    """(v - mean) / std over the known cells of the call, std with n - 1; 0 where nothing differs.

    GDPO (Liu et al. 2026; in TRL multi_objective_aggregation = "normalize_then_sum") does it within each group of G.
    """
    known = _known(values)
    mean = statistics.fmean(known) if known else 0.0
    std = statistics.stdev(known) if len(known) > 1 else 0.0
    # Of equal values the std is rounding: dividing by it would make rewards of noise.
    flat = std <= 1e-9 * max(1.0, abs(mean))
    return [(0.0 if flat else (v - mean) / std) if isinstance(v, float) else v for v in values]
