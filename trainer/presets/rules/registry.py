"""Where rules are put down, each with the keys it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.errors import Problem
from trainer.presets.explain import Path
from trainer.spec import RunSpec

Check = Callable[[RunSpec], Iterator[Problem]]


@dataclass(frozen=True)
class Rule:
    """check says what is wrong; it is left out while one of `keys` is known to be wrong already."""

    keys: tuple[Path, ...]
    check: Check


RULES: list[Rule] = []


def rule(*keys: str) -> Callable[[Check], Check]:
    """Put a check down as a rule across these keys."""

    def register(check: Check) -> Check:
        RULES.append(Rule(tuple(tuple(key.split(".")) for key in keys), check))
        return check

    return register
