"""From the values of the functions to what a completion is paid.

A cell is what one value belongs to: a completion, or with process supervision one step of it. Every list here has one
entry a cell. In a sum a component that said None is left out; a Failure anywhere makes the cell a Failure, because a
row that lacks one of its parts would be compared with rows that have it.

Standard library only.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from trainer.rewards.contract import Failure, Value
from trainer.spec import Component


def total(components: Sequence[Component], leaves: Mapping[str, Sequence[Value]], training: bool) -> list[Value]:
    """Weighted sum of components; `leaves` holds the values of every function by its component's title.

    training: apply what depends on the batch (clip_percentiles, normalise); an evaluation must not.
    """
    columns = [_weighted(component, leaves, training) for component in components]
    return [_sum(cell) for cell in zip(*columns, strict=True)]


def plain(component: Component, leaves: Mapping[str, Sequence[Value]]) -> list[Value]:
    """Values of a component as metrics show them: scaled and clipped, not yet relative to the batch, not weighted."""
    values = total(component.components, leaves, False) if component.components else leaves[component.title]
    return [_clipped(value, component) for value in values]


def _weighted(component: Component, leaves: Mapping[str, Sequence[Value]], training: bool) -> list[Value]:
    values = total(component.components, leaves, training) if component.components else leaves[component.title]
    values = [_clipped(value, component) for value in values]
    if training and component.clip_percentiles is not None:
        values = _within_percentiles(values, *component.clip_percentiles)
    if training and component.normalise:
        values = _normalised(values)
    return [value * component.weight if isinstance(value, float) else value for value in values]


def _clipped(value: Value, component: Component) -> Value:
    if value is None or isinstance(value, Failure):
        return value
    value *= component.scale
    if component.clip is not None:
        value = min(max(value, component.clip[0]), component.clip[1])
    return value


def _sum(cell: Sequence[Value]) -> Value:
    failed = next((value for value in cell if isinstance(value, Failure)), None)
    if failed is not None:
        return failed
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
    """Linear between the two nearest, as numpy's default: position percent / 100 * (n - 1)."""
    position = percent / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _normalised(values: Sequence[Value]) -> list[Value]:
    """(v - mean) / std over the batch, 0 where nothing differs. GDPO (Liu et al. 2026) does it within each group."""
    known = _known(values)
    mean = statistics.fmean(known) if known else 0.0
    std = statistics.stdev(known) if len(known) > 1 else 0.0
    flat = std <= 1e-9 * max(1.0, abs(mean))
    return [(0.0 if flat else (v - mean) / std) if isinstance(v, float) else v for v in values]
