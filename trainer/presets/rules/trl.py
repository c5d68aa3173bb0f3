"""The section [trl]: every argument of GRPOConfig that has no key of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from trainer.errors import Problem
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import FIXED, SET_ELSEWHERE, RunSpec, trl_homes, trl_table


def _kind(value: object) -> str:
    for kind, name in (
        (bool, "bool"),
        (int, "int"),
        (float, "float"),
        (str, "str"),
        (list, "list"),
        (dict, "dict"),
    ):
        if isinstance(value, kind):
            return name
    return "another kind"


_KIND_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "list": "a list",
    "dict": "a table",
}


@rule("trl")
def _trl_arguments(spec: RunSpec) -> Iterator[Problem]:
    for key, value in spec.trl.items():
        problem = _trl_argument(key, value)
        if problem is not None:
            yield problem


def _trl_argument(key: str, value: Any) -> Problem | None:
    where, home = f"trl.{key}", trl_homes().get(key)
    if home is None:
        close = nearest(key, trl_table())
        fix = f"did you mean {trl_homes()[close[0]]}?" if close else ""
        return Problem.plain(where, "TRL's GRPOConfig has no such argument", fix)
    if key in SET_ELSEWHERE or home != where:
        return Problem.plain(where, f"is set by {home}", f"leave it out of [trl] and use {home}")
    if key in FIXED:
        right, reason = FIXED[key]
        if value != right or isinstance(value, bool) != isinstance(right, bool):
            return Problem.plain(where, f"is {shown(value)}, must be {shown(right)}: {reason}", f"leave {where} out")
        return None
    kinds = trl_table()[key]
    kind = _kind(value)
    if kind not in kinds and not (kind == "int" and "float" in kinds):
        words = " or ".join(_KIND_WORDS[name] for name in kinds if name in _KIND_WORDS)
        return Problem.plain(where, f"is {shown(value)}, must be {words}")
    if isinstance(value, float) and not math.isfinite(value):
        return Problem.plain(where, f"is {value}, must be a finite number")
    return None
