"""Values of functions, one a completion or one a step, as cells: what the arithmetic of rewards works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.rewards.contract import Failure, Value
from trainer.text import Message


def why_failed(value: Any) -> Message | None:
    """Why a row failed, in whole or at one of its steps."""
    parts = value if isinstance(value, list) else [value]
    return next((part.why for part in parts if isinstance(part, Failure)), None)


def zeroed(value: Any) -> Any:
    if isinstance(value, list):
        return [zeroed(part) for part in value]
    return 0.0 if isinstance(value, Failure) and value.tried else value


def flat(column: Sequence[Any], cells: Sequence[int]) -> list[Value]:
    """One entry a cell. What was said of a whole completion stands at its last one; a failure at all of them."""
    found: list[Value] = []
    for value, count in zip(column, cells, strict=True):
        if isinstance(value, list):
            failed = next((part for part in value if isinstance(part, Failure)), None)
            found += value if failed is None else [failed] * count
        elif isinstance(value, Failure):
            found += [value] * count
        else:
            found += [None] * (count - 1) + [value]
    return found
