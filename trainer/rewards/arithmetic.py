"""From the values of the functions to the reward of a completion: scale, clip, pay or not, normalise, weigh, add.

    B  completions of one call: P prompts * G completions each (while training a generation batch)
    C  cells of them: what one value belongs to, a completion, or with process supervision one step of it

Every list here has C entries. In a sum a component that said None is left out; a Failure anywhere makes the cell a
Failure, because a row that lacks one of its parts would be compared with rows that have it.

For each component with values v, in this order, as TRL has only the weight (`reward_weights`, TRL 1.14.2):

    v = scale * v;  v = clip(v, low, high);  v = 0 where only_if does not hold
    v = clip(v, percentiles of the call);  v = (v - mean) / std of the call
    reward = sum over components of weight * v

Imports the spec; nothing heavy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from trainer.rewards.contract import Failure, Value
from trainer.spec import Component

Leaves = Mapping[str, Sequence[Value]]
"""{title of a component with a function: its (C,) values}."""
Held = Mapping[str, Sequence[bool | None]]
"""{title of a component with only_if: does it hold for the cell, (C,)}; None where what it looks at has no value."""

NO_CONDITIONS: Held = {}


def held(components: Sequence[Component], leaves: Leaves, cells: Sequence[int] | None = None) -> Held:
    """Which conditions hold, (C,). A condition looks at a completion: at what the component it names was paid by its
    own only_if, under process supervision summed over the steps.

    cells: how many each completion has; one where it is left out.
    """
    nodes = {node.title: node for node in every(components)}
    counts = cells if cells is not None else [1] * len(next(iter(leaves.values())))
    found: dict[str, list[bool | None]] = {}

    def settle(node: Component) -> None:
        for part in node.components:
            settle(part)
        if node.only_if is None or node.title in found:
            return
        columns = []
        for condition in node.conditions():
            other = nodes[condition.name]
            settle(other)
            values = joined(plain(other, leaves, found), counts)
            columns.append([None if value is None else condition.holds(value) for value in values])
        rows = [_all(row) for row in zip(*columns, strict=True)]
        found[node.title] = [holds for holds, count in zip(rows, counts, strict=True) for _ in range(count)]

    for node in nodes.values():
        settle(node)
    return found


def _all(row: Sequence[bool | None]) -> bool | None:
    """One that does not hold is enough; what cannot be known is not held against the completion."""
    return False if False in row else None if None in row else True


def total(
    components: Sequence[Component], leaves: Leaves, training: bool, conditions: Held | None = None
) -> list[Value]:
    """(C,): weighted sum of components; `leaves` holds the (C,) values of every function by its component's title.

    training: apply what depends on the batch (clip_percentiles, normalise); an evaluation must not: the score of one
    held-out completion would change with the others that are scored beside it. conditions: see `held`.
    """
    conditions = held(components, leaves) if conditions is None else conditions
    columns = [valued(component, leaves, training, conditions) for component in components]
    return [_sum(cell, components) for cell in zip(*columns, strict=True)]


def plain(component: Component, leaves: Leaves, conditions: Held = NO_CONDITIONS) -> list[Value]:
    """(C,): values of a component as metrics show them: scaled and clipped, 0 where it is not paid, not yet relative to
    the batch, not weighted. So the curve of a component keeps its meaning when a weight is changed.
    """
    return paid(measured(component, leaves, conditions), conditions.get(component.title))


def measured(component: Component, leaves: Leaves, conditions: Held, training: bool = False) -> list[Value]:
    """(C,): scaled and clipped, whether it is paid or not."""
    parts = component.components
    values = total(parts, leaves, training, conditions) if parts else leaves[component.title]
    return [_clipped(value, component) for value in values]


def paid(values: Sequence[Value], holds: Sequence[bool | None] | None) -> list[Value]:
    """0 where the condition does not hold, None where that is not known."""
    if holds is None:
        return list(values)
    unpaid: dict[bool | None, Value] = {False: 0.0, None: None}
    return [unpaid.get(h, v) if isinstance(v, float) else v for v, h in zip(values, holds, strict=True)]


def valued(component: Component, leaves: Leaves, training: bool, conditions: Held) -> list[Value]:
    """(C,): what goes into the sum, before the weight."""
    values = measured(component, leaves, conditions, training)
    holds = conditions.get(component.title)
    # Percentiles first: one outlier would stretch the deviation that `normalise` divides by. Only of what is paid: they
    # would pull what is not up to them.
    if training and component.clip_percentiles is not None:
        counted = values if holds is None else [v if h else None for v, h in zip(values, holds, strict=True)]
        pulled = _within_percentiles(counted, *component.clip_percentiles)
        values = [value if known is None else known for value, known in zip(values, pulled, strict=True)]
    values = paid(values, holds)
    # What is not paid counts as 0 among the others: as 0 after normalising it would be paid like the mean.
    return _normalised(values) if training and component.normalise else values


def _clipped(value: Value, component: Component) -> Value:
    if value is None or isinstance(value, Failure):
        return value
    value *= component.scale  # before the clip, whose bounds are of the scaled value
    if component.clip is not None:
        value = min(max(value, component.clip[0]), component.clip[1])
    return value


def _sum(cell: Sequence[Value], components: Sequence[Component]) -> Value:
    failed = next((value for value in cell if isinstance(value, Failure)), None)
    if failed is not None:
        return failed
    # None is left out and not 0: TRL drops it by nansum, and a component that cannot judge must not cost reward.
    # Weighted after normalising: the weight is then the share of the spread that the component has in the sum.
    known = [v * part.weight for v, part in zip(cell, components, strict=True) if isinstance(v, float)]
    return math.fsum(known) if known else None


def joined(values: Sequence[Value], cells: Sequence[int]) -> list[float | None]:
    """(B,): sum of a completion's cells; None where none has a value or one failed."""
    left, found = iter(values), []
    for count in cells:
        own = [next(left) for _ in range(count)]
        known = [value for value in own if isinstance(value, float)]
        failed = any(isinstance(value, Failure) for value in own)
        found.append(sum(known) if known and not failed else None)
    return found


def every(components: Sequence[Component]) -> Iterator[Component]:
    """Every component, sums after what they add up."""
    for component in components:
        yield from every(component.components)
        yield component


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
