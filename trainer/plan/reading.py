"""A stored plan, read back by whoever shows a run: plan.json may have been changed, or be of another version."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from trainer.plan import RunPlan


def fitting(stored: Any) -> tuple[dict[str, Any], list[str]]:
    """(the plan without what is of another type than it has to be, the names of that). Older ones lack some of it."""
    plan: dict[str, Any] = stored if isinstance(stored, dict) else {}
    fields = RunPlan.model_fields
    wrong = [name for name, value in plan.items() if name in fields and not _fits(value, fields[name].annotation)]
    return {name: value for name, value in plan.items() if name not in wrong}, wrong


def _fits(value: Any, wanted: Any) -> bool:
    """Is it a number where one is wanted, a text, a list? Nothing is asked of what a list or an object holds."""
    if get_origin(wanted) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(wanted))
    if wanted in (int, float):
        return isinstance(value, int if wanted is int else int | float) and not isinstance(value, bool)
    kinds: dict[Any, type] = {str: str, NoneType: NoneType, list: list, Literal: str}
    kind = kinds.get(get_origin(wanted) or wanted)
    return kind is None or isinstance(value, kind)
