"""`only_if` of a reward component: when it is paid.

    format                    the component `format` earned something: its value is above 0
    rouge1 >= 0.5             a bound on it: > >= < <=
    format and rouge1 >= 0.5  all of several

Standard library only.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass

SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_BOUND = re.compile(r"([^<>]*?)\s*(>=|<=|>|<)\s*(\S+)", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A bound on the value of a component, scaled and clipped, before its weight."""

    name: str
    sign: str = ">"
    bound: float = 0.0

    def holds(self, value: float) -> bool:
        return bool(SIGNS[self.sign](value, self.bound))


def conditions(only_if: str) -> list[Condition]:
    """All of them must hold. Raises ValueError with the part that is neither a name nor a bound."""
    return [_condition(part) for part in re.split(r"\s+and\s+", only_if.strip())]


def _condition(part: str) -> Condition:
    found = _BOUND.fullmatch(part)
    if found is None:
        name, sign, bound = ("" if set(part) & set("<>") else part), ">", 0.0
    else:
        name, sign = found[1], found[2]
        try:
            bound = float(found[3])
        except ValueError:
            bound = math.nan
    if not name or not math.isfinite(bound):
        raise ValueError(part)
    return Condition(name, sign, bound)
