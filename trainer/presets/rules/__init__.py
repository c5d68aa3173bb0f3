"""Rules across fields of a run spec, and the section [trl]: one module a part of the spec.

Each rule names the keys it reads, so that it is left out while one of them is already known to be
wrong. Arithmetic of batches and lengths is the plan's; what is legal but unwise is said by advice.

Imports the standard library, spec, explain and the (light) reward library. Knows nothing about files, devices or data.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.errors import Problem
from trainer.presets.explain import Path
from trainer.presets.rules import data, episode, learning, log, methods, model, objective, reward, sampling, trl
from trainer.presets.rules.registry import RULES
from trainer.spec import RunSpec

__all__ = [
    "data", "episode", "learning", "log", "methods", "model", "objective", "problems", "reward", "sampling", "trl",
]  # fmt: skip


def problems(spec: RunSpec, wrong: Sequence[Path] = ()) -> list[Problem]:
    """Every broken rule. `wrong`: keys that hold a stand-in, because what was typed is refused already."""
    return [
        problem
        for rule in RULES
        if not any(_touches(key, bad) for key in rule.keys for bad in wrong)
        for problem in rule.check(spec)
        if not any(_touches(tuple(problem.place.split(".")), bad) for bad in wrong)
    ]


def _touches(key: Path, bad: Path) -> bool:
    shared = min(len(key), len(bad))
    return tuple(map(str, key[:shared])) == tuple(map(str, bad[:shared]))
